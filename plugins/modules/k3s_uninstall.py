#!/usr/bin/python
"""Take K3s off a host: what it runs, what it has set up there, its files; and nothing that is not its own."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: k3s_uninstall
short_description: Take K3s off a host, and look whether all of it is gone
description:
  - Does what the scripts k3s-killall.sh and k3s-uninstall.sh of K3s' own installer do, however K3s was installed.
  - Removes in this order what is there of K3s' service, its processes and those of its pods, mounts, network
    namespaces, interfaces, rules of packet filters, routes, control groups and files.
  - What other Kubernetes distributions have under the same names is touched only on a host where K3s has run.
  - Folders that others use too go only when they are empty. What somebody else has mounted below K3s' folders stays.
  - Looks again at the end, and fails if anything is left.
  - In check mode it only lists.
options:
  networks:
    description: The networks of the cluster's pods. Routes to parts of them by way of other nodes are K3s'.
    type: list
    elements: str
    default: []
"""
RETURN = r"""
removed: {type: list, elements: str, returned: always, description: "What was removed, or would be in check mode."}
left: {type: list, elements: str, returned: always, description: "What could not be removed, and why if that is known."}
kept: {type: list, elements: str, returned: always, description: Mounts of others that stay below K3s' folders.}
"""

SERVICES = ("k3s", "k3s-agent")
# Its kin has the same folders, sockets and names, but for this one.
RKE2 = ("/var/lib/rancher/rke2/agent", "/var/lib/rancher/rke2/server")
DATA = "/var/lib/rancher/k3s"
KUBELET = "/var/lib/kubelet"
CONTAINERD = "/run/containerd"
PLUGINS = "/usr/libexec/kubernetes/kubelet-plugins"
# What only K3s' own start makes, so that a host with other Kubernetes is told from one where K3s has run. They go last.
SIGNS = ("/etc/rancher/node/password", "/run/k3s")

INTERFACES = ("cni0", "flannel.1", "flannel-v6.1", "flannel-wg", "flannel-wg-v6", "kube-ipvs0")
# Mounts below a folder of K3s that are not its own, such as a disk for volumes of pods, stay.
MOUNTS = ("/run/k3s/", f"{DATA}/agent/containerd/", f"{KUBELET}/pods/", f"{KUBELET}/plugins/")
NAMESPACES = "run/netns"
CGROUPS = ("kubepods", "kubepods.slice")

# A rule's first words are its table's line, counters or none.
CHAIN = re.compile(r"^:(\S+)")
RULE = re.compile(r"^(?:\[\d+:\d+\] )?-A (\S+)")
TARGET = re.compile(r" -[jg] (\S+)")
COMMENT = re.compile(r'--comment (?:"((?:[^"\\]|\\.)*)"|(\S+))')
# The network for whose pod a rule is: https://www.cni.dev/plugins/current/meta/portmap/
CNI_NETWORK = re.compile(r'name: \\?"([^"\\]+)')
NETWORK = "cbr0"

