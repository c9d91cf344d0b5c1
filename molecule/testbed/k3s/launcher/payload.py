"""What the archive carries: the Kubernetes binary, templates and the version it was packed as."""

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from string import Template
from typing import Any

from launcher import paths

PARTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubeadm",
    "kubectl",
    "kubelet",
)


def _read(name: str) -> bytes:
    with zipfile.ZipFile(sys.argv[0]) as archive:
        return archive.read(name)


def build() -> dict[str, Any]:
    """Give the facts of the build: `version`, `go`, `payload` (the binary's sha256)."""
    facts: dict[str, Any] = json.loads(_read("build.json"))
    return facts


def render(template: str, /, **values: object) -> str:
    """Fill `${name}` placeholders of the template `launcher/files/TEMPLATE`."""
    return Template(_read(f"launcher/files/{template}").decode()).substitute(values)


def unpack() -> Path:
    """Unpack the binary at its first use, as K3s does; give the folder with one name per part."""
    folder: Path = paths.DATA / "data" / build()["payload"] / "bin"
    if folder.exists():
        return folder
    fresh = folder.parent.with_name(f".{folder.parent.name}.{os.getpid()}") / "bin"
    fresh.mkdir(parents=True)
    with zipfile.ZipFile(sys.argv[0]) as archive, archive.open("kubernetes") as packed:
        binary = fresh / "kubernetes"
        with binary.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    binary.chmod(0o755)
    for part in PARTS:
        (fresh / part).symlink_to(binary.name)
    try:
        fresh.parent.rename(folder.parent)
    except OSError:  # another process was faster
        shutil.rmtree(fresh.parent)
    return folder
