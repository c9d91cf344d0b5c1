"""One loop over all connections: it waits for every client, and no client waits for another.

Each connection is in exactly one phase, which says what it waits for and how long it may. As soon as the head of a
request is there as a whole it is answered, in one go; who has sent more waits for the others first.
"""

import enum
import errno
import math
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from greeter.http import HEAD_BYTES, Exchange

HELD_BYTES = 8 * 1024 * 1024
"""The most that all unfinished requests and answers may have together, in a pod of 64 MiB."""
LINGERING_BYTES = 16 * 1024 * 1024
"""How much of a body that nobody reads is thrown away, so that its sender gets to see the answer."""

_END_OF_HEAD = b"\r\n\r\n"
# Events and new connections between two looks at the clock and at what is held.
_AT_ONCE = 64
# What a stopping loop gives connections that are idle, since a request may be on its way there.
_LAST_IDLE_SECONDS = 2.0
# No descriptor or no memory is left for another connection.
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Phase(enum.Enum):
    """What a connection is doing; whoever has to make room is looked for in this order."""

    LINGERING = "all is sent, and the client has not closed yet"
    SENDING = "the client does not take its answer"
    ARRIVING = "a head has begun"
    READY = "the next request has come with the last one"
    IDLE = "no byte of a request has come"


_HOLDING = (Phase.SENDING, Phase.ARRIVING, Phase.READY)


@dataclass(slots=True, eq=False)
class Connection:
    """An accepted connection."""

    sock: socket.socket
    descriptor: int  # -1 once it is closed, for the number goes to the next one
    peer: tuple[str, int]
    port: int  # the one it came in on
    phase: Phase | None = None  # neither before nor after
    deadline: float = 0.0  # when the time of its phase is over, by the loop's clock
    received: bytes = b""  # what is not answered yet, `HEAD_BYTES` at most
    since: float = 0.0  # when the last of it came, by the loop's clock
    unsent: bytes = b""
    ending: bool = False  # with the answer that is being sent
    lingered: int = 0  # bytes that came after the end


