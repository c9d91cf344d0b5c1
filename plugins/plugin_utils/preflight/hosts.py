"""What can be wrong with the hosts that were asked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible.module_utils import basic

from ..k3s_changes import change_faults, takeover_faults
from ..k3s_settings import flag_values
from ..k3s_versions import parse
from .nodes import Fault, Node, servers_of

# The oldest Python that this Ansible can use on a host.
PYTHON = getattr(basic, "_PY_MIN", (3, 9))
SERVICE_MANAGERS = ("systemd", "openrc")
# Architecture, as Ansible calls it → that of K3s' files, and the name of its binary: https://github.com/k3s-io/k3s/releases
FILES = {"x86_64": ("amd64", "k3s"), "aarch64": ("arm64", "k3s-arm64"), "armv7l": ("arm", "k3s-armhf")}
# Architecture → its number in the header of a program: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
MACHINES = {"x86_64": 62, "aarch64": 183, "armv7l": 40}
# RFC 1123, as Kubernetes names nodes: https://kubernetes.io/docs/concepts/architecture/nodes/#node-name-uniqueness
NODE_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

# https://docs.k3s.io/installation/requirements#networking
KUBELET_PORTS = {10250: "the kubelet"}
SERVER_PORTS = {6443: "the API server"}
ETCD_PORTS = {2379: "etcd", 2380: "etcd"}
INGRESS_PORTS = {80: "the customers' ingress", 443: "the customers' ingress"}

# Kernel and firmware keep a part of the memory for themselves.
KEPT = 1 / 8
# From v1.35 on a kubelet refuses to start on control groups of the first version: https://kep.k8s.io/5573
CGROUP2_SINCE = 1035
# systemd makes the hardware addresses of flannel's interfaces from the machine-id.
COPIES = (
    "have the same machine-id, as copies of one disk do, and their pods would not reach each other;"
    " empty /etc/machine-id on all but one, and boot them again"
)


def _node_name(node: Node) -> str | None:
    """The name by which the node will be known, where that is certain."""
    if node.config.get("with-node-id"):
        return None
    name = node.config.get("node-name") or node.facts.get("nodename")
    return str(name).lower() if name else None


def _unusable(node: Node) -> str:
    """Say why the facts of a host could not be gathered."""
    asked = node.variables.get("_preflight_python", {})
    found = re.search(r"Python (\d+)\.(\d+)", asked.get("stdout", "") + asked.get("stderr", ""))
    version = tuple(map(int, found.groups())) if found else PYTHON
    # A Python that is too old says nothing but where it finds an error of syntax.
    if version < PYTHON:
        fault = "its Python is {}.{}, and Ansible here needs {}.{} or newer there; install a newer one, or name it in"
        return f"{fault.format(*version, *PYTHON)} ansible_python_interpreter"
    # What the host itself said stands in the module's own result, and says more than the summary.
    answer = node.answer or {}
    results = answer.get("failed_modules", {}).values()
    errors = [result.get("module_stderr", "").strip() or result.get("msg", "") for result in results]
    return f"cannot be used; {'; '.join(errors) or answer.get('msg', 'it did not answer')}"


def _machine(node: Node, limits: Mapping[str, int]) -> Iterator[str]:
    found, role = node.host_facts, node.role or "agent"
    version = node.settings.get("k3s_version")
    least = limits[f"preflight_{role}_memory"]
    if found["memory"] < least * (1 - KEPT):
        yield (
            f"has {found['memory']} MB of memory, and K3s wants {least} for its role; use a larger host,"
            f" or lower preflight_{role}_memory"
        )
    if found["disk"] < limits["preflight_disk"] and found["version"] != version:
        yield (
            f"has {found['disk']} MB free at {found['disk_path']}, a release wants {limits['preflight_disk']};"
            " make room, or lower preflight_disk"
        )
    if abs(found["clock"]) > limits["preflight_clock"]:
        yield (
            f"the clock is {abs(found['clock']):.0f} s {'ahead of' if found['clock'] > 0 else 'behind'} the"
            " controller's; set both by NTP (certificates are valid from a time on), or raise preflight_clock"
        )
    release = parse(version)
    allowed = "fail-cgroupv1=false" in flag_values(node.config.get("kubelet-arg"))
    if found["cgroup"] == 1 and not allowed and release and release.minor >= CGROUP2_SINCE:
        yield (
            "has control groups of version 1, with which no kubelet from v1.35 on starts; boot it with"
            " systemd.unified_cgroup_hierarchy=1, or put fail-cgroupv1=false into k3s_config.kubelet-arg"
        )
    # A Raspberry Pi's command line and OpenRC's service for them are the business of the role prepare.
    if not found["cgroup_memory"] and not found["cmdline"] and node.facts.get("service_mgr") == "systemd":
        yield "the control groups cannot limit memory; boot it with cgroup_enable=memory"


def _k3s(node: Node, etcd: bool) -> Iterator[str]:
    is_server, services = node.role == "server", node.host_facts["services"]
    ingress = not {"traefik", "servicelb"} & set(flag_values(node.config.get("disable")))
    needed = KUBELET_PORTS | (INGRESS_PORTS if ingress else {}) | (SERVER_PORTS if is_server else {})
    needed |= ETCD_PORTS if is_server and etcd else {}
    for taken in node.host_facts["ports"]:
        # Nobody but root sees whose a port is; where K3s is installed it is most likely its own.
        if taken["port"] in needed and not taken["k3s"] and (taken["process"] or not services):
            yield (
                f"port {taken['port']} is taken by {taken['process'] or 'a process that cannot be seen'}, and"
                f" {needed[taken['port']]} needs it; stop that, or move it to another port"
            )
    wrong = {"server": "k3s-agent", "agent": "k3s"}.get(node.role)
    if wrong in services:
        yield (
            f"has the service {wrong}, and lies in k3s_{node.role}s; put it back into the other group,"
            " or uninstall K3s there first"
        )


def _artifacts(node: Node) -> Iterator[str]:
    folder, pins = (node.settings.get(name) for name in ("k3s_artifact_dir", "k3s_checksums"))
    architecture, binary = FILES[node.facts["architecture"]]
    if not isinstance(folder, str) or not folder or not Path(folder).is_dir():
        return
    pinned = pins.get(node.settings.get("k3s_version")) if isinstance(pins, Mapping) else None
    sums = [] if isinstance(pinned, Mapping) and architecture in pinned else [f"sha256sum-{architecture}.txt"]
    missing = [name for name in (binary, *sums) if not (Path(folder) / name).is_file()]
    if missing:
        yield (
            f"is {node.facts['architecture']}, and k3s_artifact_dir {folder} has no {' and no '.join(missing)};"
            " put it there, from the release's own page"
        )
    if binary not in missing:
        yield from _program(Path(folder) / binary, node.facts["architecture"])


def _program(path: Path, architecture: str) -> Iterator[str]:
    """Say what keeps a file on the controller from being a program for hosts of an architecture."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        yield f"k3s_artifact_dir: {path} cannot be read ({error.strerror}); make it readable for the user who runs this"
        return
    is_elf, machine = head.startswith(b"\x7fELF"), int.from_bytes(head[18:], "little")
    if is_elf and machine != MACHINES[architecture]:
        others = {number: name for name, number in MACHINES.items()}
        fault = f"is a program for {others.get(machine, 'another architecture')}, and the host is {architecture}"
        yield f"k3s_artifact_dir: {path} {fault}; put the release's own file for {architecture} there"
    elif not is_elf and not head.startswith(b"#!"):
        yield f"k3s_artifact_dir: {path} is no program for Linux; put the release's own file for {architecture} there"


