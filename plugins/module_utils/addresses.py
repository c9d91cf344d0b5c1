"""The addresses of this host, for modules that run on hosts."""

from __future__ import annotations

import socket

# Addresses set aside for documentation: https://www.rfc-editor.org/rfc/rfc5737, https://www.rfc-editor.org/rfc/rfc3849
ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def default_route_addresses() -> list[str]:
    """Addresses this host sends from by its default routes, IPv4 first. Connecting by UDP sends nothing."""
    found = []
    for family, address in ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return found
