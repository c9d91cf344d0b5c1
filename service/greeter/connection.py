"""A client's connection, and what it is waiting for."""

import enum
import socket


class Phase(enum.Enum):
    """What a connection is doing, which decides how long it may."""

    IDLE = "no byte of a request has come"
    ARRIVING = "a head has begun"
    SENDING = "the client does not take its answer"
    LINGERING = "all is sent, and the client has not closed yet"


class Connection:
    """An accepted connection.

    Attributes:
        sock: Non-blocking.
        descriptor: Its file descriptor.
        peer: Address and port of the client.
        server: Address and port it came in on.
        phase: What it is doing; None before it was first looked at.
        deadline: When the time of its phase is over, in seconds of the monotonic clock.
        received: Bytes that are not answered yet.
        since: When the last of them came, in seconds of the performance counter.
        unsent: The rest of an answer.
        ending: Whether it ends with that answer.
        queued: Whether its next request has come already and waits for its turn.
        lingered: Bytes that came after the end.
    """

    __slots__ = (
        "deadline",
        "descriptor",
        "ending",
        "lingered",
        "peer",
        "phase",
        "queued",
        "received",
        "server",
        "since",
        "sock",
        "unsent",
    )

    def __init__(self, sock: socket.socket, peer: tuple[str, int], server: tuple[str, int]) -> None:
        """Begin with nothing received."""
        self.sock = sock
        self.descriptor = sock.fileno()
        self.peer = peer
        self.server = server
        self.phase: Phase | None = None
        self.deadline = 0.0
        self.received = bytearray()
        self.since = 0.0
        self.unsent = b""
        self.ending = False
        self.queued = False
        self.lingered = 0

    def close(self) -> None:
        """Give the descriptor back; the kernel takes it out of every poll set."""
        self.sock.close()