def _host(node: Node, defaults: Mapping[str, object], etcd: bool) -> Iterator[str]:
    if node.answer and (node.answer.get("unreachable") or node.answer.get("failed")):
        yield _unusable(node)
        return
    manager, architecture = (node.facts.get(name) for name in ("service_mgr", "architecture"))
    if manager not in SERVICE_MANAGERS:
        yield f"runs {manager}; use a host whose services systemd or OpenRC runs"
    if architecture in FILES:
        yield from _artifacts(node)
    else:
        yield f"K3s has no release for {architecture}; use one of {', '.join(FILES)}"
    name = _node_name(node)
    if name and not NODE_NAME.fullmatch(name):
        yield f"{name} is no name for a node; rename the host, or write node-name into its k3s_node_config"
    if "k3s" in node.host_facts:
        found = node.host_facts["k3s"]
        yield from takeover_faults(node.settings, found, node.host_facts["version"])
        yield from change_faults(node.settings, node.role, found, str(node.facts.get("nodename") or ""))
    if node.host_facts:
        # The command line gives texts.
        limits = {name: int(str(node.variables.get(name, default))) for name, default in defaults.items()}
        yield from _machine(node, limits)
        yield from _k3s(node, etcd)


def _shared(nodes: Mapping[str, Node]) -> Iterator[Fault]:
    """Faults of what no two hosts may share."""
    machines, names, machine_ids = (defaultdict[object, list[str]](list) for _ in range(3))
    for host, node in nodes.items():
        if machine_id := node.host_facts.get("machine_id"):
            machines[machine_id, node.host_facts["boot_id"], node.facts.get("nodename")].append(host)
            machine_ids[machine_id].append(host)
        if name := _node_name(node):
            names[name].append(host)
    same = [hosts for hosts in machines.values() if len(hosts) > 1]
    faults = [(hosts, "are one and the same machine; name it once in the inventory") for hosts in same]
    faults += [
        (hosts, f"all would be the node {name}; give each a host name of its own, or node-name in its k3s_node_config")
        for name, hosts in names.items()
        if hosts not in same
    ]
    faults += [(hosts, COPIES) for hosts in machine_ids.values() if hosts not in same]
    for hosts, fault in faults:
        if len(hosts) > 1:
            yield from ((host, fault) for host in hosts)


def host_faults(nodes: Mapping[str, Node], defaults: Mapping[str, object]) -> Iterator[Fault]:
    """Faults of the hosts that were asked; ``defaults`` are the limits of those for which nobody has set them."""
    servers = servers_of(nodes).values()
    external = any(node.settings.get("k3s_datastore_endpoint") for node in servers)
    etcd = not external and (len(servers) > 1 or any(node.config.get("cluster-init") for node in servers))
    for name, node in nodes.items():
        if node.answer is not None:
            yield from ((name, fault) for fault in _host(node, defaults, etcd))
    yield from _shared(nodes)