FILES = (
    *(f"/etc/systemd/system/{service}.service{end}" for service in SERVICES for end in ("", ".env")),
    *(f"/etc/systemd/system/multi-user.target.wants/{service}.service" for service in SERVICES),
    *(f"/etc/init.d/{service}" for service in SERVICES),
    *(
        f"/etc/rancher/k3s/{name}"
        for name in (
            "config.yaml", "config.yaml.d/secrets.yaml", "registries.yaml", "token", "k3s.yaml", "k3s.env",
            "datastore-cafile.pem", "datastore-certfile.pem", "datastore-keyfile.pem",
        )
    ),
    "/run/k3s-started-from",
    "/usr/local/bin/k3s",
    "/usr/local/bin/k3s-next",
)  # fmt: skip
PATTERNS = tuple(f"var/log/{service}.log*" for service in SERVICES)
# Made by K3s' own installer, or by a person: looked into first.
LINKS = ("/usr/local/bin/kubectl", "/usr/local/bin/crictl", "/usr/local/bin/ctr")
SCRIPTS = {
    "/usr/local/bin/k3s-killall.sh": "rancher/k3s",
    "/usr/local/bin/k3s-uninstall.sh": "rancher/k3s",
    "/usr/local/bin/k3s-agent-uninstall.sh": "rancher/k3s",
    "/etc/logrotate.d/k3s": "/var/log/k3s",
    "/etc/logrotate.d/k3s-agent": "/var/log/k3s",
}
# Only where K3s has run: other Kubernetes distributions have them too.
TREES = (
    KUBELET, "/var/log/pods", "/var/log/containers", "/run/flannel", "/var/lib/cni/flannel",
    f"/var/lib/cni/networks/{NETWORK}",
)  # fmt: skip
# What kubectl has learned from servers; of K3s' own when root has called it here, as this project does.
KUBECTL = "/root/.kube/cache"
LEARNED = "127.0.0.1_6443"
RESULTS = ("/var/lib/cni/results", "/var/lib/cni/cache/results")
SHARED = (
    "/etc/rancher/k3s/config.yaml.d", "/etc/rancher/k3s", "/etc/rancher/node", "/etc/rancher", "/var/lib/rancher",
    "/var/lib/cni/networks", "/var/lib/cni/results", "/var/lib/cni/cache/results", "/var/lib/cni/cache", "/var/lib/cni",
    "/root/.kube/cache/discovery", "/root/.kube/cache", "/root/.kube", "/run/netns",
    f"{CONTAINERD}/runc/k8s.io", f"{CONTAINERD}/runc", f"{CONTAINERD}/s", CONTAINERD,
    f"{PLUGINS}/volume/exec", f"{PLUGINS}/volume", PLUGINS, "/usr/libexec/kubernetes",
)  # fmt: skip

SECONDS = 10.0


class Trace(NamedTuple):
    """Something of K3s on the host."""

    word: str
    remove: Callable[[], object]


class Process(NamedTuple):
    """A process: its parent, its words, its control groups, and whether it is of the host or of a container."""

    parent: int
    words: list[str]
    groups: list[str]
    of_host: bool = True


def run(*command: str, text: str = "", seconds: float | None = None) -> str:
    """What a program prints; nothing if it is not there.

    Raises:
        OSError: when it fails, with what it says, or takes longer than that.
    """
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise OSError(f"{' '.join(command[:3])}: not within {seconds} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"it ended with status {done.returncode}"
        raise OSError(f"{' '.join(command[:3])}: {said}")
    return done.stdout.decode(errors="replace")


def asked(*command: str) -> list[str]:
    """The lines a program prints; none if it fails."""
    try:
        return run(*command).splitlines()
    except OSError:
        return []


def read(path: Path) -> str:
    """Text of a file, empty if there is none that can be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def mounts(table: str) -> list[str]:
    """Mount points of a ``mountinfo``, each as often as something is mounted there, the innermost first."""
    points = [
        re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in table.splitlines()
    ]
    return sorted(points, key=lambda point: point.count("/"), reverse=True)


def own_processes(processes: dict[int, Process], ran: bool) -> list[int]:
    """Those that K3s has started: in its service's control group, its shims (not another containerd's), its pods'.

    Those of a K3s that runs in somebody's container are not this host's.
    """

    def is_root(process: Process) -> bool:
        if ran and any(group.split("/")[1] in CGROUPS for group in process.groups):
            return True
        if not process.of_host:
            return False
        if any(f"{service}.service" in group.split("/") for group in process.groups for service in SERVICES):
            return True
        is_shim = bool(process.words) and Path(process.words[0]).name.startswith("containerd-shim")
        return is_shim and any(word.startswith((f"{DATA}/", "/run/k3s/")) for word in process.words)

    own = {number for number, process in processes.items() if is_root(process)}
    while True:
        more = {number for number, process in processes.items() if process.parent in own} - own
        if not more:
            return sorted(own)
        own |= more


def without_own(saved: str) -> str:
    """What ``iptables-save`` gives, without K3s' chains and rules; only the tables that had any.

    Rules of others stay, also if their comment only mentions K3s' words. Chains of the CNI plugins are shared: where a
    rule in them is for another network than K3s', only those that name K3s' network go.
    """
    tables = re.findall(r"^\*.*?^COMMIT$", saved, re.MULTILINE | re.DOTALL)
    kept = []
    for table in tables:
        lines = table.splitlines()
        others = _chains_of_other_networks(lines)
        rest = [line for line in lines if not _is_own(line, others)]
        if rest != lines:
            kept += rest
    return "".join(f"{line}\n" for line in kept)


def _chains_of_other_networks(lines: list[str]) -> set[str]:
    """Chains of the CNI plugins that hold rules for other networks than K3s', and those that these lead to."""
    rules = [line for line in lines if RULE.match(line) and NETWORK not in CNI_NETWORK.findall(line)]
    named = [chain for line in rules if CNI_NETWORK.search(line) for chain in _chains(line)]
    found: set[str] = set()
    fresh = {chain for chain in named if chain.startswith("CNI-")}
    while fresh:
        found |= fresh
        reached = {chain for line in rules if _chains(line)[0] in fresh for chain in _chains(line)[1:]}
        fresh = {chain for chain in reached if chain.startswith("CNI-")} - found
    return found


