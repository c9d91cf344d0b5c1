"""A proxy in front of several greeters, as plain as an ingress can be: readiness, round robin, kept connections.

It never asks twice: what a backend loses is lost to the client, so that a test can count it.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

_POLL_SECONDS = 0.1
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Forwards to the ready ones of its backends.

    Attributes:
        port: Where it listens on 127.0.0.1, once it is started.
        ready: Ports of the backends that get requests now.
        served: Requests that each backend has answered.
    """

    def __init__(self, backends: list[int]) -> None:
        """Take the ports of the backends."""
        self.port = 0
        self.ready: list[int] = []
        self.served = dict.fromkeys(backends, 0)
        self._idle: dict[int, list[Streams]] = {port: [] for port in backends}
        self._turn = itertools.count()
        self._looked = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Listen, and look after the backends, for as long as the block lasts."""
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        looking = asyncio.create_task(self._look())
        try:
            while len(self.ready) < len(self.served):
                await asyncio.sleep(_POLL_SECONDS)
            yield self
        finally:
            looking.cancel()
            server.close()

    async def _look(self) -> None:
        """Ask every backend for its readiness, again and again."""
        while True:
            self.ready = [port for port in self.served if await self._is_ready(port)]
            self._looked.set()
            self._looked.clear()
            await asyncio.sleep(_POLL_SECONDS)

    async def next_look(self) -> None:
        """Return right after the backends were asked for their readiness once more."""
        await self._looked.wait()

    async def _is_ready(self, port: int) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
        except OSError:
            return False
        return answer.startswith(b"HTTP/1.1 200 ")

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                try:
                    answer = await self._forward(request)
                except (OSError, asyncio.IncompleteReadError, IndexError, ZeroDivisionError):
                    answer = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"
                writer.write(answer)
        writer.close()

    async def _forward(self, request: bytes) -> bytes:
        port = self.ready[next(self._turn) % len(self.ready)]
        kept = self._idle[port]
        reader, writer = kept.pop() if kept else await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields[b"content-length"]))
        if fields[b"connection"] == b"close":
            writer.close()
        else:
            kept.append((reader, writer))
        self.served[port] += 1
        return head + body
