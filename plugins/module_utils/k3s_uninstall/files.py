"""Files and folders of K3s on a host. What other Kubernetes have under the same names goes only where K3s has run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from .host import DATA, KUBELET, MARKERS, POD_NETWORK, SERVICES, Host, Leftover, read
from .mounts import mount_points

CONTAINERD = "/run/containerd"
PLUGINS = "/usr/libexec/kubernetes/kubelet-plugins"
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
# Made by K3s' own installer, or by a person: removed only if they lead to K3s, or have this text in them.
LINKS = ("/usr/local/bin/kubectl", "/usr/local/bin/crictl", "/usr/local/bin/ctr")
SCRIPTS = {
    "rancher/k3s": [f"/usr/local/bin/k3s-{name}.sh" for name in ("killall", "uninstall", "agent-uninstall")],
    "/var/log/k3s": [f"/etc/logrotate.d/{service}" for service in SERVICES],
}
# Only where K3s has run.
FOLDERS = (
    KUBELET, "/var/log/pods", "/var/log/containers", "/run/flannel", "/var/lib/cni/flannel",
    f"/var/lib/cni/networks/{POD_NETWORK}",
)  # fmt: skip
CNI_RESULTS = ("/var/lib/cni/results", "/var/lib/cni/cache/results")
# What kubectl has learned from servers; of K3s' own when root has called it here, as this project does.
KUBECTL = "/root/.kube/cache"
OWN_SERVER = "127.0.0.1_6443"
SHARED = (
    "/etc/rancher/k3s/config.yaml.d", "/etc/rancher/k3s", "/etc/rancher/node", "/etc/rancher", "/var/lib/rancher",
    "/var/lib/cni/networks", *CNI_RESULTS, "/var/lib/cni/cache", "/var/lib/cni",
    f"{KUBECTL}/discovery", KUBECTL, "/root/.kube", "/run/netns",
    f"{CONTAINERD}/runc/k8s.io", f"{CONTAINERD}/runc", f"{CONTAINERD}/s", CONTAINERD,
    f"{PLUGINS}/volume/exec", f"{PLUGINS}/volume", PLUGINS, "/usr/libexec/kubernetes",
)  # fmt: skip


def files(host: Host) -> Iterator[Leftover]:
    """Files and folders that are K3s' own."""
    logs = (log for service in SERVICES for log in sorted(host.path("/var/log").glob(f"{service}.log*")))
    yield from _each(host, FILES)
    yield from _each(host, (name for name in LINKS if _leads_to_k3s(host.path(name))))
    yield from _each(host, (name for text, names in SCRIPTS.items() for name in names if text in read(host.path(name))))
    yield from _each(host, (f"/var/log/{log.name}" for log in logs))
    if host.has_run_k3s:
        yield from _each(host, _results_of_pods(host))
    yield from _each(host, _states_of_containers(host))
    folders = [DATA, *([*FOLDERS, *_learned_by_kubectl(host)] if host.has_run_k3s else [])]
    yield from _each(host, (folder for folder in folders if host.path(folder).is_dir()))


def markers(host: Host) -> Iterator[Leftover]:
    """What shows that K3s has run here."""
    return _each(host, MARKERS)


def shared_folders(host: Host) -> Iterator[Leftover]:
    """Folders that others use too, where nothing is left in them."""
    points = mount_points(host.root)
    empty: set[Path] = set()
    for name in SHARED:
        path = host.path(name)
        if path.is_dir() and not path.is_symlink() and name not in points and set(path.iterdir()) <= empty:
            empty.add(path)
            yield Leftover(f"folder {name}", path.rmdir)


def _each(host: Host, names: Iterable[str]) -> Iterator[Leftover]:
    """Those of the files and folders that exist and can go."""
    for name in names:
        path = host.path(name)
        if path.is_dir():
            if next(_removable(host, path), None):
                yield Leftover(f"folder {name}", partial(_remove_folder, host, path))
        elif os.path.lexists(path):
            yield Leftover(f"file {name}", path.unlink)


def _remove_folder(host: Host, folder: Path) -> None:
    for path in reversed(list(_removable(host, folder))):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def _removable(host: Host, folder: Path) -> Iterator[Path]:
    """What of a folder can go, the outermost first.

    Nothing that is mounted below, and no folder on the way to it. A folder that is a mount point itself, or a link, is
    somebody's way to have it elsewhere: it is emptied and stays.
    """
    top = Path(os.path.realpath(folder))
    skipped = {Path(os.path.realpath(host.root), point.lstrip("/")) for point in mount_points(host.root)}
    if folder.is_symlink() or top in skipped:
        skipped |= {top, top / "lost+found"}
    kept = skipped | {parent for path in skipped for parent in path.parents}
    yield from {top} - kept
    for parent, folders, names in os.walk(top):
        folders[:] = [name for name in folders if Path(parent, name) not in skipped]
        yield from {Path(parent, name) for name in [*folders, *names]} - kept


def _leads_to_k3s(path: Path) -> bool:
    return path.is_symlink() and os.readlink(path) in ("k3s", "./k3s", "/usr/local/bin/k3s")


def _results_of_pods(host: Host) -> Iterator[str]:
    """What the CNI plugins have noted of pods in K3s' network, of their loopback interfaces too."""
    for folder in CNI_RESULTS:
        names = [each.name for each in sorted(host.path(folder).glob("*"))]
        pods = {name[len(POD_NETWORK) + 1 :].rpartition("-")[0] for name in names if name.startswith(f"{POD_NETWORK}-")}
        yield from (f"{folder}/{name}" for name in names if any(f"-{pod}-" in name for pod in pods))


def _states_of_containers(host: Host) -> Iterator[str]:
    """What shims and runc keep of K3s' containers in the folders of all containerds, named by K3s' own lists."""
    for folder in sorted(host.path("/run/k3s/containerd/io.containerd.runtime.v2.task").glob("*/*")):
        container = f"{folder.parent.name}/{folder.name}"
        socket = hashlib.sha256(f"/run/k3s/containerd/containerd.sock/{container}".encode()).hexdigest()
        yield f"{CONTAINERD}/s/{socket}"
        yield f"{CONTAINERD}/runc/{container}"


def _learned_by_kubectl(host: Host) -> list[str]:
    """What kubectl keeps of K3s' server; its answers too, unless there are some of other servers among them."""
    servers = [each.name for each in host.path(f"{KUBECTL}/discovery").glob("*")]
    return [*([f"{KUBECTL}/http"] if servers == [OWN_SERVER] else []), f"{KUBECTL}/discovery/{OWN_SERVER}"]
