"""Why K3s did not start: those lines of its log that tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

# K3s' own lines with or without the time in front, those of Kubernetes' parts (klog), what ends a program in Go, and
# what systemd says of a process that it could not start.
ERROR = re.compile(
    r"""(time="[^"]*"\ )?level=(error|fatal|panic)\b
    | [EF]\d{4}\ \d\d:\d\d:\d\d
    | panic:\ | fatal\ error:\ | runtime:\ out\ of\ memory
    | \S+:\ Failed\ at\ step\ | \S+:\ Failed\ to\ (load|run)
    | \S+:\ A\ process\ of\ this\ unit\ has\ been\ killed
    """,
    re.VERBOSE,
)
# What K3s says whenever it is stopped.
STOP = re.compile(r"context canceled|http: Server closed|[Ss]erver closed the stream|signal: (terminated|killed)")
# The first line of a start, as systemd, or K3s where nobody else writes into the log, has it.
BEGIN = re.compile(r"""Starting (\S+ - )?Lightweight Kubernetes|(time="[^"]*" )?level=info msg="Starting k3s """)
# What differs between two lines that say the same: time, process and place.
VARYING = re.compile(r"""^time="[^"]*" |^[EF]\d{4} [\d:.]+ +\d+ """)
MOST = 8


def errors(lines: Sequence[str]) -> list[str]:
    """Choose the lines that tell why K3s did not start, as described in k3s_start_errors.yml."""
    # The service that ran before was stopped in between.
    begin = next((place for place, line in enumerate(lines) if BEGIN.match(line)), 0)
    found = [line for line in lines[begin:] if ERROR.match(line)]
    telling = [line for line in found if not STOP.search(line)] or found
    last: dict[str, str] = {}
    for line in telling:
        key = VARYING.sub("", line)
        last.pop(key, None)
        last[key] = line
    return list(last.values())[-MOST:]


class FilterModule:
    """The filter under the name that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"k3s_start_errors": errors}
