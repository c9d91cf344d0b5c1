"""What the checks share: how they read what somebody has written, and how they name it and its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

# What Ansible puts before the reason.
ANSIBLES_OWN = re.compile(r"^(A captured exception marker was tripped: |Error rendering template: )*")


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


def as_list(value: object) -> list[Any]:
    """``value`` if it is a list, otherwise an empty one."""
    return list(value) if isinstance(value, Sequence) and is_list(value) else []


def as_mapping(value: object) -> Mapping[Any, Any]:
    """``value`` if it is a mapping, otherwise an empty one."""
    return value if isinstance(value, Mapping) else {}


def texts(value: object) -> list[str]:
    """The texts of a list."""
    return [each for each in as_list(value) if isinstance(each, str)]


def resolved(holder: Any, key: Any, where: str, broken: dict[str, str]) -> Any:  # noqa: ANN401
    """Work out every template in ``holder[key]``, so that none can fail later; what cannot be worked out becomes None.

    Args:
        holder: A mapping or list, whose templates Ansible works out as they are read.
        key: Of what in it.
        where: What a person calls that.
        broken: Takes the places of what cannot be worked out, such as ``customers.a.greeting``, each with the reason.
    """
    try:
        value = holder[key]
        if isinstance(value, Mapping):
            return {inner: resolved(value, inner, f"{where}.{shown(inner)}", broken) for inner in value}
        if is_list(value):
            return [resolved(value, index, f"{where}[{index}]", broken) for index in range(len(value))]
        # What stands for a value that cannot be worked out raises as soon as it is used.
        str(value)
    except Exception as error:  # of any plugin that the value may call
        broken[where] = ANSIBLES_OWN.sub("", " ".join(str(error).split()))
        return None
    return value


def layers(customers: object, defaults: object) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every place where customers' settings stand: its name, and what it says. What is no mapping is left out."""
    if isinstance(defaults, Mapping):
        yield "customers_defaults", defaults
    for name, own in as_mapping(customers).items():
        if isinstance(own, Mapping):
            yield f"customers.{shown(name)}", own
