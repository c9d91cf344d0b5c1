"""What clients send that is rude, broken or slow, and that it costs nobody else anything."""

import contextlib
import re
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import PATIENCE, Server, ask, running, wait_for

GREETING = b'{"response":"Hi!"}'
END = b"Host: a\r\nConnection: close\r\n\r\n"
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for all; at the end it must not have said a word on stderr."""
    with running() as started:
        yield started
        started.process.terminate()
        assert started.process.communicate(timeout=PATIENCE)[1] == ""


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/nope"])
def test_security_headers(server: Server, path: str) -> None:
    found = server.get(path).headers
    assert {name: found.get(name) for name in HEADERS} == HEADERS
    assert "server" not in found


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + END, 200),
        (b"\r\n\r\nGET / HTTP/1.1\r\n" + END, 200),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET http://a/ HTTP/1.1\r\n" + END, 200),
        (b"GET /?q=%ff&%&%zz HTTP/1.1\r\n" + END, 200),
        (b"GET /" + b"?" * 4000 + b" HTTP/1.1\r\n" + END, 200),
        (b"GET / HTTP/1.1\r\nX: " + b"\xff\xfe" * 99 + b"\r\n" + END, 200),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 8000 + b"\r\n" + END, 200),
        (b"GET / HTTP/1.1\r\nSCRIPT_NAME: /x\r\n" + END, 200),
        (b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\n" + END, 200),
        (b"GET / HTTP/1.1\r\nCookie: a=1\r\nCookie: \xff\r\nAccept: ;;,\r\nRange: bytes=9-\r\n" + END, 200),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n" + END + b"hello", 200),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + END + b"0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n" + END, 200),
        (b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n" + END + b"x" * 200000, 405),
        (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: TE, Close\r\n\r\n", 200),
        (b"GET //healthz HTTP/1.1\r\n" + END, 404),
        (b"GET /%ff%fe HTTP/1.1\r\n" + END, 404),
        (b"GET /\xff\xfe HTTP/1.1\r\n" + END, 400),
        (b"GET /nope// HTTP/1.1\r\n" + END, 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\n" + END, 404),
        (b"OPTIONS * HTTP/1.1\r\n" + END, 404),
        (b"M-SEARCH / HTTP/1.1\r\n" + END, 405),
        (b"!#$ / HTTP/1.1\r\n" + END, 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n" + END, 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: b\r\n" + END, 400),
        (b"GET / HTTP/1.1\r\nHost: a b/@?\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        # No byte more comes: it is not to wait for one.
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nNo colon\r\n" + END, 400),
        (b"GET / HTTP/1.1\r\nX : a\r\n" + END, 400),
        (b"GET / HTTP/1.1\r\nX: a\r\n b\r\n" + END, 400),
        (b"GET / HTTP/1.1\r\nX: a\x00b\r\n" + END, 400),
        (b"GET / HTTP/1.1\r\n\xff: a\r\n" + END, 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n" + END, 400),
        (b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n" + END, 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n" + END, 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n" + END, 400),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n" + END, 414),
        (b"GET /" + b"x" * 50000, 414),
        (b"GET / HTTP/1.1\r\nExpect: tea\r\n" + END, 417),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n" + END, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100 + END, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: aaaaaaaaaaaaaaaaaaaa\r\n" * 5000, 431),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: tea\r\n" + END, 501),
        (b"GET / HTTP/9.9\r\n" + END, 505),
    ],
)
def test_every_request_gets_an_answer_of_http(server: Server, request_: bytes, status: int) -> None:
    head, _, body = server.say(request_).partition(b"\r\n\r\n")
    assert head.split(b" ")[:2] == [b"HTTP/1.1", str(status).encode()]
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert all(f"{name}: {value}".encode() in head for name, value in HEADERS.items())
    assert re.search(rb"\r\nx-request-id: [0-9a-f]{32}\r\n", head)
    if status == 200:
        assert body == GREETING
    else:
        assert body.startswith(b'{"title":"')
        assert body.endswith(f'","status":{status}}}'.encode())


def test_a_refused_head_request_gets_no_body(server: Server) -> None:
    head, _, body = server.say(b"HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert (b"content-length: 36" in head, body) == (True, b"")


@pytest.mark.parametrize("mebibytes", [1, 15])
def test_who_sends_a_body_that_nobody_reads_gets_to_see_the_answer(server: Server, mebibytes: int) -> None:
    """To close before all of it has come would reset the connection: a proxy calls that 502."""
    size = mebibytes * 1024 * 1024
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            client.sendall(bytes(size))
            assert client.recv(4096).startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("field", [b"Content-Length: 36", b"Transfer-Encoding: chunked"])
def test_a_body_is_never_taken_for_a_request(server: Server, field: bytes) -> None:
    answers = server.say(
        b"POST / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: bcd\r\n\r\n"
    )
    assert answers.startswith(b"HTTP/1.1 405 ")
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answers


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    many = b"".join(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in (b"", b"nope", b"healthz") * 20)
    answers = server.say(many + b"GET / HTTP/1.1\r\n" + END)
    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404, 200] * 20 + [200]


def test_who_pipelines_without_end_waits_for_the_others(server: Server) -> None:
    """One client sends requests as fast as it can and reads nothing; another one is served all the same."""
    stop = threading.Event()

    def flood() -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setblocking(False)
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500)

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        began = time.monotonic()
        for _ in range(50):
            assert server.get().body == GREETING
        assert time.monotonic() - began < 5
    finally:
        stop.set()
        flooding.join()


def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        for byte in b"GET / HTTP/1.1\r\n" + END:
            client.send(bytes([byte]))
            time.sleep(0.002)
        assert client.recv(4096).endswith(GREETING)


def test_a_client_that_leaves_in_the_middle_is_forgotten(server: Server) -> None:
    for part in (b"", b"GET", b"GET / HTTP/1.1\r\nHost: a\r\n"):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(part)
    assert server.get().status == 200
    wait_for(lambda: server.metrics()["process_open_fds"] < 30)


def test_a_head_that_never_ends_is_given_up(server: Server) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.5) as client:
        received = b""
        while b"\r\n\r\n" not in received and time.monotonic() - began < 15:
            with contextlib.suppress(OSError):
                client.send(b"X")
            with contextlib.suppress(TimeoutError):
                received += client.recv(4096)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert 9 < time.monotonic() - began < 13


def test_a_thousand_slow_connections_delay_nobody() -> None:
    """Each has sent half of a head, and sends one byte more now and then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    with running() as server, contextlib.ExitStack() as slow:
        clients = []
        for _ in range(1000):
            client = slow.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            clients.append(client)
        took = []
        for number in range(200):
            for client in clients[number * 5 : number * 5 + 5]:
                client.send(b"x")
            began = time.monotonic()
            assert server.get().body == GREETING
            took.append(time.monotonic() - began)
        assert server.metrics()["process_open_fds"] > 1000
        assert sorted(took)[len(took) // 2] < 0.1
        assert max(took) < 2
        (worker,) = server.workers()
        assert not select.select(clients, [], [], 0)[0], "the slow ones were to be held, not dropped"
        for client in clients[::100]:
            client.sendall(b"\r\n\r\n")
            assert client.recv(4096).endswith(GREETING)
        assert server.workers() == [worker]


def hold(server: Server, slow: contextlib.ExitStack, number: int, data: bytes) -> list[socket.socket]:
    """Open so many connections, each of which sends ``data`` and nothing more."""
    clients = []
    for _ in range(number):
        client = slow.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE))
        client.sendall(data)
        clients.append(client)
    return clients


