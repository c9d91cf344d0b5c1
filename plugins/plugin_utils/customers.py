"""The declared customers with every setting filled in, by the defaults of the schema ``customers``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from .schema import Schema

NAMESPACE_PREFIX = "customer-"
# Of these a customer's own keys join those of all; every other setting is replaced as a whole.
MERGED = ("annotations", "env", "labels", "node_selector", "resources")
# Who sets the one takes back what a lower layer says of the other.
EITHER = ({"replicas", "autoscaling"}, {"host", "hosts"})

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = re.compile(r"(-?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:(m|k|[KMGTPE]i|[MGTPE])|[eE]([+-]?[0-9]{1,2}))?")
SUFFIXES = {"m": Decimal("0.001"), "k": Decimal(1000)}
SUFFIXES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate("MGTPE", 2)}
SUFFIXES |= {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)}


def quantity(text: object) -> Decimal | None:
    """Read a Kubernetes quantity such as ``500m`` or ``64Mi``; None if it is none."""
    found = QUANTITY.fullmatch(str(text))
    if not found:
        return None
    number, suffix, exponent = found.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else SUFFIXES.get(suffix, Decimal(1)))


def _quantity_fault(value: object, rule: Mapping[str, str]) -> str | None:
    """The schema's keyword ``x-quantity``: the ``least`` amount of a resource, and an ``example`` of one."""
    if (amount := quantity(value)) is None:
        return f"is no quantity; write one such as {rule['example']}"
    if amount <= 0:
        return f"is not more than 0; write an amount such as {rule['example']}"
    # Such as 64m of memory: a byte's fraction, where a mebibyte was meant.
    tiny = amount < Decimal(rule["least"])
    return f"is next to nothing; write an amount such as {rule['example']}" if tiny else None


SCHEMA = Schema("customers", {"x-quantity": _quantity_fault})


def full_settings(
    customers: object, domain: object, defaults: object, only: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Fill in what a customer does not say.

    Args:
        customers: Name → the customer's own settings. What is no mapping is left out: preflight tells of it.
        domain: The domain of customers without a host of their own.
        defaults: Settings for all customers, between the built-in ones and the customer's own.
        only: Names of the customers that are asked for; all unless given.

    Returns:
        Name → every setting, without the absent customers, in the order of the names. ``hosts`` is always a list.
    """
    every = _merge(SCHEMA.defaults("customers_defaults"), defaults if isinstance(defaults, Mapping) else {})
    full, wanted = {}, set(only)
    for name, customer in _present(customers if isinstance(customers, Mapping) else {}):
        if only and name not in wanted:
            continue
        merged = _merge(every, customer)
        hosts = merged.pop("hosts", None) or [merged.pop("host", None) or f"{NAMESPACE_PREFIX}{name}.{domain}"]
        full[name] = merged | {"hosts": hosts}
    return full


def _present(customers: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in sorted(customers, key=str):
        customer = customers[name]
        if isinstance(customer, Mapping) and customer.get("state") != "absent":
            yield name, customer


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for pair in EITHER:
        if pair & high.keys():
            merged = {key: value for key, value in merged.items() if key not in pair}
    for key, value in high.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = _join(merged[key], value) if both and key in MERGED else value
    return merged


def _join(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(low)
    for key, value in high.items():
        both = isinstance(joined.get(key), Mapping) and isinstance(value, Mapping)
        joined[key] = _join(joined[key], value) if both else value
    return joined
