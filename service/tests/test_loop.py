"""The loop under clients that do anything in any order, on a made-up machine: no real socket, and no second passes.

The machine behaves as Linux does where it matters: the number of a closed descriptor goes to the next connection, its
poll is level-triggered and forgets what is closed, and `accept` wants a free number even if nobody is waiting.

The examples are the same in every run; `STATE_EXAMPLES` in the environment sets how many there are.
"""

import collections
import errno
import json
import math
import os
import re
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import greeter.loop
from greeter.api import create_app
from greeter.http import HEAD_BYTES, Exchange, Http
from greeter.loop import Loop, Phase
from greeter.settings import load
from greeter.state import PROCESS

from .server import configuration

# With the limits that the service has.
HTTP = Http(configuration(), {8080: create_app(load({"GREETING": "Hi!" * 300, "CUSTOMER_NAME": "a"}), PROCESS)})
# The loop's own bounds are so small that a few clients reach them.
MOST = 6
HELD_BYTES = 17_000
LINGERING_BYTES = 20_000
AT_ONCE = 3
SECONDS = {Phase.LINGERING: 2.0, Phase.SENDING: 10.0, Phase.ARRIVING: 10.0, Phase.READY: math.inf, Phase.IDLE: 20.0}
LAST_IDLE_SECONDS = 2.0
# After the stop: 2 s idle or 10 s for a head, 10 s for its answer, 2 s for the end, and each may be seen a turn later.
STOP_SECONDS = 26.0

_ANSWER = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]+\r\n((?:[a-z-]+: [!-~][ -~]*\r\n)+)\r\n")


class Machine:
    """The kernel: numbers for descriptors, and the time."""

    def __init__(self) -> None:
        """Have what every process has, and room for more descriptors than the loop may want."""
        self.now = 1000.0
        self.limit = 64
        self.open: dict[int, FakeListener | FakeSocket] = {}
        self.moved = 0  # how often something has happened that is progress
        self.refusals = 0  # how often there was no number left

    def number(self, owner: "FakeListener | FakeSocket") -> int:
        """Give the lowest number that is free; the first three are taken."""
        lowest = next(number for number in range(3, 3 + len(self.open) + 1) if number not in self.open)
        if len(self.open) >= self.limit:
            self.refusals += 1
            raise OSError(errno.EMFILE, "Too many open files")
        self.open[lowest] = owner
        return lowest


class FakeSocket:
    """The server's end of a connection, with what its client does to it."""

    def __init__(self, machine: Machine, peer: tuple[str, int]) -> None:
        """Wait to be accepted."""
        self.machine, self.peer = machine, peer
        self.descriptor = -1
        self.arrived = b""  # and not read yet
        self.got = b""  # by the client, and not looked at yet
        self.room: float = math.inf  # bytes that the client takes
        self.eof = self.gone = self.reset = False  # half-closed, closed, reset by the client
        self.ended = self.closed = False  # half-closed, closed by the server
        self.told = False  # the server has seen that the client is not there any more
        self.lingered = 0

    def fileno(self) -> int:
        """Return the number of the descriptor."""
        return self.descriptor

    def setblocking(self, flag: bool) -> None:
        """Be asked not to block, as everybody here has to be."""
        assert not flag

    def events(self) -> int:
        """Tell what epoll would see."""
        readable = select.EPOLLIN * bool(self.arrived or self.eof or self.reset)
        writable = select.EPOLLOUT * (self.room > 0 or self.reset)
        broken = (select.EPOLLERR | select.EPOLLHUP) * self.reset
        return readable | writable | broken | select.EPOLLHUP * (self.eof and self.ended)

    def recv(self, size: int) -> bytes:
        """Read what has arrived."""
        assert not self.closed
        assert size > 0, "nothing would look like the end"
        if self.reset or (self.eof and not self.arrived):
            self.told = True
            self.machine.moved += 1
            if self.reset:
                raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
            return b""
        if not self.arrived:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        data, self.arrived = self.arrived[:size], self.arrived[size:]
        self.lingered += len(data) * self.ended
        self.machine.moved += 1
        return data

    def send(self, data: bytes) -> int:
        """Take as much as there is room for."""
        assert not self.closed
        assert not self.ended
        assert data
        if self.reset:
            self.told = True
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        taken = int(min(len(data), self.room))
        if not taken:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        self.room -= taken
        self.got += data[:taken]
        self.reset = self.gone  # that is how a host answers for a program that has gone
        self.machine.moved += 1
        return taken

    def shutdown(self, how: int) -> None:
        """Send an end."""
        assert not self.closed
        assert not self.ended
        assert how == socket.SHUT_WR
        if self.reset:
            self.told = True
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        self.ended = True
        self.machine.moved += 1

    def close(self) -> None:
        """Give the number back."""
        assert not self.closed, "closed twice"
        assert self.machine.open.pop(self.descriptor) is self
        self.closed = True
        self.machine.moved += 1


