#!/usr/bin/python
"""One look at a host: what of K3s is there, what runs, and whether it still runs from what lies there."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: k3s_info
short_description: Look at a host's K3s and change nothing
description:
  - Reads files, asks the binary for its version and the service manager for the service's state.
  - The service writes the checksums of the files it starts from, one C(sha256sum) line each, to I(started_from) at each
    start. A file that differs from its line, is new or is gone is one that K3s does not run from yet.
options:
  service: {type: str, required: true, description: "The service's name, k3s or k3s-agent."}
  files: {type: list, elements: path, required: true, description: Files the service runs from whose content counts.}
  images: {type: list, elements: path, default: [], description: Files whose checksums are wanted besides.}
  started_from: {type: path, required: true, description: Where the service keeps the checksums of its last start.}
"""
RETURN = r"""
version: {type: str, returned: always, description: "The installed release, such as v1.35.6+k3s1, or nothing."}
active: {type: bool, returned: always, description: Whether the service runs.}
enabled: {type: bool, returned: always, description: Whether it starts with the host.}
present: {type: list, elements: str, returned: always, description: Those of the files that exist.}
not_run_from: {type: list, elements: str, returned: always, description: Those the service has not started from.}
sha256: {type: dict, returned: always, description: "Path → checksum, of the binary and the images that exist."}
server_url: {type: str, returned: always, description: The server that config.yaml names; empty if none.}
has_cluster: {type: bool, returned: always, description: "Whether this host is a server that holds a cluster's state."}
has_joined: {type: bool, returned: always, description: Whether it has been a node before.}
addresses: {type: list, elements: str, returned: always, description: "Its own addresses on the way out, IPv4 first."}
"""

BINARY = Path("/usr/local/bin/k3s")
CONFIG = Path("/etc/rancher/k3s/config.yaml")
TOKEN = Path("/var/lib/rancher/k3s/server/token")
PASSWORD = Path("/etc/rancher/node/password")
# Addresses set aside for documentation: https://www.rfc-editor.org/rfc/rfc5737, https://www.rfc-editor.org/rfc/rfc3849
FAR = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def checksums(paths: list[str]) -> dict[str, str]:
    """SHA-256, as hexadecimal digits, of those of the files that exist.

    Raises:
        OSError: when one cannot be read.
    """
    found = {}
    for path in paths:
        if Path(path).is_file():
            digest = hashlib.sha256()
            with Path(path).open("rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
            found[path] = digest.hexdigest()
    return found


def output(*command: str) -> str:
    """What a command prints; nothing if it is not there."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace")


def state(service: str) -> tuple[bool, bool]:
    """Say whether a service runs and whether it starts with the host, by systemd or by OpenRC."""
    if Path("/run/systemd/system").is_dir():
        shown = output("systemctl", "show", service, "--property=ActiveState,UnitFileState").splitlines()
        return "ActiveState=active" in shown, "UnitFileState=enabled" in shown
    runs = "started" in output("rc-service", service, "status")
    return runs, service in output("rc-update", "show", "default").split()


def not_run_from(there: dict[str, str], started_from: Path) -> list[str]:
    """Those files whose checksums are not what the service noted at its start, in order; all if it noted nothing."""
    lines = started_from.read_text().splitlines() if started_from.exists() else []
    noted = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    return sorted(path for path in {**there, **noted} if there.get(path) != noted.get(path))


def server_url(config: Path) -> str:
    """The server that a config.yaml names. The role has written it, on a line of its own; hosts may have no YAML."""
    found = re.search(r"^server: *['\"]?([^'\"\s]+)", config.read_text(), re.MULTILINE) if config.exists() else None
    return found.group(1) if found else ""


def addresses() -> list[str]:
    """Addresses this host would send from, else those of its interfaces; UDP sends nothing at connect."""
    found = []
    for family, far in FAR:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return found or re.findall(r" inet6? ([^ /]+)", output("ip", "-oneline", "address", "show", "scope", "global"))


def look(parameters: dict[str, Any]) -> dict[str, Any]:
    """Everything that `RETURN` lists."""
    there = checksums(parameters["files"])
    active, enabled = state(parameters["service"])
    version = re.search(r"^k3s version (\S+)", output(str(BINARY), "--version"), re.MULTILINE)
    return {
        "version": version.group(1) if version else "",
        "active": active,
        "enabled": enabled,
        "present": list(there),
        "not_run_from": not_run_from(there, Path(parameters["started_from"])),
        "sha256": checksums([str(BINARY), *parameters["images"]]),
        "server_url": server_url(CONFIG),
        "has_cluster": TOKEN.is_file(),
        "has_joined": PASSWORD.is_file(),
        "addresses": addresses(),
    }


def main() -> None:
    """Answer Ansible."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
            "images": {"type": "list", "elements": "path", "default": []},
            "started_from": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **look(module.params))
    except OSError as error:
        module.fail_json(msg=f"K3s' files cannot be read: {error}")


if __name__ == "__main__":
    main()
