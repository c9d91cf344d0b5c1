"""Stopping the real server: SIGTERM as Kubernetes sends it, SIGINT as a terminal does."""

import contextlib
import http.client
import os
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .server import CONFIG, PATIENCE, Server, ask, running, wait_for

# Right after the fork, before the worker has handlers of its own.
AFTER_FORK = """
def post_fork(server, worker):
    os.kill(worker.pid, signal.SIGTERM)
"""
# While gunicorn installs them: first it gives every signal its default action.
AT_DEFAULT = """
def _told_meanwhile(number, action, install=signal.signal):
    before = install(number, action)
    if (number, action) == (signal.SIGTERM, signal.SIG_DFL):
        os.kill(os.getpid(), signal.SIGTERM)
    return before

def post_fork(server, worker):
    signal.signal = _told_meanwhile
"""


def is_refused(server: Server) -> bool:
    """Tell whether nobody listens on the server's port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) != 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_takes_readiness_away_and_keeps_serving(workers: str) -> None:
    with running({"DRAIN_SECONDS": "3", "WORKERS": workers}) as server:
        began = time.monotonic()
        server.terminate()
        assert time.monotonic() - began < 3
        greeting = server.get()
        assert (greeting.status, greeting.body) == (200, b'{"response":"Hi!"}')
        assert server.get("/healthz").status == 200
        # The master tells one worker after the other, and whoever answers may be the next one.
        wait_for(lambda: all(server.get("/readyz").body == b'{"status":"draining"}' for _ in range(5)))
        assert server.wait() == 0
        assert 3 <= time.monotonic() - began < 8
        assert is_refused(server)


@pytest.mark.parametrize("moment", [AFTER_FORK, AT_DEFAULT], ids=["after the fork", "at default"])
def test_sigterm_in_a_workers_first_moments_is_not_lost(moment: str, tmp_path: Path) -> None:
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(f"{CONFIG.read_text()}\nimport signal\n{moment}")
    with running({"DRAIN_SECONDS": "20"}, config=config, readiness=503) as server:
        assert server.get("/readyz").body == b'{"status":"draining"}'
        assert server.get().body == b'{"response":"Hi!"}'


def test_told_again_it_neither_hurries_nor_starts_anew() -> None:
    drain = 4
    with running({"DRAIN_SECONDS": str(drain)}) as server:
        began = time.monotonic()
        server.terminate()
        time.sleep(drain - 1)
        for worker in server.workers():
            os.kill(worker, signal.SIGTERM)
        again = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - began >= drain
        assert time.monotonic() - again < drain


def test_a_draining_server_asks_clients_to_leave() -> None:
    with running({"DRAIN_SECONDS": "1"}) as server, contextlib.closing(server.connect()) as kept:
        assert ask(kept).headers["connection"] == "keep-alive"
        server.terminate()
        assert ask(kept).headers["connection"] == "close"
        assert server.wait() == 0


def test_requests_in_flight_are_finished() -> None:
    """Two that outlast the drain: one that is still arriving, one whose answer is being worked on."""
    with (
        running({"DRAIN_SECONDS": "1"}, app="slow_app:app") as server,
        ThreadPoolExecutor() as pool,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as arriving,
    ):
        arriving.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        server.terminate()
        slow = pool.submit(server.get, headers={"X-Test-Seconds": "1.5"})
        time.sleep(1.7)
        arriving.sendall(b"\r\n")
        assert b'\r\n\r\n{"response":"Hi!"}' in b"".join(iter(lambda: arriving.recv(4096), b""))
        assert slow.result().body == b'{"response":"Hi!"}'
        assert server.wait() == 0


def test_no_request_is_lost_while_draining() -> None:
    """Half of the clients keep their connection, half open one per request; all ask across SIGTERM."""
    seen: Counter[object] = Counter()
    lock = threading.Lock()
    enough = threading.Event()

    def ask_until_enough(server: Server, keep: bool) -> None:
        connection = server.connect()
        while not enough.is_set():
            outcome: object
            try:
                answer = ask(connection)
                outcome = (answer.status, answer.body)
            except (OSError, http.client.HTTPException) as error:
                outcome = repr(error)
                connection.close()
            with lock:
                seen[outcome] += 1
            if not keep:
                connection.close()
            time.sleep(0.002)
        connection.close()

    with running({"DRAIN_SECONDS": "4"}) as server, ThreadPoolExecutor() as pool:
        for keep in (True, False, True, False):
            pool.submit(ask_until_enough, server, keep)
        wait_for(lambda: sum(seen.values()) > 20)
        began = time.monotonic()
        server.terminate()
        at_drain = sum(seen.values())
        time.sleep(1.2)
        enough.set()
        pool.shutdown()
        assert time.monotonic() - began < 4, "the clients went on after the drain; this run says nothing"
        assert server.wait() == 0
    assert set(seen) == {(200, b'{"response":"Hi!"}')}
    assert sum(seen.values()) > at_drain + 20


def test_silent_connections_do_not_hold_up_the_stop() -> None:
    with running({"DRAIN_SECONDS": "1"}) as server, contextlib.closing(server.connect()) as idle:
        ask(idle)
        with socket.create_connection(("127.0.0.1", server.port)):
            server.get()
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.wait() == 0
            assert time.monotonic() - began < 6


def test_no_drain_when_none_is_wanted() -> None:
    with running({"DRAIN_SECONDS": "0"}) as server:
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert time.monotonic() - began < 4, "that was the default drain"


def test_ctrl_c_waits_for_nothing() -> None:
    """A terminal sends SIGINT to the whole process group: no drain, no waiting for a slow request."""
    with (
        running({"DRAIN_SECONDS": "20"}, app="slow_app:app") as server,
        socket.create_connection(("127.0.0.1", server.port)) as slow,
    ):
        slow.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Test-Seconds: 8\r\n\r\n")
        time.sleep(0.3)
        began = time.monotonic()
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.wait() == 0
        assert time.monotonic() - began < 3
        assert is_refused(server)