def _chains(line: str) -> list[str]:
    """The chain that a line makes or a rule is in, and the one that the rule leads to."""
    chain, target = CHAIN.match(line) or RULE.match(line), TARGET.search(line)
    return [match.group(1) for match in (chain, target) if match] if chain else []


def _is_own(line: str, others: set[str]) -> bool:
    chains = _chains(line)
    if any(chain.startswith(("KUBE-", "FLANNEL-")) for chain in chains):
        return True
    comment = COMMENT.search(line)
    words = (comment.group(1) or comment.group(2)) if comment else ""
    if words.startswith(("KUBE-ROUTER rule ", "flanneld ")):
        return True
    # A rule in a chain of the plugins goes with the chain, one that leads there from elsewhere with that.
    plugins = [chain for chain in chains if chain.startswith("CNI-")]
    return bool(plugins) and (NETWORK in CNI_NETWORK.findall(line) or plugins[0] not in others)


def own_routes(lines: Iterable[str], networks: Iterable[str]) -> list[str]:
    """Destinations of routes to other nodes' pods: by way of a node, to a part of one of the networks."""
    pods = [ip_network(network, strict=False) for network in networks]
    found = []
    for line in lines:
        words = line.split()
        if "via" not in words or not re.match(r"[0-9a-f.:]+/\d+$", words[0]):
            continue
        to = ip_network(words[0])
        if any(to.version == each.version and to != each and to.subnet_of(each) for each in pods):  # type: ignore[arg-type]
            found.append(words[0])
    return found


