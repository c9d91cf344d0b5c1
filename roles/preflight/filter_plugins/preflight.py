"""What can be wrong with the inventory, the settings and the hosts, in words that help.

Every filter returns a list of faults: one string each, ``where: what is wrong; what to write instead``. An empty list
means that nothing is wrong. No filter raises on bad input and none changes anything.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

BUILDERS = ("podman", "docker")
ARCHITECTURES = ("x86_64", "aarch64", "armv7l")
VERSION = re.compile(r"v\d+\.\d+\.\d+\S*\+\S+")


def kind(value: object) -> str:
    """Name a value's type as a person who writes YAML would."""
    names: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "a text"),
        (date, "a date"),
        (bytes, "binary data"),
        (Mapping, "a mapping"),
        (Sequence, "a list"),
        (type(None), "empty"),
    ]
    return next((name for types, name in names if isinstance(value, types)), "no plain value")


def inventory_faults(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Faults of the inventory's ``groups`` (name → hosts): which hosts become which kind of node."""
    servers = groups.get("k3s_servers", [])
    agents = groups.get("k3s_agents", [])
    faults = []
    if not servers:
        faults.append("inventory: the group k3s_servers has no host; put the host that is to run K3s there")
    if len(servers) > 1:
        faults.append(f"inventory: the group k3s_servers has {len(servers)} hosts; this release runs one server")
    if agents:
        faults.append("inventory: the group k3s_agents has hosts; this release runs one server and no agents")
    stray = sorted(set(groups.get("k3s_cluster", [])) - set(servers) - set(agents))
    if stray:
        faults.append(f"inventory: {', '.join(stray)} lie(s) in k3s_cluster itself; use its group k3s_servers")
    if set(servers) - set(groups.get("k3s_cluster", [])):
        faults.append("inventory: k3s_servers is not a child of k3s_cluster; see inventory/local/hosts.yml")
    return faults


def setting_faults(settings: Mapping[str, Any]) -> list[str]:
    """Faults of the cluster's and the image's settings (variable → value)."""
    faults = []
    version = settings["k3s_version"]
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        faults.append(f"k3s_version: {version!r} is no release; write one such as v1.35.6+k3s1")
    config = settings["k3s_config"]
    if not isinstance(config, Mapping):
        faults.append(f"k3s_config: is {kind(config)}; write a mapping of K3s flags, such as {{disable: [servicelb]}}")
    folder = settings["k3s_artifact_dir"]
    if folder and not Path(str(folder)).is_dir():
        faults.append(
            f"k3s_artifact_dir: {folder} is no folder on the controller; name one, or leave it empty to download"
        )
    manifests = settings["k3s_manifests"]
    if isinstance(manifests, str) or not isinstance(manifests, Sequence):
        faults.append(f"k3s_manifests: is {kind(manifests)}; write a list of files")
    else:
        faults += [
            f"k3s_manifests: {path} is no file on the controller" for path in manifests if not Path(str(path)).is_file()
        ]
    builder = settings["greeter_builder"]
    if builder not in BUILDERS:
        faults.append(f"greeter_builder: {builder!r} is unknown; write {' or '.join(BUILDERS)}")
    elif shutil.which(builder) is None:
        faults.append(
            f"greeter_builder: {builder} is not installed on the controller; install it, or set the other one"
        )
    return faults


def host_faults(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Faults of those of the ``hosts`` that were asked for their facts, from what Ansible knows of each."""
    faults = []
    for name in hosts:
        answer = hostvars[name].get("_preflight_facts")
        if answer is None:
            continue
        if answer.get("unreachable") or answer.get("failed"):
            # What the host itself said stands in the part's own result, and says more than the summary.
            parts = answer.get("failed_modules", {}).values()
            said = [part.get("module_stderr", "").strip() or part.get("msg", "") for part in parts]
            faults.append(f"host {name}: cannot be used; {'; '.join(said) or answer['msg']}")
            continue
        facts = hostvars[name]["ansible_facts"]
        if facts.get("service_mgr") != "systemd":
            faults.append(f"host {name}: runs {facts.get('service_mgr')}; use a host whose services systemd runs")
        if facts.get("architecture") not in ARCHITECTURES:
            machines = ", ".join(ARCHITECTURES)
            faults.append(f"host {name}: K3s has no release for {facts.get('architecture')}; use one of {machines}")
    return faults


class FilterModule:
    """The filters under the names that playbooks use."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Name → filter."""
        return {
            "preflight_inventory_faults": inventory_faults,
            "preflight_setting_faults": setting_faults,
            "preflight_host_faults": host_faults,
        }
