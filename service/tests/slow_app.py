"""The greeter behind a door that takes its time, for tests that need a request in flight."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from greeter.app import app as greeter


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer as the greeter does, after the seconds that the header `X-Test-Seconds` asks for."""
    time.sleep(float(environ.get("HTTP_X_TEST_SECONDS", "0")))
    return greeter(environ, start_response)
