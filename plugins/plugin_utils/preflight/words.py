"""What the checks share: how they name what somebody has written, and where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

# A host name, and the name of most Kubernetes objects.
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
SUBDOMAIN_CHARACTERS = 253
# The name of an environment variable.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def kind(value: object) -> str:
    """Name a value's type as a person who writes YAML would."""
    names: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "a text"),
        (date, "a date"),
        (bytes, "binary data"),
        (Mapping, "a mapping"),
        (Sequence, "a list"),
        (type(None), "empty"),
    ]
    return next((name for types, name in names if isinstance(value, types)), "no plain value")


def shown(key: object) -> str:
    """Write ``key`` on one line, whatever is in it."""
    return str(key) if str(key).isprintable() else ascii(key)


def is_list(value: object) -> bool:
    """Whether ``value`` is what YAML calls a list."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def unknown_keys(where: str, given: Mapping[Any, object], known: Sequence[str]) -> list[str]:
    """One fault for each key of ``given`` that is not among ``known``."""
    return [f"{where}.{shown(key)}: is no setting; use {', '.join(known)}" for key in given if key not in known]


def layers(customers: object, defaults: object) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every place where customers' settings stand: its name, and what it says. What is no mapping is left out."""
    if isinstance(defaults, Mapping):
        yield "customers_defaults", defaults
    for name, said in customers.items() if isinstance(customers, Mapping) else ():
        if isinstance(said, Mapping):
            yield f"customers.{shown(name)}", said
