"""Action plugin: writes a file as ansible.builtin.copy does, without showing what was in it before.

Whoever has written a file before may have put a secret into it, on any line. Of the old file a difference shows the
lines that stay and the names of settings, and nothing else.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from ansible.plugins.action.copy import ActionModule as Copy

HIDDEN = "(hidden)\n"
SETTING = re.compile(r"[a-z][a-z0-9-]*:(?=\s|$)")


def without_old_values(before: str, after: str) -> str:
    """Hide what only the old text has; several such lines on end become one, but for the names of settings."""
    new = set(after.splitlines())
    lines = []
    for line in before.splitlines():
        setting = SETTING.match(line)
        lines.append(f"{line}\n" if line in new else f"{setting[0]} {HIDDEN}" if setting else HIDDEN)
    return "".join(line for text, same in groupby(lines) for line in ([text] if text == HIDDEN else same))


class ActionModule(Copy):
    """The plugin under the name that tasks use."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the file."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        found = result.get("diff", [])
        for diff in found if isinstance(found, list) else [found]:
            if isinstance(diff.get("before"), str):
                diff["before"] = without_old_values(diff["before"], str(diff.get("after", "")))
        return result
