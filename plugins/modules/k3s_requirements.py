#!/usr/bin/python
"""Ansible module: what a host lacks of what K3s needs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.greeter.fleet.plugins.module_utils.addresses import default_route_addresses

MODULES_FILE = "etc/modules-load.d/k3s.conf"
SYSCTLS_FILE = "etc/sysctl.d/90-k3s.conf"
PI_PARAMETERS = ("cgroup_memory=1", "cgroup_enable=memory")
PI_COMMAND_LINES = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")
# The kernel's RTF_DEFAULT, in /proc/net/ipv6_route: a default route that was learned from a router.
LEARNED_DEFAULT = 0x00010000


def read(path: Path) -> str:
    """Text of a file, empty if there is none that can be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def settings(text: str) -> dict[str, str]:
    """Settings of a file with lines of ``name = value`` and comments."""
    lines = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith(("#", ";")))
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


class Kernel:
    """The running kernel and its modules."""

    def __init__(self, root: Path) -> None:
        """Read the lists of modules of the kernel that runs under ``root``."""
        self.root = root
        self.folder = root / "lib/modules" / read(root / "proc/sys/kernel/osrelease").strip()
        self.built_in = self._names("modules.builtin")
        self.loadable = self._names("modules.dep")

    def _names(self, index: str) -> set[str]:
        lines = read(self.folder / index).splitlines()
        return {PurePath(line.partition(":")[0]).name.partition(".")[0].replace("-", "_") for line in lines}

    def has(self, module: str) -> bool:
        """Whether a module is loaded or built in. In a container, only what it does shows that."""
        if module in self.built_in or (self.root / "sys/module" / module).exists():
            return True
        if module == "br_netfilter":
            return (self.root / "proc/sys/net/bridge/bridge-nf-call-iptables").exists()
        return module in read(self.root / "proc/filesystems").split()


def is_missing(package: dict[str, Any], kernel: Kernel) -> bool:
    """Whether a package is needed here and missing."""
    root, module = kernel.root, package.get("module")
    if module:
        # A container uses the kernel of the machine below: nothing that is installed here would help.
        return kernel.folder.is_dir() and not kernel.has(module) and module not in kernel.loadable
    # As containerd itself finds out whether it is to use AppArmor.
    apparmor = (
        read(root / "sys/module/apparmor/parameters/enabled").startswith("Y")
        and (root / "sys/kernel/security/apparmor").exists()
        and not (root / "run/systemd/container").exists()
    )
    return (apparmor or not package.get("apparmor")) and not (root / package["path"].lstrip("/")).exists()


def modules(kernel: Kernel, wanted: list[str], coming: set[str]) -> tuple[dict[str, Any], list[str]]:
    """What is to do for the ``wanted`` modules, and those not to be had. Packages will bring those ``coming``."""
    loadable = kernel.loadable | coming
    absent = [module for module in wanted if not kernel.has(module)]
    now = [module for module in absent if module in loadable]
    boot = [module for module in wanted if module in loadable]
    listed = [line for line in read(kernel.root / MODULES_FILE).splitlines() if line and not line.startswith("#")]
    ready = not boot or (not now and listed == boot)
    return {"now": now, "boot": boot, "ready": ready}, [module for module in absent if module not in loadable]


