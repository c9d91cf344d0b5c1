"""HTTP on the wire: bytes of a request to a WSGI environment, and a WSGI answer back to bytes.

Gunicorn's parser does the reading, with its limits and its care about request smuggling. It is given whole heads
only, so it never waits for a client.
"""

import functools
import io
import os
import re
import sys
import time
from dataclasses import dataclass
from typing import Any

from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.util import http_date, unquote_to_wsgi_str

from greeter.api import problem

HEAD_BYTES = 16 * 1024
"""The most a request line and its headers may have together."""

_STATUS_OF = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.UnsupportedTransferCoding: 501,
    errors.InvalidHTTPVersion: 505,
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}")
_TITLES = {
    400: "Bad Request",
    408: "Request Timeout",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    505: "HTTP Version Not Supported",
}


class BadRequestError(Exception):
    """What arrived is no request that can be served.

    Attributes:
        status: The status code of the answer.
    """

    def __init__(self, status: int) -> None:
        """Keep the status code."""
        super().__init__(status)
        self.status = status


@dataclass(slots=True)
class Exchange:
    """A request and what is known about its answer.

    Attributes:
        method: As it was sent, or "" if that much could not be read.
        path: As it was sent, without the query; it may hold secrets.
        request_id: Taken from `X-Request-ID`, or made.
        route: Template of the route, "" if none matched.
        status: Status code of the answer.
        close: Whether the connection ends with the answer.
    """

    method: str = ""
    path: str = ""
    request_id: str = ""
    route: str = ""
    status: int = 0
    close: bool = True


def parse(head: bytes, cfg: Config, peer: tuple[str, int]) -> Request:
    """Read a whole head.

    Args:
        head: Everything up to and including the empty line.
        cfg: Gunicorn's limits.
        peer: Address and port of the client.

    Raises:
        BadRequestError: It breaks the rules or the limits.
    """
    try:
        request = Request(cfg, IterUnreader([head]), peer)
    except errors.ParseException as error:
        raise BadRequestError(
            next((code for kind, code in _STATUS_OF.items() if isinstance(error, kind)), 400)
        ) from None
    except (OSError, StopIteration, ValueError):
        # An end inside the head, or a number or text that Python itself refuses.
        raise BadRequestError(400) from None
    if request.version >= (1, 1) and sum(name == "HOST" for name, _ in request.headers) != 1:
        raise BadRequestError(400)
    return request


def has_body(request: Request) -> bool:
    """Tell whether bytes follow the head that belong to the request. Nobody reads them: no resource takes any."""
    return any(
        name == "TRANSFER-ENCODING" or (name == "CONTENT-LENGTH" and value.strip("0"))
        for name, value in request.headers
    )


def request_id(environ: dict[str, Any]) -> str:
    """Return the client's `X-Request-ID` if it is one that a log can hold, else a new one."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def environment(request: Request, peer: tuple[str, int], server: tuple[str, int], multiprocess: bool) -> dict[str, Any]:
    """Make the WSGI environment (PEP 3333) of a request. Its body is empty to the application."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_wsgi_str(request.path),
        "QUERY_STRING": request.query,
        "RAW_URI": request.uri,
        "REMOTE_ADDR": peer[0],
        "REMOTE_PORT": str(peer[1]),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{request.version[0]}.{request.version[1]}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
    }
    for name, value in request.headers:
        key = name.replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


class Response:
    """Takes a WSGI application's answer and makes one piece of bytes of it."""

    def __init__(self) -> None:
        """Begin without an answer."""
        self.status = 0
        self._lines: list[str] = []

    def start_response(self, status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
        """Keep status and headers, as PEP 3333 has it; nothing is sent before the body is there."""
        self.status = int(status[:3])
        self._lines = [f"HTTP/1.1 {status}\r\n", *[f"{name}: {value}\r\n" for name, value in headers]]

    def render(self, body: bytes, exchange: Exchange) -> bytes:
        """Return the whole answer to `exchange`, without the body if that was a HEAD."""
        head = "".join(self._lines) + (
            f"date: {_date(int(time.time()))}\r\nx-request-id: {exchange.request_id}\r\n"
            f"connection: {'close' if exchange.close else 'keep-alive'}\r\n\r\n"
        )
        return head.encode("latin-1") + (b"" if exchange.method == "HEAD" else body)


def refusal(status: int) -> bytes:
    """Return the whole answer to what was no request; the connection ends with it."""
    body = problem(_TITLES[status], status)
    head = (
        f"HTTP/1.1 {status} {_TITLES[status]}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n"
        f"date: {_date(int(time.time()))}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return str(http_date(second))
