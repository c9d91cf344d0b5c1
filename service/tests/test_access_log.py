"""The access log: one line of JSON on stdout for each request that people ask about."""

import contextlib
import json
import re
import signal
from typing import Any

import pytest

from .server import PATIENCE, ask, running

NEW_ID = re.compile(r"[0-9a-f]{32}")


def log_of(wanted: str, *requests: bytes) -> list[dict[str, Any]]:
    """Return what a server has logged after requests, each over a connection of its own."""
    with running({"ACCESS_LOG": wanted, "DRAIN_SECONDS": "0"}) as server:
        for request in requests:
            server.say(
                request + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" if b"\r\n" not in request else request
            )
        server.metrics()
        server.process.send_signal(signal.SIGTERM)
        stdout, stderr = server.process.communicate(timeout=PATIENCE)
    assert stderr == ""
    return [json.loads(line) for line in stdout.splitlines()]


def test_a_line_says_what_happened() -> None:
    (line,) = log_of(
        "requests", b"GET /?token=secret HTTP/1.1\r\nHost: a\r\nX-Request-ID: abc-1\r\nConnection: close\r\n\r\n"
    )
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert 0 < line.pop("duration") < 1
    assert line == {"method": "GET", "path": "/", "status": 200, "request_id": "abc-1"}


def test_probes_and_metrics_are_logged_only_when_wanted() -> None:
    asked = (b"GET /healthz", b"GET /readyz", b"GET /nope", b"POST /")
    assert [line["path"] for line in log_of("requests", *asked)] == ["/nope", "/"]
    assert {line["path"] for line in log_of("all", *asked)} == {"/healthz", "/readyz", "/nope", "/", "/metrics"}
    assert log_of("off", *asked) == []


@pytest.mark.parametrize("given", [b"", b"a b", b'"', b"\\", b"{}", b"x" * 129, b"\xff", b"a,b", b"\x7f", "ä".encode()])
def test_a_request_id_that_is_not_plain_is_replaced(given: bytes) -> None:
    (line,) = log_of(
        "requests", b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: " + given + b"\r\nConnection: close\r\n\r\n"
    )
    assert NEW_ID.fullmatch(line["request_id"])


def test_the_client_learns_the_request_id() -> None:
    with running() as server:
        assert server.get(headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
        made = [server.get().headers["x-request-id"] for _ in range(2)]
        assert all(NEW_ID.fullmatch(each) for each in made)
        assert made[0] != made[1]


@pytest.mark.parametrize("path", [b"/" + b"x" * 4000, b"/\xff\xfe", b'/"\\', b"/%0a%22", "/ä".encode()])
def test_an_odd_path_stays_one_short_line(path: bytes) -> None:
    lines = log_of("requests", b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert len(lines) == 1
    assert len(json.dumps(lines[0])) < 4096


def test_what_was_no_request_is_logged_too() -> None:
    (line,) = log_of("requests", b"\x16\x03\x01\r\n\r\n")
    assert (line["method"], line["path"], line["status"]) == ("", "", 400)


def test_a_line_is_there_as_soon_as_the_answer() -> None:
    with running({"ACCESS_LOG": "requests"}) as server:
        server.get()
        assert server.process.stdout is not None
        assert json.loads(server.process.stdout.readline())["status"] == 200


def test_a_log_that_nobody_reads_for_a_while_holds_nothing_up_and_its_lost_lines_are_counted() -> None:
    with running({"ACCESS_LOG": "all"}) as server:
        asked = 1500
        with contextlib.closing(server.connect()) as connection:
            assert {ask(connection).status for _ in range(asked)} == {200}
        lost = server.metrics()["greeter_access_log_lines_lost_total"]
        assert 0 < lost < asked
        assert server.process.stdout is not None
        assert json.loads(server.process.stdout.readline())["status"] == 200


def test_a_log_that_nobody_reads_any_more_stops_nothing() -> None:
    with running({"ACCESS_LOG": "all"}) as server:
        assert server.process.stdout is not None
        workers = server.workers()
        server.process.stdout.close()
        assert [server.get().status for _ in range(3)] == [200, 200, 200]
        assert server.workers() == workers
