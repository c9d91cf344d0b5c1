"""`make run` shows the greeter to this machine alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from .conftest import PROJECT


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connects(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def test_make_run_listens_on_one_loopback_address_and_leaves_the_others_free() -> None:
    port, metrics = free_port(), free_port()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # As `make demo` has it, whose host is published on another loopback address with the same port.
    with socket.create_server(("127.0.20.2", port)):
        run = subprocess.Popen(
            ["make", "--old-file=.venv", "run"],
            cwd=PROJECT,
            env=os.environ | {"PATH": path, "PORT": str(port), "METRICS_PORT": str(metrics)},
        )
        try:
            until = time.monotonic() + 20
            while not (connects("127.0.0.1", port) and connects("127.0.0.1", metrics)):
                assert run.poll() is None
                assert time.monotonic() < until
                time.sleep(0.1)
            assert not connects("127.0.0.2", port)
            assert not connects("127.0.0.2", metrics)
        finally:
            run.terminate()
            run.wait(30)
