"""The metrics, as Prometheus gets them from a port of their own."""

import contextlib
import os
import re
import runpy
import signal
import time
from types import SimpleNamespace

import pytest

from greeter.metrics import Metrics
from greeter.settings import from_environment

from .server import SCRAPES, SERVICE, ask, running, wait_for

# Exposition format 0.0.4: a comment of a known kind, or a sample.
LINE = re.compile(
    r"# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram))"
    r'|[a-z_]+(\{[a-z]+="[^"\\\n]*"(,[a-z]+="[^"\\\n]*")*\})? [0-9.]+'
)


def requests(method: str, route: str, status: int) -> str:
    return f'greeter_http_requests_total{{method="{method}",route="{route}",status="{status}"}}'


@pytest.mark.parametrize("workers", ["1", "3"])
def test_requests_are_counted_over_all_workers(workers: str) -> None:
    with running({"WORKERS": workers}) as server:
        before = server.metrics()
        for _ in range(20):
            server.get()
        server.get("/secret?token=x")
        for method, path in (("HEAD", "/"), ("POST", "/"), ("BREW", "/"), ("BREW", "/nope")):
            with contextlib.closing(server.connect()) as connection:
                ask(connection, path, method)
        server.say(b"nonsense\r\n\r\n")
        after = server.metrics()
        assert {
            name: after[name] - before.get(name, 0) for name in after if "requests_total" in name and name != SCRAPES
        } == {
            requests("GET", "/", 200): 20,
            requests("GET", "none", 404): 1,
            requests("HEAD", "/", 200): 1,
            requests("POST", "/", 405): 1,
            requests("other", "/", 405): 1,
            requests("other", "none", 400): 1,
            requests("other", "none", 404): 1,
            requests("GET", "/readyz", 200): 0,
        }
        assert after['greeter_http_request_duration_seconds_count{route="/"}'] == 23
        assert after['greeter_http_request_duration_seconds_bucket{route="/",le="+Inf"}'] == 23
        assert 0 < after['greeter_http_request_duration_seconds_sum{route="/"}'] < 5


def test_no_two_living_workers_count_in_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"GREETING": "Hi!", "CUSTOMER_NAME": "a", "WORKERS": "2"})
    from_environment.cache_clear()
    choose = runpy.run_path(str(SERVICE / "gunicorn.conf.py"))["pre_fork"]
    from_environment.cache_clear()
    living: dict[int, SimpleNamespace] = {}
    for pid in range(4):
        living[pid] = SimpleNamespace()
        choose(SimpleNamespace(WORKERS={other: living[other] for other in range(pid)}, SIG_QUEUE=None), living[pid])
    assert [living[pid].slot for pid in living] == [0, 1, 2, 3]
    replacement = SimpleNamespace()
    choose(SimpleNamespace(WORKERS={0: living[0], 3: living[3]}, SIG_QUEUE=None), replacement)
    assert replacement.slot == 1


def test_no_counter_falls_when_a_worker_is_replaced() -> None:
    with running() as server:
        for _ in range(5):
            server.get()
        before, (worker,) = server.metrics(), server.workers()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: server.workers() not in ([worker], []))
        after = server.metrics()
        assert after[requests("GET", "/", 200)] == 5
        assert after["process_cpu_seconds_total"] >= before["process_cpu_seconds_total"] > 0


def test_who_and_what_it_is() -> None:
    with running({"CUSTOMER_NAME": "a-b", "GREETER_VERSION": "1.2.3+x"}) as server:
        metrics = server.metrics()
        assert metrics['greeter_info{customer="a-b",version="1.2.3+x"}'] == 1
        assert 10e6 < metrics["process_resident_memory_bytes"] < 150e6
        assert metrics["process_open_fds"] > 5
        assert metrics["process_max_fds"] > metrics["process_open_fds"]
        assert metrics["process_start_time_seconds"] > 1.6e9


def test_the_two_ports_do_not_mix() -> None:
    with running() as server, contextlib.closing(server.connect()) as connection:
        assert server.get("/metrics").status == 404
        connection.port = server.metrics_port
        answer = ask(connection, "/metrics")
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        for line in answer.body.decode().splitlines():
            assert LINE.fullmatch(line), line
        head = ask(connection, "/metrics", "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert ask(connection, "/").status == 404
        assert ask(connection, "/metrics", "DELETE").status == 405


def test_a_crowd_of_scrapers_costs_one_rendering_a_second() -> None:
    with running() as server, contextlib.closing(server.connect()) as connection:
        connection.port = server.metrics_port
        began = time.monotonic()
        seen = {ask(connection, "/metrics").body for _ in range(200)}
        assert len(seen) <= time.monotonic() - began + 2


def test_metrics_are_there_while_draining() -> None:
    with running({"DRAIN_SECONDS": "1"}) as server:
        server.terminate()
        assert server.metrics()[requests("GET", "/readyz", 503)] >= 1
        assert server.wait() == 0


def test_durations_fall_into_their_buckets() -> None:
    metrics = Metrics(slots=2)
    for slot, seconds in enumerate((0.0005, 0.3)):
        metrics.slot = slot
        metrics.count("GET", "/", 200, seconds)
    metrics.count("GET", "/", 200, 7)
    lines = metrics.render("a", "dev").decode().splitlines()
    found = {line.split("le=")[1].split('"')[1]: line.split()[-1] for line in lines if "_bucket" in line}
    assert found == {
        "0.0005": "1", "0.001": "1", "0.0025": "1", "0.005": "1", "0.01": "1", "0.025": "1", "0.05": "1",
        "0.1": "1", "0.25": "1", "0.5": "2", "1.0": "2", "+Inf": "3",
    }  # fmt: skip
    assert 'greeter_http_request_duration_seconds_sum{route="/"} 7.300500' in lines
