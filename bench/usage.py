"""What a command costs: wall time, processor time and memory of it and of all processes it starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.05
# Looking at the memory costs time itself: it may take a tenth of one core at most.
PAUSE = 10
KIB_PER_MIB = 1024


@dataclass(frozen=True)
class Usage:
    """How a command ended and what it took; ``mib`` is the highest sum of the PSS of all its processes."""

    status: int
    output: str
    seconds: float
    cpu: float
    mib: float


def tree(pid: int) -> list[int]:
    """A process and all that descend from it; fewer while they end."""
    members = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            members += [found for child in (task / "children").read_text().split() for found in tree(int(child))]
    except OSError:
        pass
    return members


def memory(pid: int) -> float:
    """PSS of a process tree in MiB: what processes share counts once."""
    total = 0
    for member in tree(pid):
        try:
            found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{member}/smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue
        total += int(found[1]) if found else 0
    return total / KIB_PER_MIB


def measure(command: Sequence[str], folder: Path, environment: Mapping[str, str], patience: float) -> Usage:
    """Run a command in ``folder`` until it ends, at most ``patience`` seconds."""
    log = Path(environment["TMPDIR"]) / "output"
    peak = 0.0
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        pause = 0.0
        while not ended.wait(max(INTERVAL, pause)):
            began = time.monotonic()
            peak = max(peak, memory(process.pid))
            pause = PAUSE * (time.monotonic() - began)
            if began - started > patience:
                os.killpg(process.pid, signal.SIGKILL)

    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            # Unlike Popen.wait, it tells the processor time, that of all children with it.
            _, status, spent = os.wait4(process.pid, 0)
            seconds = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            ended.set()
            watcher.join()
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    text = log.read_text(errors="replace")
    return Usage(process.returncode, text, seconds, spent.ru_utime + spent.ru_stime, peak)
