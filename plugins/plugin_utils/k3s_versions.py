"""Releases of K3s, such as v1.36.4+k3s1, and which of two is the newer one."""

from __future__ import annotations

import re
from typing import NamedTuple

from packaging.version import Version

PATTERN = re.compile(r"v(\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)\.?\d+)?)\+(?=\S)(\S*?)(\d*)")


class Release(NamedTuple):
    """A release: its name, the version of Kubernetes, who built it, and which of their builds of that version it is."""

    name: str
    kubernetes: Version
    maker: str
    build: int

    @property
    def minor(self) -> int:
        """Major and minor version of Kubernetes in one number: 1035 for v1.35."""
        return self.kubernetes.major * 1000 + self.kubernetes.minor


def parse(name: object) -> Release | None:
    """Read the name of a release; None if it is none."""
    found = PATTERN.fullmatch(name) if isinstance(name, str) else None
    return Release(found[0], Version(found[1]), found[2], int(found[3] or 0)) if found else None


def is_newer(one: Release, other: Release) -> bool:
    """Whether ``one`` is newer than ``other``. Builds of two makers for the same Kubernetes do not compare."""
    if one.kubernetes != other.kubernetes:
        return one.kubernetes > other.kubernetes
    return one.maker == other.maker and one.build > other.build
