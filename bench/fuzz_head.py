"""Throw bytes at the greeter's answer to a head, led by what they reach in gunicorn's parser and in `greeter.http`.

No part of the tests: it finds something else in every run, and atheris is no requirement of the project. From the
project's directory, for 60 seconds or as many as are given:

    .venv/bin/pip install --target .bench/atheris atheris==3.0.0  # 3.1.0 for Python 3.13
    PYTHONPATH=service:.bench/atheris .venv/bin/python bench/fuzz_head.py [SECONDS]

A head that breaks a promise ends it with a traceback, and is kept in a file `crash-...` in the current directory.
"""

import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gunicorn.http", "greeter.http"]):
    from greeter.http import Http

from greeter.access_log import render
from greeter.api import create_app
from greeter.settings import load
from greeter.state import State
from tests.server import configuration

PEER = ("127.0.0.1", 1)
# A log line goes through a pipe whole or not at all.
LINE_BYTES = 4096
STATUSES = (200, 400, 404, 405, 414, 417, 431, 501, 505)
# What heads are made of, for the fuzzer to put together.
WORDS = (
    "GET ", "HEAD ", "OPTIONS * ", "http://a/", " HTTP/1.1", " HTTP/1.0", "\\x0d\\x0a", "Host: a", "Content-Length: ",
    "Transfer-Encoding: chunked", "X-Request-ID: ", "Connection: close", "Connection: keep-alive",
    "Expect: 100-continue", "SCRIPT_NAME: /", "X-Forwarded-Proto: https", "Upgrade: h2c",
)  # fmt: skip
SEED = b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: a\r\n"


def main() -> None:
    """Fuzz for as many seconds as the first argument says."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    http = Http(configuration(), {8080: create_app(load({"GREETING": "Hi!", "CUSTOMER_NAME": "a"}), State())})

    def check(data: bytes) -> None:
        """Ask what test_fuzz.py asks of an answer."""
        exchange = http.answer(data + b"\r\n\r\n", PEER, 8080)
        assert exchange.status in STATUSES, exchange
        assert exchange.answer.startswith(b"HTTP/1.1 %d " % exchange.status), exchange
        assert exchange.answer.count(b"\r\n\r\n") == 1, exchange
        assert exchange.close or exchange.status in (200, 404, 405), exchange
        line = render(exchange, 0.1, 1.5)
        assert len(line) < LINE_BYTES, exchange
        assert line.count(b"\n") == 1, exchange
        assert json.loads(line)["method"] == exchange.method, exchange

    with tempfile.TemporaryDirectory() as directory:
        words, corpus = Path(directory, "words"), Path(directory, "corpus")
        words.write_text("".join(f'"{word}"\n' for word in WORDS))
        corpus.mkdir()
        Path(corpus, "seed").write_bytes(SEED)
        options = [f"-max_total_time={seconds}", f"-dict={words}", "-max_len=2048", "-timeout=10"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
