"""The declared customers against what the cluster says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

NAMESPACE_PREFIX = "customer-"


def settings(
    customers: Mapping[str, Mapping[str, Any]], domain: str, *defaults: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Fill in what a customer does not say.

    Args:
        customers: Name → what the customer says, already checked by preflight.
        domain: The domain of customers without a host of their own.
        defaults: Settings for all, the later ones winning.

    Returns:
        Name → every setting, in the order of the names.
    """
    full = {}
    for name, customer in sorted(customers.items()):
        merged: dict[str, Any] = {"host": f"{NAMESPACE_PREFIX}{name}.{domain}"}
        for layer in (*defaults, customer):
            merged |= layer
        full[name] = merged
    return full


def split(customers: Mapping[str, Any], namespaces: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Part ``customers`` into ``present`` and ``new``, by the Namespace objects the cluster has."""
    names = {namespace["metadata"]["name"] for namespace in namespaces}
    parts: dict[str, dict[str, Any]] = {"present": {}, "new": {}}
    for name, customer in customers.items():
        parts["present" if f"{NAMESPACE_PREFIX}{name}" in names else "new"][name] = customer
    return parts


def _complete(deployment: Mapping[str, Any]) -> bool:
    # The conditions of `kubectl rollout status`: the controller has seen the newest generation, every pod is of it and
    # available, and no older pod is left.
    wanted = deployment["spec"]["replicas"]
    status = deployment.get("status", {})
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("replicas", 0) == wanted
        and status.get("updatedReplicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


def rollouts_missing(deployments: Sequence[Mapping[str, Any]], customers: Mapping[str, Any]) -> list[str]:
    """Names of the ``customers`` whose Deployment is not there or not completely rolled out yet."""
    complete = {deployment["metadata"]["namespace"] for deployment in deployments if _complete(deployment)}
    return [name for name in customers if f"{NAMESPACE_PREFIX}{name}" not in complete]


class FilterModule:
    """The filters under the names that playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {
            "customers_settings": settings,
            "customers_split": split,
            "customers_rollouts_missing": rollouts_missing,
        }
