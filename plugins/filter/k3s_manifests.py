"""What manifests declare: which objects go with a manifest that is taken back, and who configures K3s' Traefik.

The arguments and results of each filter are described in the file of its name beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.greeter.fleet.plugins.plugin_utils.k3s_settings import flag_values, node_config

Key = tuple[str, str, str, str]

# How many pods of Traefik there are where so many nodes take them.
PODS = 2
# What Traefik's pods tolerate in K3s, key → effects.
TOLERATED = {
    "CriticalAddonsOnly": ("NoSchedule", "NoExecute"),
    "node-role.kubernetes.io/control-plane": ("NoSchedule",),
    "node-role.kubernetes.io/master": ("NoSchedule",),
}


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a manifest, those of its Lists too; of one that is not YAML, those before the fault."""
    try:
        # Names are texts, whatever they look like.
        for document in yaml.load_all(text, Loader=yaml.BaseLoader):
            found = document if isinstance(document, Mapping) else {}
            items = found.get("items") if str(found.get("kind", "")).endswith("List") else None
            yield from (each for each in (items if isinstance(items, list) else [found]) if _is_named(each))
    except yaml.YAMLError:
        return


def _is_named(found: object) -> bool:
    if not isinstance(found, Mapping) or not isinstance(metadata := found.get("metadata"), Mapping):
        return False
    return bool(found.get("apiVersion") and found.get("kind") and metadata.get("name"))


def _key(found: Mapping[str, Any]) -> Key:
    """What tells an object from another one, whatever version of its group it is written in."""
    group = found["apiVersion"].rpartition("/")[0]
    return group, found["kind"], found["metadata"].get("namespace") or "default", found["metadata"]["name"]


def taken_back(removed: Mapping[str, str], kept: Iterable[str]) -> list[dict[str, Any]]:
    """Give the objects that only the removed ones of some manifests (file → text) declare, the last one first.

    K3s' note of each file, its AddOn, is among them: with that, K3s would not apply the same file if it came back.
    """
    known = {_key(each) for text in kept for each in _objects(text)}
    gone: dict[Key, dict[str, Any]] = {}
    for each in (each for text in removed.values() for each in _objects(text) if _key(each) not in known):
        metadata = {name: each["metadata"][name] for name in ("name", "namespace") if each["metadata"].get(name)}
        gone[_key(each)] = {"apiVersion": each["apiVersion"], "kind": each["kind"], "metadata": metadata}
    notes = [
        {
            "apiVersion": "k3s.cattle.io/v1",
            "kind": "Addon",
            "metadata": {"name": name.partition(".")[0], "namespace": "kube-system"},
        }
        for name in removed
    ]
    return [*reversed(gone.values()), *notes]


def traefik_replicas(
    hostvars: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]], manifests: Iterable[str]
) -> int:
    """Say how many pods Traefik gets unless told otherwise; 0 leaves it as K3s has it, or as ``manifests`` say."""
    texts = (Path(name).expanduser().read_text(encoding="utf-8", errors="replace") for name in manifests)
    if any(_key(each)[1::2] == ("HelmChartConfig", "traefik") for text in texts for each in _objects(text)):
        return 0
    roles = {"server": groups.get("k3s_servers", []), "agent": groups.get("k3s_agents", [])}
    nodes = (node_config(hostvars[host], role) for role, hosts in roles.items() for host in hosts)
    # The variables of many hosts take their time: two are enough.
    takers = list(islice(filter(_takes_traefik, nodes), PODS))
    return PODS if len(takers) == PODS else 0


def _takes_traefik(config: Mapping[str, Any]) -> bool:
    for taint in flag_values(config.get("node-taint")):
        key, _, effect = taint.rpartition(":")
        if effect in ("NoSchedule", "NoExecute") and effect not in TOLERATED.get(key.partition("=")[0], ()):
            return False
    return True


class FilterModule:
    """The filters under the names that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"k3s_taken_back": taken_back, "k3s_traefik_replicas": traefik_replicas}
