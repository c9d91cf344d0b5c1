"""All checks of preflight: one filter for the cluster, and one for the customers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..plugin_utils.preflight import cluster, customers, hosts, network, nodes, shared, versions


def cluster_faults(
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, object],
    builder: object,
) -> list[str]:
    """Every fault of the inventory, the settings, the hosts and the controller, see cluster_faults.yml."""
    known = nodes.read_nodes(groups, hostvars)
    oldest = str(limits["preflight_oldest_k3s"])
    numbers = {name: limit for name, limit in limits.items() if name != "preflight_oldest_k3s"}
    settings = [*cluster.setting_faults(known), *network.network_faults(known)]
    return [
        *nodes.inventory_faults(groups, known),
        *nodes.messages(settings, known),
        *nodes.messages([*versions.version_faults(known, oldest), *hosts.host_faults(known, numbers)]),
        # Without a host of its own to run it, no image is built.
        *(nodes.builder_faults(builder) if known or not groups.get("kubernetes") else []),
    ]


class FilterModule:
    """The filters under the names that playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {
            "cluster_faults": cluster_faults,
            "customer_faults": customers.customer_faults,
            "shared_faults": shared.shared_faults,
        }