def sysctls(root: Path, exact: dict[str, Any], at_least: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """What is to do for the settings wanted, errors (the exact ones that cannot be set) and notes (the others)."""
    file = settings(read(root / SYSCTLS_FILE))
    now: dict[str, str] = {}
    boot: dict[str, str] = {}
    errors: list[str] = []
    notes: list[str] = []
    for name, value in [*exact.items(), *at_least.items()]:
        # A name has dots, or slashes where a part of it has a dot.
        path = root / "proc/sys" / (name if "/" in name else name.replace(".", "/"))
        current, wanted = " ".join(read(path).split()), str(value)
        enough = current == wanted if name in exact else current.isdigit() and int(current) >= int(wanted)
        if not enough and not os.access(path, os.W_OK):
            state = f"is {current}" if path.exists() else "is not there"
            wish = "must be" if name in exact else "should be at least"
            (errors if name in exact else notes).append(
                f"the kernel setting {name} {state}, {wish} {wanted}, and cannot be set from inside this host: "
                f"set it on the machine below"
            )
        elif name in exact or name in file or not enough:
            boot[name] = wanted
            now.update({} if enough else {name: wanted})
    return {"now": now, "boot": boot, "ready": not boot or (not now and file == boot)}, errors, notes


def learned_routes(root: Path) -> list[str]:
    """Interfaces with an IPv6 default route that the kernel has learned from a router."""
    routes = (line.split() for line in read(root / "proc/net/ipv6_route").splitlines())
    return sorted({route[-1] for route in routes if int(route[-2], 16) & LEARNED_DEFAULT})


def cgroups(root: Path) -> dict[str, Any]:
    """What is to do for the control groups. K3s refuses to start without some of them (its pkg/cgroups)."""
    version_2 = root / "sys/fs/cgroup/cgroup.controllers"
    if version_2.exists():
        missing = {"cpu", "cpuset", "memory"} - set(read(version_2).split())
    else:
        table = (line.split() for line in read(root / "proc/cgroups").splitlines())
        missing = {"memory"} - {row[0] for row in table if row[-1] == "1"}
    is_pi = "Raspberry Pi" in read(root / "proc/device-tree/model")
    files = [root / name for name in PI_COMMAND_LINES if missing and is_pi and (root / name).exists()]
    enabled = any(os.path.lexists(level / "cgroups") for level in (root / "etc/runlevels").glob("*"))
    started = os.path.lexists(root / "run/openrc/started/cgroups")
    return {
        "missing": sorted(missing),
        "command_line": str(files[0]) if files else "",
        "parameters": [each for each in PI_PARAMETERS if files and each not in read(files[0]).split()],
        "service": (root / "etc/init.d/cgroups").exists() and not (enabled and started),
    }


def selinux(root: Path) -> dict[str, bool]:
    """Whether SELinux is enabled, and whether it knows K3s."""
    policies = [*root.glob("usr/share/selinux/packages/k3s.pp*"), *root.glob("var/lib/selinux/*/active/modules/*/k3s")]
    # Containers see that of the machine below, read-only.
    return {"enabled": os.access(root / "sys/fs/selinux/enforce", os.W_OK), "policy": bool(policies)}


def firewall(root: Path, run: Callable[[list[str]], tuple[int, str, str]]) -> dict[str, Any]:
    """Name of the active firewall and its rules, as its own tool lists them."""

    def lines(tool: Path, *arguments: str) -> list[str]:
        status, output, _ = run([str(tool), *arguments]) if tool.exists() else (1, "", "")
        return [line.strip() for line in output.splitlines()] if status == 0 else []

    # It fails where firewalld does not run.
    firewall_cmd = root / "usr/bin/firewall-cmd"
    zone = lines(firewall_cmd, "--permanent", "--list-all")
    if zone:
        ports = [port for line in zone if line.startswith("ports:") for port in line.split()[1:]]
        trusted = " ".join(lines(firewall_cmd, "--permanent", "--zone=trusted", "--list-sources")).split()
        return {"name": "firewalld", "rules": [*ports, *(line for line in zone if line.startswith("rule ")), *trusted]}
    ufw = root / "usr/sbin/ufw"
    if ufw.exists() and settings(read(root / "etc/ufw/ufw.conf")).get("ENABLED") == "yes":
        return {"name": "ufw", "rules": [re.sub(" comment '.*'$", "", line) for line in lines(ufw, "show", "added")]}
    return {"name": "", "rules": []}


def requirements(
    root: Path, wanted: dict[str, Any], run: Callable[[list[str]], tuple[int, str, str]]
) -> dict[str, Any]:
    """Compare the host whose files are under ``root`` with what is ``wanted``: the module's options."""
    kernel = Kernel(root)
    packages = [package for package in wanted["packages"] if is_missing(package, kernel)]
    module_state, absent = modules(kernel, wanted["modules"], {package.get("module") for package in packages})
    exact = dict(wanted["sysctls"])
    if wanted["ipv6_forwarding"]:
        # Written with slashes: an interface's name may have a dot.
        exact.update({f"net/ipv6/conf/{interface}/accept_ra": 2 for interface in learned_routes(root)})
    sysctl_state, errors, notes = sysctls(root, exact, wanted["sysctls_at_least"])
    notes += [
        f"the kernel module {module} is neither loaded nor built in, and cannot be loaded from inside this host; "
        f"load it on the machine below it if K3s complains"
        for module in absent
    ]
    if len(read(root / "proc/swaps").splitlines()) > 1:
        notes.append(
            "swap is on: K3s' kubelet runs with it, but pods do not swap, and the machine slows down before limits show"
        )
    return {
        "packages": [package["name"] for package in packages],
        "modules": module_state,
        "sysctls": sysctl_state,
        "cgroups": cgroups(root),
        "selinux": selinux(root),
        "firewall": firewall(root, run),
        "addresses": default_route_addresses(),
        "errors": errors,
        "notes": notes,
    }


def main() -> None:
    """Run the module."""
    package = {
        "name": {"type": "str", "required": True},
        "path": {"type": "str"},
        "module": {"type": "str"},
        "apparmor": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec={
            "modules": {"type": "list", "elements": "str", "default": []},
            "packages": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": package,
                "required_one_of": [["path", "module"]],
            },
            "sysctls": {"type": "dict", "default": {}},
            "sysctls_at_least": {"type": "dict", "default": {}},
            "ipv6_forwarding": {"type": "bool", "default": False},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **requirements(Path(module.params["root"]), module.params, module.run_command))


if __name__ == "__main__":
    main()
