"""What of a host's K3s this project does not touch, or cannot change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.greeter.fleet.plugins.plugin_utils.k3s_changes import change_faults, takeover_faults


def refusals(variables: Mapping[str, Any], role: str, info: Mapping[str, Any], nodename: str) -> list[str]:
    """Say why K3s must stay as it is on a host, as described in k3s_refusals.yml."""
    found = info["found"]
    return [
        *takeover_faults(variables, found, info["version"]),
        *change_faults(variables, role, found, nodename),
    ]


class FilterModule:
    """The filter under the name that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"k3s_refusals": refusals}
