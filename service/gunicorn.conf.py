"""Gunicorn's configuration; `GREETING`, `PORT` and the like come from the environment (README.md).

Gunicorn reads this file in its master process before it forks, so a bad setting ends everything here.
"""

import os
import resource
import signal
import socket
import sys

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from greeter.settings import SettingsError, from_environment

try:
    _settings = from_environment()
except SettingsError as error:
    print(error, file=sys.stderr)
    sys.exit(os.EX_CONFIG)


def _any_address() -> str:
    """Return the address that takes IPv4 and IPv6 where the host can do both, else IPv4 alone.

    Asked of the kernel, since IPv6 may be compiled in and yet be switched off or kept apart.
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
            separate = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return "0.0.0.0"
    return "0.0.0.0" if separate else "[::]"


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Give a worker a place to count in that no living worker has, and the queue that its first signals will go to."""
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = min(set(range(2 * _settings.workers)) - taken, default=0)
    worker.early_signals = server.SIG_QUEUE


def when_ready(_server: Arbiter) -> None:
    """Be deaf to what would start a second master or workers that have no place to count in."""
    for number in (signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)


# Container engines may give 1024 descriptors at first, which is less than the connections below.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

_address = f"[{_settings.address}]" if ":" in _settings.address else _settings.address or _any_address()
bind = [f"{_address}:{_settings.port}", f"{_address}:{_settings.metrics_port}"]
workers = _settings.workers
worker_class = "greeter.worker.GreeterWorker"
# Import once and share the memory with the workers; an import that fails ends the master.
preload_app = True

# The master kills what is left this long after SIGTERM: the drain, then time for the last requests.
graceful_timeout = _settings.drain_seconds + 8
# A worker whose main loop has not moved for this long is replaced.
timeout = 30
# Longer than an ingress keeps an idle connection (Traefik 90 s, ingress-nginx 60 s): the side that
# sends requests has to be the one that closes, or a request crosses the close and is lost.
keepalive = 95
# Connections of a worker, slow and idle ones included. When there are more, the slowest gives way.
worker_connections = 2048

# What no client of this API exceeds; above it the answer is 414 or 431.
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
# Nobody's word is taken for another client, scheme or path: nothing depends on them.
forwarded_allow_ips = ""

# A worker shows by touching a file that it is alive: memory, since the root filesystem is read-only.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# Nobody asks the control socket anything, and there is no place on disk for it.
control_socket_disable = True
loglevel = "warning"
