"""The greeter against peers: requests per second, latency, memory and start, in one run, in turns.

Usage: ``service.py PYTHON``, with the interpreter of an environment that has ``bench/requirements.txt``. Each server
has one core, the load another one; everything goes over the loopback address. Takes two minutes and prints one table.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
ROUNDS = 3
SECONDS = 3
CONNECTIONS = (1, 16, 64)
BODIES = (b'{"response":"Hi!"}', b'{"response": "Hi!"}')
SERVER_CORE, LOAD_CORE = 0, max(os.sched_getaffinity(0))
PATIENCE = 20.0
MIB = 1024.0


@dataclass(frozen=True)
class Peer:
    """A server: its name, and how it is started on a port."""

    name: str
    command: Callable[[int], list[str]]
    environment: dict[str, str]


def uvicorn(python: str, app: str) -> Callable[[int], list[str]]:
    """How uvicorn serves ``app`` on a port, with as little log as the other peers."""
    return lambda port: [
        python, "-m", "uvicorn", app, "--port", str(port), "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip


def peers(python: str) -> list[Peer]:
    """The servers in their order; the greeter is the first, with its log and its metrics."""
    greeter = {"PYTHONPATH": str(PROJECT / "service"), "CUSTOMER_NAME": "a", "ADDRESS": "127.0.0.1"}
    bare = {"PYTHONPATH": str(PROJECT / "bench")}
    return [
        Peer("greeter", lambda _: [python, "-m", "greeter"], greeter),
        Peer("FastAPI + uvicorn", uvicorn(python, "peers.fastapi_peer:app"), bare),
        Peer("FastAPI, async", uvicorn(python, "peers.fastapi_peer:app_async"), bare),
        Peer(
            "falcon + gunicorn",
            lambda port: [python, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "peers.falcon_peer:app"],
            bare,
        ),
        Peer(
            "falcon + gthread",
            lambda port: [
                python, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "4", "peers.falcon_peer:app",
            ],
            bare,
        ),
    ]  # fmt: skip


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def first_answer(port: int, since: float) -> float:
    """Return the seconds from ``since`` to the first 200 with the right body."""
    while time.monotonic() - since < PATIENCE:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            if answer.status == http.HTTPStatus.OK and answer.read() in BODIES:
                return time.monotonic() - since
        except OSError:
            time.sleep(0.002)
        finally:
            connection.close()
    sys.exit("a server does not answer")


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [pid, *(member for child in children for member in tree(child))]


def memory(pid: int) -> tuple[float, float]:
    """PSS and RSS of a process tree in MiB."""
    rollups = [Path(f"/proc/{member}/smaps_rollup").read_text() for member in tree(pid)]
    pss, rss = (
        sum(int(number) for text in rollups for number in re.findall(rf"^{kind}: +(\d+) kB", text, re.MULTILINE))
        for kind in ("Pss", "Rss")
    )
    return pss / MIB, rss / MIB


def load(port: int, connections: int) -> tuple[float, float]:
    """Requests per second and p99 in milliseconds, as wrk has them."""
    out = subprocess.run(
        [
            "taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency",
            f"http://127.0.0.1:{port}/",
        ],
        capture_output=True, text=True, check=True, timeout=PATIENCE + SECONDS,
    ).stdout  # fmt: skip
    if "Non-2xx" in out:
        sys.exit(f"wrk had bad answers:\n{out}")
    rate = re.search(r"Requests/sec: +([\d.]+)", out)
    p99 = re.search(r" 99% +([\d.]+)(us|ms|s)", out)
    assert rate
    assert p99
    return float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]


def measure(peer: Peer) -> dict[str, float]:
    """Start a server, load it, stop it; return its figures by their names."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "GREETING": "Hi!", "PORT": str(port), "METRICS_PORT": str(free_port())}
    started = time.monotonic()
    # The log goes where nobody has to read it, but it is written.
    with Path("/dev/null").open("w") as nowhere:
        server = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *peer.command(port)],
            env=environment | peer.environment, stdout=nowhere, start_new_session=True,
        )  # fmt: skip
    try:
        figures = {"start, s": first_answer(port, started)}
        time.sleep(0.5)
        figures["PSS at rest, MiB"], figures["RSS at rest, MiB"] = memory(server.pid)
        for connections in CONNECTIONS:
            figures[f"req/s, {connections} conn."], figures[f"p99 ms, {connections} conn."] = load(port, connections)
        figures["PSS after load, MiB"], figures["RSS after load, MiB"] = memory(server.pid)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    return figures


def main() -> None:
    """Measure all in turns and print the medians, with each peer's figure as a ratio to the greeter's."""
    servers = peers(sys.argv[1])
    rounds: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    for number in range(ROUNDS):
        for server in servers:
            print(f"round {number + 1} of {ROUNDS}: {server.name}", file=sys.stderr, flush=True)
            rounds[server.name].append(measure(server))
    medians = {
        name: {figure: statistics.median(one[figure] for one in measured) for figure in measured[0]}
        for name, measured in rounds.items()
    }
    own, *others = (server.name for server in servers)
    print(f"| median of {ROUNDS} | {own} | " + " | ".join(f"{name} | greeter ÷ it" for name in others) + " |")
    print("|---" * (2 + 2 * len(others)) + "|")
    for figure, value in medians[own].items():
        cells = [f"{medians[name][figure]:.4g} | {value / medians[name][figure]:.2f}" for name in others]
        print(f"| {figure} | {value:.4g} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
