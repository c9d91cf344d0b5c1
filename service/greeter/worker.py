"""A gunicorn worker that stops in two steps, so that a rolling update loses no request.

Kubernetes sends SIGTERM at the same moment as it begins to tell the ingress, so requests still arrive
for a while. Gunicorn's own threaded worker stops accepting at once. This one first drains: `/readyz`
answers 503, everything else is served as before, and each answer asks the client to close its
connection. Only then gunicorn's graceful stop follows, which finishes the requests in flight.
"""

import math
import os
import signal
import time
from functools import partial
from selectors import EVENT_READ
from types import FrameType
from typing import NoReturn

from gunicorn.http.message import Request  # type: ignore[import-untyped]
from gunicorn.workers.gthread import (  # type: ignore[import-untyped]
    STOP_KEEPALIVE_LINGER,
    TConn,
    ThreadWorker,
)

from greeter.settings import from_environment
from greeter.state import PROCESS


class DrainingWorker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's threaded worker with a drain before its graceful stop.

    Attributes:
        _silent_until: When a stopping worker closes silent connections, in seconds of the monotonic clock.
    """

    _silent_until = math.inf

    def init_signals(self) -> None:
        """Install gunicorn's signal handlers, and ours for the end of the drain."""
        super().init_signals()
        signal.signal(signal.SIGALRM, self._end_drain)
        # Like gunicorn's SIGTERM: do not break off the system calls of a request in flight.
        signal.siginterrupt(signal.SIGALRM, False)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM begin to drain; a second SIGTERM neither shortens nor prolongs it."""
        if PROCESS.draining:
            return
        PROCESS.draining = True
        seconds = from_environment().drain_seconds
        if seconds:
            # The kernel's timer, not a thread's: a signal handler must not start a thread, since
            # that takes locks which the interrupted code may be holding.
            signal.setitimer(signal.ITIMER_REAL, seconds)
        else:
            self._end_drain(sig, frame)

    def handle_quit(self, _sig: int, _frame: FrameType | None) -> NoReturn:
        """On SIGINT and SIGQUIT end here and now.

        A terminal's Ctrl-C reaches the worker directly and once more through the master. Gunicorn's
        handler takes a lock of the thread pool; when the second signal, or the pool's own code,
        meets it holding that lock, the worker hangs until the master kills it.
        """
        os._exit(0)

    def _end_drain(self, sig: int, frame: FrameType | None) -> None:
        """Hand over to gunicorn's graceful stop."""
        self._silent_until = time.monotonic() + STOP_KEEPALIVE_LINGER
        super().handle_exit(sig, frame)

    def murder_pending(self) -> None:
        """Close expired connections that have not sent a byte of a request.

        A stopping gunicorn would wait for them until their keep-alive timeout, and so hold up the
        stop; give them what it gives to idle connections that have had a request before.
        """
        if not self.alive:
            for conn in self.pending_conns:
                conn.timeout = min(conn.timeout, self._silent_until)
        super().murder_pending()

    def enqueue_req(self, conn: TConn) -> None:
        """Give a connection to a thread once it has something to say, and not before.

        Gunicorn lets a thread wait up to five seconds for the first byte. Proxies open connections
        in advance; as many silent ones as there are threads would stall everybody else.
        """
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Answer a request; while draining, with `Connection: close`, so that clients move on."""
        if PROCESS.draining:
            req.force_close()
        return bool(super().handle_request(req, conn))
