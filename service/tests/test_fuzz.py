"""Whatever the environment holds and whatever a client sends: an answer, and never an exception nobody foresaw.

The examples are the same in every run, so that a failure is one for everybody.
"""

import contextlib
import json
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from greeter.access_log import render
from greeter.api import create_app
from greeter.http import Exchange, Http
from greeter.settings import SettingsError, load
from greeter.state import State

from .server import configuration

PEER = ("127.0.0.1", 1)
# With the limits that the service has.
HTTP = Http(configuration(), {8080: create_app(load({"GREETING": "Hi!", "CUSTOMER_NAME": "a"}), State())})
fixed = settings(derandomize=True, max_examples=400, deadline=None, database=None)

# As `os.environ` has it: bytes that are no UTF-8 stand there as surrogates, and none of them is zero.
values = st.binary(max_size=1200).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
names = st.sampled_from(
    ["GREETING", "CUSTOMER_NAME", "PORT", "METRICS_PORT", "DRAIN_SECONDS", "WORKERS", "ACCESS_LOG", "GREETER_VERSION"]
)
# Mostly what heads are made of, so that the parser gets further than the first byte.
pieces = st.one_of(
    st.sampled_from(
        [
            b"GET ", b"HEAD ", b"/", b"*", b"http://a", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b" ",
            b"\t", b":", b"?", b"#", b"Host: a\r\n", b"Host:", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n",
            b"X-Request-ID: ", b"0", b"%", b"Connection: ", b"close", b"Expect: 100-continue\r\n",
            b"SCRIPT_NAME: /\r\n", b"Upgrade: h2c\r\n",
        ]
    ),
    st.binary(max_size=8),
)  # fmt: skip
heads = st.lists(pieces, max_size=24).map(b"".join)


@fixed
@given(st.dictionaries(names, values, max_size=8))
def test_settings_are_taken_or_refused_in_one_line_each(environ: dict[str, str]) -> None:
    faults: tuple[str, ...] = ()
    try:
        assert load(environ).greeting == environ["GREETING"]
    except SettingsError as error:
        faults = error.faults or ("an error without a fault",)
    assert all(fault.isprintable() and "; allowed: " in fault and len(fault) < 300 for fault in faults)


@fixed
@given(st.one_of(st.text(max_size=40), st.text(min_size=250, max_size=1100)))
def test_every_text_that_is_allowed_is_a_greeting(text: str) -> None:
    allowed = (
        bool(text.strip())
        and len(text.encode("utf-8", "surrogatepass")) <= 1024
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
    )
    with contextlib.suppress(SettingsError):
        assert load({"GREETING": text, "CUSTOMER_NAME": "a"}).greeting == text
        assert allowed
        return
    assert not allowed


@fixed
@given(heads)
def test_a_head_is_answered_or_refused(head: bytes) -> None:
    head = b"GET / HTTP/1.1\r\n" * (not head.startswith((b"GET", b"HEAD"))) + head + b"\r\n\r\n"
    exchange = HTTP.answer(head, PEER, 8080)
    assert exchange.status in (200, 400, 404, 405, 414, 417, 431, 501, 505)
    assert exchange.answer.startswith(b"HTTP/1.1 %d " % exchange.status)
    assert exchange.answer.count(b"\r\n\r\n") == 1
    assert exchange.close or exchange.status in (200, 404, 405)
    line = render(exchange, 0.1, 1.5)
    assert len(line) < 4096
    assert line.count(b"\n") == 1
    assert json.loads(line)["method"] == exchange.method


@fixed
@given(st.text(max_size=200), st.text(max_size=5000))
def test_a_log_line_is_one_line_of_json_whatever_it_holds(method: str, path: str) -> None:
    line = render(Exchange(method, path, "0", status=200), 0.1, 1.5)
    assert len(line) < 4096
    assert line.endswith(b"}\n")
    assert line[:-1].isascii()
    assert all(byte >= 0x20 for byte in line[:-1])
    assert json.loads(line)["path"] == path[:512]
