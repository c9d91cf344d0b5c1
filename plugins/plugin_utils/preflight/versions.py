"""What can be wrong with the releases that are wanted, next to each other and to what is installed.

The rules are Kubernetes' own, https://kubernetes.io/releases/version-skew-policy: API servers are at most one minor
version apart, a kubelet is never newer than an API server and at most three minor versions older, and API servers go
through every minor version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .nodes import Node

RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)(-[^+]+)?\+(\S*?)(\d+)")
SERVERS_APART = 1
AGENT_BEHIND = 3
POLICY = "(kubernetes.io/releases/version-skew-policy)"


class Release(NamedTuple):
    """A release as it compares with others.

    Attributes:
        name: How K3s writes it.
        kubernetes: Its version of Kubernetes; of two that are otherwise the same, a release candidate is the older one.
        build: Who made it, and which of several for the same Kubernetes it is.
    """

    name: str
    kubernetes: tuple[int, int, int, bool, str]
    build: tuple[str, int]

    @property
    def minor(self) -> int:
        """Its minor version of Kubernetes, in one number with the major one."""
        return self.kubernetes[0] * 1000 + self.kubernetes[1]


def release(name: object) -> Release | None:
    """The release that ``name`` names, if it names one."""
    found = RELEASE.fullmatch(name) if isinstance(name, str) else None
    if not found:
        return None
    major, minor, patch, candidate, maker, number = found.groups()
    return Release(
        str(name), (int(major), int(minor), int(patch), not candidate, candidate or ""), (maker, int(number))
    )


def is_newer(one: Release, other: Release) -> bool:
    """Whether ``one`` is newer than ``other``. Builds of two makers do not compare."""
    if one.kubernetes != other.kubernetes:
        return one.kubernetes > other.kubernetes
    return one.build[0] == other.build[0] and one.build[1] > other.build[1]


def version_faults(nodes: Mapping[str, Node]) -> list[str]:
    """Faults of every host's ``k3s_version``."""
    wanted = {name: found for name, node in nodes.items() if (found := release(node["settings"].get("k3s_version")))}
    servers = {name: found for name, found in wanted.items() if nodes[name]["role"] == "server"}
    faults = list(_installed(nodes, wanted))
    if not servers:
        return faults
    oldest, newest = (choose(servers, key=lambda name: servers[name].minor) for choose in (min, max))
    if servers[newest].minor - servers[oldest].minor > SERVERS_APART:
        faults.append(
            f"k3s_version: {newest} has {servers[newest].name} and {oldest} has {servers[oldest].name};"
            f" write versions at most one minor version apart for all servers {POLICY}"
        )
    for name, found in wanted.items():
        if nodes[name]["role"] != "agent":
            continue
        if found.minor > servers[oldest].minor:
            faults.append(
                f"host {name}: k3s_version: {found.name} is newer than {servers[oldest].name} of the server {oldest};"
                f" write that for the agent, or a newer one for the servers {POLICY}"
            )
        if servers[newest].minor - found.minor > AGENT_BEHIND:
            faults.append(
                f"host {name}: k3s_version: {found.name} is more than three minor versions older than"
                f" {servers[newest].name} of the server {newest}; write a newer one {POLICY}"
            )
    return faults


def _installed(nodes: Mapping[str, Node], wanted: Mapping[str, Release]) -> Iterator[str]:
    for name, target in wanted.items():
        found = release((nodes[name].get("look") or {}).get("version"))
        if not found:
            continue
        if is_newer(found, target):
            yield (
                f"host {name}: k3s_version: {target.name} is older than {found.name}, which is installed;"
                f" write {found.name} or a newer one (K3s goes back only by restoring a backup)"
            )
        # Kubelets may catch up in one step.
        elif nodes[name]["role"] == "server" and target.minor - found.minor > 1:
            major, minor = divmod(found.minor + 1, 1000)
            yield (
                f"host {name}: k3s_version: {target.name} skips a minor version, {found.name} is installed;"
                f" write a release of v{major}.{minor} first {POLICY}"
            )
