"""What of K3s runs on a host: its services, its processes and those of its pods, and their control groups."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .host import DATA, SERVICES, Host, Leftover, inode, output_lines, read, run, succeeds, wait_for

CGROUPS = ("kubepods", "kubepods.slice")


class Process(NamedTuple):
    """A process: its parent, its command line, its control groups, and whether it is of the host or of a container."""

    parent: int
    command: list[str]
    groups: list[str]
    of_host: bool = True


def services(host: Host) -> Iterator[Leftover]:
    """Services that run or start with the host."""
    for service in SERVICES:
        if host.has_systemd:
            shown = set(output_lines("systemctl", "show", service, "--property=ActiveState,UnitFileState"))
            enabled = bool(shown & {"UnitFileState=enabled", "UnitFileState=enabled-runtime"})
            active = not shown & {"ActiveState=inactive", "ActiveState=failed"}
        else:
            there = host.path(f"/etc/init.d/{service}").exists()
            enabled = there and any(os.path.lexists(each / service) for each in host.path("/etc/runlevels").glob("*"))
            active = there and "started" in "".join(output_lines("rc-service", service, "status"))
        if enabled or active:
            yield Leftover(f"service {service}", partial(_stop, host, service))


def _stop(host: Host, service: str) -> None:
    if host.has_systemd:
        run("systemctl", "stop", service)
        # A unit whose file is gone cannot be disabled; its link goes with the files.
        output_lines("systemctl", "disable", service)
    else:
        run("rc-service", "--ifstarted", service, "stop")
        run("rc-update", "--all", "delete", service)


def processes(host: Host) -> Iterator[Leftover]:
    """Processes of K3s and of its pods."""
    running = running_processes(host)
    for number in sorted(own_processes(running, host.has_run_k3s)):
        command = running[number].command
        name = Path(command[0]).name if command else "process"
        yield Leftover(f"process {number} ({name})", partial(_kill, number))


def _kill(number: int) -> None:
    os.kill(number, signal.SIGKILL)
    wait_for(lambda: _state(Path(f"/proc/{number}"))[:1] in ([], ["Z"]))


def running_processes(host: Host) -> dict[int, Process]:
    """Number → process, of all on the host but this one and those it runs under."""
    found = {}
    of_host = inode(host.path("/proc/self/ns/pid"))
    for folder in host.path("/proc").glob("[0-9]*"):
        state = _state(folder)
        if state and state[0] != "Z":
            command = read(folder / "cmdline").split("\0")[:-1]
            groups = [line.split(":", 2)[2] for line in read(folder / "cgroup").splitlines()]
            found[int(folder.name)] = Process(int(state[1]), command, groups, inode(folder / "ns/pid") == of_host)
    number = os.getpid()
    while number in found:
        number = found.pop(number).parent
    return found


def _state(folder: Path) -> list[str]:
    """State, number of the parent and more, of the process with this folder in /proc."""
    return read(folder / "stat").rpartition(")")[2].split()


def own_processes(running: dict[int, Process], has_run_k3s: bool) -> set[int]:
    """Those that K3s has started: in its service's control group, its shims (not another containerd's), its pods'.

    Those of a K3s that runs in somebody's container are not this host's.
    """

    def is_root(process: Process) -> bool:
        if has_run_k3s and any(group.split("/")[1] in CGROUPS for group in process.groups):
            return True
        if not process.of_host:
            return False
        if any(f"{service}.service" in group.split("/") for group in process.groups for service in SERVICES):
            return True
        is_shim = bool(process.command) and Path(process.command[0]).name.startswith("containerd-shim")
        return is_shim and any(word.startswith((f"{DATA}/", "/run/k3s/")) for word in process.command)

    own: set[int] = set()
    more = {number for number, process in running.items() if is_root(process)}
    while more:
        own |= more
        more = {number for number, process in running.items() if process.parent in own} - own
    return own


def cgroups(host: Host) -> Iterator[Leftover]:
    """Control groups of pods, unless somebody else's processes are in them."""
    top = host.path("/sys/fs/cgroup")
    own = {str(number) for number in own_processes(running_processes(host), host.has_run_k3s)}
    for name in CGROUPS:
        for group in sorted([*top.glob(name), *top.glob(f"*/{name}")]):
            if {number for file in group.glob("**/cgroup.procs") for number in read(file).split()} <= own:
                yield Leftover(f"control group {group}", partial(_remove_group, host, group))


def _remove_group(host: Host, group: Path) -> None:
    if host.has_systemd and group.name.endswith(".slice"):
        run("systemctl", "stop", group.name)
    for name, _, _ in os.walk(group, topdown=False):
        # The kernel lets go of a group some time after its last process.
        wait_for(partial(_is_removed, Path(name)))


def _is_removed(group: Path) -> bool:
    return succeeds(group.rmdir) or not group.exists()