class FakeListener:
    """A listening socket, with those who wait to be accepted."""

    def __init__(self, machine: Machine) -> None:
        """Listen on port 8080."""
        self.machine = machine
        self.waiting: collections.deque[FakeSocket | OSError] = collections.deque()
        self.descriptor = machine.number(self)
        self.accepted: list[FakeSocket] = []

    def fileno(self) -> int:
        """Return the number of the descriptor."""
        return self.descriptor

    def setblocking(self, flag: bool) -> None:
        """Be asked not to block, as everybody here has to be."""
        assert not flag

    def setsockopt(self, *_option: int) -> None:
        """Have no options."""

    def getsockname(self) -> tuple[str, int]:
        """Return address and port."""
        return "::", 8080

    def events(self) -> int:
        """Tell what epoll would see."""
        return select.EPOLLIN * bool(self.waiting)

    def accept(self) -> tuple[FakeSocket, tuple[str, int, int, int]]:
        """Give the next connection; Linux looks for a free number before it looks who is waiting."""
        assert self.machine.open[self.descriptor] is self
        if not self.waiting or isinstance(self.waiting[0], OSError):
            self.machine.open.pop(self.machine.number(self))
            if not self.waiting:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            self.machine.moved += 1
            raise cast(OSError, self.waiting.popleft())
        self.waiting[0].descriptor = self.machine.number(self.waiting[0])
        sock = cast(FakeSocket, self.waiting.popleft())
        self.accepted.append(sock)
        self.machine.moved += 1
        return sock, (*sock.peer, 0, 0)

    def close(self) -> None:
        """Send those away who are still waiting."""
        assert self.machine.open.pop(self.descriptor) is self
        for sock in self.waiting:
            if isinstance(sock, FakeSocket):
                sock.reset = True
        self.waiting.clear()


class FakePoll:
    """A level-triggered epoll: what has been reported goes to the end of its queue."""

    def __init__(self, machine: Machine) -> None:
        """Watch nothing yet."""
        self.machine = machine
        self.watched: dict[int, tuple[FakeListener | FakeSocket, int]] = {}
        self.waited = False

    def masks(self) -> dict[int, int]:
        """Return what is watched for; what is closed is watched no more, even if its number is somebody's again."""
        open_ = self.machine.open
        self.watched = {number: pair for number, pair in self.watched.items() if open_.get(number) is pair[0]}
        return {number: mask for number, (_, mask) in self.watched.items()}

    def register(self, number: int, mask: int) -> None:
        """Watch one more."""
        assert number not in self.masks()
        self.watched[number] = self.machine.open[number], mask

    def modify(self, number: int, mask: int) -> None:
        """Watch for something else."""
        assert number in self.masks()
        self.watched[number] = self.machine.open[number], mask

    def unregister(self, number: int) -> None:
        """Watch one less."""
        assert number in self.masks()
        del self.watched[number]

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """Report, or let the time pass."""
        always = select.EPOLLERR | select.EPOLLHUP
        found = [
            (number, self.machine.open[number].events() & (mask | always)) for number, mask in self.masks().items()
        ]
        reported = [(number, events) for number, events in found if events][:most]
        for number, _ in reported:
            self.watched[number] = self.watched.pop(number)
        self.waited = not reported and timeout > 0
        self.machine.now += timeout * self.waited
        return reported


