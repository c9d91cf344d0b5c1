"""The real server over a socket: what it answers, and what it lives through."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import PATIENCE, SERVICE, Server, ask, running, start, wait_for


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for the tests that leave it as it was."""
    with running({"GREETING": "Grüß Gott, 世界"}) as started:
        yield started


def test_greeting(server: Server) -> None:
    answer = server.get()
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == b'{"response":"Gr\xc3\xbc\xc3\x9f Gott, \xe4\xb8\x96\xe7\x95\x8c"}'
    assert answer.headers["content-length"] == "34"


def test_head_sends_no_body(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(4096), b""))
    head, separator, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 34" in head
    assert (separator, body) == (b"\r\n\r\n", b"")


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "BREW"])
def test_other_methods_are_405(server: Server, method: str) -> None:
    with contextlib.closing(server.connect()) as connection:
        answer = ask(connection, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.body == b'{"title":"Method Not Allowed","status":405}'


def test_a_connection_is_kept_for_many_requests(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection:
        ask(connection)
        opened = connection.sock
        for path in ("/", "/healthz", "/readyz", "/nope"):
            assert ask(connection, path).headers["connection"] == "keep-alive"
            assert connection.sock is opened


def test_connections_that_say_nothing_stall_nobody(server: Server) -> None:
    with contextlib.ExitStack() as silent:
        for _ in range(4):
            silent.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        with contextlib.closing(server.connect()) as connection:
            connection.timeout = 2
            assert ask(connection).status == 200


def test_a_connection_may_speak_late(server: Server) -> None:
    with contextlib.closing(server.connect()) as late:
        late.connect()
        assert server.get().status == 200
        assert ask(late).status == 200


def test_a_killed_worker_is_replaced() -> None:
    with running() as server:
        (before,) = server.workers()
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: server.workers() not in ([before], []))
        assert server.get().body == b'{"response":"Hi!"}'
        assert server.process.poll() is None


def test_gunicorns_own_variables_have_no_effect() -> None:
    variables = {"GUNICORN_CMD_ARGS": "--worker-class sync --limit-request-line 9", "WEB_CONCURRENCY": "3"}
    with running(variables) as server:
        assert server.get("/healthz?" + "x" * 99).headers["x-request-id"]
        assert len(server.workers()) == 1


def test_signals_that_would_make_more_masters_and_workers_have_no_effect() -> None:
    with running({"DRAIN_SECONDS": "0"}) as server:
        (worker,) = server.workers()
        for number in (signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
            server.process.send_signal(number)
        # Handled in the order in which they come.
        server.process.send_signal(signal.SIGTERM)
        assert server.process.communicate(timeout=PATIENCE) == ("", "")
        assert not Path(f"/proc/{worker}").exists()


def test_sigterm_ends_a_start_that_has_only_begun(tmp_path: Path) -> None:
    """The first process of a container is told of no signal that it has no handler for."""
    (tmp_path / "gunicorn").mkdir()
    slow = "import os, time\nos.write(1, b'importing')\ntime.sleep(60)\n"
    (tmp_path / "gunicorn/__init__.py").write_text(slow)
    process = start({"PYTHONPATH": f"{tmp_path}:{SERVICE}"})
    try:
        assert process.stdout is not None
        assert process.stdout.read(9) == "importing"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_quiet_life_leaves_no_log() -> None:
    with running({"DRAIN_SECONDS": "0"}) as server:
        server.get()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.communicate(timeout=PATIENCE) == ("", "")
        assert server.process.returncode == 0


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, ["GREETING", "CUSTOMER_NAME"]),
        ({"CUSTOMER_NAME": "a"}, ["GREETING"]),
        ({"GREETING": "Hi!"}, ["CUSTOMER_NAME"]),
        ({"GREETING": " ", "CUSTOMER_NAME": "a"}, ["GREETING"]),
        ({"GREETING": "a\nb", "CUSTOMER_NAME": "a"}, ["GREETING"]),
        ({"GREETING": "\udcff", "CUSTOMER_NAME": "a"}, ["GREETING"]),
        ({"GREETING": "Hi!", "CUSTOMER_NAME": "A.b"}, ["CUSTOMER_NAME"]),
        ({"GREETING": "Hi!", "CUSTOMER_NAME": "a", "PORT": "http\n"}, ["PORT"]),
        (
            {"GREETING": "Hi!", "CUSTOMER_NAME": "a", "PORT": "0", "DRAIN_SECONDS": "60"},
            ["PORT", "DRAIN_SECONDS"],
        ),
        ({"GREETING": "Hi!", "CUSTOMER_NAME": "a", "WORKERS": "0", "METRICS_PORT": "0"}, ["WORKERS", "METRICS_PORT"]),
    ],
)
def test_bad_settings_end_the_process_at_once(environ: dict[str, str], named: list[str]) -> None:
    process = start(environ)
    try:
        stdout, stderr = process.communicate(timeout=2)
    finally:
        process.kill()
    assert process.returncode == os.EX_CONFIG
    assert stdout == ""
    assert [line.split()[0] for line in stderr.splitlines()] == named
    assert all("; allowed: " in line for line in stderr.splitlines())
