"""What the role prepare finds on a host, and its firewall rules. What it does then: ``test_prepare_families.py``."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ansible_collections.greeter.fleet.plugins.filter.firewall_rules import (
    cluster_networks,
    firewall_rules,
    node_addresses,
)
from ansible_collections.greeter.fleet.plugins.module_utils import addresses
from ansible_collections.greeter.fleet.plugins.modules import k3s_requirements

KERNEL = "6.1.0-18-amd64"


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write a host's ``files`` under ``root``."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def kernel(root: Path, files: dict[str, str]) -> k3s_requirements.Kernel:
    return k3s_requirements.Kernel(tree(root, {"proc/sys/kernel/osrelease": f"{KERNEL}\n"} | files))


def program(path: Path, script: str) -> None:
    """Put a program there that stands in for the host's own."""
    tree(path.parent, {path.name: f"#!/bin/sh\n{script}\n"})
    path.chmod(0o755)


def run(command: list[str]) -> tuple[int, str, str]:
    """Run a program, as ``AnsibleModule.run_command`` does."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


# Kernel modules


@pytest.mark.parametrize(
    "files",
    [
        {"sys/module/br_netfilter/refcnt": "0"},
        {f"lib/modules/{KERNEL}/modules.builtin": "kernel/net/bridge/br_netfilter.ko\n"},
        {"proc/sys/net/bridge/bridge-nf-call-iptables": "1"},
    ],
    ids=["loaded", "built in", "below a container"],
)
def test_a_module_that_is_there_is_not_loaded(tmp_path: Path, files: dict[str, str]) -> None:
    state, absent = k3s_requirements.modules(kernel(tmp_path, files), ["br_netfilter"], set())
    assert state == {"now": [], "boot": [], "ready": True}
    assert absent == []


@pytest.mark.parametrize("suffix", ["ko", "ko.xz", "ko.zst"])
def test_a_module_that_can_be_loaded_is(tmp_path: Path, suffix: str) -> None:
    index = f"kernel/net/br-netfilter.{suffix}: kernel/net/bridge.{suffix}\n"
    state, absent = k3s_requirements.modules(
        kernel(tmp_path, {f"lib/modules/{KERNEL}/modules.dep": index}), ["br_netfilter"], set()
    )
    assert state == {"now": ["br_netfilter"], "boot": ["br_netfilter"], "ready": False}
    assert absent == []


def test_a_module_that_is_nowhere_is_told_and_not_kept(tmp_path: Path) -> None:
    state, absent = k3s_requirements.modules(kernel(tmp_path, {}), ["overlay"], set())
    assert state == {"now": [], "boot": [], "ready": True}
    assert absent == ["overlay"]


def test_a_file_with_another_list_of_modules_is_not_kept(tmp_path: Path) -> None:
    files = {
        f"lib/modules/{KERNEL}/modules.dep": "kernel/fs/overlay.ko:\n",
        "sys/module/overlay/refcnt": "0",
        "etc/modules-load.d/k3s.conf": "# made by hand\noverlay\nip_vs\n",
    }
    state, _ = k3s_requirements.modules(kernel(tmp_path, files), ["overlay"], set())
    assert state == {"now": [], "boot": ["overlay"], "ready": False}


# Packages


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({}, True),
        ({"sbin/apparmor_parser": ""}, False),
        ({"run/systemd/container": "podman"}, False),
        ({"sys/module/apparmor/parameters/enabled": "N\n"}, False),
    ],
    ids=["needed", "there", "in a container", "disabled"],
)
def test_the_parser_is_missing_only_where_containerd_would_call_it(
    tmp_path: Path, files: dict[str, str], missing: bool
) -> None:
    apparmor = {"sys/module/apparmor/parameters/enabled": "Y\n", "sys/kernel/security/apparmor/profiles": ""}
    wanted = {"name": "apparmor", "path": "/sbin/apparmor_parser", "apparmor": True}
    assert k3s_requirements.is_missing(wanted, kernel(tmp_path, apparmor | files)) is missing


@pytest.mark.parametrize(
    ("index", "missing"), [("kernel/fs/overlay.ko:\n", True), ("kernel/drivers/net/vxlan.ko:\n", False)]
)
def test_a_package_with_a_module_is_missing_where_the_kernel_lacks_it(
    tmp_path: Path, index: str, missing: bool
) -> None:
    running = kernel(tmp_path, {f"lib/modules/{KERNEL}/modules.dep": index})
    assert k3s_requirements.is_missing({"name": "modules-extra", "module": "vxlan"}, running) is missing


def test_a_container_is_given_no_package_for_the_kernel_below_it(tmp_path: Path) -> None:
    assert not k3s_requirements.is_missing({"name": "modules-extra", "module": "vxlan"}, kernel(tmp_path, {}))


# Kernel settings

FORWARD = "proc/sys/net/ipv4/ip_forward"
WATCHES = "proc/sys/fs/inotify/max_user_watches"
FILE = "etc/sysctl.d/90-k3s.conf"


def test_a_wrong_value_is_set_and_kept(tmp_path: Path) -> None:
    state, errors, notes = k3s_requirements.sysctls(tree(tmp_path, {FORWARD: "0\n"}), {"net.ipv4.ip_forward": 1}, {})
    assert state == {"now": {"net.ipv4.ip_forward": "1"}, "boot": {"net.ipv4.ip_forward": "1"}, "ready": False}
    assert errors == notes == []


def test_a_right_value_is_kept_over_a_reboot_too(tmp_path: Path) -> None:
    state, _, _ = k3s_requirements.sysctls(tree(tmp_path, {FORWARD: "1\n"}), {"net.ipv4.ip_forward": 1}, {})
    assert state == {"now": {}, "boot": {"net.ipv4.ip_forward": "1"}, "ready": False}
    tree(tmp_path, {FILE: "# comment = 1\nnet.ipv4.ip_forward = 1\n"})
    state, _, _ = k3s_requirements.sysctls(tmp_path, {"net.ipv4.ip_forward": 1}, {})
    assert state["ready"]


def test_a_setting_no_longer_wanted_leaves_the_file(tmp_path: Path) -> None:
    files = {FORWARD: "1\n", FILE: "net.ipv4.ip_forward=1\nkernel.panic=10\n"}
    state, _, _ = k3s_requirements.sysctls(tree(tmp_path, files), {"net.ipv4.ip_forward": 1}, {})
    assert not state["ready"]
    assert state["boot"] == {"net.ipv4.ip_forward": "1"}


def test_a_host_that_has_more_keeps_it(tmp_path: Path) -> None:
    wanted = {"fs.inotify.max_user_watches": 524288}
    state, _, _ = k3s_requirements.sysctls(tree(tmp_path, {WATCHES: "1048576\n"}), {}, wanted)
    assert state == {"now": {}, "boot": {}, "ready": True}
    state, _, _ = k3s_requirements.sysctls(tree(tmp_path, {WATCHES: "65536\n"}), {}, wanted)
    assert state["now"] == state["boot"] == {"fs.inotify.max_user_watches": "524288"}


def test_what_the_file_has_raised_stays_in_it(tmp_path: Path) -> None:
    files = {WATCHES: "524288\n", FILE: "fs.inotify.max_user_watches=524288\n"}
    state, _, _ = k3s_requirements.sysctls(tree(tmp_path, files), {}, {"fs.inotify.max_user_watches": 524288})
    assert state == {"now": {}, "boot": {"fs.inotify.max_user_watches": "524288"}, "ready": True}


def test_a_value_that_cannot_be_set_is_an_error_only_if_k3s_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, {FORWARD: "0\n", WATCHES: "65536\n"})
    monkeypatch.setattr(os, "access", lambda *_: False)
    state, errors, notes = k3s_requirements.sysctls(
        tmp_path, {"net.ipv4.ip_forward": 1, "vm.panic_on_oom": 0}, {"fs.inotify.max_user_watches": 524288}
    )
    assert state == {"now": {}, "boot": {}, "ready": True}
    assert errors == [
        "the kernel setting net.ipv4.ip_forward is 0, must be 1, and cannot be set from inside this host: "
        "set it on the machine below",
        "the kernel setting vm.panic_on_oom is not there, must be 0, and cannot be set from inside this host: "
        "set it on the machine below",
    ]
    assert notes == [
        "the kernel setting fs.inotify.max_user_watches is 65536, should be at least 524288, and cannot be set from "
        "inside this host: set it on the machine below"
    ]


def test_a_right_value_that_cannot_be_set_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, {FORWARD: "1\n"})
    monkeypatch.setattr(os, "access", lambda *_: False)
    _, errors, notes = k3s_requirements.sysctls(tmp_path, {"net.ipv4.ip_forward": 1}, {})
    assert errors == notes == []


def test_a_default_route_that_a_router_has_told_is_held_where_ipv6_is_forwarded(tmp_path: Path) -> None:
    nowhere, gateway = "0" * 32, "fe800000000000000000000000000001"
    tree(
        tmp_path,
        {
            "proc/net/ipv6_route": f"{nowhere} 00 {nowhere} 00 {gateway} 00000400 00000001 00000000 00450003 eth0.7\n"
            f"{nowhere} 00 {nowhere} 00 {gateway} 00000400 00000001 00000000 00000003     eth1\n"
            f"20010db8{nowhere[8:]} 40 {nowhere} 00 {nowhere} 00000100 00000001 00000000 00040001     eth2\n"
            f"{nowhere} 00 {nowhere} 00 {nowhere} ffffffff 00000001 00000000 00200200       lo\n",
            "proc/sys/net/ipv6/conf/eth0.7/accept_ra": "1\n",
            "proc/cgroups": "memory\t4\t91\t1\n",
        },
    )
    wanted: dict[str, Any] = {"modules": [], "packages": [], "sysctls": {}, "sysctls_at_least": {}}
    state = k3s_requirements.requirements(tmp_path, wanted | {"ipv6_forwarding": True}, run)
    assert state["sysctls"]["now"] == {"net/ipv6/conf/eth0.7/accept_ra": "2"}
    state = k3s_requirements.requirements(tmp_path, wanted | {"ipv6_forwarding": False}, run)
    assert state["sysctls"]["now"] == {}


# Control groups


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"}, []),
        ({"sys/fs/cgroup/cgroup.controllers": "cpu io pids\n"}, ["cpuset", "memory"]),
        ({"proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t4\t91\t1\n"}, []),
        ({"proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t91\t0\n"}, ["memory"]),
    ],
    ids=["v2", "v2 without memory", "v1", "v1 without memory"],
)
def test_the_controllers_that_k3s_refuses_to_start_without(
    tmp_path: Path, files: dict[str, str], missing: list[str]
) -> None:
    assert k3s_requirements.cgroups(tree(tmp_path, files))["missing"] == missing


@pytest.mark.parametrize(
    ("files", "path", "parameters"),
    [
        (
            {"boot/firmware/cmdline.txt": "root=a\n", "boot/cmdline.txt": "moved\n"},
            "boot/firmware/cmdline.txt",
            ["cgroup_memory=1", "cgroup_enable=memory"],
        ),
        ({"boot/cmdline.txt": "root=a cgroup_memory=1\n"}, "boot/cmdline.txt", ["cgroup_enable=memory"]),
        ({"boot/cmdline.txt": "root=a cgroup_memory=1 cgroup_enable=memory\n"}, "boot/cmdline.txt", []),
    ],
    ids=["new", "half done", "before the reboot"],
)
def test_what_a_raspberry_pis_command_line_lacks(
    tmp_path: Path, files: dict[str, str], path: str, parameters: list[str]
) -> None:
    pi = {"proc/device-tree/model": "Raspberry Pi 5\0", "sys/fs/cgroup/cgroup.controllers": "cpuset cpu\n"}
    state = k3s_requirements.cgroups(tree(tmp_path, pi | files))
    assert state["command_line"] == str(tmp_path / path)
    assert state["parameters"] == parameters


def test_the_command_line_of_a_pi_with_all_control_groups_is_left_alone(tmp_path: Path) -> None:
    files = {
        "proc/device-tree/model": "Raspberry Pi 5\0",
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu memory\n",
        "boot/cmdline.txt": "root=a\n",
    }
    assert k3s_requirements.cgroups(tree(tmp_path, files))["command_line"] == ""


def test_openrcs_service_must_be_enabled_and_started(tmp_path: Path) -> None:
    tree(tmp_path, {"etc/init.d/cgroups": "", "proc/cgroups": "memory\t4\t91\t1\n"})
    assert k3s_requirements.cgroups(tmp_path)["service"]
    tree(tmp_path, {"etc/runlevels/sysinit/cgroups": ""})
    assert k3s_requirements.cgroups(tmp_path)["service"]
    tree(tmp_path, {"run/openrc/started/cgroups": ""})
    assert not k3s_requirements.cgroups(tmp_path)["service"]


# SELinux


@pytest.mark.parametrize(
    "policy", ["usr/share/selinux/packages/k3s.pp", "var/lib/selinux/targeted/active/modules/200/k3s/cil"]
)
def test_the_policy_is_seen(tmp_path: Path, policy: str) -> None:
    tree(tmp_path, {"sys/fs/selinux/enforce": "1"})
    assert k3s_requirements.selinux(tmp_path) == {"enabled": True, "policy": False}
    tree(tmp_path, {policy: ""})
    assert k3s_requirements.selinux(tmp_path) == {"enabled": True, "policy": True}


def test_a_container_on_a_machine_with_selinux_has_none_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, {"sys/fs/selinux/enforce": "1"})
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not k3s_requirements.selinux(tmp_path)["enabled"]


# Firewalls

ACTIVE_UFW = {"etc/ufw/ufw.conf": "# on at boot\nENABLED=yes\n"}
# As they answer without rules. The second fails where the daemon does not run.
UFW = "usr/sbin/ufw", "echo 'Added user rules (see ...):'; echo '(None)'"
FIREWALLD = "usr/bin/firewall-cmd", "echo public; echo '  ports: '"
NO_FIREWALLD = "usr/bin/firewall-cmd", "echo 'FirewallD is not running'; exit 252"


@pytest.mark.parametrize(
    ("files", "programs", "name"),
    [
        ({}, [], ""),
        (ACTIVE_UFW, [UFW], "ufw"),
        ({"etc/ufw/ufw.conf": "ENABLED=no\n"}, [UFW], ""),
        (ACTIVE_UFW, [], ""),
        ({}, [FIREWALLD], "firewalld"),
        ({}, [NO_FIREWALLD], ""),
        (ACTIVE_UFW, [NO_FIREWALLD, UFW], "ufw"),
    ],
    ids=["none", "ufw", "ufw off", "ufw removed", "firewalld", "firewalld off", "ufw beside firewalld that is off"],
)
def test_a_firewall_counts_only_if_it_is_active(
    tmp_path: Path, files: dict[str, str], programs: list[tuple[str, str]], name: str
) -> None:
    tree(tmp_path, files)
    for path, script in programs:
        program(tmp_path / path, script)
    assert k3s_requirements.firewall(tmp_path, run)["name"] == name


def test_the_rules_of_ufw(tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    shown.write_text(
        "Added user rules (see 'ufw status' for running firewall):\n"
        "ufw allow 6443/tcp\n"
        "ufw allow from 192.0.2.2 to any port 2379:2380 proto tcp comment 'k3s'\n"
    )
    program(tree(tmp_path, ACTIVE_UFW) / "usr/sbin/ufw", f"[ \"$*\" = 'show added' ] && cat {shown}")
    assert k3s_requirements.firewall(tmp_path, run)["rules"][1:] == [
        "ufw allow 6443/tcp",
        "ufw allow from 192.0.2.2 to any port 2379:2380 proto tcp",
    ]


# Addresses


def test_a_host_without_a_network_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert addresses.default_route_addresses() == []


# What a cluster's nodes must let in


@pytest.mark.parametrize(
    ("settings", "pods", "services", "ipv6"),
    [
        ({}, ["10.42.0.0/16"], ["10.43.0.0/16"], False),
        ({"cluster-cidr": "10.0.0.0/16"}, ["10.0.0.0/16"], ["10.43.0.0/16"], False),
        (
            {"cluster-cidr": "10.42.0.0/16,2001:db8:42::/56", "service-cidr": ["10.43.0.0/16", "2001:db8:43::/112"]},
            ["10.42.0.0/16", "2001:db8:42::/56"],
            ["10.43.0.0/16", "2001:db8:43::/112"],
            True,
        ),
        ({"cluster-cidr": ["2001:db8:42::/56"]}, ["2001:db8:42::/56"], ["fd00:43::/112"], True),
        ({"node-ip": "2001:db8::1"}, ["fd00:42::/56"], ["fd00:43::/112"], True),
        (
            {"cluster-cidr": "10.42.0.0/16", "cluster-cidr+": ["fd00:42::/56"]},
            ["10.42.0.0/16", "fd00:42::/56"],
            ["10.43.0.0/16", "fd00:43::/112"],
            True,
        ),
    ],
)
def test_the_networks_of_a_cluster(settings: dict[str, Any], pods: list[str], services: list[str], ipv6: bool) -> None:
    assert cluster_networks({"k3s_config": settings}) == {"pods": pods, "services": services, "ipv6": ipv6}


GROUPS = {"k3s_servers": ["s1", "s2"], "k3s_agents": ["a1"], "k3s_cluster": ["s1", "s2", "a1"]}
NETWORKS = ["10.42.0.0/16 ", "10.43.0.0/16 "]


def nodes(settings: dict[str, Any], **variables: str) -> dict[str, dict[str, Any]]:
    """Variables of the nodes of a cluster with these settings."""
    return {
        name: {"k3s_config": settings, **variables} | found(f"192.0.2.{number}", f"2001:db8::{number}")
        for number, name in enumerate(GROUPS["k3s_cluster"], start=1)
    }


def rules(node: str, settings: dict[str, Any], **variables: str) -> list[str]:
    """Source and port of what a node of such a cluster lets in."""
    wanted = firewall_rules(node, nodes(settings, **variables), GROUPS, ["80/tcp"])
    return [f"{rule['source']} {rule['port']}/{rule['protocol']}".removesuffix("/") for rule in wanted]


def found(*addresses: str) -> dict[str, Any]:
    """What the role has registered on a host with these addresses."""
    return {"_prepare_host": {"addresses": list(addresses)}}


def test_a_server_lets_in_the_api_and_etcd() -> None:
    assert rules("s1", {}) == [
        " 80/tcp",
        " 6443/tcp",
        *NETWORKS,
        "192.0.2.2 10250/tcp",
        "192.0.2.2 8472/udp",
        "192.0.2.2 2379-2380/tcp",
        "192.0.2.3 10250/tcp",
        "192.0.2.3 8472/udp",
    ]


def test_an_agent_lets_in_neither() -> None:
    assert rules("a1", {}) == [
        " 80/tcp",
        *NETWORKS,
        "192.0.2.1 10250/tcp",
        "192.0.2.1 8472/udp",
        "192.0.2.2 10250/tcp",
        "192.0.2.2 8472/udp",
    ]


def test_an_external_datastore_needs_no_etcd() -> None:
    assert not any("2379" in rule for rule in rules("s1", {}, k3s_datastore_endpoint="postgres://db"))


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ({"flannel-backend": "wireguard-native"}, ["10250/tcp", "51820/udp", "51821/udp"]),
        ({"flannel-backend": "host-gw"}, ["10250/tcp"]),
        ({"flannel-backend": "none"}, ["10250/tcp"]),
        ({"embedded-registry": True}, ["10250/tcp", "8472/udp", "5001/tcp", "6443/tcp"]),
    ],
)
def test_the_settings_decide_what_nodes_let_in_from_each_other(settings: dict[str, Any], ports: list[str]) -> None:
    parts = [rule.partition(" ") for rule in rules("a1", settings)]
    assert [port for source, _, port in parts if source == "192.0.2.1"] == ports


def test_nodes_of_a_dual_stack_cluster_call_by_both_addresses() -> None:
    wanted = rules("a1", {"cluster-cidr": "10.42.0.0/16,fd00:42::/56"})
    assert {"192.0.2.1 10250/tcp", "2001:db8::1 10250/tcp", "fd00:43::/112 "} <= set(wanted)


def test_a_network_is_written_as_firewalls_do() -> None:
    assert "10.42.0.0/16 " in rules("a1", {"cluster-cidr": "10.42.1.7/16"})


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"k3s_node_config": {"node-ip": "10.1.0.2"}} | found("192.0.2.2"), ["10.1.0.2"]),
        ({"k3s_node_config": {"node-ip": ""}} | found("192.0.2.2"), ["192.0.2.2"]),
        ({"k3s_node_config": {}, "ansible_host": "192.0.2.2"}, ["192.0.2.2"]),
        ({"ansible_host": "node2.example.com"}, []),
    ],
    ids=["node-ip wins", "an empty one does not", "a node that this run leaves out", "a name"],
)
def test_where_a_node_calls_from(variables: dict[str, Any], address: list[str]) -> None:
    assert node_addresses(variables) == address


@pytest.mark.parametrize(
    ("node", "settings", "ufw", "firewalld"),
    [
        ("s1", {}, "ufw allow 6443/tcp", "6443/tcp"),
        ("s1", {}, "ufw allow from 10.42.0.0/16", "10.42.0.0/16"),
        (
            "s1",
            {},
            "ufw allow from 192.0.2.2 to any port 2379:2380 proto tcp",
            'rule family="ipv4" source address="192.0.2.2" port port="2379-2380" protocol="tcp" accept',
        ),
        (
            "a1",
            {"cluster-cidr": "fd00:42::/56"},
            "ufw allow from 2001:db8::1 to any port 8472 proto udp",
            'rule family="ipv6" source address="2001:db8::1" port port="8472" protocol="udp" accept',
        ),
    ],
)
def test_a_rule_is_known_by_what_the_firewalls_own_tools_list(
    node: str, settings: dict[str, Any], ufw: str, firewalld: str
) -> None:
    wanted = firewall_rules(node, nodes(settings), GROUPS, [])
    assert [rule["firewalld"] for rule in wanted if rule["ufw"] == ufw] == [firewalld]