class Loop:
    """Serves all connections of some listeners, turn by turn.

    Attributes:
        connections: Those that are open, by their descriptors.
    """

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        answer: Callable[[bytes, tuple[str, int], int, int], Exchange],
        record: Callable[[Exchange, float], None],
        *,
        idle_seconds: float,
        most: int,
        poll: select.epoll,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without listeners.

        Args:
            answer: Gives the answer to a head from a client at a port; to what is no whole head, that of a status code.
            record: Is told every exchange, and the seconds from the last byte of its head to the answer.
            idle_seconds: How long a connection may say nothing.
            most: How many connections there may be; for one more the slowest gives way.
            poll: Waits for them all, and for what else is to end a turn's wait.
            clock: Gives seconds that never go back.
        """
        self._answer, self._record, self._most, self._poll, self._clock = answer, record, most, poll, clock
        self._listeners: dict[int, tuple[socket.socket, int]] = {}
        self.connections: dict[int, Connection] = {}
        # In the order in which their time runs out: within a phase all have the same time.
        self._in: dict[Phase, dict[Connection, None]] = {phase: {} for phase in Phase}
        self._seconds = {
            Phase.LINGERING: 2.0, Phase.SENDING: 10.0, Phase.ARRIVING: 10.0, Phase.READY: math.inf,
            Phase.IDLE: idle_seconds,
        }  # fmt: skip

    def listen(self, listeners: Iterable[socket.socket]) -> None:
        """Take connections from these listeners."""
        for listener in listeners:
            listener.setblocking(False)
            # Its connections inherit them. With small buffers a client's bytes wait on the client's side.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HEAD_BYTES)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, HEAD_BYTES)
            self._listeners[listener.fileno()] = listener, listener.getsockname()[1]
            # One process of several is woken for a new connection, not all of them.
            self._poll.register(listener.fileno(), select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def turn(self) -> None:
        """Wait for something to happen, for a second at most, and deal with it."""
        for descriptor, _ in self._poll.poll(0 if self._in[Phase.READY] else 1.0, _AT_ONCE):
            if connection := self.connections.get(descriptor):
                if connection.phase is Phase.SENDING:
                    self._send(connection)
                elif connection.phase is not Phase.READY:
                    self._receive(connection)
            elif descriptor in self._listeners:
                self._accept(*self._listeners[descriptor])
        # One request of each in each turn: who sends many at once waits for the others.
        for connection in list(self._in[Phase.READY]):
            self._serve(connection)
        self._expire()
        excess = sum(map(_held, self._slowest(_HOLDING))) - HELD_BYTES
        while excess > 0:
            excess -= _held(slowest := next(self._slowest(_HOLDING)))
            self._drop(slowest)

    def stop(self) -> None:
        """Take no new connections; those that are open are served on while there are turns."""
        for descriptor, (listener, port) in self._listeners.items():
            while self._accept(listener, port):
                pass
            self._poll.unregister(descriptor)
            listener.close()
        self._listeners.clear()
        self._seconds[Phase.IDLE] = _LAST_IDLE_SECONDS
        for connection in self._in[Phase.IDLE]:
            connection.deadline = min(connection.deadline, self._clock() + _LAST_IDLE_SECONDS)

    def _expire(self) -> None:
        now = self._clock()
        for phase, connections in self._in.items():
            while connections and (oldest := next(iter(connections))).deadline <= now:
                if phase is Phase.ARRIVING:
                    self._respond(oldest, oldest.received, 408)
                else:
                    self._drop(oldest)

    def _slowest(self, phases: Iterable[Phase] = Phase) -> Iterator[Connection]:
        """Connections in the order in which they have to make room: the slow ones first, then the idle ones."""
        return (connection for phase in phases for connection in self._in[phase])

    def _accept(self, listener: socket.socket, port: int) -> bool:
        """Take new connections, and tell whether there may be more of them."""
        for _ in range(_AT_ONCE):
            try:
                sock, peer = listener.accept()
            except ConnectionAbortedError:
                # A client that has gone already; others may be waiting behind it.
                continue
            except OSError as error:
                # Nobody left; else the next turn tries again.
                if error.errno in _FULL and (slowest := next(self._slowest(), None)):
                    self._drop(slowest)
                return False
            sock.setblocking(False)
            connection = Connection(sock, sock.fileno(), peer[:2], port)
            self.connections[connection.descriptor] = connection
            self._poll.register(connection.descriptor, select.EPOLLIN)
            self._wait(connection, Phase.IDLE)
            if len(self.connections) > self._most:
                self._drop(next(self._slowest()))
        return True

    def _wait(self, connection: Connection, phase: Phase) -> None:
        """Give a connection the time of a phase, anew."""
        if connection.phase:
            del self._in[connection.phase][connection]
        connection.phase = phase
        connection.deadline = self._clock() + self._seconds[phase]
        self._in[phase][connection] = None

    def _drop(self, connection: Connection) -> None:
        if connection.phase:
            del self._in[connection.phase][connection], self.connections[connection.descriptor]
            connection.phase, connection.descriptor = None, -1
            connection.sock.close()

    def _receive(self, connection: Connection) -> None:
        lingering = connection.phase is Phase.LINGERING
        try:
            data = connection.sock.recv(4 * HEAD_BYTES if lingering else HEAD_BYTES - len(connection.received))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or connection.lingered > LINGERING_BYTES:
            self._drop(connection)
        elif lingering:
            connection.lingered += len(data)
        else:
            connection.since = self._clock()
            connection.received += data
            self._serve(connection)

    def _serve(self, connection: Connection) -> None:
        """Answer the next request of a connection, if it is there as a whole."""
        received = connection.received
        # Empty lines before a request are to be overlooked (RFC 9112, section 2.2).
        while received.startswith(b"\r\n"):
            received = received[2:]
        head, end, connection.received = received.partition(_END_OF_HEAD)
        if end:
            self._respond(connection, head + end)
            return
        connection.received = received
        if len(received) >= HEAD_BYTES:
            self._respond(connection, received, 431 if b"\r\n" in received else 414)
        elif received.count(b"\n") > received.count(b"\r\n"):
            self._respond(connection, received, 400)
        elif connection.phase is not (phase := Phase.ARRIVING if received else Phase.IDLE):
            self._wait(connection, phase)

    def _respond(self, connection: Connection, head: bytes, status: int = 0) -> None:
        exchange = self._answer(head, connection.peer, connection.port, status)
        connection.ending, connection.unsent = exchange.close, exchange.answer
        self._send(connection)
        self._record(exchange, self._clock() - connection.since)

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
        sending = connection.phase is Phase.SENDING
        if bool(connection.unsent) != sending:
            self._poll.modify(connection.descriptor, select.EPOLLIN if sending else select.EPOLLOUT)
        if connection.unsent:
            if not sending:
                self._wait(connection, Phase.SENDING)
        elif connection.ending:
            self._linger(connection)
        else:
            self._wait(connection, Phase.READY if connection.received else Phase.IDLE)

    def _linger(self, connection: Connection) -> None:
        """Say that nothing more comes, and wait for the client to close.

        To close at once while bytes of the client are unread would reset the connection, and the answer might be
        lost with it (RFC 9112, section 9.6).
        """
        connection.received = b""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)
        else:
            self._wait(connection, Phase.LINGERING)


def _held(connection: Connection) -> int:
    return len(connection.received) + len(connection.unsent)
