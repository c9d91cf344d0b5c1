#!/usr/bin/python
"""Ansible module: what a host lacks of what K3s needs, found by reading files only."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any
from xml.etree import ElementTree

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: k3s_requirements
short_description: Tell what a host lacks of what K3s needs
description:
  - Compares what is wanted with what the host has.
  - Reads files, mostly of /proc and /sys. Runs no program and needs no network.
  - Changes nothing, in check mode neither.
options:
  modules:
    description: The kernel modules that must be loaded or built in.
    type: list
    elements: str
    default: []
  packages:
    description: What a package must bring. A package is missing when it is needed here and what it brings is not there.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: The package., type: str, required: true}
      path: {description: A file that it brings., type: str}
      module: {description: A kernel module that it brings., type: str}
      kernel: {description: It is needed only where the kernel's release matches this regular expression., type: str}
      apparmor: {description: It is needed only where AppArmor is enabled., type: bool, default: false}
  sysctls:
    description: Kernel settings that must have these values.
    type: dict
    default: {}
  sysctls_at_least:
    description: Kernel settings that should have at least these values. A host that has more keeps it.
    type: dict
    default: {}
  ipv6_forwarding:
    description:
      - Whether IPv6 is to be forwarded. A default route that the kernel has learned from a router would then go when it
        expires, unless accept_ra is 2 for its interface.
    type: bool
    default: false
  root:
    description: The folder that holds the host's files.
    type: path
    default: /
author: [the greeter fleet's maintainers]
"""

EXAMPLES = r"""
- name: Look at the host
  k3s_requirements:
    modules: [br_netfilter, overlay]
    sysctls: {net.ipv4.ip_forward: 1}
    packages:
      - {name: apparmor, path: /sbin/apparmor_parser, apparmor: true}
  register: seen
"""

RETURN = r"""
packages:
  description: The packages that are needed and missing.
  type: list
  returned: always
modules:
  description:
    - C(load) are the modules to load now, C(keep) those that can be loaded and must be at every boot, C(kept) whether
      /etc/modules-load.d/k3s.conf says so.
  type: dict
  returned: always
sysctls:
  description:
    - C(set) are the settings to change now, C(keep) all that /etc/sysctl.d/90-k3s.conf must hold, C(kept) whether it
      does.
  type: dict
  returned: always
cgroups:
  description:
    - C(missing) are the controllers that K3s needs and the kernel does not give.
    - On a Raspberry Pi, C(command_line) is the file with the kernel's command line and C(parameters) what it lacks.
    - C(service) is whether OpenRC's service cgroups must still be enabled or started.
  type: dict
  returned: always
selinux:
  description: C(enabled) is whether SELinux is, C(policy) whether the policy for K3s is installed.
  type: dict
  returned: always
firewall:
  description:
    - C(name) is the active firewall, firewalld, ufw or empty.
    - C(rules) are those it has, as texts of source, a space and port. An empty source is anywhere, an empty port all.
  type: dict
  returned: always
addresses:
  description: The addresses this host has on its default routes, IPv4 first.
  type: list
  returned: always
faults:
  description: What is wrong and cannot be changed from here.
  type: list
  returned: always
notes:
  description: What the operator should know.
  type: list
  returned: always
"""

MODULES_FILE = "etc/modules-load.d/k3s.conf"
SYSCTLS_FILE = "etc/sysctl.d/90-k3s.conf"

# What K3s refuses to start without (its pkg/cgroups).
CONTROLLERS_V1 = ("memory",)
CONTROLLERS_V2 = ("cpu", "cpuset", "memory")
PI_PARAMETERS = ("cgroup_memory=1", "cgroup_enable=memory")
PI_COMMAND_LINES = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")

# A running unit has a control group, whichever version these are.
FIREWALLD_RUNS = (
    "sys/fs/cgroup/system.slice/firewalld.service",
    "sys/fs/cgroup/unified/system.slice/firewalld.service",
    "sys/fs/cgroup/systemd/system.slice/firewalld.service",
    "run/openrc/started/firewalld",
)
UFW_RULE = re.compile(r"### tuple ### allow (\S+) (\S+) (?:0\.0\.0\.0/0|::/0) any (\S+) in\b")
ANYWHERE = ("0.0.0.0/0", "::/0")

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
        self.release = read(root / "proc/sys/kernel/osrelease").strip()
        self.folder = root / "lib/modules" / self.release
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


