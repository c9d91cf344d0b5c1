"""What can be wrong with the hosts that were asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .nodes import Node, Told

SERVICE_MANAGERS = ("systemd", "openrc")
# Architecture, as Ansible calls it → that of K3s' files, and the name of its binary: https://github.com/k3s-io/k3s/releases
FILES = {"x86_64": ("amd64", "k3s"), "aarch64": ("arm64", "k3s-arm64"), "armv7l": ("arm", "k3s-armhf")}
# RFC 1123, as Kubernetes names nodes: https://kubernetes.io/docs/concepts/architecture/nodes/#node-name-uniqueness
NODE_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
MINOR = re.compile(r"v(\d+)\.(\d+)\.")

# What for: https://docs.k3s.io/installation/requirements#networking
KUBELET_PORT = 10250
API_PORT = 6443
ETCD_PORTS = (2379, 2380)
INGRESS_PORTS = (80, 443)

# Kernel and firmware keep a part of the memory for themselves.
KEPT = 1 / 8
# From then on a kubelet refuses to start on control groups of the first version: https://kep.k8s.io/5573
CGROUP2_SINCE = (1, 35)


def listed(value: object) -> list[str]:
    """The parts of a flag that may be given several times: K3s takes a list, or one text with commas."""
    if value is None:
        return []
    return [str(part) for part in value] if isinstance(value, list) else str(value).split(",")


def node_name(node: Node) -> str | None:
    """The name by which the node will be known, where that is certain."""
    if node["config"].get("with-node-id"):
        return None
    name = node["config"].get("node-name") or node.get("facts", {}).get("nodename")
    return str(name).lower() if name else None


def ports(node: Node, etcd: bool) -> dict[int, str]:
    """The ports that K3s will need on a host → what for."""
    needed = {KUBELET_PORT: "the kubelet"}
    if not {"traefik", "servicelb"} & set(listed(node["config"].get("disable"))):
        needed |= dict.fromkeys(INGRESS_PORTS, "the customers' ingress")
    if node["role"] == "server":
        needed[API_PORT] = "the API server"
        if etcd:
            needed |= dict.fromkeys(ETCD_PORTS, "etcd")
    return needed


def _unusable(answer: Mapping[str, Any]) -> str:
    # What the host itself said stands in the part's own result, and says more than the summary.
    parts = answer.get("failed_modules", {}).values()
    said = [part.get("module_stderr", "").strip() or part.get("msg", "") for part in parts]
    return "; ".join(said) or str(answer.get("msg", "it did not answer"))


def _machine(node: Node, defaults: Mapping[str, object]) -> Iterator[str]:
    look, role = node["look"], node["role"] or "agent"
    # The command line gives texts.
    limits = {name: int(str(node["limits"].get(name, default))) for name, default in defaults.items()}
    least = limits[f"preflight_{role}_memory"]
    if look["memory"] < least * (1 - KEPT):
        yield (
            f"has {look['memory']} MB of memory, and K3s wants {least} for its role; use a larger host,"
            f" or lower preflight_{role}_memory"
        )
    if look["disk"] < limits["preflight_disk"] and look["version"] != node["settings"].get("k3s_version"):
        yield (
            f"has {look['disk']} MB free at {look['disk_path']}, a release wants {limits['preflight_disk']};"
            " make room, or lower preflight_disk"
        )
    if abs(look["clock"]) > limits["preflight_clock"]:
        yield (
            f"the clock is {abs(look['clock']):.0f} s {'ahead of' if look['clock'] > 0 else 'behind'} the controller's;"
            " set both by NTP (certificates are valid from a time on), or raise preflight_clock"
        )
    found = MINOR.match(str(node["settings"].get("k3s_version")))
    allowed = "fail-cgroupv1=false" in listed(node["config"].get("kubelet-arg"))
    if look["cgroup"] == 1 and not allowed and found and tuple(map(int, found.groups())) >= CGROUP2_SINCE:
        yield (
            "has control groups of version 1, with which no kubelet from v1.35 on starts; boot it with"
            " systemd.unified_cgroup_hierarchy=1, or put fail-cgroupv1=false into k3s_config.kubelet-arg"
        )
    # A Raspberry Pi's command line and OpenRC's service for them are the business of the role prepare.
    if not look["cgroup_memory"] and not look["cmdline"] and node["facts"].get("service_mgr") == "systemd":
        yield "the control groups cannot limit memory; boot it with cgroup_enable=memory"


def _k3s(node: Node, etcd: bool) -> Iterator[str]:
    look = node["look"]
    there = bool(look["services"])
    for taken in look["ports"]:
        what = ports(node, etcd).get(taken["port"])
        # Nobody but root sees whose a port is; where K3s is installed it is most likely its own.
        if what and not taken["k3s"] and (taken["process"] or not there):
            yield (
                f"port {taken['port']} is taken by {taken['process'] or 'a process that cannot be seen'}, and {what}"
                " needs it; stop that, or move it to another port"
            )
    wrong = {"server": "k3s-agent", "agent": "k3s"}.get(node["role"])
    if wrong in look["services"]:
        yield (
            f"has the service {wrong}, and lies in k3s_{node['role']}s; put it back into the other group,"
            " or uninstall K3s there first"
        )


def _artifacts(node: Node) -> Iterator[str]:
    folder, version = (node["settings"].get(name) for name in ("k3s_artifact_dir", "k3s_version"))
    architecture, binary = FILES[node["facts"]["architecture"]]
    if not isinstance(folder, str) or not folder or not Path(folder).is_dir():
        return
    pins = node["settings"].get("k3s_checksums")
    pinned = pins.get(version) if isinstance(pins, Mapping) else None
    sums = [] if isinstance(pinned, Mapping) and architecture in pinned else [f"sha256sum-{architecture}.txt"]
    missing = [name for name in (binary, *sums) if not (Path(folder) / name).is_file()]
    if missing:
        yield (
            f"is {node['facts']['architecture']}, and k3s_artifact_dir {folder} has no {' and no '.join(missing)};"
            " put it there, from the release's own page"
        )


def _host(node: Node, defaults: Mapping[str, object], etcd: bool) -> Iterator[str]:
    answer = node["answer"]
    if answer.get("unreachable") or answer.get("failed"):
        yield f"cannot be used; {_unusable(answer)}"
        return
    manager, architecture = (node["facts"].get(name) for name in ("service_mgr", "architecture"))
    if manager not in SERVICE_MANAGERS:
        yield f"runs {manager}; use a host whose services systemd or OpenRC runs"
    if architecture in FILES:
        yield from _artifacts(node)
    else:
        yield f"K3s has no release for {architecture}; use one of {', '.join(FILES)}"
    name = node_name(node)
    if name and not NODE_NAME.fullmatch(name):
        yield f"{name} is no name for a node; rename the host, or write node-name into its k3s_node_config"
    if node["look"]:
        yield from _machine(node, defaults)
        yield from _k3s(node, etcd)


def _twins(nodes: Mapping[str, Node]) -> Iterator[Told]:
    machines: dict[tuple[str, str], list[str]] = {}
    names: dict[str, list[str]] = {}
    identities: dict[str, list[str]] = {}
    for host, node in nodes.items():
        look = node.get("look") or {}
        if identity := look.get("machine_id"):
            machines.setdefault((identity, f"{look['boot_id']} {node['facts'].get('nodename')}"), []).append(host)
            identities.setdefault(identity, []).append(host)
        if name := node_name(node):
            names.setdefault(name, []).append(host)
    same = [hosts for hosts in machines.values() if len(hosts) > 1]
    for hosts in same:
        yield from _of(hosts, "are one and the same machine; name it once in the inventory")
    for name, hosts in names.items():
        if len(hosts) > 1 and hosts not in same:
            yield from _of(
                hosts,
                f"all would be the node {name}; give each a host name of its own, or node-name in its k3s_node_config",
            )
    for hosts in identities.values():
        if len(hosts) > 1 and hosts not in same:
            # systemd makes the hardware addresses of flannel's interfaces from it.
            yield from _of(
                hosts,
                "have the same machine-id, as copies of one disk do, and their pods would not reach each other;"
                " empty /etc/machine-id on all but one, and boot them again",
            )


def _of(hosts: list[str], fault: str) -> Iterator[Told]:
    yield from ((host, fault) for host in hosts)


def host_faults(nodes: Mapping[str, Node], defaults: Mapping[str, object]) -> list[Told]:
    """Faults of those of the hosts that were asked.

    Args:
        nodes: What the filter preflight_nodes gives.
        defaults: The limits of hosts for which nobody has set them, in MB and seconds.
    """
    servers = [node for node in nodes.values() if node["role"] == "server"]
    external = any(node["settings"].get("k3s_datastore_endpoint") for node in servers)
    etcd = not external and (len(servers) > 1 or any(node["config"].get("cluster-init") for node in servers))
    asked = {name: node for name, node in nodes.items() if "answer" in node}
    faults = [(name, fault) for name, node in asked.items() for fault in _host(node, defaults, etcd)]
    return [*faults, *_twins(nodes)]
