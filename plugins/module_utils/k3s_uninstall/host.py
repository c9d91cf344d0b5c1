"""A host, its programs and files, and what of K3s is found there."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SERVICES = ("k3s", "k3s-agent")
DATA = "/var/lib/rancher/k3s"
KUBELET = "/var/lib/kubelet"
# The name that K3s gives its pod network.
POD_NETWORK = "cbr0"
# What only K3s' own start makes. It tells a host where K3s has run from one with another Kubernetes, and goes last.
MARKERS = ("/etc/rancher/node/password", "/run/k3s")

SECONDS = 10.0
# What goes wrong when something is removed.
FAILURES = (OSError, subprocess.SubprocessError)


class Leftover(NamedTuple):
    """Something of K3s on the host: its name in the list, and what removes it."""

    name: str
    remove: Callable[[], object]


class Host:
    """A host whose files are under ``root``, the networks of its cluster's pods, and kube-vip's address."""

    def __init__(self, root: Path, networks: list[str], kube_vip_address: str = "") -> None:
        """Find out whether K3s has ever run there."""
        self.root = root
        self.networks = networks
        self.kube_vip_address = kube_vip_address
        self.has_run_k3s = any(os.path.lexists(self.path(marker)) for marker in MARKERS)
        self.has_systemd = self.path("/run/systemd/system").is_dir()

    def path(self, name: str) -> Path:
        """Where a file of the host lies."""
        return self.root / name.lstrip("/")

    def has_rke2(self) -> bool:
        """Whether this is a host of RKE2, which has the same folders, sockets and names."""
        return any(self.path(f"/var/lib/rancher/rke2/{folder}").exists() for folder in ("agent", "server"))


def run(*command: str, text: str = "", seconds: float | None = None) -> str:
    """What a program prints; nothing if it is not there.

    Raises:
        OSError, SubprocessError: when it fails, or takes longer than that.
    """
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(
        command, input=text, capture_output=True, check=True, encoding="utf-8", errors="replace", timeout=seconds
    )
    return done.stdout


def output_lines(*command: str) -> list[str]:
    """The lines a program prints; none if it fails."""
    try:
        return run(*command).splitlines()
    except FAILURES:
        return []


def read(path: Path) -> str:
    """Text of a file, empty if there is none that can be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def inode(path: Path) -> int:
    """The number that tells one namespace from another; 0 if there is no such file."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def succeeds(action: Callable[[], object]) -> bool:
    """Do something, and say whether that went well."""
    try:
        action()
    except FAILURES:
        return False
    return True


def wait_for(condition: Callable[[], bool]) -> bool:
    """Wait until it is so, but no longer than `SECONDS`; say whether it is."""
    until = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
