"""Gunicorn's configuration; `GREETING`, `PORT` and the like come from the environment (README.md).

Gunicorn reads this file in its master process before it forks, so a bad setting ends everything here.
"""

import os
import socket
import sys

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


bind = f"{_any_address()}:{_settings.port}"
workers = _settings.workers
threads = _settings.threads
worker_class = "greeter.worker.DrainingWorker"
# Import once and share the memory with the workers; an import that fails ends the master.
preload_app = True

# The master kills what is left this long after SIGTERM: the drain, then time for the last requests.
graceful_timeout = _settings.drain_seconds + 8
# A worker whose main loop has not moved for this long is replaced.
timeout = 30
# Longer than an ingress keeps an idle connection (Traefik 90 s, ingress-nginx 60 s): the side that
# sends requests has to be the one that closes, or a request crosses the close and is lost.
keepalive = 95

# A worker shows by touching a file that it is alive: memory, since the root filesystem is read-only.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# Nobody asks the control socket anything, and there is no place on disk for it.
control_socket_disable = True
loglevel = "warning"
