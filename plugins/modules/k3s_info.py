#!/usr/bin/python
"""Ansible module: what of K3s is on a host, what runs, and whether it still runs from what lies there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.greeter.fleet.plugins.module_utils.addresses import default_route_addresses
from ansible_collections.greeter.fleet.plugins.module_utils.k3s_found import k3s_found

BINARY = "/usr/local/bin/k3s"
IMAGES = "/var/lib/rancher/k3s/agent/images/"


def output(*command: str) -> str:
    """What a command prints; nothing if it is not there."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace")


def state(service: str) -> dict[str, bool]:
    """Whether a service is ``active`` and ``enabled``, by systemd or by OpenRC."""
    if Path("/run/systemd/system").is_dir():
        shown = output("systemctl", "show", service, "--property=ActiveState,UnitFileState").splitlines()
        return {"active": "ActiveState=active" in shown, "enabled": "UnitFileState=enabled" in shown}
    return {
        "active": "started" in output("rc-service", service, "status"),
        "enabled": service in output("rc-update", "show", "default").split(),
    }


def not_run_from(checksums: dict[str, str], started_from: Path) -> list[str]:
    """Those files whose checksums are not what the service noted at its start, in order; all if it noted nothing."""
    lines = started_from.read_text().splitlines() if started_from.exists() else []
    noted = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    return sorted(path for path in {**checksums, **noted} if checksums.get(path) != noted.get(path))


def server_url(config: Path) -> str:
    """The server that a config.yaml names. The role has written it, on a line of its own; hosts may have no YAML."""
    found = re.search(r"^server: *['\"]?([^'\"\s]+)", config.read_text(), re.MULTILINE) if config.exists() else None
    return found.group(1) if found else ""


def addresses() -> list[str]:
    """Addresses this host sends from, IPv4 first; without a default route those of its interfaces."""
    found = default_route_addresses()
    return found or re.findall(r" inet6? ([^ /]+)", output("ip", "-oneline", "address", "show", "scope", "global"))


def info(module: AnsibleModule) -> dict[str, object]:
    """Everything that `RETURN` lists."""
    files = {path: module.sha256(path) for path in module.params["files"] if Path(path).is_file()}
    images = {name: module.sha256(IMAGES + name) for name in module.params["images"] if Path(IMAGES, name).is_file()}
    version = re.search(r"^k3s version (\S+)", output(BINARY, "--version"), re.MULTILINE)
    return {
        "version": version.group(1) if version else "",
        "sha256": files.get(BINARY, ""),
        "images": images,
        **state(module.params["service"]),
        "present": list(files),
        "not_run_from": not_run_from(files, Path(module.params["started_from"])),
        "server_url": server_url(Path("/etc/rancher/k3s/config.yaml")),
        "found": k3s_found(),
        "has_cluster": Path("/var/lib/rancher/k3s/server/token").is_file(),
        "has_joined": Path("/etc/rancher/node/password").is_file(),
        "addresses": addresses(),
    }


def main() -> None:
    """Answer Ansible."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
            "images": {"type": "list", "elements": "str", "default": []},
            "started_from": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **info(module))
    except OSError as error:
        module.fail_json(msg=f"K3s' files cannot be read: {error}")


if __name__ == "__main__":
    main()
