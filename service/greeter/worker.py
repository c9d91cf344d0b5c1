"""A gunicorn worker that reads for everybody at once, answers one after the other, and stops in two steps.

**Reading.** An answer of the greeter takes a fraction of a millisecond and waits for nothing; what takes time is
clients. So there is one loop and no thread: it collects what arrives on any number of connections, and whenever the
head of a request is complete it is parsed, answered and sent in one go. A client that is slow, silent or sends
nonsense costs a few kilobytes and nobody else's time. Gunicorn's own threaded worker gives each request a thread
while its head arrives, so a handful of slow clients are enough to stall it.

**Stopping.** Kubernetes sends SIGTERM at the same moment as it begins to tell the ingress, so requests still arrive
for a while. The worker first drains: `/readyz` answers 503, everything else is served as before, and each answer
asks the client to close its connection. Only then it stops accepting, and finishes what has begun.
"""

import contextlib
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from types import FrameType
from typing import Any, NoReturn

from gunicorn.workers.base import Worker

from greeter.access_log import AccessLog
from greeter.api import ROUTE, create_metrics_app
from greeter.connection import Connection, Phase
from greeter.http import (
    HEAD_BYTES,
    BadRequestError,
    Exchange,
    Response,
    environment,
    has_body,
    parse,
    refusal,
    request_id,
)
from greeter.metrics import Metrics
from greeter.settings import from_environment
from greeter.state import PROCESS

_ACCEPTS_AT_ONCE = 64
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_END_OF_HEAD = b"\r\n\r\n"
# What a stopping worker gives connections that are idle, since a request may be on its way there.
_LAST_IDLE_SECONDS = 2.0
_HEAD_SECONDS = 10.0
_SENDING_SECONDS = 10.0
_LINGERING_SECONDS = 2.0

# The master imports this module before it forks, so that all workers add to the same numbers. Twice the places: a
# worker may be replaced before the master has seen it end.
METRICS = Metrics(slots=2 * from_environment().workers)


