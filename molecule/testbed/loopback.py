"""Choose the loopback addresses of a scenario's hosts: those that the documents show, or else the checkout's own.

Usage: ``loopback.py CHECKOUT SCENARIO NUMBER...`` prints the first three numbers of the addresses; the last ones are
given. The usual ones are for the checkout that comes first. Two that begin at once would both find the ports free, so a
symbolic link to the checkout, which only one of them can make, says whose they are.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from pathlib import Path

CLAIMS = Path("/run")
PORTS = (2222, 6443, 8080, 8443)
USUAL = "127.0.20"


def own(checkout: Path) -> str:
    """The beginning of the addresses that no other checkout has, made of its path; never that of the usual ones."""
    first, second = hashlib.sha256(os.fsencode(checkout)).digest()[:2]
    return f"127.{first % 254 + 1}.{second}"


def is_free(address: str, port: int) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_server((address, port)).close()
    except OSError:
        return False
    return True


def is_claimed(claim: Path, checkout: Path) -> bool:
    """Claim the usual addresses; whether they are the checkout's now. One that is gone has no claim."""
    if claim.is_symlink() and not claim.exists():
        claim.unlink(missing_ok=True)
    try:
        claim.symlink_to(checkout)
    except FileExistsError:
        return claim.readlink() == checkout
    return True


def choose(checkout: Path, scenario: str, numbers: list[str]) -> str:
    """The first three numbers of the hosts' addresses."""
    if all(is_free(f"{USUAL}.{number}", port) for number in numbers for port in PORTS) and is_claimed(
        CLAIMS / f"greeter-testbed-{scenario}", checkout
    ):
        return USUAL
    return own(checkout)


if __name__ == "__main__":
    print(choose(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
