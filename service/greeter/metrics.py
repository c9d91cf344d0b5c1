"""What the process counts, for Prometheus, in memory that all workers share.

The numbers lie in one anonymous mapping made before the workers are forked. Every worker adds in a slot of its own,
so that no lock is needed, and whoever is asked adds the slots up. A worker that replaces a killed one goes on in its
slot, so no counter ever falls. It costs a few pages; prometheus-client costs 1.2 MiB to import,
and wants files on disk to add several workers up.
"""

import bisect
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "other")
ROUTES = ("/", "/healthz", "/readyz", "/metrics", "none")
STATUSES = (200, 400, 404, 405, 408, 414, 417, 431, 500, 501, 503, 505)
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper bounds of the durations, in seconds."""

_METHOD = {name: position for position, name in enumerate(METHODS)}
_ROUTE = {name: position for position, name in enumerate(ROUTES)}
_STATUS = {code: position for position, code in enumerate(STATUSES)}
_REQUESTS = len(METHODS) * len(ROUTES) * len(STATUSES)
# One number for each bucket, one for what is above all, one for the sum in nanoseconds.
_DURATION = len(BUCKETS) + 2
_LOST = _REQUESTS + len(ROUTES) * _DURATION
_SLOT = _LOST + 1
_NANOSECONDS = 1_000_000_000


class Metrics:
    """The counters of all workers.

    Attributes:
        slot: Where this process adds; set in a worker after it was forked.
    """

    def __init__(self, slots: int) -> None:
        """Make room for so many workers at a time."""
        self._slots = slots
        self._numbers = memoryview(mmap.mmap(-1, slots * _SLOT * 8)).cast("Q")
        self.slot = 0

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Add a request that was answered.

        Args:
            method: The request's; one that is not in `METHODS` counts as "other".
            route: Template of its route; one that is not in `ROUTES` counts as "none".
            status: Status code; one that is not in `STATUSES` counts as 500, since the greeter never gives it.
            seconds: From the last byte of the head to the answer.
        """
        base = self.slot * _SLOT
        numbers = self._numbers
        row = _ROUTE.get(route, _ROUTE["none"])
        column = _METHOD.get(method, _METHOD["other"])
        cell = base + (row * len(METHODS) + column) * len(STATUSES) + _STATUS.get(status, _STATUS[500])
        numbers[cell] += 1
        durations = base + _REQUESTS + row * _DURATION
        numbers[durations + bisect.bisect_left(BUCKETS, seconds)] += 1
        numbers[durations + _DURATION - 1] += max(0, int(seconds * _NANOSECONDS))

    def lose(self) -> None:
        """Add a line of the access log that could not be written."""
        self._numbers[self.slot * _SLOT + _LOST] += 1

    def render(self, customer: str, version: str) -> bytes:
        """Return everything in Prometheus' text format, version 0.0.4."""
        totals = [sum(self._numbers[at::_SLOT]) for at in range(_SLOT)]
        lines = [
            "# HELP greeter_info Whose greeter this is, and which.",
            "# TYPE greeter_info gauge",
            f'greeter_info{{customer="{customer}",version="{version}"}} 1',
            "# HELP greeter_http_requests_total Requests that were answered.",
            "# TYPE greeter_http_requests_total counter",
            *_requests(totals),
            "# HELP greeter_http_request_duration_seconds From the last byte of a request's head to its answer.",
            "# TYPE greeter_http_request_duration_seconds histogram",
            *_durations(totals),
            "# HELP greeter_access_log_lines_lost_total Lines that the reader of stdout was too slow for.",
            "# TYPE greeter_access_log_lines_lost_total counter",
            f"greeter_access_log_lines_lost_total {totals[_LOST]}",
            *_process(),
        ]
        return ("\n".join(lines) + "\n").encode()


def _requests(totals: list[int]) -> Iterator[str]:
    for at, number in enumerate(totals[:_REQUESTS]):
        if number:
            rest, status = divmod(at, len(STATUSES))
            route, method = divmod(rest, len(METHODS))
            labels = f'method="{METHODS[method]}",route="{ROUTES[route]}",status="{STATUSES[status]}"'
            yield f"greeter_http_requests_total{{{labels}}} {number}"


def _durations(totals: list[int]) -> Iterator[str]:
    for row, route in enumerate(ROUTES):
        first = _REQUESTS + row * _DURATION
        *counts, nanoseconds = totals[first : first + _DURATION]
        if not any(counts):
            continue
        below = 0
        for bound, number in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
            below += number
            yield f'greeter_http_request_duration_seconds_bucket{{route="{route}",le="{bound}"}} {below}'
        yield f'greeter_http_request_duration_seconds_sum{{route="{route}"}} {nanoseconds / _NANOSECONDS:.6f}'
        yield f'greeter_http_request_duration_seconds_count{{route="{route}"}} {below}'


def _process() -> Iterable[str]:
    """Lines about the master and its workers together, under the names that Prometheus' clients use.

    What proc(5) says; a field of `stat` counts from the command's closing bracket.
    """
    master = os.getppid()
    workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    processes = [str(master), *workers]
    stats = [stat.rpartition(")")[2].split() for pid in processes if (stat := _stat(pid))]
    ticks = os.sysconf("SC_CLK_TCK")
    # With the time of the master's dead children: it must not fall when a worker is replaced.
    seconds = (sum(int(stat[11]) + int(stat[12]) for stat in stats) + int(stats[0][13]) + int(stats[0][14])) / ticks
    booted = next(int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line[:5] == "btime")
    limit = next(line.split()[3] for line in Path("/proc/self/limits").read_text().splitlines() if "open files" in line)
    return (
        "# HELP process_cpu_seconds_total User and system time of master and workers.",
        "# TYPE process_cpu_seconds_total counter",
        f"process_cpu_seconds_total {seconds:.2f}",
        "# HELP process_resident_memory_bytes Resident memory of master and workers; what they share counts for each.",
        "# TYPE process_resident_memory_bytes gauge",
        f"process_resident_memory_bytes {sum(int(stat[21]) for stat in stats) * os.sysconf('SC_PAGE_SIZE')}",
        "# HELP process_start_time_seconds When the master started, in seconds since 1970.",
        "# TYPE process_start_time_seconds gauge",
        f"process_start_time_seconds {booted + int(stats[0][19]) / ticks:.2f}",
        "# HELP process_open_fds Open file descriptors of the worker that answers.",
        "# TYPE process_open_fds gauge",
        f"process_open_fds {sum(1 for _ in Path('/proc/self/fd').iterdir())}",
        "# HELP process_max_fds The most a worker may open.",
        "# TYPE process_max_fds gauge",
        f"process_max_fds {'+Inf' if limit == 'unlimited' else limit}",
    )


def _stat(pid: str) -> str:
    """Return a process's line, or nothing if it has just ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
