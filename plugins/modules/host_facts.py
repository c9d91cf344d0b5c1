#!/usr/bin/python
"""Ansible module: the facts the roles use, and what K3s will find on this host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.facts import ansible_collector, default_collectors
from ansible.module_utils.facts.namespace import PrefixFactNamespace
from ansible_collections.greeter.fleet.plugins.module_utils.k3s_found import k3s_found

# As the module setup has it; of all collectors only these run.
MINIMAL = (
    "apparmor", "caps", "cmdline", "date_time", "distribution", "dns", "env", "fips", "local", "lsb", "pkg_mgr",
    "platform", "python", "selinux", "service_mgr", "ssh_pub_keys", "user",
)  # fmt: skip

# https://docs.k3s.io/installation/requirements
DATA = Path("/var/lib/rancher")
PORTS = (80, 443, 2379, 2380, 6443, 10250)
BINARY = Path("/usr/local/bin/k3s")
SERVICES = ("k3s", "k3s-agent")
# Where the units of systemd and the scripts of OpenRC lie.
UNITS = ("/etc/systemd/system/{}.service", "/usr/lib/systemd/system/{}.service", "/etc/init.d/{}")
CMDLINES = ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt")

# The state of a socket in /proc/net/tcp: https://docs.kernel.org/networking/proc_net_tcp.html
LISTENS = "0A"
# All that K3s starts stays in its own control group, except pods.
K3S_GROUP = r"/(k3s|k3s-agent)\.service|/kubepods"


def read(path: str | Path) -> str:
    """What a small file holds, nothing if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def target(link: Path) -> str:
    """Where a symbolic link leads to, nowhere if it cannot be read."""
    try:
        return os.readlink(str(link))
    except OSError:
        return ""


def first_match(pattern: str, text: str) -> str:
    """The first group of the first line of ``text`` that begins with ``pattern``, nothing if none does."""
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1) if found else ""


def open_files(process: Path) -> set[str]:
    """What a process, given as its folder in /proc, has open, such as socket:[1234], where that can be seen."""
    try:
        return {target(file) for file in (process / "fd").iterdir()}
    except OSError:  # it ended meanwhile, or is another user's
        return set()


def is_k3s(process: Path) -> bool:
    """Whether a process, given as its folder in /proc, is a part of K3s."""
    return (
        target(process / "exe").startswith((str(BINARY), "/var/lib/rancher/k3s/"))
        or read(process / "comm") in ("k3s-server", "k3s-agent")
        or re.search(K3S_GROUP, read(process / "cgroup")) is not None
    )


def taken_ports(ports: Sequence[int]) -> list[dict[str, Any]]:
    """Those of the ``ports`` that are listened on, each with a process that does."""
    sockets = {}
    for line in [*read("/proc/net/tcp").splitlines()[1:], *read("/proc/net/tcp6").splitlines()[1:]]:
        fields = line.split()
        port = int(fields[1].rpartition(":")[2], 16)
        if fields[3] == LISTENS and port in ports:
            sockets[f"socket:[{fields[9]}]"] = port
    found = {port: {"port": port, "process": "", "k3s": False} for port in sorted(sockets.values())}
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        for socket in open_files(process).intersection(sockets):
            found[sockets[socket]].update(process=read(process / "comm"), k3s=is_k3s(process))
    return list(found.values())


def k3s_version() -> str:
    """The version that an installed K3s says it has, nothing if there is none or it does not say."""
    try:
        done = subprocess.run([str(BINARY), "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return first_match(r"^k3s version (\S+)", done.stdout)


def cgroup() -> tuple[int, bool]:
    """Version of the control groups, 0 where none are mounted yet, and whether they can limit memory."""
    mounted = Path("/sys/fs/cgroup")
    if (mounted / "cgroup.controllers").exists():
        return 2, "memory" in read(mounted / "cgroup.controllers").split()
    return int(any(mounted.glob("*"))), first_match(r"^memory\s+\d+\s+\d+\s+(\d)$", read("/proc/cgroups")) == "1"


def host_facts(now: float) -> dict[str, Any]:
    """All that the module finds besides Ansible's own facts; ``now`` is the controller's clock."""
    ahead = time.time() - now
    version, limits_memory = cgroup()
    parent = next(each for each in (DATA, *DATA.parents) if each.exists())
    return {
        "clock": ahead,
        # The machine's without what the kernel keeps for itself.
        "memory": int(first_match(r"^MemTotal:\s+(\d+) kB", read("/proc/meminfo")) or 0) // 1024,
        "disk": shutil.disk_usage(str(parent)).free // 1024**2,
        "disk_path": str(parent),
        "machine_id": read("/etc/machine-id"),
        "boot_id": read("/proc/sys/kernel/random/boot_id"),
        "cgroup": version,
        "cgroup_memory": limits_memory,
        "cmdline": next((each for each in CMDLINES if Path(each).exists()), ""),
        "ports": taken_ports(PORTS),
        "version": k3s_version(),
        "k3s": k3s_found(),
        "services": [name for name in SERVICES if any(Path(unit.format(name)).exists() for unit in UNITS)],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"now": {"type": "float", "required": True}}, supports_check_mode=True)
    collector = ansible_collector.get_ansible_collector(
        all_collector_classes=default_collectors.collectors,
        namespace=PrefixFactNamespace(namespace_name="ansible", prefix="ansible_"),
        gather_subset=["!all", "min"],
        minimal_gather_subset=frozenset(MINIMAL),
    )
    facts = collector.collect(module=module)
    module.exit_json(changed=False, ansible_facts={**facts, "host_facts": host_facts(module.params["now"])})


if __name__ == "__main__":
    main()
