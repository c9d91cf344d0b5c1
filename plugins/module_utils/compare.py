"""A declared Kubernetes object against the live one: what differs in what is declared.

Whatever else is there is not looked at here; ownership tells what of it somebody else has set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from kubernetes.utils.quantity import parse_quantity

Object = dict[str, Any]

# Fields in which equal quantities may be written differently: the server writes 1000m as 1. Elsewhere both are texts.
QUANTITIES = {"averageValue", "default", "defaultRequest", "hard", "limits", "requests"}


def digest(declared: Object) -> str:
    """What is declared, in 16 characters that say whether it is the same as last time."""
    text = json.dumps(declared, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def same(declared: object, live: object, quantities: bool = False) -> bool:
    """Whether ``live`` holds all that is ``declared``, in lists neither more nor less.

    The order of items that have names is the server's affair.
    """
    if live is None:
        # The server leaves out what is empty. A declared false that is not there is no such case: someone took it away.
        return declared is None or declared in ("", [], {})
    if isinstance(declared, Mapping) and isinstance(live, Mapping):
        return all(same(value, live.get(key), quantities or key in QUANTITIES) for key, value in declared.items())
    if isinstance(declared, list) and isinstance(live, list):
        if len(declared) != len(live):
            return False
        if _named(declared) and _named(live):
            held = {item["name"]: item for item in live}
            return all(same(item, held.get(item["name"]), quantities) for item in declared)
        return all(same(*pair, quantities) for pair in zip(declared, live, strict=True))
    return declared == live or (quantities and _same_quantity(declared, live))


def _same_quantity(declared: object, live: object) -> bool:
    try:
        return bool(parse_quantity(declared) == parse_quantity(live))
    except (ArithmeticError, ValueError):
        return False


def patch(declared: Mapping[str, Any], live: Mapping[str, Any], quantities: bool = False) -> Object:
    """The JSON merge patch (RFC 7396) that makes ``live`` hold what is ``declared``; empty if it does."""
    found: Object = {}
    for key, value in declared.items():
        held, of_quantities = live.get(key), quantities or key in QUANTITIES
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            if below := patch(value, held, of_quantities):
                found[key] = below
        elif not same(value, held, of_quantities):
            found[key] = value
    return found


def merged(live: object, change: Mapping[str, Any]) -> Object:
    """``live`` with a JSON merge patch applied."""
    result = dict(live) if isinstance(live, Mapping) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value) if isinstance(value, Mapping) else value
    return result


def combined(first: Mapping[str, Any], second: Mapping[str, Any]) -> Object:
    """Two merge patches as one."""
    result = dict(first)
    for key, value in second.items():
        held = result.get(key)
        result[key] = combined(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return result


def has_more_items(live: object, declared: object) -> bool:
    """Whether a list of ``live`` has items, by their names, that are not ``declared``."""
    if isinstance(live, Mapping) and isinstance(declared, Mapping):
        return any(has_more_items(live.get(key), value) for key, value in declared.items())
    if _named(live) and _named(declared):
        wanted = {item["name"]: item for item in declared}
        return any(item["name"] not in wanted or has_more_items(item, wanted[item["name"]]) for item in live)
    return False


def paths(change: object, live: object, path: str = "") -> Iterator[str]:
    """Where a merge patch of ``live`` changes something, such as ``spec.template.spec.containers[greeter].image``."""
    if isinstance(change, Mapping) and isinstance(live, Mapping):
        for key, value in change.items():
            yield from paths(value, live.get(key), f"{path}.{key}" if path else key)
    elif _named(change) and _named(live):
        new, old = ({item["name"]: item for item in items} for items in (change, live))
        for name in sorted(new.keys() | old.keys()):
            if name not in new or name not in old:
                yield f"{path}[{name}]"
            else:
                yield from paths(patch(new[name], old[name]), old[name], f"{path}[{name}]")
    else:
        yield path


def _named(items: object) -> TypeGuard[list[Mapping[str, Any]]]:
    return (
        isinstance(items, list) and bool(items) and all(isinstance(item, Mapping) and "name" in item for item in items)
    )


def less(first: object, second: object) -> bool:
    """Whether a quantity is smaller than another."""
    return bool(parse_quantity(first) < parse_quantity(second))


def added(first: object, second: object) -> str:
    """The sum of two quantities."""
    return f"{parse_quantity(first) + parse_quantity(second):f}"


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