def packages(root: Path, kernel: Kernel, wanted: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the ``wanted`` packages that are needed here and missing."""

    def missing(package: dict[str, Any]) -> bool:
        if package.get("kernel") and not re.search(package["kernel"], kernel.release):
            return False
        if package.get("apparmor") and not apparmor(root):
            return False
        if package.get("module"):
            # A container uses the kernel of the machine below: nothing that is installed here would help.
            return (
                kernel.folder.is_dir()
                and not kernel.has(package["module"])
                and package["module"] not in kernel.loadable
            )
        return not (root / package["path"].lstrip("/")).exists()

    return [package for package in wanted if missing(package)]


def apparmor(root: Path) -> bool:
    """Whether containerd will use AppArmor, as it finds that out itself."""
    enabled = read(root / "sys/module/apparmor/parameters/enabled").startswith("Y")
    return (
        enabled and (root / "sys/kernel/security/apparmor").exists() and not (root / "run/systemd/container").exists()
    )


def modules(kernel: Kernel, wanted: list[str], coming: set[str]) -> tuple[dict[str, Any], list[str]]:
    """What is to do for the ``wanted`` modules, and those not to be had. Packages will bring those ``coming``."""
    there = kernel.loadable | coming
    keep = [module for module in wanted if module in there]
    kept = [line for line in read(kernel.root / MODULES_FILE).split("\n") if line and not line.startswith("#")]
    absent = [module for module in wanted if not kernel.has(module)]
    seen = {"load": [module for module in absent if module in there], "keep": keep, "kept": not keep or kept == keep}
    return seen, [module for module in absent if module not in there]


def learned_routes(root: Path) -> list[str]:
    """Interfaces with an IPv6 default route that the kernel has learned from a router."""
    routes = (line.split() for line in read(root / "proc/net/ipv6_route").splitlines())
    return sorted({route[-1] for route in routes if int(route[-2], 16) & LEARNED_DEFAULT})


def setting(root: Path, name: str) -> Path:
    """File of a kernel setting, whose name has dots, or slashes where a part of it has a dot."""
    return root / "proc/sys" / (name if "/" in name else name.replace(".", "/"))


def value_of(path: Path) -> str:
    """Value of a kernel setting's file, its blanks made one."""
    return " ".join(read(path).split())


def sysctls(root: Path, exact: dict[str, Any], at_least: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """What is to do for the settings wanted, faults (the exact ones that cannot be set) and notes (the others)."""
    file = settings(read(root / SYSCTLS_FILE))
    seen: dict[str, Any] = {"set": {}, "keep": {}}
    faults: list[str] = []
    notes: list[str] = []

    def want(name: str, value: str, enough: bool, wish: str, complaints: list[str]) -> None:
        if not enough:
            path = setting(root, name)
            if not os.access(path, os.W_OK):
                state = f"is {value_of(path)}" if path.exists() else "is not there"
                complaints.append(
                    f"the kernel setting {name} {state}, {wish} {value}, and cannot be set from inside this host: "
                    f"set it on the machine below"
                )
                return
            seen["set"][name] = value
        seen["keep"][name] = value

    for name, value in exact.items():
        want(name, str(value), value_of(setting(root, name)) == str(value), "must be", faults)
    for name, least in at_least.items():
        has = value_of(setting(root, name))
        enough = has.isdigit() and int(has) >= int(least)
        if not enough or name in file:
            want(name, str(least), enough, "should be at least", notes)
    seen["kept"] = file == seen["keep"] if seen["keep"] else True
    return seen, faults, notes


def cgroups(root: Path) -> dict[str, Any]:
    """What is to do for the control groups."""
    mounted = root / "sys/fs/cgroup/cgroup.controllers"
    if mounted.exists():
        missing = set(CONTROLLERS_V2) - set(read(mounted).split())
    else:
        table = (line.split() for line in read(root / "proc/cgroups").splitlines())
        missing = set(CONTROLLERS_V1) - {row[0] for row in table if row[-1] == "1"}
    seen: dict[str, Any] = {"missing": sorted(missing), "command_line": "", "parameters": []}
    if missing and "Raspberry Pi" in read(root / "proc/device-tree/model"):
        for name in PI_COMMAND_LINES:
            if not seen["command_line"] and (root / name).exists():
                seen["command_line"] = str(root / name)
                seen["parameters"] = [word for word in PI_PARAMETERS if word not in read(root / name).split()]
    enabled = any(os.path.lexists(level / "cgroups") for level in (root / "etc/runlevels").glob("*"))
    started = os.path.lexists(root / "run/openrc/started/cgroups")
    seen["service"] = (root / "etc/init.d/cgroups").exists() and not (enabled and started)
    return seen


def selinux(root: Path) -> dict[str, bool]:
    """Whether SELinux is enabled, and whether it knows K3s."""
    policies = [*root.glob("usr/share/selinux/packages/k3s.pp*"), *root.glob("var/lib/selinux/*/active/modules/*/k3s")]
    # Containers see that of the machine below, read-only.
    return {"enabled": os.access(root / "sys/fs/selinux/enforce", os.W_OK), "policy": bool(policies)}


def firewall(root: Path) -> dict[str, Any]:
    """Name of the active firewall, and its rules as texts of source and port; an empty source is anywhere."""
    if (root / "usr/sbin/firewalld").exists() and any((root / sign).exists() for sign in FIREWALLD_RUNS):
        return {"name": "firewalld", "rules": sorted(firewalld_rules(root))}
    if settings(read(root / "etc/ufw/ufw.conf")).get("ENABLED") == "yes" and (root / "usr/sbin/ufw").exists():
        return {"name": "ufw", "rules": sorted(ufw_rules(root))}
    return {"name": "", "rules": []}


def ufw_rules(root: Path) -> set[str]:
    """What ufw allows to come in."""
    text = read(root / "etc/ufw/user.rules") + read(root / "etc/ufw/user6.rules")
    return {
        f"{'' if source in ANYWHERE else source} {'' if port == 'any' else port.replace(':', '-') + '/' + protocol}"
        for protocol, port, source in UFW_RULE.findall(text)
    }


def firewalld_rules(root: Path) -> set[str]:
    """What firewalld's default zone lets in, and the sources that it trusts altogether."""

    def zone(name: str) -> ElementTree.Element:
        for folder in ("etc/firewalld/zones", "usr/lib/firewalld/zones"):
            text = read(root / folder / f"{name}.xml")
            if text:
                return ElementTree.fromstring(text)
        return ElementTree.Element("zone")

    def port(element: ElementTree.Element) -> str:
        return f"{element.get('port')}/{element.get('protocol')}"

    default = zone(settings(read(root / "etc/firewalld/firewalld.conf")).get("DefaultZone", "public"))
    rules = {f" {port(element)}" for element in default.findall("port")}
    for rule in default.findall("rule"):
        source, to = rule.find("source"), rule.find("port")
        if source is not None and to is not None and rule.find("accept") is not None:
            rules.add(f"{source.get('address')} {port(to)}")
    return rules | {f"{source.get('address')} " for source in zone("trusted").findall("source")}


def addresses() -> list[str]:
    """Addresses of this host on its default routes, IPv4 first. Nothing is sent to ask for them."""
    found = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                found.append(probe.getsockname()[0])
        except OSError:
            continue
    return found


def look(root: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Compare the host whose files are under ``root`` with what is ``wanted``: the module's options."""
    kernel = Kernel(root)
    to_install = packages(root, kernel, wanted["packages"])
    seen_modules, absent = modules(
        kernel, wanted["modules"], {package["module"] for package in to_install if package.get("module")}
    )
    exact = dict(wanted["sysctls"])
    if wanted["ipv6_forwarding"]:
        # Written with slashes: an interface's name may have a dot.
        exact.update({f"net/ipv6/conf/{interface}/accept_ra": 2 for interface in learned_routes(root)})
    seen_sysctls, faults, notes = sysctls(root, exact, wanted["sysctls_at_least"])
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
        "packages": [package["name"] for package in to_install],
        "modules": seen_modules,
        "sysctls": seen_sysctls,
        "cgroups": cgroups(root),
        "selinux": selinux(root),
        "firewall": firewall(root),
        "addresses": addresses(),
        "faults": faults,
        "notes": notes,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "modules": {"type": "list", "elements": "str", "default": []},
            "packages": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "path": {"type": "str"},
                    "module": {"type": "str"},
                    "kernel": {"type": "str"},
                    "apparmor": {"type": "bool", "default": False},
                },
                "required_one_of": [["path", "module"]],
            },
            "sysctls": {"type": "dict", "default": {}},
            "sysctls_at_least": {"type": "dict", "default": {}},
            "ipv6_forwarding": {"type": "bool", "default": False},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **look(Path(module.params["root"]), module.params))


if __name__ == "__main__":
    main()
