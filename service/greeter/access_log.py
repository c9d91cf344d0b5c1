"""The access log: one line of JSON on stdout for each request, written at once.

Every line is one `write` of less than 4 KiB, which a pipe takes whole, so lines of several workers never mix.
"""

import functools
import os
import stat
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as _quoted

from greeter.http import Exchange

_STDOUT = 1
_PATH_CHARACTERS = 512
_METHOD_CHARACTERS = 32
_SILENT_ROUTES = ("/healthz", "/readyz", "/metrics")


class AccessLog:
    """Writes the lines that are wanted."""

    def __init__(self, wanted: str, lose: Callable[[], None]) -> None:
        """Take "requests" (all but probes and metrics), "all" or "off", and whom to tell of a line that is lost."""
        self._off = wanted == "off"
        self._silent = _SILENT_ROUTES if wanted == "requests" else ()
        self._lose = lose
        # Whoever reads it may stall or go away: no reason to stop greeting.
        if stat.S_ISFIFO(os.fstat(_STDOUT).st_mode):
            os.set_blocking(_STDOUT, False)

    def write(self, exchange: Exchange, seconds: float) -> None:
        """Log one request, after its answer."""
        if self._off or exchange.route in self._silent:
            return
        try:
            os.write(_STDOUT, render(exchange, seconds, time.time()))
        except OSError:
            self._lose()


def render(exchange: Exchange, seconds: float, now: float) -> bytes:
    """Return the line of a request.

    Args:
        exchange: The request and its answer.
        seconds: From the last byte of its head to the answer.
        now: Seconds since 1970.
    """
    second = int(now)
    # ASCII alone: what a client puts in a path is shown, and can never end the line or drive a terminal.
    return (
        f'{{"time":"{_instant(second)}.{int((now - second) * 1000):03d}Z",'
        f'"method":{_quoted(exchange.method[:_METHOD_CHARACTERS])},'
        f'"path":{_quoted(exchange.path[:_PATH_CHARACTERS])},"status":{exchange.status},'
        f'"duration":{seconds:.6f},"request_id":"{exchange.request_id}"}}\n'
    ).encode("ascii")


@functools.lru_cache(maxsize=1)
def _instant(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
