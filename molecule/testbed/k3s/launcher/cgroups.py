"""A view of the cgroup v1 hierarchies in which this container is alone."""

import ctypes
import os
import socket
import subprocess
from pathlib import Path

CLONE_NEWNS = 0x00020000
ROOT = Path("/sys/fs/cgroup")


def isolate() -> None:
    """Move this process to a mount namespace where no cgroup v1 mount shows the machine's root.

    Container engines leave some v1 hierarchies at the machine's root. The kubelets of neighbouring
    containers would share one /kubepods there and delete each other's pods. Other mounts stay shared both
    ways, so that volumes and overlays are the same for everybody. With cgroup v2 alone nothing is to do.
    """
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    mounts = [Path(line.split()[4]) for line in table if " - cgroup " in line]
    if not mounts:
        return
    _mount("--make-rshared", "/")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("--make-rprivate", ROOT)
    scratch = ROOT / "unified"
    _umount(scratch, must=False)
    for mount in {path for path in mounts if mounts.count(path) > 1}:
        _umount(mount / "release_agent", must=False)
        _umount(mount)  # the engine bound the machine's root over the container's own part
    for mount in set(mounts):
        if (mount / "cgroup.sane_behavior").exists():  # only a root has it
            own = mount / f"testbed-{socket.gethostname()}"
            own.mkdir(exist_ok=True)
            (own / "cgroup.procs").write_text(str(os.getpid()))
            _mount("--bind", own, scratch)
            _umount(mount)
            _mount("--move", scratch, mount)


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def _umount(path: Path, *, must: bool = True) -> None:
    subprocess.run(["umount", str(path)], check=must, stderr=None if must else subprocess.DEVNULL)