@dataclass(frozen=True)
class Item:
    """What a client says: a request, or what is none.

    Attributes:
        data: The bytes.
        needs: How many of them there must be for an answer.
        statuses: The status codes that its answer may have.
        closes: The answer ends the connection.
        name: Its `X-Request-ID`, "" if it is no request.
    """

    data: bytes
    needs: int
    statuses: frozenset[int]
    closes: bool
    name: str = ""


Maker = Callable[[str], Item]


def _request(line: str, *statuses: int, head: str = "", body: int = 0, closes: bool = False) -> Maker:
    def make(name: str) -> Item:
        length = f"Content-Length: {body}\r\n" * bool(body)
        data = f"{line}\r\nHost: a\r\n{head}{length}X-Request-ID: {name}\r\n\r\n".encode()
        return Item(
            data + b"GET / HTTP/1.1\r\n"[:body] * body, len(data), frozenset(statuses), closes or body > 0, name
        )

    return make


def _nonsense(data: bytes, *statuses: int) -> Maker:
    return lambda _name: Item(data, min(len(data), HEAD_BYTES), frozenset(statuses), closes=True)


GOOD = [
    _request("GET / HTTP/1.1", 200),
    _request("HEAD / HTTP/1.1", 200),
    _request("\r\n\r\nGET /nothing HTTP/1.1", 404),
    _request("DELETE / HTTP/1.1", 405),
    _request("GET /readyz HTTP/1.1", 200, 503),
    _request("GET / HTTP/1.0", 200, head="Connection: keep-alive\r\n"),
    _request("GET / HTTP/1.1", 200, head=f"X-A: {'a' * 7000}\r\nX-B: {'b' * 7000}\r\n"),
]
LAST = [
    _request("GET / HTTP/1.1", 200, head="Connection: close\r\n", closes=True),
    _request("GET / HTTP/1.0", 200, closes=True),
    _request("POST / HTTP/1.1", 405, body=5),
    # More than is thrown away with patience.
    _request("PUT /nothing HTTP/1.1", 404, body=300_000),
    _nonsense(b"GET / HTTP/1.1\nHost: a\n\n", 400),
    _nonsense(b"GET /" + b"a" * 17_000, 414),
    _nonsense(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 17_000, 431),
    _nonsense(b"\0\xff\r\n\r\n", 400),
    _nonsense(b"GET / HTTP/1.1\r\n\r\n", 400),
    _nonsense(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: nonsense\r\n\r\n", 501),
]


@dataclass(eq=False)
class Client:
    """A client, what it has said, and what it has been told."""

    sock: FakeSocket
    items: list[Item] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)  # when the first byte of each item was sent
    said: bytes = b""  # all of it, sent or not
    sent: int = 0
    answers: int = 0
    ended: bool = False  # by the last answer
    silent: bool = False  # it neither sends nor reads for the rest of its life
    excused: bool = False  # the server may have had to let go of it
    phase: Phase | None = None  # as it was after the last turn
    since: float = math.inf  # when it has begun, at the earliest
    until: float = math.inf  # when its time is over, at the latest

    def send(self, size: int, now: float) -> None:
        """Send the next bytes."""
        piece = self.said[self.sent : self.sent + size]
        begins = 0
        for index, item in enumerate(self.items):
            if begins < self.sent + len(piece) and len(self.begun) == index:
                self.begun.append(now)
            begins += len(item.data)
        self.sent += len(piece)
        if not self.sock.reset and not self.sock.closed:
            self.sock.arrived += piece

    def listen(self, now: float, drained: float) -> None:
        """Look at the answers that are there as a whole: one for each item, in order, and nothing but HTTP."""
        while self.sock.got:
            assert not self.ended, "more than the last answer"
            assert self.answers < len(self.begun), "an answer to nothing"
            item, begun = self.items[self.answers], self.begun[self.answers]
            head, separator, rest = self.sock.got.partition(b"\r\n\r\n")
            if not separator:
                assert head[:9] == b"HTTP/1.1 "[: len(head)]
                return
            match = _ANSWER.fullmatch(head + separator)
            assert match, head
            lines = [line.split(": ", 1) for line in match[2].decode().splitlines()]
            headers = dict(cast(list[tuple[str, str]], lines))
            assert len(headers) == len(lines), "a header twice"
            length, status = int(headers["content-length"]), int(match[1])
            timed_out = status == 408
            if item.data.startswith(b"HEAD ") and not (timed_out and rest):
                length = 0
            if len(rest) < length:
                return
            if length:
                assert json.loads(rest[:length])
            self.sock.got = rest[length:]
            self.answers += 1
            self.ended = {"close": True, "keep-alive": False}[headers["connection"]]
            if timed_out:
                assert now - begun >= SECONDS[Phase.ARRIVING], "no time for its head"
                assert self.ended
            else:
                assert self.sent >= sum(len(done.data) for done in self.items[: self.answers - 1]) + item.needs * (
                    item.name != ""
                ), "an answer before the end of the head"
                assert status in item.statuses
                assert not item.name or headers["x-request-id"] == item.name
                # It may have been answered before the signal and be read later.
                assert self.ended or not (item.closes or begun > drained)
                assert not self.ended or item.closes or now >= drained


