"""A gunicorn worker of one loop without threads, which stops in two steps.

An answer waits for nothing; what takes time is clients. Gunicorn's own threaded worker gives each request a thread
while its head arrives, so a handful of slow clients are enough to stall it.

Kubernetes sends SIGTERM at the same moment as it begins to tell the ingress, so requests still arrive for a while. The
worker first drains: `/readyz` answers 503, everything else is served as before, and each answer asks the client to
close its connection. Only then it stops accepting, and finishes what has begun.
"""

import functools
import os
import resource
import select
import signal
import time
from queue import SimpleQueue
from types import FrameType
from typing import NoReturn

from gunicorn.workers.base import Worker

from greeter.access_log import AccessLog
from greeter.api import create_metrics_app
from greeter.http import Exchange, Http
from greeter.loop import Loop
from greeter.metrics import Metrics
from greeter.settings import from_environment
from greeter.state import PROCESS

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# Descriptors that are no connection's: the standard ones, listeners, gunicorn's own, what a scrape opens.
_OWN_DESCRIPTORS = 32

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

    def run(self) -> None:
        """Serve until told to stop, then finish what has begun."""
        settings = from_environment()
        METRICS.slot = self.slot
        log = AccessLog(settings.access_log, METRICS.lose)
        metrics_app = create_metrics_app(lambda: _rendered(int(time.monotonic())))
        http = Http(self.cfg, {settings.port: self.wsgi, settings.metrics_port: metrics_app})

        def record(exchange: Exchange, seconds: float) -> None:
            METRICS.count(exchange.method, exchange.route, exchange.status, seconds)
            log.write(exchange, seconds)

        most = min(self.cfg.worker_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OWN_DESCRIPTORS)
        poll = select.epoll()
        # Gunicorn writes into it at each signal. Nobody has to read it.
        poll.register(self.PIPE[0], select.EPOLLIN | select.EPOLLET)
        loop = Loop(http.answer, record, idle_seconds=self.cfg.keepalive, most=most, poll=poll)
        loop.listen(listener.sock for listener in self.sockets)
        while self._may_go_on() and self.alive:
            loop.turn()
        loop.stop()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self._may_go_on() and loop.connections and time.monotonic() < deadline:
            loop.turn()

    def _may_go_on(self) -> bool:
        """Tell the master that this one is alive, and look whether the master is."""
        self.notify()
        return bool(os.getppid() == self.ppid)


@functools.lru_cache(maxsize=1)
def _rendered(_second: int) -> bytes:
    """Render the metrics once a second at most: a crowd of scrapers is not to keep the probes waiting."""
    settings = from_environment()
    return METRICS.render(settings.customer_name, settings.version)
