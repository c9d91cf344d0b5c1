"""What keeps pods on a node that is to be left by them, and which are all on one.

The arguments and results of each filter are described in the file of its name beside this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.greeter.fleet.plugins.filter.k3s_nodes import can_drain

Object = Mapping[str, Any]


def drain_blockers(answer: str, node: str) -> list[str]:
    """Say what keeps pods on a node, from a List of all Pods and PodDisruptionBudgets as JSON text."""
    objects = json.loads(answer)["items"]
    budgets = [each for each in objects if each["kind"] == "PodDisruptionBudget"]
    strict = [budget for budget in budgets if not budget["status"].get("disruptionsAllowed")]
    pods = [each for each in objects if each["kind"] == "Pod" and _has_to_move(each, node)]
    # Each budget once, though it may be for several pods.
    return list(dict.fromkeys(sentence for pod in pods for sentence in _blockers(pod, strict)))


def _has_to_move(pod: Object, node: str) -> bool:
    """Whether `kubectl drain` has to move a pod: not one of a DaemonSet, of the kubelet itself, or one that is done."""
    owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])}
    is_done = pod["status"].get("phase") in ("Succeeded", "Failed")
    return pod["spec"].get("nodeName") == node and not is_done and not owners & {"DaemonSet", "Node"}


def _blockers(pod: Object, strict: list[Object]) -> Iterator[str]:
    metadata = pod["metadata"]
    namespace, name = metadata["namespace"], f"{metadata['namespace']}/{metadata['name']}"
    if until := metadata.get("deletionTimestamp"):
        waits = f"; its finalizers are {', '.join(metadata['finalizers'])}" if metadata.get("finalizers") else ""
        yield f"The pod {name} was to have ended by {until} and has not{waits}"
    elif not metadata.get("ownerReferences"):
        yield f"The pod {name} has no controller that would start it elsewhere; delete it yourself"
    for budget in strict:
        if budget["metadata"]["namespace"] == namespace and _selects(budget["spec"].get("selector"), metadata):
            healthy, needed = (budget["status"].get(key, 0) for key in ("currentHealthy", "desiredHealthy"))
            yield (
                f"The PodDisruptionBudget {namespace}/{budget['metadata']['name']} lets no pod go:"
                f" {healthy} healthy, {needed} needed"
            )


def _selects(selector: Object | None, metadata: Object) -> bool:
    labels = metadata.get("labels", {})
    return selector is not None and (
        all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
        and all(_matches(each, labels) for each in selector.get("matchExpressions", []))
    )


def _matches(expression: Object, labels: Object) -> bool:
    key, values = expression["key"], expression.get("values", [])
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def crowded(answer: str, nodes: str) -> str:
    """Name one of the pods of a List, as JSON text, if all are on one node and the List of ``nodes`` has another one.

    It is one that is not ready, if there is such a one.
    """
    pods = [pod for pod in json.loads(answer)["items"] if "deletionTimestamp" not in pod["metadata"]]
    places = {pod["spec"].get("nodeName", "") for pod in pods}
    if len(pods) <= 1 or len(places) > 1 or not can_drain(nodes, places.pop()):
        return ""
    first: str = min(pods, key=_is_ready)["metadata"]["name"]
    return first


def _is_ready(pod: Object) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


class FilterModule:
    """The filters under the names that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"k3s_crowded": crowded, "k3s_drain_blockers": drain_blockers}
