"""What can be wrong with the number and the size of the customers' pods."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from .words import kind, layers, shown, unknown_keys

Check = Callable[[str, Any], list[str]]

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
# As the filter customers_quota reads it.
QUANTITY = re.compile(r"-?(\d+(?:\.\d*)?|\.\d+)(?:(m|k|[KMGTPE]i|[MGTPE])|[eE]([+-]?\d{1,2}))?", re.ASCII)
SUFFIXES = {"m": Decimal("0.001"), "k": Decimal(1000)}
SUFFIXES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate("MGTPE", 2)}
SUFFIXES |= {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)}
AUTOSCALING_KEYS = ("min", "max", "cpu")
PERCENT = 100
AMOUNTS = ("requests", "limits")
# The least there is of each, and an example.
RESOURCES = {
    "cpu": (Decimal("0.001"), "500m"), "memory": (Decimal(1), "64Mi"), "ephemeral-storage": (Decimal(1), "1Gi"),
}  # fmt: skip


def number_fault(number: object, what: str = "number of pods", most: int | None = None) -> str | None:
    """Say what keeps ``number`` from being a whole one from 1 up to ``most``."""
    whole = isinstance(number, int) and not isinstance(number, bool)
    if whole and isinstance(number, int) and number >= 1 and (most is None or number <= most):
        return None
    return f"is not a {what}; write {f'1 to {most}' if most else '1 or more'}"


def autoscaling_faults(where: str, given: object) -> list[str]:
    """Faults of an ``autoscaling``."""
    if not isinstance(given, Mapping):
        return [f"{where}: is {kind(given)}; write a mapping such as {{min: 2, max: 5, cpu: 80}}"]
    faults = unknown_keys(where, given, AUTOSCALING_KEYS)
    faults += [
        f"{where}.{key}: is missing; write all of {', '.join(AUTOSCALING_KEYS)}"
        for key in AUTOSCALING_KEYS
        if key not in given
    ]
    wrong = {key: number_fault(given[key]) for key in ("min", "max") if key in given}
    if "cpu" in given:
        wrong["cpu"] = number_fault(given["cpu"], "percentage of requests.cpu", PERCENT)
    faults += [f"{where}.{key}: {fault}" for key, fault in wrong.items() if fault]
    if not wrong.get("min", "no") and not wrong.get("max", "no") and given["min"] > given["max"]:
        faults.append(f"{where}.min: {given['min']} is more than max, {given['max']}; lower it or raise max")
    return faults


def quantity(text: object) -> Decimal | None:
    """Read a Kubernetes quantity such as ``500m`` or ``64Mi``; None if it is none."""
    found = None if isinstance(text, bool) or not isinstance(text, str | int | float) else QUANTITY.fullmatch(str(text))
    if not found:
        return None
    number, suffix, exponent = found.groups()
    amount = Decimal(number) * (Decimal(10) ** int(exponent) if exponent else SUFFIXES.get(suffix, Decimal(1)))
    return -amount if str(text).startswith("-") else amount


def quantity_fault(resource: str, text: object) -> str | None:
    """Say what keeps ``text`` from being an amount of ``resource``."""
    least, example = RESOURCES[resource]
    if (amount := quantity(text)) is None:
        return f"is no quantity; write one such as {example}"
    if amount <= 0:
        return f"is not more than 0; write an amount such as {example}"
    # Such as 64m of memory: a byte's fraction, where a mebibyte was meant.
    return f"is next to nothing; write an amount such as {example}" if amount < least else None


def resources_faults(where: str, given: object) -> list[str]:
    """Faults of ``resources``."""
    if not isinstance(given, Mapping):
        return [f"{where}: is {kind(given)}; write a mapping such as {{requests: {{cpu: 10m}}, limits: {{cpu: 500m}}}}"]
    faults = unknown_keys(where, given, AMOUNTS)
    for part in AMOUNTS:
        amounts = given.get(part, {})
        if isinstance(amounts, Mapping):
            faults += unknown_keys(f"{where}.{part}", amounts, tuple(RESOURCES))
            wrong = {name: quantity_fault(name, amounts[name]) for name in RESOURCES if name in amounts}
            faults += [f"{where}.{part}.{name}: {fault}" for name, fault in wrong.items() if fault]
        else:
            faults.append(f"{where}.{part}: is {kind(amounts)}; write a mapping such as {{cpu: 10m, memory: 48Mi}}")
    return faults


def replicas_faults(where: str, replicas: object) -> list[str]:
    """Faults of ``replicas``."""
    return [f"{where}: {fault}"] if (fault := number_fault(replicas)) else []


CHECKS: dict[str, Check] = {
    "replicas": replicas_faults,
    "autoscaling": autoscaling_faults,
    "resources": resources_faults,
}


def pod_faults(customers: object, defaults: object) -> list[str]:
    """Faults of what ``customers`` (name → settings) and ``customers_defaults`` each say of their pods."""
    faults = []
    for where, said in layers(customers, defaults):
        faults += [
            fault for key, check in CHECKS.items() if key in said for fault in check(f"{where}.{key}", said[key])
        ]
        if "replicas" in said and "autoscaling" in said:
            faults.append(f"{where}: has both replicas and autoscaling; write only one of them")
    return faults


def above_limits(full: Mapping[str, Mapping[str, Any]], customers: object) -> list[str]:
    """Faults of requests that are above their limit once the customers' resources are joined with those of all.

    Args:
        full: What the filter customers_settings makes of ``customers``.
        customers: Name → what the customer says, to tell of a fault in customers_defaults there, and once.
    """
    faults: list[str] = []
    for name, customer in full.items():
        said = customers.get(name) if isinstance(customers, Mapping) else None
        own = isinstance(said, Mapping) and "resources" in said
        where = f"customers.{shown(name)}" if own else "customers_defaults"
        faults += _above_limit(f"{where}.resources", customer.get("resources"))
    return list(dict.fromkeys(faults))


def _above_limit(where: str, resources: object) -> Iterator[str]:
    parts = [resources.get(part) if isinstance(resources, Mapping) else None for part in AMOUNTS]
    requests, limits = (part if isinstance(part, Mapping) else {} for part in parts)
    for name in RESOURCES:
        request, limit = quantity(requests.get(name)), quantity(limits.get(name))
        if request is not None and limit is not None and request > limit > 0:
            yield (
                f"{where}.requests.{name}: {requests[name]} is more than the limit of {limits[name]};"
                f" lower it, or raise limits.{name}"
            )
