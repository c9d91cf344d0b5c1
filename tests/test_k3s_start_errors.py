"""A start of K3s that fails is explained by its own lines, in the words of K3s, of Kubernetes' parts or of systemd."""

from __future__ import annotations

import pytest
from ansible_collections.greeter.fleet.plugins.filter.k3s_start_errors import errors

# The end of the K3s that ran before, which a restart stops first.
STOPPED = [
    "Stopping k3s.service - Lightweight Kubernetes...",
    'time="2026-11-24T10:00:00Z" level=info msg="Received signal terminated, canceling context..."',
    'time="2026-11-24T10:00:00Z" level=error msg="Shutdown request received: kubelet exited: context canceled"',
    'time="2026-11-24T10:00:00Z" level=error msg="Kubelet exited: context canceled"',
    "E1124 10:00:00.300000    900 leaderelection.go:330] error retrieving resource lock kube-system/k3s: EOF",
    "k3s.service: Deactivated successfully.",
    "Stopped k3s.service - Lightweight Kubernetes.",
]
BEGUN = [
    "Starting k3s.service - Lightweight Kubernetes...",
    "modprobe: FATAL: Module overlay not found",
    'time="2026-11-24T10:00:01Z" level=info msg="Starting k3s v1.36.4+k3s1 (8e5a3a4f)"',
    'I1124 10:00:02.000000    1234 server.go:1] "Golang settings" GOGC=""',
    "W1124 10:00:02.000000    1234 options.go:265] the error level=error of a warning is none",
]
FLAG = (
    'E1124 10:00:03.123456    1234 run.go:72] "command failed"'
    ' err="failed to parse kubelet flag: unknown flag: --no-such-flag"'
)
FATAL = (
    'time="2026-11-24T10:00:04Z" level=fatal msg="starting kubernetes: preparing server: token CA hash does not match"'
)
ENDED = [
    "k3s.service: Main process exited, code=exited, status=1/FAILURE",
    "k3s.service: Failed with result 'exit-code'.",
    "Failed to start k3s.service - Lightweight Kubernetes.",
    "k3s.service: Scheduled restart job, restart counter is at 1.",
]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], []),
        ([*BEGUN, *ENDED], []),
        # Only klog knows of a flag that kubelet does not.
        ([*STOPPED, *BEGUN, FLAG, *ENDED], [FLAG]),
        ([*STOPPED, *BEGUN, FATAL, *ENDED], [FATAL]),
        # Without the time in front, as K3s writes to a terminal's log.
        (["level=fatal msg=x"], ["level=fatal msg=x"]),
        (["F1124 10:00:03.1 1 main.go:1] it ends here"], ["F1124 10:00:03.1 1 main.go:1] it ends here"]),
        # Older systemd, and a log of OpenRC, which K3s alone writes.
        ([STOPPED[2], "Starting Lightweight Kubernetes...", FATAL], [FATAL]),
        ([STOPPED[4], BEGUN[2], FATAL], [FATAL]),
        # An end that was told before K3s said that it starts.
        (
            [*STOPPED[2:4], 'time="2026-11-24T10:00:01Z" level=fatal msg="flag provided but not defined: -no-such"'],
            ['time="2026-11-24T10:00:01Z" level=fatal msg="flag provided but not defined: -no-such"'],
        ),
        # What is stopped because of the first fault says so of itself.
        ([*BEGUN, FLAG, 'E1124 10:00:03.2 1234 x.go:1] "Unhandled" err="context canceled"', STOPPED[3]], [FLAG]),
        # Nothing but that is better than nothing.
        ([*BEGUN, STOPPED[3]], [STOPPED[3]]),
        # A binary of another architecture, no memory, a crash.
        (
            [BEGUN[0], "k3s.service: Failed at step EXEC spawning /usr/local/bin/k3s: Exec format error", *ENDED],
            ["k3s.service: Failed at step EXEC spawning /usr/local/bin/k3s: Exec format error"],
        ),
        (
            [*BEGUN, "k3s.service: A process of this unit has been killed by the OOM killer."],
            ["k3s.service: A process of this unit has been killed by the OOM killer."],
        ),
        (
            [*BEGUN, "panic: runtime error: index out of range", "goroutine 1 [running]:"],
            ["panic: runtime error: index out of range"],
        ),
    ],
)
def test_the_cause_is_told(lines: list[str], told: list[str]) -> None:
    assert errors(lines) == told


def test_what_differs_in_time_and_process_alone_is_told_once_and_where_it_came_last() -> None:
    again = FLAG.replace("10:00:03.123456    1234", "10:00:09.654321    1300")
    later = FATAL.replace("10:00:04", "10:00:09")
    assert errors([*BEGUN, FATAL, FLAG, *BEGUN, again, later]) == [again, later]


def test_the_last_of_many_are_told() -> None:
    lines = [f'time="2026-11-24T10:00:04Z" level=error msg="fault {number}"' for number in range(40)]
    assert errors([*BEGUN, *lines]) == lines[-8:]
