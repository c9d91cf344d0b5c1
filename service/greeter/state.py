"""What changes in the life of a process: whether it has been told to stop."""

from dataclasses import dataclass


@dataclass
class State:
    """State that the worker's signal handler writes and the resources read.

    A plain attribute on purpose: reading and writing it is atomic, and a lock taken in a signal
    handler could wait for the very thread that the signal interrupted.

    Attributes:
        draining: True from the moment the process was told to stop.
    """

    draining: bool = False


# A forked worker has a copy of its own, and each worker is sent SIGTERM of its own.
PROCESS = State()