class Host:
    """A host whose files are under ``root``, and what is there of K3s."""

    def __init__(self, root: Path, networks: list[str]) -> None:
        """Look whether K3s has ever run."""
        self.root = root
        self.networks = networks
        self.ran = any(os.path.lexists(self.path(sign)) for sign in SIGNS)
        self.systemd = self.path("/run/systemd/system").is_dir()

    def path(self, name: str) -> Path:
        """Where a file of the host lies."""
        return self.root / name.lstrip("/")

    def is_kin(self) -> bool:
        """Whether this is a host of RKE2."""
        return any(self.path(each).exists() for each in RKE2)

    def mounts(self) -> list[str]:
        """Mount points, the innermost first."""
        return mounts(read(self.path("/proc/self/mountinfo")))

    # What runs.

    def services(self) -> Iterator[Trace]:
        """Services that run or start with the host."""
        for service in SERVICES:
            unit = f"{service}.service"
            if self.systemd:
                shown = asked("systemctl", "show", unit, "--property=ActiveState,UnitFileState")
                if {"UnitFileState=enabled", "UnitFileState=enabled-runtime"} & set(shown) or not (
                    {"ActiveState=inactive", "ActiveState=failed"} & set(shown)
                ):
                    yield Trace(f"service {service}", partial(self._stop_unit, unit))
            elif self.path(f"/etc/init.d/{service}").exists():
                runs = "started" in "".join(asked("rc-service", service, "status"))
                if runs or any(os.path.lexists(level / service) for level in self.path("/etc/runlevels").glob("*")):
                    yield Trace(f"service {service}", partial(self._stop_openrc, service))

    @staticmethod
    def _stop_unit(unit: str) -> None:
        run("systemctl", "stop", unit)
        # A unit whose file is gone cannot be disabled; its link goes with the files.
        asked("systemctl", "disable", unit)

    @staticmethod
    def _stop_openrc(service: str) -> None:
        run("rc-service", "--ifstarted", service, "stop")
        run("rc-update", "--all", "delete", service)

    def running(self) -> dict[int, Process]:
        """Number → process, of all on the host but this one and those it runs under."""
        found = {}
        for folder in self.path("/proc").glob("[0-9]*"):
            state = read(folder / "stat").rpartition(")")[2].split()
            if state and state[0] != "Z":
                words = read(folder / "cmdline").split("\0")[:-1]
                groups = [line.split(":", 2)[2] for line in read(folder / "cgroup").splitlines()]
                of_host = _inode(folder / "ns/pid") == _inode(self.path("/proc/self/ns/pid"))
                found[int(folder.name)] = Process(int(state[1]), words, groups, of_host)
        number = os.getpid()
        while number in found:
            number = found.pop(number).parent
        return found

    def processes(self) -> Iterator[Trace]:
        """Processes of K3s and of its pods."""
        running = self.running()
        for number in own_processes(running, self.ran):
            words = running[number].words
            name = Path(words[0]).name if words else "process"
            yield Trace(f"process {number} ({name})", partial(_kill, number))

    # What is set up.

    def own_mounts(self) -> Iterator[Trace]:
        """Mounts that K3s, its containerd and its kubelet have made."""
        folders = tuple(self._real(each) for each in MOUNTS if self.ran or not each.startswith(KUBELET))
        for point in self.mounts():
            if point.startswith(folders):
                yield Trace(f"mount {point}", partial(_unmount, point))

    def _real(self, folder: str) -> str:
        """A folder, with a slash behind it, as the kernel names what is mounted below."""
        return f"/{Path(os.path.realpath(self.path(folder))).relative_to(os.path.realpath(self.root))}/"

    def network_namespaces(self) -> Iterator[Trace]:
        """Network namespaces of pods; those in which somebody else's processes are stay."""
        if not self.ran:
            return
        running = self.running()
        others = set(running) - set(own_processes(running, self.ran))
        used = {_inode(self.path(f"/proc/{number}/ns/net")) for number in others}
        for file in sorted(self.path(NAMESPACES).glob("cni-*")):
            if _inode(file) not in used:
                yield Trace(f"network namespace {file.name}", partial(_remove_namespace, file))

    def interfaces(self) -> Iterator[Trace]:
        """The interfaces of the pod network, the bridge's ends of pods first."""
        folder = self.path("/sys/class/net")
        if not self.ran:
            return
        ends = sorted(each.parent.name for each in folder.glob("veth*/master") if each.resolve().name == "cni0")
        for name in [*ends, *(name for name in INTERFACES if (folder / name).exists())]:
            yield Trace(f"interface {name}", partial(self._remove_interface, name))

    def _remove_interface(self, name: str) -> None:
        # Those of a namespace that has gone go by themselves.
        if self.path(f"/sys/class/net/{name}").exists():
            run("ip", "link", "delete", name)

    def packet_filters(self) -> Iterator[Trace]:
        """Rules, chains and sets of kube-proxy, the network policies, flannel and the CNI plugins."""
        if not self.ran:
            return
        seen = set()
        for family, names in (("ip", "ip_tables_names"), ("ip6", "ip6_tables_names")):
            for kind in ("", "-nft", "-legacy"):
                tool = f"{family}tables{kind}"
                program = (family, os.path.realpath(shutil.which(f"{tool}-save") or ""))
                # Where nothing is legacy, asking would load its modules.
                if program in seen or (kind == "-legacy" and not read(self.path(f"/proc/net/{names}"))):
                    continue
                seen.add(program)
                rest = without_own("\n".join(asked(f"{tool}-save", "-c")))
                for table in re.findall(r"^\*(\S+)", rest, re.MULTILINE):
                    yield Trace(f"rules of {tool} in {table}", partial(_filter, tool))
        for line in asked("nft", "list", "tables"):
            words = line.split()
            if words[-1:] == ["kube-proxy"]:
                yield Trace(f"{line} of nft", partial(run, "nft", "delete", *words))
        for name in asked("ipset", "list", "-n"):
            if name.startswith(("KUBE-", "inet6:KUBE-")):
                yield Trace(f"ipset {name}", partial(run, "ipset", "destroy", name))

    def routes(self) -> Iterator[Trace]:
        """Routes to other nodes' pods."""
        if not self.ran:
            return
        for family in ("-4", "-6"):
            for to in own_routes(asked("ip", family, "route", "show"), self.networks):
                yield Trace(f"route {to}", partial(run, "ip", family, "route", "delete", to))

    def cgroups(self) -> Iterator[Trace]:
        """Control groups of pods, unless somebody else's processes are in them."""
        top = self.path("/sys/fs/cgroup")
        if not self.ran:
            return
        own = {str(number) for number in own_processes(self.running(), self.ran)}
        for name in CGROUPS:
            for group in sorted([*top.glob(name), *top.glob(f"*/{name}")]):
                inside = {number for file in group.glob("**/cgroup.procs") for number in read(file).split()}
                if inside <= own:
                    yield Trace(f"control group {group}", partial(_remove_group, group, self.systemd))

    # What lies there.

    def files(self) -> Iterator[Trace]:
        """Files and folders that are K3s' own."""
        for name in [*FILES, *(name for name in LINKS if self._leads_to_k3s(name))]:
            if os.path.lexists(self.path(name)):
                yield self._file(name)
        for name, text in SCRIPTS.items():
            if text in read(self.path(name)):
                yield self._file(name)
        for pattern in PATTERNS:
            for path in sorted(self.root.glob(pattern)):
                yield self._file(f"/{path.relative_to(self.root)}")
        if self.ran:
            yield from self._network_results()
        yield from self._run_states()
        for name in (DATA, *((*TREES, *self._learned()) if self.ran else ())):
            yield from self._tree(name)

    def _network_results(self) -> Iterator[Trace]:
        """What the CNI plugins have noted of pods in K3s' network, of their loopback interfaces too."""
        for folder in RESULTS:
            names = [each.name for each in sorted(self.path(folder).glob("*"))]
            pods = {name[len(NETWORK) + 1 :].rpartition("-")[0] for name in names if name.startswith(f"{NETWORK}-")}
            for name in names:
                if any(f"-{pod}-" in name for pod in pods):
                    yield self._file(f"{folder}/{name}")

    def _run_states(self) -> Iterator[Trace]:
        """What shims and runc keep of K3s' containers in the folders of all containerds, named by K3s' own lists."""
        for folder in sorted(self.path("/run/k3s/containerd/io.containerd.runtime.v2.task").glob("*/*")):
            container = f"{folder.parent.name}/{folder.name}"
            socket = hashlib.sha256(f"/run/k3s/containerd/containerd.sock/{container}".encode()).hexdigest()
            if self.path(f"{CONTAINERD}/s/{socket}").exists():
                yield self._file(f"{CONTAINERD}/s/{socket}")
            yield from self._tree(f"{CONTAINERD}/runc/{container}")

    def _learned(self) -> list[str]:
        """What kubectl keeps of K3s' server; its answers too, unless there are some of other servers among them."""
        servers = [each.name for each in self.path(f"{KUBECTL}/discovery").glob("*")]
        answers = [f"{KUBECTL}/http"] if servers == [LEARNED] else []
        return [*answers, f"{KUBECTL}/discovery/{LEARNED}"]

    def signs(self) -> Iterator[Trace]:
        """What shows that K3s has run here."""
        for name in SIGNS:
            if self.path(name).is_dir():
                yield from self._tree(name)
            elif os.path.lexists(self.path(name)):
                yield self._file(name)

    def shared(self) -> Iterator[Trace]:
        """Folders that others use too, where nothing is left in them."""
        points = self.mounts()
        gone: set[Path] = set()
        for name in SHARED:
            path = self.path(name)
            if path.is_dir() and not path.is_symlink() and name not in points and set(path.iterdir()) <= gone:
                gone.add(path)
                yield Trace(f"folder {name}", path.rmdir)

    def _file(self, name: str) -> Trace:
        return Trace(f"file {name}", self.path(name).unlink)

    def _leads_to_k3s(self, name: str) -> bool:
        path = self.path(name)
        return path.is_symlink() and os.readlink(path) in ("k3s", "./k3s", "/usr/local/bin/k3s")

    def _tree(self, name: str) -> Iterator[Trace]:
        if next(self.removable(name), None):
            yield Trace(f"folder {name}", partial(self._remove_tree, name))

    def _remove_tree(self, name: str) -> None:
        for path in self.removable(name):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()

    def removable(self, name: str) -> Iterator[Path]:
        """What of a folder can go, the innermost first.

        Nothing that is mounted below, and no folder on the way to it. A folder that is a mount point itself, or a link,
        is somebody's way to have it elsewhere: it is emptied and stays.
        """
        path = self.path(name)
        top = Path(os.path.realpath(path))
        if not top.is_dir():
            return
        points = {str(Path(os.path.realpath(self.root), point.lstrip("/"))) for point in self.mounts()}
        stays = path.is_symlink() or str(top) in points
        yield from _below(top, points, stays)

    def kept(self) -> list[str]:
        """Mounts of others below K3s' folders."""
        folders = tuple(self._real(folder) for folder in (DATA, KUBELET)[: 2 if self.ran else 1])
        own = {trace.word for trace in self.own_mounts()}
        return sorted(
            f"mount {each}" for each in self.mounts() if each.startswith(folders) and f"mount {each}" not in own
        )


