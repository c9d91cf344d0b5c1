"""The module that calls the customers' hosts, against a real HTTP server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import http_endpoints
import pytest

HI = '{"response":"Hi!"}'


class Ingress(BaseHTTPRequestHandler):
    """Answers by host name, and ``late.example.com`` only from its third request on."""

    requests_for_late = 0

    def do_GET(self) -> None:
        """Answer one request."""
        host = self.headers["Host"]
        if host == "late.example.com":
            Ingress.requests_for_late += 1
        ready = host == "a.example.com" or (host == "late.example.com" and Ingress.requests_for_late > 2)
        body = HI.encode() if ready else b"404 page not found\n"
        self.send_response(200 if ready else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def ingress() -> Iterator[int]:
    """The server's port on the loopback address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ingress)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def endpoint(host: str, port: int, body: str = HI) -> dict[str, Any]:
    return {"host": host, "address": "127.0.0.1", "port": port, "body": body}


def watch(wanted: dict[str, Any], seconds: float = 0) -> dict[str, Any]:
    return http_endpoints.watch(wanted, time.monotonic() + seconds)


def test_the_expected_answer(ingress: int) -> None:
    seen = watch(endpoint("a.example.com", ingress))
    assert (seen["status"], seen["answer"], seen["error"]) == (200, HI, "")
    assert http_endpoints.as_expected(seen)


def test_a_host_that_needs_a_moment_is_asked_again(ingress: int) -> None:
    assert http_endpoints.as_expected(watch(endpoint("late.example.com", ingress), seconds=10))


def test_another_body_is_a_fault(ingress: int) -> None:
    seen = watch(endpoint("a.example.com", ingress, body='{"response":"Hi"}'))
    assert not http_endpoints.as_expected(seen)
    assert http_endpoints.fault(seen) == (
        f"- a.example.com through 127.0.0.1:{ingress}: "
        """expected 200 '{"response":"Hi"}', got 200 '{"response":"Hi!"}'"""
    )


def test_an_unknown_host_is_a_fault(ingress: int) -> None:
    seen = watch(endpoint("b.example.com", ingress))
    assert not http_endpoints.as_expected(seen)
    assert "got 404 '404 page not found\\n'" in http_endpoints.fault(seen)


def test_the_right_body_with_another_status_is_a_fault(ingress: int) -> None:
    seen = watch(endpoint("b.example.com", ingress, body="404 page not found\n"))
    assert not http_endpoints.as_expected(seen)


def test_nobody_listening_is_a_fault() -> None:
    assert "refused" in http_endpoints.fault(watch(endpoint("a.example.com", 1)))