class Clients(RuleBasedStateMachine):
    """Any number of clients against one loop."""

    counts: ClassVar[collections.Counter[str]] = collections.Counter()

    def __init__(self) -> None:
        """Begin with nobody."""
        super().__init__()
        PROCESS.draining = False
        self.counts["examples"] += 1
        self.machine = Machine()
        self.poll = FakePoll(self.machine)
        self.listener = FakeListener(self.machine)
        self.clients: list[Client] = []
        self.drained = math.inf
        self.stopped = math.inf
        self.answered: set[str] = set()
        self.served: collections.Counter[tuple[str, int]] = collections.Counter()  # in this turn
        self.recorded: list[Exchange] = []
        self.made: list[Exchange] = []
        self.loop = Loop(
            self._answer, self._record, idle_seconds=SECONDS[Phase.IDLE], most=MOST, poll=cast(select.epoll, self.poll),
            clock=lambda: self.machine.now,
        )  # fmt: skip
        self.loop.listen([cast(socket.socket, self.listener)])

    def _answer(self, head: bytes, peer: tuple[str, int], port: int, refused: int) -> Exchange:
        exchange = HTTP.answer(head, peer, port, refused)
        name = b"" if refused else head.rpartition(b"X-Request-ID: ")[2].strip()
        if exchange.request_id.encode() == name:
            assert name.startswith(b"%d-" % peer[1]), "a request of somebody else"
            assert exchange.request_id not in self.answered, "answered twice"
            self.answered.add(exchange.request_id)
        self.made.append(exchange)
        self.served[peer] += 1
        self.counts[f"status {exchange.status}"] += 1
        return exchange

    def _record(self, exchange: Exchange, seconds: float) -> None:
        assert seconds >= 0
        self.recorded.append(exchange)

    def _talking(self) -> list[Client]:
        return [c for c in self.clients if not (c.silent or c.sock.eof or c.sock.reset or c.sock.closed)]

    def _one(self, pick: int) -> Client:
        """Choose a client that is there, or a new one if there is none."""
        if not self._talking():
            self.connect(1)
        talking = self._talking()
        return talking[pick % len(talking)]

    somebody_talks = precondition(lambda self: bool(self._talking()))
    picks = st.integers(0, 11)
    sizes = st.sampled_from([1, 20, 100, 1000, 9000, 15_000, *[1_000_000] * 6])
    some_turns = st.integers(0, 3)

    @precondition(lambda self: self.stopped == math.inf and len(self.clients) < 3 * MOST)
    @rule(count=st.sampled_from([0, 1, 1, 1, 1, 1, 1, 2, 3, MOST + 2]))
    def connect(self, count: int) -> None:
        """New clients, sometimes more than there may be; or one that has gone before it is accepted."""
        for _ in range(count):
            client = Client(FakeSocket(self.machine, ("::1", 1024 + len(self.clients))))
            self.clients.append(client)
            self.listener.waiting.append(client.sock)
        if not count:
            self.listener.waiting.append(ConnectionAbortedError(errno.ECONNABORTED, "Connection aborted"))

    @precondition(lambda self: self.stopped == math.inf or bool(self._talking()))
    @rule(
        pick=picks,
        makers=st.lists(st.sampled_from(GOOD), min_size=1, max_size=4),
        last=st.sampled_from([None, None, None, None, *LAST]),
        size=sizes,
        room=st.sampled_from([0, 1, 300, *[math.inf] * 6]),
        turns=some_turns,
    )
    def ask(  # noqa: PLR0913, PLR0917 - what a client can do
        self, pick: int, makers: list[Maker], last: Maker | None, size: int, room: float, turns: int
    ) -> None:
        """Begin requests, and perhaps something that ends the connection."""
        client = self._one(pick)
        client.sock.room = min(client.sock.room, room)
        for maker in [*makers, *([last] if last else [])]:
            item = maker(f"{client.sock.peer[1]}-{len(client.items)}")
            client.items.append(item)
            client.said += item.data
        client.send(size, self.machine.now)
        self.turn(turns)

    @somebody_talks
    @rule(pick=picks, size=sizes, turns=some_turns)
    def send_more(self, pick: int, size: int, turns: int) -> None:
        """Send the next piece, or all."""
        self._one(pick).send(size, self.machine.now)
        self.turn(turns)

    @somebody_talks
    @rule(pick=picks, room=st.sampled_from([0, 0, 1, 300, 1000, math.inf]), turns=some_turns)
    def read(self, pick: int, room: float, turns: int) -> None:
        """Take some bytes, none, or all that come."""
        self._one(pick).sock.room = room
        self.turn(turns)

    @somebody_talks
    @rule(pick=picks, how=st.sampled_from(["silent", "eof", "eof", "gone", "reset"]), turns=some_turns)
    def leave(self, pick: int, how: str, turns: int) -> None:
        """Do nothing any more, for ever; or send an end, and be there for the answers or not; or break off."""
        client = self._one(pick)
        sock = client.sock
        if how == "silent":
            client.silent, sock.room = True, 0
        elif how == "reset":
            sock.reset, sock.arrived = True, b""
        else:
            sock.eof, sock.gone = True, how == "gone"
        self.turn(turns)

    @somebody_talks
    @rule(seconds=st.sampled_from([0.125, 2.0, 5.0, 10.0, 20.0]))
    def pass_time(self, seconds: float) -> None:
        """The loop is kept from its work."""
        self.machine.now += seconds

    @somebody_talks
    @rule(left=st.sampled_from([2, MOST, 64, 64, 64, 64]))
    def limit(self, left: int) -> None:
        """Have numbers for a listener and some connections only, or for all."""
        self.machine.limit = left

    @precondition(lambda self: self.drained == math.inf and len(self.clients) > 2)
    @rule(now=st.sampled_from([True, False, False, False]))
    def terminate(self, now: bool) -> None:
        """SIGTERM, not too soon in most examples."""
        if now:
            PROCESS.draining, self.drained = True, self.machine.now

    @precondition(lambda self: self.drained < math.inf and self.stopped == math.inf)
    @rule(late=st.lists(st.integers(0, 2), max_size=3))
    def stop(self, late: list[int]) -> None:
        """The end of the drain, with clients that come at the same moment."""
        for count in late:
            self.connect(count)
        refusals = self.machine.refusals
        waiting = [sock for sock in self.listener.waiting if isinstance(sock, FakeSocket)]
        self._watch(self.loop.stop)
        self.stopped = self.machine.now
        # Without a descriptor for them they cannot be taken.
        assert set(waiting) <= set(self.listener.accepted) or self.machine.refusals > refusals, (
            "they have connected before the end"
        )

    @rule(turns=st.sampled_from([1, 1, 1, 2, 5]))
    def turn(self, turns: int) -> None:
        """Let the loop work."""
        for _ in range(turns):
            self._turn()

    def _turn(self) -> bool:
        """Do a turn, and tell whether it did anything but wait."""
        before, ready = self._state(), {connection.peer for connection in self.loop._in[Phase.READY]}
        self.served.clear()
        self._watch(self.loop.turn)
        most = {client.sock.peer: 2 - (client.sock.peer in ready) for client in self.clients}
        assert all(self.served[peer] <= most[peer] for peer in self.served), "the others have to wait"
        held = sum(len(c.received) + len(c.unsent) for c in self.loop.connections.values())
        assert held <= HELD_BYTES
        assert all(c.deadline > self.machine.now for c in self.loop.connections.values()), "somebody's time is over"
        changed = bool(self._state() != before)
        assert changed or self.poll.waited, "busy with nothing"
        assert not (ready and self.poll.waited), "a request that is there does not have to wait"
        return changed

    def _state(self) -> Any:  # noqa: ANN401 - only to be compared
        phases = {number: (c.phase, c.received, len(c.unsent)) for number, c in self.loop.connections.items()}
        return self.machine.moved, phases

    def _watch(self, act: Callable[[], None]) -> None:
        """Let the loop act, and see to it that it lets go of connections for a reason only."""
        start, refusals = self.machine.now, self.machine.refusals
        accepted, made = len(self.listener.accepted), len(self.made)
        open_before = {client for client in self.clients if client.phase}
        unread = sum(len(client.sock.arrived) for client in self.clients)
        held = sum(len(c.received) + len(c.unsent) for c in self.loop.connections.values())
        act()
        self.counts["turns"] += act == self.loop.turn
        held += unread - sum(len(client.sock.arrived) for client in self.clients)
        held += sum(len(exchange.answer) for exchange in self.made[made:])
        new = set(self.listener.accepted[accepted:])
        spare = max(0, len(open_before) + len(new) - MOST) + (self.machine.refusals - refusals)
        phases = {connection.sock: connection.phase for connection in self.loop.connections.values()}
        for client in self.clients:
            answers = client.answers
            client.listen(self.machine.now, self.drained)
            phase = phases.get(cast(socket.socket, client.sock))
            if client.sock.closed and (client in open_before or client.sock in new):
                limit = SECONDS[client.phase] if client.phase else math.inf
                if client.phase is Phase.IDLE and self.stopped < math.inf:
                    limit = LAST_IDLE_SECONDS
                expired = self.machine.now - client.since >= limit
                if not (client.sock.told or expired or client.sock.lingered > LINGERING_BYTES):
                    spare -= 1
                    self.counts["dropped for bytes" if held > HELD_BYTES else "dropped for room"] += 1
                    assert spare >= 0 or held > HELD_BYTES, "dropped without a reason"
                self.counts["dropped for time"] += expired and not client.sock.told
                client.excused |= not client.sock.ended
            last = act == self.loop.stop or self.stopped < math.inf
            seconds = math.inf if not phase else LAST_IDLE_SECONDS if phase is Phase.IDLE and last else SECONDS[phase]
            if phase is not client.phase or client.answers != answers:
                client.since, client.until = start, self.machine.now + seconds
            elif act == self.loop.stop:
                client.until = min(client.until, self.machine.now + seconds)
            client.phase = phase
            assert self.machine.now < client.until or act == self.loop.stop, "more time than the others"
            assert client.sock.lingered <= LINGERING_BYTES + 2 * 4 * HEAD_BYTES

    @invariant()
    def everybody_is_known(self) -> None:
        """Each open connection is known under its own number and is in one phase, and there are no others."""
        connections = self.loop.connections
        sockets: dict[int, Any] = {sock.descriptor: sock for sock in self.listener.accepted if not sock.closed}
        assert {number: connection.sock for number, connection in connections.items()} == sockets
        assert all(self.machine.open[number] is sock for number, sock in sockets.items())
        assert len(connections) <= MOST
        self.counts["steps"] += 1
        inside = [connection for phase in Phase for connection in self.loop._in[phase]]
        assert len(inside) == len(connections)
        assert {connection.descriptor: connection for connection in inside} == connections
        masks = self.poll.masks()
        for phase in Phase:
            among = list(self.loop._in[phase])
            assert [c.deadline for c in among] == sorted(c.deadline for c in among), "not in the order of time"
            for connection in among:
                assert connection.phase is phase
                sending = phase is Phase.SENDING
                assert bool(connection.unsent) == sending
                assert masks.pop(connection.descriptor) == (select.EPOLLOUT if sending else select.EPOLLIN)
                assert connection.received or phase is not Phase.READY
                assert not connection.received or phase not in (Phase.IDLE, Phase.LINGERING)
        assert len(masks) == (self.stopped == math.inf), "a listener is to be heard until the stop"
        assert list(map(id, self.made)) == list(map(id, self.recorded))

    def teardown(self) -> None:
        """Everybody who can gets their answers, and then all end, be it by their time alone."""
        try:
            self._settle()
            end = self.machine.now + (200 if self.stopped == math.inf else STOP_SECONDS)
            while self.loop.connections:
                assert self.machine.now < end, "no end"
                self._turn()
                self.everybody_is_known()
            assert set(self.machine.open) == ({self.listener.descriptor} if self.stopped == math.inf else set())
            self.counts["clients"] += len(self.clients)
            self.counts["answers"] += sum(client.answers for client in self.clients)
        finally:
            PROCESS.draining = False

    def _settle(self) -> None:
        self.machine.limit = 64
        for client in self._talking():
            client.send(len(client.said), self.machine.now)
            client.sock.room = math.inf
        turns = 0
        while self._turn():
            turns += 1
            self.everybody_is_known()
            assert turns < 100 + 10 * sum(len(client.items) for client in self.clients), "no end of it"
        for client in self.clients:
            sock = client.sock
            lost = client.silent or client.excused or sock.gone or sock.reset or sock.descriptor < 0
            if lost or sock.room < math.inf:
                continue
            complete, begins = 0, 0
            for item in client.items:
                complete += client.sent >= begins + item.needs
                begins += len(item.data)
            assert not sock.got, "half an answer"
            assert client.ended or client.answers == complete, "no answer"
            assert client.ended == sock.ended
            self.counts["settled"] += client.answers > 0


def test_clients_get_their_answers_and_what_they_hold_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeter.loop, "HELD_BYTES", HELD_BYTES)
    monkeypatch.setattr(greeter.loop, "LINGERING_BYTES", LINGERING_BYTES)
    monkeypatch.setattr(greeter.loop, "_AT_ONCE", AT_ONCE)
    Clients.counts.clear()
    run_state_machine_as_test(
        Clients,
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=int(os.environ.get("STATE_EXAMPLES", "400")),
            stateful_step_count=50,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(dict(Clients.counts))
