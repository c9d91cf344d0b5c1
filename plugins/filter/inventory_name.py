"""The name of an inventory, from where it lies."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Files that say nothing by their own names.
PLAIN = ("hosts", "inventory")
UNNAMED = "greeter-fleet"


def inventory_name(sources: Sequence[str]) -> str:
    """Name an inventory by its ``sources``, as described in inventory_name.yml."""
    names = dict.fromkeys(_name(source) for source in sources)
    joined = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(names))
    return joined.strip("-.") or UNNAMED


def _name(source: str) -> str:
    if "," in source:
        return source
    path = Path(source)
    if path.is_dir():
        return path.name
    return path.parent.name if path.stem in PLAIN else path.stem


class FilterModule:
    """The filter under the name that the variables use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"inventory_name": inventory_name}
