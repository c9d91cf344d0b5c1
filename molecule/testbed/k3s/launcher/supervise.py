"""Child processes that live and end with the launcher."""

import http.client
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0

Result = TypeVar("Result")


class ChildError(Exception):
    """A part ended, or did not come up in time: the service as a whole has failed."""


class Supervisor:
    """Starts parts, notices when one ends, and ends all of them in reverse order.

    Use it as a context manager, and only from the main thread: the kernel ends a child when the *thread*
    that started it is gone.
    """

    def __init__(self) -> None:
        """Start with no children."""
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._crash: BaseException | None = None

    def __enter__(self) -> "Supervisor":
        """Let SIGTERM leave the `with` block, from wherever the main thread is."""
        signal.signal(signal.SIGTERM, self._leave)
        return self

    @staticmethod
    def _leave(_signal: int, _frame: object) -> None:
        raise SystemExit(0)

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        """End all children."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for child in reversed(self._children.values()):
            child.terminate()
            try:
                child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()

    def start(self, name: str, *command: object) -> None:
        """Start a part; it is killed when the launcher dies in whatever way."""
        argv = ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)]
        self._children[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        log.info("started %s", name)

    def thread(self, name: str, work: Callable[[], None]) -> None:
        """Run work that should go on for ever in a thread; its exception is the service's failure."""

        def run() -> None:
            try:
                work()
            except BaseException as error:
                log.exception("%s failed", name)
                self._crash = error

        threading.Thread(target=run, name=name, daemon=True).start()

    def check(self) -> None:
        """See that everything started is still there.

        Raises:
            ChildError: when something is not.
        """
        if self._crash is not None:
            raise ChildError(f"a thread failed: {self._crash!r}")
        for name, child in self._children.items():
            if child.poll() is not None:
                raise ChildError(f"{name} ended with status {child.returncode}")

    def wait_until(self, what: str, test: Callable[[], object], seconds: float = 120) -> None:
        """Wait until `test` gives something true; an OSError means not yet.

        Raises:
            ChildError: when a child ends meanwhile or the time is over.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            try:
                if test():
                    log.info("%s", what)
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise ChildError(f"not within {seconds:.0f} s: {what}")

    def insist(self, what: str, step: Callable[[], Result]) -> Result:
        """Try a step once a second until it works, and say each time why it does not.

        Raises:
            ChildError: when a child ends meanwhile.
        """
        while True:
            self.check()
            try:
                return step()
            except (OSError, http.client.HTTPException) as error:
                log.error("cannot %s yet: %s", what, error)
                time.sleep(1)

    def run(self) -> None:
        """Stay until a child ends (ChildError) or SIGTERM comes (SystemExit)."""
        while True:
            self.check()
            time.sleep(0.5)


def notify(message: str) -> None:
    """Tell systemd, when it is the one that started us."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
