"""A run that is killed in the middle, or loses its cluster, and the one after it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from fleet import PROJECT

from .conftest import STANDING, Story

MANY = 40
# Pods of so many would not fit on the host, and are not what this is about.
WAITING = {"greeting": "Hi!", "node_selector": {"nowhere": "here"}}
SECONDS = 60


class Wire:
    """A way to a server that passes on whatever comes, until it is cut."""

    def __init__(self, address: str, port: int) -> None:
        """Listen on a loopback port of its own."""
        self._server = (address, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ends = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._server)
                self._ends += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def cut(self) -> None:
        """End all connections, and take no more."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def descendants(pid: int) -> list[int]:
    """The process numbers of a process's children, of their children, and so on."""
    found: dict[int, list[int]] = {}
    listed = subprocess.run(["ps", "-e", "-o", "ppid=,pid="], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        parent, child = map(int, line.split())
        found.setdefault(parent, []).append(child)
    below = [pid]
    for each in below:
        below += found.get(each, [])
    return below[1:]


def begun(story: Story, namespaces: int, *arguments: str) -> subprocess.Popen[str]:
    """A run that goes on, as soon as it has made so many customers' namespaces."""
    run = subprocess.Popen(
        story.fleet.command("customers.yml", *story.arguments(), *arguments),
        cwd=PROJECT,
        env=story.fleet.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + SECONDS
    while len(story.namespaces()) < namespaces and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(story.namespaces()) >= namespaces
    return run


def test_a_run_that_loses_its_cluster_and_one_that_is_killed_are_taken_up_by_the_next(
    story: Story, tmp_path: Path
) -> None:
    def ingresses() -> int:
        return len(story.fleet.objects("ingresses", "--all-namespaces")["items"])

    wire = Wire(story.fleet.address, 6443)
    kubeconfig = tmp_path / "kubeconfig"
    usual = (PROJECT / ".kube" / f"{story.fleet.scenario}.yaml").read_text()
    kubeconfig.write_text(usual.replace(f"{story.fleet.address}:6443", f"127.0.0.1:{wire.port}"))
    names = {f"many-{number}": WAITING for number in range(MANY)}
    story.declare({"customers_wait": False}, **STANDING, **names)

    run = begun(story, len(STANDING) + 5, f"--extra-vars=customers_kubeconfig={kubeconfig}")
    wire.cut()
    output, _ = run.communicate(timeout=SECONDS)
    said = " ".join(output.split())
    assert run.returncode != 0
    assert "Traceback" not in said
    assert "Not all that differs could be sent to the cluster: " in said
    assert "What it has taken stays; run this again when it answers: it goes on from here." in said
    assert ingresses() < len(STANDING) + MANY

    run = begun(story, len(story.namespaces()) + 5)
    # Ansible's workers leave its process group, and would go on alone.
    for pid in (run.pid, *descendants(run.pid)):
        os.kill(pid, signal.SIGKILL)
    run.communicate()
    assert ingresses() < len(STANDING) + MANY

    story.converge()
    assert ingresses() == len(STANDING) + MANY
