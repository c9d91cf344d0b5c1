"""What is wrong with settings of the whole fleet: each must be the same for every host.

The controller's stages run once, as one of the hosts: what only some hosts have would reach some stages and not others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..customers import SCHEMA
from .words import resolved, shown

# Those that no stage reads for one host alone, beside the customers' own. K3s' own, such as k3s_version or k3s_config,
# may differ.
SHARED = (
    "k3s_cluster_name", "k3s_kubeconfig", "k3s_kubeconfig_merge", "k3s_backup_dir", "k3s_registration_address",
    "k3s_kube_vip_interface", "k3s_kube_vip_image",
    "endpoints_nodes", "endpoints_kubeconfig", "endpoints_timeout", "endpoints_ca_file", "endpoints_report",
)  # fmt: skip
PREFIX = "greeter_"
SECRET = re.compile(r"token|passw|secret|key|auth|login")
LONGEST = 100
NOT_SET = "not set"


def shared_faults(groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The faults of all such settings, from the inventory's groups and hosts, see shared_faults.yml."""
    hosts = dict.fromkeys([*groups.get("k3s_cluster", []), *groups.get("kubernetes", [])])
    variables = {host: hostvars[host] for host in hosts}
    others = sorted({name for of_host in variables.values() for name in of_host if str(name).startswith(PREFIX)})
    return [fault for name in (*SCHEMA.document["properties"], *SHARED, *others) for fault in _faults(name, variables)]


def _faults(name: str, variables: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    tells = name.startswith((PREFIX, "endpoints_"))
    if len(variables) == 1 and not tells:
        return
    broken: dict[str, str] = {}
    values = [(host, resolved(given, name, name, broken)) for host, given in variables.items() if name in given]
    # Of the others the checks of their own tell.
    if broken and tells:
        yield from (f"{where}: cannot be worked out ({why}); mend it" for where, why in broken.items())
    if broken or not values:
        return
    unset = [host for host in variables if name not in variables[host]]
    groups: list[tuple[Any, list[str]]] = []
    for host, value in values:
        same = next((hosts for known, hosts in groups if known == value), None)
        if same is None:
            groups.append((value, [host]))
        else:
            same.append(host)
    if len(groups) + bool(unset) > 1:
        parts = [(_shown(name, value), hosts) for value, hosts in groups] + ([(NOT_SET, unset)] if unset else [])
        yield f"{name}: {_said(parts)}; it belongs to the whole fleet: write it once, for all hosts of the inventory"


def _said(parts: Iterable[tuple[str, list[str]]]) -> str:
    """Who has which value; without those that are long or secret."""
    parts = list(parts)
    if all(value for value, _ in parts):
        return "is " + ", ".join(f"{value} for {_names(hosts)}" for value, hosts in parts)
    return "differs between " + " and ".join(_names(hosts) for _, hosts in parts)


def _names(hosts: Sequence[str]) -> str:
    return ", ".join(hosts)


def _shown(name: str, value: object) -> str:
    """A value that may be told; empty for what is long or may be secret."""
    if SECRET.search(name) or not isinstance(value, str | bool | int | float):
        return ""
    text = shown(value)
    return text if text and len(text) <= LONGEST else ""
