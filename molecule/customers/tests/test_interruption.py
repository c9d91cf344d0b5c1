"""A run that is killed in the middle, or loses its cluster, and the one after it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fleet import PATIENCE, PROJECT, wait_until

from .conftest import STANDING, Story

MANY = 40
# Pods of so many would not fit on the host, and are not what this is about.
WAITING = {"greeting": "Hi!", "node_selector": {"nowhere": "here"}}
# So many bytes are one piece of what a run sends, about a request; so many pieces go through between two looks.
PIECE, PIECES = 1024, 20


class Wire:
    """A way to a server, until it is cut: answers pass, and of what is asked only as many pieces as are let through."""

    def __init__(self, address: str, port: int) -> None:
        """Listen on a loopback port of its own."""
        self._server = (address, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ends = [self._listener]
        self._left, self._gate = 0, threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._server)
                self._ends += [near, far]
                for pass_on, ends in ((self._ask, (near, far)), (self._answer, (far, near))):
                    threading.Thread(target=pass_on, args=ends, daemon=True).start()

    def _ask(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE):
                with self._gate:
                    self._gate.wait_for(lambda: self._left)
                    self._left -= 1
                sink.sendall(data)

    @staticmethod
    def _answer(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def let_through(self, pieces: int) -> None:
        """Let so many pieces through from now on; what nobody has used before is not kept."""
        with self._gate:
            self._left = pieces
            self._gate.notify_all()

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


@contextmanager
def standing_still(story: Story, folder: Path, more: int) -> Iterator[tuple[Wire, subprocess.Popen[str]]]:
    """A run that has made so many more customers' namespaces, and waits for answers, however fast the machine is."""
    wire = Wire(story.fleet.address, 6443)
    kubeconfig = folder / "kubeconfig"
    usual = (PROJECT / ".kube" / f"{story.fleet.scenario}.yaml").read_text()
    kubeconfig.write_text(usual.replace(f"{story.fleet.address}:6443", f"127.0.0.1:{wire.port}"))
    wanted = len(story.namespaces()) + more
    run = subprocess.Popen(
        story.fleet.command("customers.yml", *story.arguments(), f"--extra-vars=customers_kubeconfig={kubeconfig}"),
        cwd=PROJECT,
        env=story.fleet.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def has_made_them() -> bool:
        if len(story.namespaces()) >= wanted:
            return True
        assert run.poll() is None, run.communicate()[0]
        wire.let_through(PIECES)
        return False

    try:
        wait_until(has_made_them, "the run does not go on")
        yield wire, run
    finally:
        wire.cut()
        run.kill()


def test_a_run_that_loses_its_cluster_and_one_that_is_killed_are_taken_up_by_the_next(
    story: Story, tmp_path: Path
) -> None:
    def ingresses() -> int:
        found = story.fleet.objects("ingresses", "--all-namespaces")["items"]
        return len([each for each in found if each["metadata"]["namespace"].startswith("customer-")])

    names = {f"many-{number}": WAITING for number in range(MANY)}
    story.declare({"customers_wait": False}, **STANDING, **names)

    with standing_still(story, tmp_path, more=5) as (wire, run):
        wire.cut()
        output, _ = run.communicate(timeout=PATIENCE)
    said = " ".join(output.split())
    assert run.returncode != 0
    assert "Traceback" not in said
    assert "Not all that differs could be sent to the cluster: " in said
    assert "What it has taken stays; run this again when it answers: it goes on from here." in said
    assert ingresses() < len(STANDING) + MANY

    with standing_still(story, tmp_path, more=5) as (wire, run):
        # Ansible's workers leave its process group, and would go on alone.
        for pid in (run.pid, *descendants(run.pid)):
            os.kill(pid, signal.SIGKILL)
        run.communicate()
    assert ingresses() < len(STANDING) + MANY

    story.converge()
    assert ingresses() == len(STANDING) + MANY
