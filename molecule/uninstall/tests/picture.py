"""Run on a host: all of it that an installation could change, as JSON. Two pictures of an unchanged host are equal."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
from pathlib import Path

# What the kernel makes up, what is for a moment only, and what changes by itself on a host that nobody touches.
LEFT_OUT = {
    "/proc", "/sys", "/dev", "/tmp", "/var/tmp",
    "/run/systemd", "/run/udev", "/var/lib/systemd",  # what systemd knows of its units, and when timers ran
    "/run/log", "/var/log/journal",
    "/root/.ansible",  # Ansible's own folder for the modules it sends
    "/.kube",  # what kubectl learns when these tests call it, without a home
}  # fmt: skip


def said(*command: str) -> list[str]:
    """The lines that a program prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def checksum(path: Path) -> str:
    """Checksum of a file; what only looks like one, as a namespace does, has none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return str(error.strerror)


def files() -> dict[str, str]:
    """Path → type, mode, owner, and what is in it."""
    found = {}
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if str(Path(folder, name)) not in LEFT_OUT]
        for name in [*folders, *names]:
            path = Path(folder, name)
            seen = path.lstat()
            inside = ""
            if stat.S_ISLNK(seen.st_mode):
                inside = str(path.readlink())
            elif stat.S_ISREG(seen.st_mode):
                inside = checksum(path)
            found[str(path)] = f"{stat.filemode(seen.st_mode)} {seen.st_uid} {seen.st_gid} {inside}".strip()
    return found


def mounts() -> list[str]:
    """Where what is mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(" ".join([*line.split(" - ")[0].split()[3:5], *line.split(" - ")[1].split()[:2]]) for line in lines)


def rules(family: str) -> list[str]:
    """Rules and chains; a table or chain of the kernel's own that holds no rule is as none."""
    lines = said(f"{family}tables-save")
    return [line for line in lines if re.match(r"-A |:\S+ -", line)]


def processes() -> list[str]:
    """Names of what runs."""
    return sorted({(each / "comm").read_text().strip() for each in Path("/proc").glob("[0-9]*")} - {"python3"})


print(
    json.dumps(
        {
            "files": files(),
            "mounts": mounts(),
            "interfaces": [
                [each["ifname"], sorted(address["local"] for address in each["addr_info"])]
                for each in json.loads("".join(said("ip", "-json", "address")))
            ],
            "routes": sorted(said("ip", "-4", "route") + said("ip", "-6", "route")),
            "policies": said("ip", "rule"),
            "rules": {family: rules(family) for family in ("ip", "ip6")},
            "enabled": said("systemctl", "list-unit-files", "--state=enabled", "--no-legend", "--plain"),
            "active": sorted(
                line.split()[0]
                for line in said("systemctl", "list-units", "--state=active", "--no-legend", "--plain")
                if line.split()[0].endswith((".service", ".socket", ".mount", ".slice", ".timer"))
            ),
            "failed": said("systemctl", "list-units", "--state=failed", "--no-legend", "--plain"),
            "processes": processes(),
            "ports": sorted({" ".join(line.split()[:1] + line.split()[4:5]) for line in said("ss", "-Hlntu")}),
        }
    )
)
