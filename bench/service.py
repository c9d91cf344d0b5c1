"""The greeter against peers: requests per second, latency, memory and start, in one run, in turns.

Usage: ``service.py PYTHON``, with the interpreter of an environment that has ``bench/requirements.txt``. Each server
has one core, the load another one; everything goes over the loopback address. Takes seven minutes and prints one table.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
ROUNDS = 3
SECONDS = 3
CONNECTIONS = (1, 16, 64)
# Of these the processor's time is told too, and what an ingress' longer head costs.
USUAL = 16
# What K3s' Traefik sends on, with a client's own fields.
INGRESS_HEAD = {
    "Host": "customer-a.example.com",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Host": "customer-a.example.com",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Server": "traefik-5d45fc8cc9-abcde",
    "X-Real-Ip": "203.0.113.7",
}
SLOW_CLIENTS = 2000
# Shorter than the 10 s that the greeter gives a head: all of them are there when the memory is read.
SLOW_SECONDS = 5.0
HALF_HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "
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
        Peer(
            "falcon + gunicorn's ASGI",
            lambda port: [
                python, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "asgi",
                "peers.falcon_asgi_peer:app",
            ],
            bare,
        ),
        Peer(
            "falcon + granian",
            lambda port: [
                python, "-m", "granian", "--interface", "wsgi", "--workers", "1", "--port", str(port),
                "--log-level", "warning", "peers.falcon_peer:app",
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


def cpu(pid: int) -> float:
    """CPU seconds of a process tree until now."""
    # After the command's name, which may hold anything: fields 14 and 15 of proc(5), of user and kernel.
    fields = [Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split() for member in tree(pid)]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def with_slow_clients(port: int, pid: int) -> float:
    """PSS in MiB while many clients have sent half a head. A server that takes fewer of them has fewer."""
    until = time.monotonic() + SLOW_SECONDS
    with contextlib.ExitStack() as clients:
        for _ in range(SLOW_CLIENTS):
            # A full queue lets nobody in; the time is up then.
            with contextlib.suppress(OSError):
                left = max(0.01, until - time.monotonic())
                client = clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=left))
                client.sendall(HALF_HEAD)
            if time.monotonic() > until:
                break
        time.sleep(1)
        return memory(pid)[0]


def load(port: int, connections: int, head: Mapping[str, str] | None = None) -> tuple[float, float, int]:
    """Requests per second, p99 in milliseconds and requests in all, as wrk has them; ``head`` has more fields."""
    out = subprocess.run(
        [
            "taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency",
            *(f"-H{name}: {value}" for name, value in (head or {}).items()),
            f"http://127.0.0.1:{port}/",
        ],
        capture_output=True, text=True, check=True, timeout=PATIENCE + SECONDS,
    ).stdout  # fmt: skip
    if "Non-2xx" in out:
        sys.exit(f"wrk had bad answers:\n{out}")
    rate = re.search(r"Requests/sec: +([\d.]+)", out)
    p99 = re.search(r" 99% +([\d.]+)(us|ms|s)", out)
    requests = re.search(r"(\d+) requests in ", out)
    assert rate
    assert p99
    assert requests
    return float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]], int(requests[1])


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
            before = cpu(server.pid)
            rate, p99, requests = load(port, connections)
            figures |= {f"req/s, {connections} conn.": rate, f"p99 ms, {connections} conn.": p99}
            if connections == USUAL:
                figures["requests per CPU second"] = requests / (cpu(server.pid) - before)
        figures["req/s, an ingress' head"], _, _ = load(port, USUAL, INGRESS_HEAD)
        figures["PSS after load, MiB"], figures["RSS after load, MiB"] = memory(server.pid)
        figures[f"PSS, {SLOW_CLIENTS} slow clients, MiB"] = with_slow_clients(port, server.pid)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    return figures


def main() -> None:
    """Measure all in turns and print the medians, with each peer's figure as a ratio to the greeter's."""
    # For the slow clients, and for the servers too, which inherit it: 1024 is the usual number at first.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
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
