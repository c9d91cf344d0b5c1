"""HTTP on the wire: a head to a request for the WSGI application, and its answer back to bytes.

Gunicorn's parser does the reading, with its limits and its care about request smuggling. It is given whole heads
only, so it never waits for a client.
"""

import functools
import io
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import falcon
from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.util import http_date, unquote_to_wsgi_str

from greeter.api import PROBLEM, ROUTE, problem
from greeter.state import PROCESS

HEAD_BYTES = 16 * 1024
"""The most a request line and its headers may have together."""

# What keeps a browser from making anything else of the JSON, and a cache from keeping it.
_HEADERS = (
    "cache-control: no-store\r\ncontent-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
    "x-content-type-options: nosniff\r\n"
)
_STATUS_OF = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.UnsupportedTransferCoding: 501,
    errors.InvalidHTTPVersion: 505,
}
_CRLF = "\r\n"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}")
# RFC 9110, section 7.2: a name or address, and a port.
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")


@dataclass(slots=True)
class Exchange:
    """A request and its answer."""

    method: str = ""  # "" if that much could not be read
    path: str = ""  # without the query, which may hold secrets
    request_id: str = ""  # the client's `X-Request-ID`, or a new one
    route: str = ""  # its template, "" if none matched
    status: int = 0
    close: bool = True  # the connection, with the answer
    answer: bytes = b""  # all of it, as it is sent


class _Request(Request):
    """A request whose forwarding headers are nobody's word, whoever sends them."""

    def _peer_trusted_for_forwarded(self) -> tuple[dict[str, str], list[str]]:
        return {}, []


class Http:
    """Answers heads by WSGI applications, one for each port."""

    def __init__(self, cfg: Config, apps: Mapping[int, Callable[..., Iterable[bytes]]]) -> None:
        """Read gunicorn's limits once: its own object looks each one up anew for every header."""
        self._cfg = SimpleNamespace(is_ssl=False, **{name: setting.get() for name, setting in cfg.settings.items()})
        self._apps = apps
        self._environment = {
            "SCRIPT_NAME": "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": cfg.workers > 1,
            "wsgi.run_once": False,
        }

    def answer(self, head: bytes, peer: tuple[str, int], port: int, refused: int = 0) -> Exchange:
        """Answer a whole head, up to and including the empty line. Nobody reads a body: no resource takes any.

        Args:
            head: What has arrived.
            peer: Address and port of the client.
            port: The port it came to.
            refused: The status code of the answer to what is no whole head.
        """
        if refused:
            return _refuse(refused, head)
        exchange = Exchange()
        try:
            environ = self._read(head, peer, port, exchange)
        except errors.ParseException as error:
            return _refuse(next((status for kind, status in _STATUS_OF.items() if isinstance(error, kind)), 400), head)
        except (OSError, StopIteration, ValueError):
            # An end inside the head, or a number or text that Python itself refuses.
            return _refuse(400, head)
        started: list[tuple[str, list[tuple[str, str]]]] = []
        try:
            app = self._apps[port]
            body = b"".join(app(environ, lambda status, headers, _exc_info=None: started.append((status, headers))))
        except Exception:
            logging.getLogger("gunicorn.error").exception("The application failed")
            return _refuse(500, head)
        exchange.route = environ.get(ROUTE, "")
        return _finish(exchange, *started[-1], body)

    def _read(self, head: bytes, peer: tuple[str, int], port: int, exchange: Exchange) -> dict[str, Any]:
        """Make the WSGI environment (PEP 3333) of a request, and begin its exchange.

        Raises:
            errors.ParseException, OSError, StopIteration, ValueError: The head breaks the rules or the limits.
        """
        request = _Request(self._cfg, IterUnreader([head]), peer)
        environ: dict[str, Any] = self._environment | {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": unquote_to_wsgi_str(request.path),
            "QUERY_STRING": request.query,
            "RAW_URI": request.uri,
            "REMOTE_ADDR": peer[0],
            "REMOTE_PORT": str(peer[1]),
            "SERVER_NAME": "greeter",
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": f"HTTP/{request.version[0]}.{request.version[1]}",
            "wsgi.input": io.BytesIO(),
        }
        for name, value in request.headers:
            key = name.replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        if not _HOST.fullmatch(environ.get("HTTP_HOST", "" if request.version > (1, 0) else "old")):
            raise ValueError("no host, or none that can be")
        wishes = {wish.strip(" \t").lower() for wish in environ.get("HTTP_CONNECTION", "").split(",")}
        stays = request.version > (1, 0) or "keep-alive" in wishes
        has_body = "HTTP_TRANSFER_ENCODING" in environ or environ.get("CONTENT_LENGTH", "").strip("0")
        exchange.method, exchange.path = request.method, request.path
        exchange.close = bool(
            PROCESS.draining or request.must_close or has_body or not stays or "close" in wishes
            or request.method == "CONNECT"
        )  # fmt: skip
        given = environ.get("HTTP_X_REQUEST_ID", "")
        exchange.request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        return environ


def _refuse(status: int, head: bytes) -> Exchange:
    """Answer what is no request, and end the connection: where the next one starts nobody knows."""
    body = problem(status)
    headers = [("content-type", PROBLEM), ("content-length", str(len(body)))]
    exchange = Exchange(request_id=os.urandom(16).hex())
    return _finish(exchange, falcon.code_to_http_status(status), headers, body, bodiless=head.startswith(b"HEAD "))


def _finish(
    exchange: Exchange, status: str, headers: Iterable[tuple[str, str]], body: bytes, bodiless: bool = False
) -> Exchange:
    exchange.status = int(status[:3])
    head = (
        f"HTTP/1.1 {status}\r\n{''.join([f'{name}: {value}{_CRLF}' for name, value in headers])}{_HEADERS}"
        f"date: {_date(int(time.time()))}\r\nx-request-id: {exchange.request_id}\r\n"
        f"connection: {'close' if exchange.close else 'keep-alive'}\r\n\r\n"
    )
    exchange.answer = head.encode("latin-1") + (b"" if bodiless or exchange.method == "HEAD" else body)
    return exchange


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return str(http_date(second))
