#!/usr/bin/python
"""Ansible module: the facts the roles use, and what K3s will find on this host."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.facts import ansible_collector, default_collectors
from ansible.module_utils.facts.namespace import PrefixFactNamespace

DOCUMENTATION = r"""
module: host_facts
short_description: The facts the roles use, and what K3s will find on this host
description:
  - Gathers the facts that M(ansible.builtin.setup) calls min, by Ansible's own collectors. One call takes half of two.
  - Looks at memory, disk, clock, identity, cgroups, listening TCP ports and an installed K3s.
  - Needs nothing but Python's standard library. Whose a port is shows to root only.
  - Changes nothing, in check mode neither.
options:
  now:
    description: What the controller's clock shows, in seconds since 1970.
    type: float
    required: true
  path:
    description: Where K3s will keep its data. The disk below its nearest parent that exists is looked at.
    type: path
    default: /var/lib/rancher
  ports:
    description: The TCP ports to look at.
    type: list
    elements: int
    default: [80, 443, 2379, 2380, 6443, 10250]
author: [the greeter fleet's maintainers]
"""

EXAMPLES = r"""
- name: Gather the facts
  ansible.builtin.gather_facts:
    now: "{{ now().timestamp() }}"
  vars:
    ansible_facts_modules: [greeter.fleet.host_facts]
"""

RETURN = r"""
ansible_facts.host_facts:
  description:
    - Memory in MiB, free disk in MiB at the nearest parent that exists, seconds the clock is ahead of the controller's.
    - Of every port that is listened on, who does and whether that is a part of K3s; no name where it cannot be seen.
    - The version is empty where no K3s is installed or it does not say; installed tells the two apart.
    - cmdline is the file with a Raspberry Pi's kernel command line, empty on any other machine.
  type: dict
  returned: always
  sample: {memory: 3923, disk: 20480, disk_path: /var/lib, clock: 0.1, machine_id: 0af3, boot_id: 7c1e, cgroup: 2,
           cgroup_memory: true, cmdline: "", ports: [{port: 80, process: nginx, k3s: false}],
           installed: true, version: v1.35.6+k3s1, services: [k3s]}
"""

# As the module setup has it; of all collectors only these run.
MINIMAL = (
    "apparmor", "caps", "cmdline", "date_time", "distribution", "dns", "env", "fips", "local", "lsb", "pkg_mgr",
    "platform", "python", "selinux", "service_mgr", "ssh_pub_keys", "user",
)  # fmt: skip

BINARY = Path("/usr/local/bin/k3s")
VERSION = re.compile(r"^k3s version (\S+)", re.MULTILINE)
SERVICES = ("k3s", "k3s-agent")
# Where the units of systemd and the scripts of OpenRC lie.
UNITS = ("/etc/systemd/system/{}.service", "/usr/lib/systemd/system/{}.service", "/etc/init.d/{}")
CMDLINES = ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt")

# The state of a socket in /proc/net/tcp: https://docs.kernel.org/networking/proc_net_tcp.html
LISTENS = "0A"
# All that K3s starts stays in its own control group, except pods.
K3S_GROUP = re.compile(r"/(k3s|k3s-agent)\.service|/kubepods")


def text(path: str | Path) -> str:
    """What a small file holds, nothing if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def leads_to(link: Path) -> str:
    """Where a symbolic link leads to, nowhere if it cannot be read."""
    try:
        return os.readlink(str(link))
    except OSError:
        return ""


def memory() -> int:
    """Memory of the machine in MiB, without what the kernel keeps for itself."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", text("/proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) // 1024 if found else 0


def nearest(path: str) -> Path:
    """The path itself or the nearest of its parents that exists."""
    wanted = Path(path).absolute()
    return next(parent for parent in (wanted, *wanted.parents) if parent.exists())


def disk(path: Path) -> int:
    """Free disk at ``path`` in MiB, for a user who is not root."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize // 1024**2


def listening(ports: list[int], tables: tuple[str, ...] = ("/proc/net/tcp", "/proc/net/tcp6")) -> dict[str, int]:
    """Inode of every socket that listens on one of the ``ports`` → the port."""
    found = {}
    for table in tables:
        for line in text(table).splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            if fields[3] == LISTENS and port in ports:
                found[fields[9]] = port
    return found


def owners(inodes: set[str], proc: Path = Path("/proc")) -> dict[str, Path]:
    """Inode of a socket → folder in /proc of a process that has it open, where that can be seen."""
    found: dict[str, Path] = {}
    for process in proc.glob("[0-9]*"):
        if len(found) == len(inodes):
            break
        try:
            files = list((process / "fd").iterdir())
        except OSError:  # it ended meanwhile, or is another user's
            continue
        for inode in inodes.intersection(leads_to(file)[len("socket:[") : -1] for file in files):
            found.setdefault(inode, process)
    return found


def is_k3s(process: Path) -> bool:
    """Whether a process, given as its folder in /proc, is a part of K3s."""
    return (
        leads_to(process / "exe").startswith((str(BINARY), "/var/lib/rancher/k3s/"))
        or text(process / "comm") in ("k3s-server", "k3s-agent")
        or K3S_GROUP.search(text(process / "cgroup")) is not None
    )


def taken(ports: list[int]) -> list[dict[str, Any]]:
    """Those of the ``ports`` that are listened on, each with the process that does."""
    sockets = listening(ports)
    processes = owners(set(sockets)) if sockets else {}
    found = {}
    for inode, port in sockets.items():
        process = processes.get(inode)
        name = text(process / "comm") if process else ""
        found[port] = {"port": port, "process": name, "k3s": bool(process and is_k3s(process))}
    return [found[port] for port in sorted(found)]


def version() -> str:
    """The version that an installed K3s says it has."""
    try:
        done = subprocess.run([str(BINARY), "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    found = VERSION.search(done.stdout)
    return found.group(1) if found else ""


def cgroup() -> tuple[int, bool]:
    """Version of the control groups, 0 where none are mounted yet, and whether they can limit memory."""
    mounted = Path("/sys/fs/cgroup")
    if (mounted / "cgroup.controllers").exists():
        return 2, "memory" in text(mounted / "cgroup.controllers").split()
    return int(any(mounted.glob("*"))), re.search(
        r"^memory\s+\d+\s+\d+\s+1$", text("/proc/cgroups"), re.MULTILINE
    ) is not None


def look(now: float, path: str, ports: list[int]) -> dict[str, Any]:
    """All of it; ``now`` is the controller's clock."""
    ahead = time.time() - now
    groups, limits_memory = cgroup()
    parent = nearest(path)
    return {
        "clock": ahead,
        "memory": memory(),
        "disk": disk(parent),
        "disk_path": str(parent),
        "machine_id": text("/etc/machine-id"),
        "boot_id": text("/proc/sys/kernel/random/boot_id"),
        "cgroup": groups,
        "cgroup_memory": limits_memory,
        "cmdline": next((each for each in CMDLINES if Path(each).exists()), ""),
        "ports": taken(ports),
        "installed": BINARY.exists(),
        "version": version() if BINARY.exists() else "",
        "services": [name for name in SERVICES if any(Path(unit.format(name)).exists() for unit in UNITS)],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "now": {"type": "float", "required": True},
            "path": {"type": "path", "default": "/var/lib/rancher"},
            "ports": {"type": "list", "elements": "int", "default": [80, 443, 2379, 2380, 6443, 10250]},
        },
        supports_check_mode=True,
    )
    collector = ansible_collector.get_ansible_collector(
        all_collector_classes=default_collectors.collectors,
        namespace=PrefixFactNamespace(namespace_name="ansible", prefix="ansible_"),
        gather_subset=["!all", "min"],
        minimal_gather_subset=frozenset(MINIMAL),
    )
    facts = collector.collect(module=module)
    module.exit_json(changed=False, ansible_facts={**facts, "host_facts": look(**module.params)})


if __name__ == "__main__":
    main()
