"""What the nodes that a run leaves out allow the others to run.

The arguments and results of the filter are described in the file of its name beside this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ansible_collections.greeter.fleet.plugins.plugin_utils.k3s_versions import Release, is_newer, parse
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight.versions import AGENT_BEHIND, SERVERS_APART

SERVER_LABELS = {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}


def skew_faults(answer: str, role: str, version: str, running: Collection[str]) -> list[str]:
    """Say which nodes of a List, as JSON text, keep a host of this ``role`` from this ``version``."""
    wanted = parse(version)
    nodes = [node for node in json.loads(answer)["items"] if node["metadata"]["name"] not in running]
    return [fault for node in nodes for fault in _faults(node, role, wanted)]


def _faults(node: Mapping[str, Any], role: str, wanted: Release | None) -> Iterator[str]:
    runs = parse(node["status"]["nodeInfo"]["kubeletVersion"])
    if not runs or not wanted:
        return
    is_server = bool(SERVER_LABELS & set(node["metadata"].get("labels", {})))
    name, ahead = f"{'server' if is_server else 'agent'} {node['metadata']['name']}", wanted.minor - runs.minor
    if role == "agent" and is_server:
        if is_newer(wanted, runs):
            yield f"the {name} runs {runs.name}, and no agent may be newer than a server"
        elif -ahead > AGENT_BEHIND:
            yield f"the {name} runs {runs.name}, and an agent may be three minor versions older at most"
    elif role == "server" and is_server and abs(ahead) > SERVERS_APART:
        yield f"the {name} runs {runs.name}, and servers may be one minor version apart at most"
    elif role == "server" and not is_server:
        if ahead < 0:
            yield f"the {name} runs {runs.name}, and no server may be older than an agent"
        elif ahead > AGENT_BEHIND:
            yield f"the {name} runs {runs.name}, and an agent may be three minor versions older at most"


class FilterModule:
    """The filter under the name that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"k3s_skew_faults": skew_faults}
