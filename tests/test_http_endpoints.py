"""The module that calls the customers' hosts, against a real HTTP server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.modules import http_endpoints

HI = '{"response":"Hi!"}'


class Ingress(BaseHTTPRequestHandler):
    """Answers by host name; late.example.com only from its third request on, ``301.to.URL`` by a redirect to URL."""

    requests_for_late = 0

    def do_GET(self) -> None:
        """Answer one request."""
        host = self.headers["Host"]
        status, _, target = host.partition(".to.")
        if target:
            self.send_response(int(status))
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
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


class IPv6Server(ThreadingHTTPServer):
    """A server for addresses of the other kind."""

    address_family = socket.AF_INET6


@pytest.fixture(scope="module")
def ingress() -> Iterator[int]:
    """The server's port on the loopback address."""
    yield from serve(ThreadingHTTPServer(("127.0.0.1", 0), Ingress))


@pytest.fixture(scope="module")
def ingress_by_ipv6() -> Iterator[int]:
    """The same on the other loopback address."""
    yield from serve(IPv6Server(("::1", 0), Ingress))


def serve(server: ThreadingHTTPServer) -> Iterator[int]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def endpoint(host: str, port: int, body: str | None = HI, **more: str) -> dict[str, Any]:
    """An endpoint as the module gets it to call, without the options that were not given."""
    options = {"scheme": "http", "location": None, "certificate": None, "address": "127.0.0.1"}
    return http_endpoints.prepare({**options, "host": host, "port": port, "body": body, **more})


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


@pytest.mark.parametrize("address", ["::1", "[::1]"])
def test_a_node_with_an_ipv6_address(ingress_by_ipv6: int, address: str) -> None:
    assert http_endpoints.as_expected(watch(endpoint("a.example.com", ingress_by_ipv6, address=address)))
    seen = watch(endpoint("b.example.com", ingress_by_ipv6, address=address))
    assert f"b.example.com through [::1]:{ingress_by_ipv6}: " in http_endpoints.fault(seen)


def redirect(host: str, port: int) -> dict[str, Any]:
    return watch(endpoint(host, port, body=None, location="https://a.example.com"))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("rest", ["", "/", ":8443/"])
def test_a_redirect_to_the_wanted_host(ingress: int, status: int, rest: str) -> None:
    assert http_endpoints.as_expected(redirect(f"{status}.to.https://a.example.com{rest}", ingress))


@pytest.mark.parametrize(
    ("host", "got"),
    [
        ("301.to.http://a.example.com/", "got 301 to 'http://a.example.com/'"),
        ("301.to.https://b.example.com/", "got 301 to 'https://b.example.com/'"),
        ("301.to.https://a.example.com.example.net/", "got 301 to 'https://a.example.com.example.net/'"),
        ("301.to.https://aXexample.com/", "got 301 to 'https://aXexample.com/'"),
        ("200.to.https://a.example.com/", "got 200 to 'https://a.example.com/'"),
        ("303.to.https://a.example.com/", "got 303 to 'https://a.example.com/'"),
        ("a.example.com", """got 200 '{"response":"Hi!"}'"""),
    ],
)
def test_another_redirect_or_none_is_a_fault(ingress: int, host: str, got: str) -> None:
    seen = redirect(host, ingress)
    assert not http_endpoints.as_expected(seen)
    wanted = "expected a redirect to https://a.example.com, "
    assert http_endpoints.fault(seen) == f"- {host} through 127.0.0.1:{ingress}: {wanted}{got}"
