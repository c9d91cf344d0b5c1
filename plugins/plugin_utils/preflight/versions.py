"""What can be wrong with the releases that are wanted, next to each other and to what is installed.

The rules are Kubernetes' own, https://kubernetes.io/releases/version-skew-policy: API servers are at most one minor
version apart, a kubelet is never newer than an API server and at most three minor versions older, and API servers go
through every minor version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..k3s_versions import Release, is_newer, parse
from .nodes import Fault, Node, servers_of

SERVERS_APART = 1
AGENT_BEHIND = 3
POLICY = "(kubernetes.io/releases/version-skew-policy)"


def version_faults(nodes: Mapping[str, Node], oldest_k3s: str) -> Iterator[Fault]:
    """Faults of every host's ``k3s_version``; the roles are made for ``oldest_k3s`` and what is newer."""
    wanted = {name: release for name, node in nodes.items() if (release := parse(node.settings.get("k3s_version")))}
    for name, release in wanted.items():
        oldest = str(nodes[name].variables.get("preflight_oldest_k3s", oldest_k3s))
        limit = parse(oldest)
        if limit is None:
            yield name, f"preflight_oldest_k3s: {oldest!r} is no release; write one such as v1.26.0+k3s1"
        elif release.minor < limit.minor:
            fault = f"{release.name} is older than what the roles are made for; write {limit.name} or a newer one"
            yield name, f"k3s_version: {fault}"
        yield from ((name, f"k3s_version: {fault}") for fault in _installed_faults(nodes[name], release))
    servers = {name: wanted[name] for name in servers_of(nodes) if name in wanted}
    if not servers:
        return
    oldest, newest = (choose(servers, key=lambda name: servers[name].minor) for choose in (min, max))
    old, new = servers[oldest], servers[newest]
    if new.minor - old.minor > SERVERS_APART:
        fault = f"{newest} has {new.name} and {oldest} has {old.name}; write versions at most one minor version apart"
        yield "", f"k3s_version: {fault} for all servers {POLICY}"
    for name, release in wanted.items():
        if nodes[name].role == "agent" and release.minor > old.minor:
            fault = f"{release.name} is newer than {old.name} of the server {oldest}; write that for the agent"
            yield name, f"k3s_version: {fault}, or a newer one for the servers {POLICY}"
        if nodes[name].role == "agent" and new.minor - release.minor > AGENT_BEHIND:
            fault = f"{release.name} is more than three minor versions older than {new.name} of the server {newest}"
            yield name, f"k3s_version: {fault}; write a newer one {POLICY}"


def _installed_faults(node: Node, target: Release) -> Iterator[str]:
    installed = parse(node.host_facts.get("version"))
    if installed and is_newer(installed, target):
        yield (
            f"{target.name} is older than {installed.name}, which is installed;"
            f" write {installed.name} or a newer one (K3s goes back only by restoring a backup)"
        )
    # Kubelets may catch up in one step.
    elif installed and node.role == "server" and target.minor - installed.minor > 1:
        major, minor = divmod(installed.minor + 1, 1000)
        yield (
            f"{target.name} skips a minor version, {installed.name} is installed;"
            f" write a release of v{major}.{minor} first {POLICY}"
        )