def _below(folder: Path, points: set[str], stays: bool) -> Iterator[Path]:
    """What of a folder can go, and the folder itself if all of it can and it is not to stay."""
    whole = not stays
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        path = folder / entry.name
        if str(path) in points or (stays and entry.name == "lost+found"):
            whole = False
        elif entry.is_dir(follow_symlinks=False):
            seen: Path | None = None
            for seen in _below(path, points, stays=False):
                yield seen
            whole = whole and seen == path
        else:
            yield path
    if whole:
        yield folder


def _kill(number: int) -> None:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return
    _wait_for(lambda: read(Path(f"/proc/{number}/stat")).rpartition(")")[2].split()[:1] in ([], ["Z"]))


def _wait_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not is_so() and time.monotonic() < until:
        time.sleep(0.05)


def _unmount(point: str) -> None:
    # What has just ended may hold on to it for a moment; it may also have gone with that.
    until = time.monotonic() + SECONDS
    while point in mounts(read(Path("/proc/self/mountinfo"))):
        try:
            run("umount", point, seconds=SECONDS)
            return
        except OSError:
            if time.monotonic() > until:
                # The server of a network file system may not answer any more.
                run("umount", "-f", point, seconds=SECONDS)
                return
            time.sleep(0.2)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _remove_namespace(file: Path) -> None:
    _unmount(str(file))
    try:
        file.unlink()
    except FileNotFoundError:
        return


