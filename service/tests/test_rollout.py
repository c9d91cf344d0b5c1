"""A rolling update as clients see it: one of two instances goes, and no request is lost.

`LOAD_SECONDS` makes it longer; `make bench` takes 20.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable

from .proxy import Proxy
from .server import running

SECONDS = float(os.environ.get("LOAD_SECONDS", "8"))
RATE = 200
GREETING = b'{"response":"Hi!"}'


async def ask_once(port: int) -> str:
    """Send one request over a connection of its own, and say what came of it."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(len(GREETING))
            writer.close()
    except (OSError, EOFError) as error:
        return repr(error)
    return "greeted" if head.startswith(b"HTTP/1.1 200 ") and body == GREETING else repr(head)


async def load(ports: list[int], end_first: Callable[[], None]) -> tuple[Counter[str], Proxy]:
    """Ask `RATE` times a second for `SECONDS`, and end the first instance after a third of that."""
    async with Proxy(ports).running() as proxy:
        began = time.monotonic()
        asking = []
        for number in range(int(RATE * SECONDS)):
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
            asking.append(asyncio.create_task(ask_once(proxy.port)))
            if number == int(RATE * SECONDS / 3):
                # As far as can be from the moment at which the proxy hears of it.
                await proxy.next_look()
                end_first()
        return Counter(await asyncio.gather(*asking)), proxy


def test_no_request_is_lost_when_one_of_two_instances_goes() -> None:
    with running({"DRAIN_SECONDS": "1"}) as first, running() as second:
        seen, proxy = asyncio.run(load([first.port, second.port], first.process.terminate))
        assert seen == {"greeted": int(RATE * SECONDS)}
        assert first.process.poll() == 0, "it was to be gone before the load was over"
        assert proxy.ready == [second.port]
        assert min(proxy.served.values()) > RATE * SECONDS / 8


def test_the_load_notices_an_instance_that_goes_without_a_word() -> None:
    """The same with SIGKILL: a test that cannot fail would say nothing."""
    with running() as first, running() as second:

        def kill() -> None:
            os.killpg(first.process.pid, signal.SIGKILL)

        seen, _ = asyncio.run(load([first.port, second.port], kill))
        assert sum(seen.values()) - seen["greeted"] > 0
