"""The real server as its own process, and questions to it over a loopback socket."""

import contextlib
import http.client
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from gunicorn.config import Config

from greeter.settings import from_environment

SERVICE = Path(__file__).resolve().parent.parent
CONFIG = SERVICE / "gunicorn.conf.py"
PATIENCE = 10.0
"""Seconds after which something that has not happened counts as not happening."""
SCRAPES = 'greeter_http_requests_total{method="GET",route="/metrics",status="200"}'


@dataclass(frozen=True)
class Answer:
    """What a client sees of one response."""

    status: int
    body: bytes
    headers: dict[str, str]


class Server:
    """A running gunicorn with the greeter."""

    def __init__(self, settings: dict[str, str], app: str = "greeter.app:app", config: Path = CONFIG) -> None:
        """Start it.

        Args:
            settings: Environment variables on top of the required ones; the ports are chosen.
            app: WSGI callable to serve.
            config: Gunicorn's configuration.
        """
        self.port, self.metrics_port = free_port(), free_port()
        ports = {"PORT": str(self.port), "METRICS_PORT": str(self.metrics_port)}
        environ = {"GREETING": "Hi!", "CUSTOMER_NAME": "a", "ACCESS_LOG": "off"} | settings | ports
        self.process = start(environ, app, config)
        self._scrapes = 0

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection, which is opened by its first request."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def get(self, path: str = "/", headers: dict[str, str] | None = None) -> Answer:
        """Send a GET over a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            return ask(connection, path, headers=headers)

    def metrics(self) -> dict[str, float]:
        """Return the samples of `/metrics`, by name and labels as they stand there, no older than this call."""
        found: dict[str, float] = {}

        def are_new() -> bool:
            self._scrapes += 1
            with contextlib.closing(self.connect()) as asker:
                asker.port = self.metrics_port
                lines = ask(asker, "/metrics").body.decode().splitlines()
            pairs = (line.rpartition(" ") for line in lines if line[0] != "#")
            found.update({name: float(value) for name, _, value in pairs})
            return found.get(SCRAPES, 0) >= first

        first = self._scrapes + 1
        wait_for(are_new)
        return found

    def say(self, data: bytes) -> bytes:
        """Send bytes over a connection of their own, and return all that comes until the server closes it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            client.sendall(data)
            return b"".join(iter(lambda: client.recv(4096), b""))

    def answers(self, readiness: int = 200) -> bool:
        """Tell whether `/readyz` answers with that status, without failing when nobody listens."""
        assert self.process.poll() is None, "the server has ended"
        try:
            return self.get("/readyz").status == readiness
        except OSError:
            return False

    def terminate(self) -> None:
        """Tell the master to stop, as Kubernetes does, and wait until the worker knows."""
        self.process.send_signal(signal.SIGTERM)
        wait_for(lambda: self.get("/readyz").status == 503)

    def wait(self) -> int:
        """Return the exit code once the process has ended."""
        return self.process.wait(timeout=PATIENCE)

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


@contextlib.contextmanager
def running(
    settings: dict[str, str] | None = None, app: str = "greeter.app:app", config: Path = CONFIG, readiness: int = 200
) -> Iterator[Server]:
    """Give a server that answers, `/readyz` with the status ``readiness``, and leave nothing of it behind."""
    server = Server(settings or {}, app, config)
    try:
        wait_for(lambda: server.answers(readiness))
        yield server
    finally:
        # The group: a master that is killed cannot take its workers along.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
        server.process.communicate()


def start(environ: dict[str, str], app: str = "greeter.app:app", config: Path = CONFIG) -> subprocess.Popen[str]:
    """Start the greeter as the image does, with nothing in its environment but what is given.

    Another application or configuration is started by gunicorn's own command.
    """
    as_in_the_image = (app, config) == ("greeter.app:app", CONFIG)
    return subprocess.Popen(
        [sys.executable, "-m", *(["greeter"] if as_in_the_image else ["gunicorn", "-c", str(config), app])],
        env={"PYTHONPATH": f"{SERVICE}:{SERVICE / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def configuration() -> Config:
    """Return gunicorn's configuration as gunicorn.conf.py makes it."""
    environ = {"GREETING": "Hi!", "CUSTOMER_NAME": "a"}
    found = Config()
    from_environment.cache_clear()
    with mock.patch.dict(os.environ, environ, clear=True), mock.patch("resource.setrlimit"):
        settings = runpy.run_path(str(CONFIG))
    from_environment.cache_clear()
    for name in settings.keys() & found.settings.keys():
        found.set(name, settings[name])
    return found


def ask(
    connection: http.client.HTTPConnection,
    path: str = "/",
    method: str = "GET",
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send a request over a given connection and read the whole answer."""
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    body = response.read()
    return Answer(response.status, body, {name.lower(): value for name, value in response.getheaders()})


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fail when it does not within `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