class GreeterWorker(Worker):
    """One loop over all connections.

    Attributes:
        slot: Where this worker counts; the master chooses it before it forks (gunicorn.conf.py).
        early_signals: The master's queue of signals, as copied by the fork (gunicorn.conf.py).
    """

    slot = 0
    early_signals: SimpleQueue[int]

    def init_process(self) -> None:
        """Set up what must not be shared with the master, and enter the loop."""
        settings = from_environment()
        METRICS.slot = self.slot
        self._metrics_port = settings.metrics_port
        self._metrics_app = create_metrics_app(lambda: METRICS.render(settings.customer_name, settings.version))
        self._log = AccessLog(settings.access_log)
        self._poll = select.epoll()
        self._listeners = {listener.fileno(): listener.sock for listener in self.sockets}
        self._connections: dict[int, Connection] = {}
        # In the order in which their time runs out: within a phase all have the same time.
        self._waiting: dict[Phase, dict[Connection, None]] = {phase: {} for phase in Phase}
        self._ready: deque[Connection] = deque()
        self._seconds = {
            Phase.IDLE: float(self.cfg.keepalive),
            Phase.ARRIVING: _HEAD_SECONDS,
            Phase.SENDING: _SENDING_SECONDS,
            Phase.LINGERING: _LINGERING_SECONDS,
        }
        super().init_process()

    # Signals

    def init_signals(self) -> None:
        """Install gunicorn's signal handlers and ours, and act on what has arrived since the fork.

        Until then a signal goes to the handler that the master left behind, which only puts it into the master's queue:
        nobody in this process would ever read it there.
        """
        # Gunicorn gives each signal its default action first, which would end this process without a drain.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        super().init_signals()
        signal.signal(signal.SIGALRM, self._end_drain)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        while not self.early_signals.empty():
            number = self.early_signals.get_nowait()
            if number in _STOPPING:
                signal.raise_signal(number)

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
        """On SIGINT and SIGQUIT end here and now."""
        os._exit(0)

    def _end_drain(self, _sig: int, _frame: FrameType | None) -> None:
        """Leave the loop; the signal itself has woken it."""
        self.alive = False

    # The loop

    def run(self) -> None:
        """Serve until told to stop, then finish what has begun."""
        self._poll.register(self.PIPE[0], select.EPOLLIN)
        for descriptor, listener in self._listeners.items():
            listener.setblocking(False)
            # One process of several is woken for a new connection, not all of them.
            self._poll.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        while self.alive and os.getppid() == self.ppid:
            self._turn()
        self._stop()

    def _stop(self) -> None:
        """Take no new connections, and serve the ones there are until they have nothing more to say."""
        for descriptor, listener in self._listeners.items():
            while self._accept(listener):
                pass
            self._poll.unregister(descriptor)
            listener.close()
        self._listeners.clear()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        self._seconds[Phase.IDLE] = _LAST_IDLE_SECONDS
        idle_until = time.monotonic() + _LAST_IDLE_SECONDS
        for connection in self._waiting[Phase.IDLE]:
            connection.deadline = min(connection.deadline, idle_until)
        while self._connections and time.monotonic() < deadline and os.getppid() == self.ppid:
            self._turn()

    def _turn(self) -> None:
        """Wait for something to happen, for a second at most, and deal with it."""
        self.notify()
        for descriptor, events in self._poll.poll(0 if self._ready else 1.0):
            if connection := self._connections.get(descriptor):
                if events & select.EPOLLOUT:
                    self._send(connection)
                else:
                    self._receive(connection)
            elif listener := self._listeners.get(descriptor):
                self._accept(listener)
            elif descriptor == self.PIPE[0]:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.PIPE[0], 4096)
        # One request of each connection in each turn: who sends many at once waits for the others.
        for _ in range(len(self._ready)):
            connection = self._ready.popleft()
            connection.queued = False
            self._serve(connection)
        self._expire()

    def _expire(self) -> None:
        now = time.monotonic()
        for phase, connections in self._waiting.items():
            while connections and (oldest := next(iter(connections))).deadline <= now:
                if phase is Phase.ARRIVING:
                    self._refuse(oldest, 408)
                else:
                    self._drop(oldest)

    # Connections

    def _accept(self, listener: socket.socket) -> bool:
        """Take new connections, and tell whether there may be more of them."""
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                accepted, peer = listener.accept()
            except OSError:
                # Nobody left, a client that has gone already, or no descriptor free: the next turn tries again.
                return False
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = accepted.getsockname()
            connection = Connection(accepted, peer[:2], server[:2])
            self._connections[connection.descriptor] = connection
            self._poll.register(connection.descriptor, select.EPOLLIN)
            self._wait(connection, Phase.IDLE)
            if len(self._connections) > self.cfg.worker_connections:
                self._make_room()
        return True

    def _make_room(self) -> None:
        """Close the connection that has been slow for longest, else the one that has been idle for longest."""
        for phase in (Phase.LINGERING, Phase.SENDING, Phase.ARRIVING, Phase.IDLE):
            if self._waiting[phase]:
                self._drop(next(iter(self._waiting[phase])))
                return

    def _wait(self, connection: Connection, phase: Phase) -> None:
        """Give a connection the time of a phase, anew."""
        if connection.phase:
            self._waiting[connection.phase].pop(connection, None)
        connection.phase = phase
        connection.deadline = time.monotonic() + self._seconds[phase]
        self._waiting[phase][connection] = None

    def _drop(self, connection: Connection) -> None:
        if self._connections.pop(connection.descriptor, None):
            if connection.phase:
                self._waiting[connection.phase].pop(connection, None)
            connection.close()

    def _receive(self, connection: Connection) -> None:
        if connection.queued:
            # It has sent the next request already, and is not to fill the memory with more of them.
            return
        try:
            data = connection.sock.recv(HEAD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        if connection.phase is Phase.LINGERING:
            connection.lingered += len(data)
            if not data or connection.lingered > 4 * HEAD_BYTES:
                self._drop(connection)
        elif not data:
            self._drop(connection)
        else:
            connection.since = time.perf_counter()
            connection.received += data
            self._serve(connection)

    def _serve(self, connection: Connection) -> None:
        """Answer the next request of a connection, if it is there as a whole."""
        if connection.descriptor not in self._connections or connection.phase in (Phase.SENDING, Phase.LINGERING):
            return
        received = connection.received
        # Empty lines before a request are to be overlooked (RFC 9112, section 2.2).
        while received.startswith(b"\r\n"):
            del received[:2]
        end = received.find(_END_OF_HEAD)
        if end + len(_END_OF_HEAD) > HEAD_BYTES or (end < 0 and len(received) >= HEAD_BYTES):
            self._refuse(connection, 431 if b"\r\n" in received[:HEAD_BYTES] else 414)
        elif end >= 0:
            head = bytes(received[: end + len(_END_OF_HEAD)])
            del received[: len(head)]
            self._answer(connection, head)
        elif received and connection.phase is Phase.IDLE:
            self._wait(connection, Phase.ARRIVING)

    # Requests

    def _answer(self, connection: Connection, head: bytes) -> None:
        exchange = Exchange()
        try:
            request = parse(head, self.cfg, connection.peer)
        except BadRequestError as error:
            self._refuse(connection, error.status)
            return
        environ = environment(request, connection.peer, connection.server, self.cfg.workers > 1)
        exchange.method, exchange.path = request.method, request.path
        exchange.request_id = request_id(environ)
        exchange.close = PROCESS.draining or not self.alive or request.should_close() or has_body(request)
        response = Response()
        app = self._metrics_app if connection.server[1] == self._metrics_port else self.wsgi
        try:
            answer = response.render(_body(app, environ, response), exchange)
        except Exception:
            self.log.exception("The application failed")
            self._refuse(connection, 500)
            return
        exchange.status = response.status
        exchange.route = environ.get(ROUTE, "")
        self._respond(connection, answer, exchange)

    def _refuse(self, connection: Connection, status: int) -> None:
        """Answer what is no request, and end the connection: where the next one starts nobody knows."""
        self._respond(connection, refusal(status), Exchange(request_id=os.urandom(16).hex(), status=status))

    def _respond(self, connection: Connection, answer: bytes, exchange: Exchange) -> None:
        connection.ending = exchange.close
        connection.unsent = answer
        self._send(connection)
        seconds = time.perf_counter() - connection.since
        METRICS.count(exchange.method, exchange.route, exchange.status, seconds)
        self._log.write(exchange, seconds)

    def _send(self, connection: Connection) -> None:
        """Send as much as the client takes; wait for it with the rest."""
        try:
            sent = connection.sock.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        connection.unsent = connection.unsent[sent:]
        if connection.unsent:
            if connection.phase is not Phase.SENDING:
                self._poll.modify(connection.descriptor, select.EPOLLOUT)
                self._wait(connection, Phase.SENDING)
            return
        if connection.phase is Phase.SENDING:
            self._poll.modify(connection.descriptor, select.EPOLLIN)
        if connection.ending:
            self._linger(connection)
            return
        self._wait(connection, Phase.IDLE)
        if connection.received:
            self._ready.append(connection)
            connection.queued = True

    def _linger(self, connection: Connection) -> None:
        """Say that nothing more comes, and wait for the client to close.

        To close at once while bytes of the client are unread would reset the connection, and the answer might be
        lost with it (RFC 9112, section 9.6).
        """
        connection.received.clear()
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)
            return
        self._wait(connection, Phase.LINGERING)


def _body(app: Callable[..., Iterable[bytes]], environ: dict[str, Any], response: Response) -> bytes:
    """Call a WSGI application and return the whole body."""
    parts = app(environ, response.start_response)
    try:
        return b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
