"""What is mounted on a host below K3s' folders, by K3s and by others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .host import DATA, KUBELET, SECONDS, Host, Leftover, run, succeeds, wait_for

# Mounts below a folder of K3s that are not its own, such as a disk for volumes of pods, stay.
OWN = ("/run/k3s", f"{DATA}/agent/containerd", f"{KUBELET}/pods", f"{KUBELET}/plugins")


def mount_points(root: Path) -> list[str]:
    """Mount points, each as often as something is mounted there, the innermost first.

    A name is whatever bytes it was given. The kernel writes only space, tab, line break and backslash of them in octal,
    so nothing else may end a field or a line here, or the name would be another one.
    """
    try:
        table = (root / "proc/self/mountinfo").read_bytes()
    except OSError:
        table = b""
    points = [
        os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), line.split(b" ")[4]))
        for line in table.split(b"\n")
        if line
    ]
    return sorted(points, key=lambda point: point.count("/"), reverse=True)


def _below(host: Host, folders: tuple[str, ...]) -> list[str]:
    """Mount points below these folders, but kubelet's where K3s has not run: they are another Kubernetes' then."""
    known = (folder for folder in folders if host.has_run_k3s or not folder.startswith(KUBELET))
    # The kernel names them without links.
    real = (Path(os.path.realpath(host.path(folder))).relative_to(os.path.realpath(host.root)) for folder in known)
    starts = tuple(f"/{folder}/" for folder in real)
    return [point for point in mount_points(host.root) if point.startswith(starts)]


def mounts(host: Host) -> Iterator[Leftover]:
    """Mounts that K3s, its containerd and its kubelet have made."""
    for point in _below(host, OWN):
        yield Leftover(f"mount {point}", partial(unmount, point))


def mounts_of_others(host: Host) -> list[str]:
    """Mounts of others below K3s' folders."""
    return sorted(f"mount {point}" for point in set(_below(host, (DATA, KUBELET))) - set(_below(host, OWN)))


def unmount(point: str) -> None:
    """Unmount what is mounted there."""
    # What has just ended may hold on to it for a moment; it may also have gone with that.
    umount = partial(run, "umount", point, seconds=SECONDS)
    if not wait_for(lambda: point not in mount_points(Path("/")) or succeeds(umount)):
        # The server of a network file system may not answer any more.
        run("umount", "-f", point, seconds=SECONDS)
