"""A declared Kubernetes object against the live one: what differs, and the patch that mends it.

What is compared is what is declared: whatever else the server or another controller has filled in stays theirs. Lists
are compared as a whole, and what was declared last time and no longer is goes, as with `kubectl apply`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from kubernetes.utils.quantity import parse_quantity

Object = dict[str, Any]

# Where `kubectl apply` and kubernetes.core keep what was declared last.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def annotated(declared: Object) -> Object:
    """``declared`` with itself as the annotation that the next comparison will read."""
    text = json.dumps(declared, separators=(",", ":"), sort_keys=True)
    annotations = {**declared["metadata"].get("annotations", {}), LAST_APPLIED: text}
    return {**declared, "metadata": {**declared["metadata"], "annotations": annotations}}


def last_applied(live: Object) -> Object:
    """What was declared of ``live`` last time; empty if that is not known."""
    try:
        return dict(json.loads(live["metadata"].get("annotations", {})[LAST_APPLIED]))
    except (KeyError, TypeError, ValueError):
        return {}


def same(declared: object, live: object) -> bool:
    """Whether ``live`` holds all that is ``declared``, in lists neither more nor less."""
    if live is None:
        # The server leaves out what is empty. A declared false that is not there is no such case: someone took it away.
        return declared is None or declared in ("", [], {})
    if isinstance(declared, Mapping) and isinstance(live, Mapping):
        return all(same(value, live.get(key)) for key, value in declared.items())
    if isinstance(declared, list) and isinstance(live, list):
        return len(declared) == len(live) and all(map(same, declared, live))
    return declared == live or _same_quantity(declared, live)


def _same_quantity(declared: object, live: object) -> bool:
    # The server writes 1000m as 1.
    try:
        return bool(parse_quantity(declared) == parse_quantity(live))
    except (ArithmeticError, ValueError):
        return False


def patch(declared: Mapping[str, Any], live: Mapping[str, Any], last: Mapping[str, Any], path: str = "") -> Object:
    """The JSON merge patch (RFC 7396) that makes ``live`` hold what is ``declared``; empty if it does.

    Args:
        declared: The object as it must be.
        live: The object as the server has it.
        last: The object as it was declared last, see `last_applied`.
        path: Where in an object these are, such as ``spec.template``.
    """
    found: Object = {}
    for key, value in declared.items():
        held, before = live.get(key), last.get(key)
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            below = patch(value, held, before if isinstance(before, Mapping) else {}, f"{path}.{key}" if path else key)
            if below:
                found[key] = below
        elif not same(value, held):
            found[key] = value
    gone = [key for key in last if key not in declared and key in live]
    # An autoscaler that takes over starts from the pods that are there.
    return found | {key: None for key in gone if (path, key) != ("spec", "replicas")}


def merged(live: object, change: Mapping[str, Any]) -> Object:
    """``live`` with a JSON merge patch applied."""
    result = dict(live) if isinstance(live, Mapping) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value) if isinstance(value, Mapping) else value
    return result


def paths(change: object, live: object, path: str = "") -> Iterator[str]:
    """Where a merge patch of ``live`` changes something, such as ``spec.template.spec.containers[greeter].image``."""
    if isinstance(change, Mapping):
        for key, value in change.items():
            held = live.get(key) if isinstance(live, Mapping) else None
            yield from paths(value, held, f"{path}.{key}" if path else key)
    elif _named(change) and _named(live):
        new, old = ({item["name"]: item for item in items} for items in (change, live))
        for name in sorted(new.keys() | old.keys()):
            if name not in new or name not in old:
                yield f"{path}[{name}]"
            else:
                yield from paths(patch(new[name], old[name], {}), old[name], f"{path}[{name}]")
    else:
        yield path


def _named(items: object) -> TypeGuard[list[Mapping[str, Any]]]:
    return (
        isinstance(items, list) and bool(items) and all(isinstance(item, Mapping) and "name" in item for item in items)
    )


def rolled_out(deployment: Object) -> bool:
    """Whether a Deployment's newest generation has all its pods available and no older pod left.

    These are the conditions of `kubectl rollout status`.
    """
    wanted = deployment["spec"]["replicas"]
    status = deployment.get("status", {})
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("replicas", 0) == wanted
        and status.get("updatedReplicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )
