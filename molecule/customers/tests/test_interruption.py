"""A run that is killed in the middle, and the one after it."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from fleet import PROJECT

from .conftest import STANDING, Story

MANY = 40
# Pods of so many would not fit on the host, and are not what this is about.
WAITING = {"greeting": "Hi!", "node_selector": {"nowhere": "here"}}
SECONDS = 60


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


def test_an_interrupted_run_is_taken_up_by_the_next(story: Story) -> None:
    names = {f"many-{number}": WAITING for number in range(MANY)}
    story.declare({"customers_wait": False}, **STANDING, **names)
    run = subprocess.Popen(
        story.fleet.command("customers.yml", *story.arguments()),
        cwd=PROJECT,
        env=story.fleet.environment(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + SECONDS
    while len(story.namespaces()) < len(STANDING) + 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    # Ansible's workers leave its process group, and would go on alone.
    for pid in (run.pid, *descendants(run.pid)):
        os.kill(pid, signal.SIGKILL)
    run.wait()
    ingresses = story.fleet.objects("ingresses", "--all-namespaces")["items"]
    assert len(story.namespaces()) >= len(STANDING) + 5
    assert len(ingresses) < len(STANDING) + MANY

    story.converge()
    ingresses = story.fleet.objects("ingresses", "--all-namespaces")["items"]
    assert len(ingresses) == len(STANDING) + MANY