def test_probes_and_metrics_are_answered_when_descriptors_are_few() -> None:
    """A limit that container engines give at first is raised; where it cannot be, the slowest give way in time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        with running() as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert server.metrics()["process_max_fds"] == hard
            resource.prlimit(server.workers()[0], resource.RLIMIT_NOFILE, (128, hard))
            with contextlib.ExitStack() as slow:
                hold(server, slow, 300, b"GET / HTTP/1.1\r\n")
                began = time.monotonic()
                for _ in range(20):
                    assert server.get("/readyz").status == 200
                assert time.monotonic() - began < 2
            server.process.terminate()
            assert server.process.communicate(timeout=PATIENCE)[1] == ""
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_heads_that_never_end_do_not_fill_the_memory() -> None:
    """2048 clients, each with almost all that a head may have: the pod has 64 MiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    with running() as server, contextlib.ExitStack() as slow:
        before = private_mebibytes(server)
        clients = hold(server, slow, 2048, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 5000)
        most = 0.0
        for part in (b"x" * 2900 + b"\r\nY: ", b"y" * 5000, b"y" * 2900):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(part)
            most = max(most, private_mebibytes(server))
        assert server.get().body == GREETING
        assert most - before < 16
        assert max(most, private_mebibytes(server)) - before > 4, "nothing was held; this run says nothing"


def private_mebibytes(server: Server) -> float:
    """Memory that belongs to the worker alone."""
    lines = Path(f"/proc/{server.workers()[0]}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def test_the_slowest_gives_way_when_there_are_too_many() -> None:
    with running() as server, contextlib.ExitStack() as slow:
        limit = 2048
        first = slow.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE))
        first.sendall(b"GET ")
        for _ in range(limit):
            slow.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE))
        with contextlib.closing(server.connect()) as connection:
            assert ask(connection).body == GREETING
        assert first.recv(1) == b""
