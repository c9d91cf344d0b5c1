"""The checks of preflight, as filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import (
    cluster,
    customers,
    fleet,
    hosts,
    joining,
    network,
    nodes,
    objects,
    pods,
    tls,
    versions,
)


class FilterModule:
    """The filters under the names that playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {
            "preflight_nodes": nodes.nodes,
            "preflight_told": nodes.told,
            "preflight_inventory_faults": nodes.inventory_faults,
            "preflight_image_faults": nodes.image_faults,
            "preflight_cluster_faults": cluster.cluster_faults,
            "preflight_joining_faults": joining.joining_faults,
            "preflight_network_faults": network.network_faults,
            "preflight_version_faults": versions.version_faults,
            "preflight_host_faults": hosts.host_faults,
            "preflight_customer_faults": customers.customer_faults,
            "preflight_domain_faults": customers.domain_faults,
            "preflight_shared_hosts": customers.shared_hosts,
            "preflight_fleet_faults": fleet.shared_setting_faults,
            "preflight_object_faults": objects.object_faults,
            "preflight_annotations_size": objects.annotations_size,
            "preflight_pod_faults": pods.pod_faults,
            "preflight_above_limits": pods.above_limits,
            "preflight_tls_faults": tls.tls_faults,
        }