def _filter(tool: str) -> None:
    """Put back the tables that hold rules of K3s without these; other tables are not touched."""
    rest = without_own(run(f"{tool}-save", "-c"))
    if rest:
        run(f"{tool}-restore", "--counters", "--wait=10", text=rest)


def _remove_group(group: Path, systemd: bool) -> None:
    if systemd and group.name.endswith(".slice"):
        run("systemctl", "stop", group.name)
    for folder, _, _ in os.walk(group, topdown=False):
        # The kernel lets go of a group some time after its last process.
        _wait_for(partial(_is_gone, Path(folder)))


def _is_gone(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def traces(host: Host) -> list[Callable[[], Iterator[Trace]]]:
    """The ways to look, in the order in which what they find is to go."""
    return [
        host.services,
        host.processes,
        host.own_mounts,
        host.network_namespaces,
        host.interfaces,
        host.packet_filters,
        host.routes,
        host.cgroups,
        host.files,
    ]


def found(host: Host) -> list[str]:
    """All that is there of K3s."""
    words = [trace.word for look in [*traces(host), host.signs] for trace in look()]
    return list(dict.fromkeys(words))


def remove(host: Host) -> dict[str, str]:
    """Remove all that is there of K3s; give what went wrong, by what it was with."""
    faults: dict[str, str] = {}

    def each(look: Callable[[], Iterator[Trace]]) -> None:
        for trace in list(look()):
            faults.pop(trace.word, None)
            try:
                trace.remove()
            except OSError as error:
                faults[trace.word] = str(error)

    for look in traces(host):
        each(look)
        # What was on its way while the first were removed.
        each(look)
    if host.systemd:
        asked("systemctl", "daemon-reload")
        asked("systemctl", "reset-failed", *(f"{service}.service" for service in SERVICES))
    # Without the signs the next run could not tell the rest from another Kubernetes'.
    if not any(True for look in traces(host) for _ in look()):
        each(host.signs)
        each(host.shared)
    return faults


def main() -> None:
    """Answer Ansible."""
    module = AnsibleModule(
        argument_spec={"networks": {"type": "list", "elements": "str", "default": []}},
        supports_check_mode=True,
    )
    # K3s brings tools that the host may lack.
    brought = sorted(str(each) for each in Path(DATA, "data").glob("*/bin"))
    brought += [f"{each}/aux" for each in brought]
    os.environ["PATH"] = os.pathsep.join(
        [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin", *brought]
    )
    host = Host(Path("/"), module.params["networks"])
    if host.is_kin():
        module.fail_json(
            msg="Nothing was touched: this host has RKE2 (/var/lib/rancher/rke2), whose processes, mounts and files "
            "cannot be told from those of K3s. Take the host out of the inventory."
        )
    try:
        before, kept = found(host), host.kept()
        faults = remove(host) if before and not module.check_mode else {}
        left = found(host) if before and not module.check_mode else []
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"The host cannot be looked at: {error}")
    result: dict[str, Any] = {
        "changed": before != left if not module.check_mode else bool(before),
        "removed": [word for word in before if word not in left],
        "left": [f"{word} ({faults[word]})" if word in faults else word for word in left],
        "kept": kept,
        "diff": {"before": "".join(f"{word}\n" for word in before), "after": "".join(f"{word}\n" for word in left)},
    }
    if left:
        module.fail_json(msg=f"Of K3s there is left on the host: {'; '.join(result['left'])}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
