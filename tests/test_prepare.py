"""The look of the role prepare, and its firewall rules. What follows from them is in ``test_prepare_families.py``."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ansible_collections.greeter.fleet.plugins.filter import prepare
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
    seen, absent = k3s_requirements.modules(kernel(tmp_path, files), ["br_netfilter"], set())
    assert seen == {"load": [], "keep": [], "kept": True}
    assert absent == []


@pytest.mark.parametrize("suffix", ["ko", "ko.xz", "ko.zst"])
def test_a_module_that_can_be_loaded_is(tmp_path: Path, suffix: str) -> None:
    index = f"kernel/net/br-netfilter.{suffix}: kernel/net/bridge.{suffix}\n"
    seen, absent = k3s_requirements.modules(
        kernel(tmp_path, {f"lib/modules/{KERNEL}/modules.dep": index}), ["br_netfilter"], set()
    )
    assert seen == {"load": ["br_netfilter"], "keep": ["br_netfilter"], "kept": False}
    assert absent == []


def test_a_module_that_is_nowhere_is_told_and_not_kept(tmp_path: Path) -> None:
    seen, absent = k3s_requirements.modules(kernel(tmp_path, {}), ["overlay"], set())
    assert seen == {"load": [], "keep": [], "kept": True}
    assert absent == ["overlay"]


def test_a_file_with_another_list_of_modules_is_not_kept(tmp_path: Path) -> None:
    files = {
        f"lib/modules/{KERNEL}/modules.dep": "kernel/fs/overlay.ko:\n",
        "sys/module/overlay/refcnt": "0",
        "etc/modules-load.d/k3s.conf": "# made by hand\noverlay\nip_vs\n",
    }
    seen, _ = k3s_requirements.modules(kernel(tmp_path, files), ["overlay"], set())
    assert seen == {"load": [], "keep": ["overlay"], "kept": False}


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
    found = k3s_requirements.packages(tmp_path, kernel(tmp_path, apparmor | files), [wanted])
    assert found == ([wanted] if missing else [])


@pytest.mark.parametrize(
    ("pattern", "index", "missing"),
    [
        ("-amd64$", "kernel/fs/overlay.ko:\n", True),
        ("-amd64$", "kernel/drivers/net/vxlan.ko:\n", False),
        ("-raspi$", "kernel/fs/overlay.ko:\n", False),
    ],
)
def test_a_package_with_a_module_is_missing_where_the_kernel_lacks_it(
    tmp_path: Path, pattern: str, index: str, missing: bool
) -> None:
    wanted = {"name": "modules-extra", "module": "vxlan", "kernel": pattern}
    running = kernel(tmp_path, {f"lib/modules/{KERNEL}/modules.dep": index})
    assert bool(k3s_requirements.packages(tmp_path, running, [wanted])) is missing


def test_a_container_is_given_no_package_for_the_kernel_below_it(tmp_path: Path) -> None:
    wanted = {"name": "modules-extra", "module": "vxlan"}
    assert k3s_requirements.packages(tmp_path, kernel(tmp_path, {}), [wanted]) == []


# Kernel settings

FORWARD = "proc/sys/net/ipv4/ip_forward"
WATCHES = "proc/sys/fs/inotify/max_user_watches"
FILE = "etc/sysctl.d/90-k3s.conf"


def test_a_wrong_value_is_set_and_kept(tmp_path: Path) -> None:
    seen, faults, notes = k3s_requirements.sysctls(tree(tmp_path, {FORWARD: "0\n"}), {"net.ipv4.ip_forward": 1}, {})
    assert seen == {"set": {"net.ipv4.ip_forward": "1"}, "keep": {"net.ipv4.ip_forward": "1"}, "kept": False}
    assert faults == notes == []


def test_a_right_value_is_kept_over_a_reboot_too(tmp_path: Path) -> None:
    seen, _, _ = k3s_requirements.sysctls(tree(tmp_path, {FORWARD: "1\n"}), {"net.ipv4.ip_forward": 1}, {})
    assert seen == {"set": {}, "keep": {"net.ipv4.ip_forward": "1"}, "kept": False}
    tree(tmp_path, {FILE: "# comment = 1\nnet.ipv4.ip_forward = 1\n"})
    seen, _, _ = k3s_requirements.sysctls(tmp_path, {"net.ipv4.ip_forward": 1}, {})
    assert seen["kept"]


def test_a_setting_no_longer_wanted_leaves_the_file(tmp_path: Path) -> None:
    files = {FORWARD: "1\n", FILE: "net.ipv4.ip_forward=1\nkernel.panic=10\n"}
    seen, _, _ = k3s_requirements.sysctls(tree(tmp_path, files), {"net.ipv4.ip_forward": 1}, {})
    assert not seen["kept"]
    assert seen["keep"] == {"net.ipv4.ip_forward": "1"}


def test_a_host_that_has_more_keeps_it(tmp_path: Path) -> None:
    wanted = {"fs.inotify.max_user_watches": 524288}
    seen, _, _ = k3s_requirements.sysctls(tree(tmp_path, {WATCHES: "1048576\n"}), {}, wanted)
    assert seen == {"set": {}, "keep": {}, "kept": True}
    seen, _, _ = k3s_requirements.sysctls(tree(tmp_path, {WATCHES: "65536\n"}), {}, wanted)
    assert seen["set"] == seen["keep"] == {"fs.inotify.max_user_watches": "524288"}


def test_what_the_file_has_raised_stays_in_it(tmp_path: Path) -> None:
    files = {WATCHES: "524288\n", FILE: "fs.inotify.max_user_watches=524288\n"}
    seen, _, _ = k3s_requirements.sysctls(tree(tmp_path, files), {}, {"fs.inotify.max_user_watches": 524288})
    assert seen == {"set": {}, "keep": {"fs.inotify.max_user_watches": "524288"}, "kept": True}


def test_a_value_that_cannot_be_set_is_a_fault_only_if_k3s_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, {FORWARD: "0\n", WATCHES: "65536\n"})
    monkeypatch.setattr(os, "access", lambda *_: False)
    seen, faults, notes = k3s_requirements.sysctls(
        tmp_path, {"net.ipv4.ip_forward": 1, "vm.panic_on_oom": 0}, {"fs.inotify.max_user_watches": 524288}
    )
    assert seen == {"set": {}, "keep": {}, "kept": True}
    assert faults == [
        "the kernel setting net.ipv4.ip_forward is 0, must be 1, and cannot be set from inside this host: "
        "set it on the machine below",
        "the kernel setting vm.panic_on_oom is not there, must be 0, and cannot be set from inside this host: "
        "set it on the machine below",
    ]
    assert notes == [
        "the kernel setting fs.inotify.max_user_watches is 65536, should be at least 524288, and cannot be set from "
        "inside this host: set it on the machine below"
    ]


def test_a_right_value_that_cannot_be_set_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, {FORWARD: "1\n"})
    monkeypatch.setattr(os, "access", lambda *_: False)
    _, faults, notes = k3s_requirements.sysctls(tmp_path, {"net.ipv4.ip_forward": 1}, {})
    assert faults == notes == []


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
    seen = k3s_requirements.look(tmp_path, wanted | {"ipv6_forwarding": True})
    assert seen["sysctls"]["set"] == {"net/ipv6/conf/eth0.7/accept_ra": "2"}
    assert k3s_requirements.look(tmp_path, wanted | {"ipv6_forwarding": False})["sysctls"]["set"] == {}


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
    seen = k3s_requirements.cgroups(tree(tmp_path, pi | files))
    assert seen["command_line"] == str(tmp_path / path)
    assert seen["parameters"] == parameters


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

ACTIVE_UFW = {"usr/sbin/ufw": "", "etc/ufw/ufw.conf": "# on at boot\nENABLED=yes\n"}
RUNNING = "sys/fs/cgroup/system.slice/firewalld.service/cgroup.procs"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({}, ""),
        (ACTIVE_UFW, "ufw"),
        ({"usr/sbin/ufw": "", "etc/ufw/ufw.conf": "ENABLED=no\n"}, ""),
        ({"etc/ufw/ufw.conf": "ENABLED=yes\n"}, ""),
        ({"usr/sbin/firewalld": "", RUNNING: ""}, "firewalld"),
        ({"usr/sbin/firewalld": "", "run/openrc/started/firewalld": ""}, "firewalld"),
        ({"usr/sbin/firewalld": ""}, ""),
        ({RUNNING: ""}, ""),
    ],
    ids=["none", "ufw", "ufw off", "ufw removed", "firewalld", "OpenRC", "firewalld off", "that of the machine below"],
)
def test_a_firewall_counts_only_if_it_is_active(tmp_path: Path, files: dict[str, str], name: str) -> None:
    assert k3s_requirements.firewall(tree(tmp_path, files))["name"] == name


def test_the_rules_of_ufw(tmp_path: Path) -> None:
    files = {
        "etc/ufw/user.rules": "### tuple ### allow tcp 6443 0.0.0.0/0 any 0.0.0.0/0 in\n"
        "### tuple ### allow tcp 2379:2380 0.0.0.0/0 any 192.0.2.2 in comment=6b3373\n"
        "### tuple ### allow any any 0.0.0.0/0 any 10.42.0.0/16 in\n"
        "### tuple ### deny tcp 80 0.0.0.0/0 any 0.0.0.0/0 in\n"
        "### tuple ### allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 out\n"
        "### tuple ### allow tcp 10250 192.0.2.1 any 0.0.0.0/0 in\n",
        "etc/ufw/user6.rules": "### tuple ### allow any any ::/0 any fd00:42::/56 in\n",
    }
    seen = k3s_requirements.firewall(tree(tmp_path, ACTIVE_UFW | files))
    assert seen["rules"] == [" 6443/tcp", "10.42.0.0/16 ", "192.0.2.2 2379-2380/tcp", "fd00:42::/56 "]


# Addresses


def test_a_host_without_a_network_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert k3s_requirements.addresses() == []


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
    ],
)
def test_the_networks_of_a_cluster(settings: dict[str, Any], pods: list[str], services: list[str], ipv6: bool) -> None:
    assert prepare.networks(settings) == {"pods": pods, "services": services, "ipv6": ipv6}


GROUPS = {"k3s_servers": ["s1", "s2"], "k3s_agents": ["a1"], "k3s_cluster": ["s1", "s2", "a1"]}
HOSTVARS = {
    name: {"_prepare_seen": {"addresses": [f"192.0.2.{number}", f"2001:db8::{number}"]}}
    for number, name in enumerate(["s1", "s2", "a1"], start=1)
}
NETWORKS = ["10.42.0.0/16 ", "10.43.0.0/16 "]


def rules(node: str, settings: dict[str, Any], hostvars: dict[str, Any] | None = None) -> list[str]:
    found = prepare.firewall_rules(node, hostvars or HOSTVARS, GROUPS, settings, ["80/tcp"])
    return [f"{rule['source']} {rule['port']}/{rule['protocol']}".removesuffix("/") for rule in found]


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
    assert not any("2379" in rule for rule in rules("s1", {"external": True}))


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
    found = [rule.partition(" ") for rule in rules("a1", settings)]
    assert [port for source, _, port in found if source == "192.0.2.1"] == ports


def test_nodes_of_a_dual_stack_cluster_call_by_both_addresses() -> None:
    found = rules("a1", {"cluster-cidr": "10.42.0.0/16,fd00:42::/56"})
    assert "192.0.2.1 10250/tcp" in found
    assert "2001:db8::1 10250/tcp" in found
    assert "fd00:43::/112 " in found


def test_a_network_is_written_as_firewalls_do() -> None:
    assert "10.42.0.0/16 " in rules("a1", {"cluster-cidr": "10.42.1.7/16"})


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"k3s_node_config": {"node-ip": "10.1.0.2"}, "_prepare_seen": {"addresses": ["192.0.2.2"]}}, ["10.1.0.2"]),
        ({"k3s_node_config": {}, "ansible_host": "192.0.2.2"}, ["192.0.2.2"]),
        ({"ansible_host": "node2.example.com"}, []),
    ],
    ids=["node-ip wins", "a node that this run leaves out", "a name"],
)
def test_where_a_node_calls_from(variables: dict[str, Any], address: list[str]) -> None:
    assert prepare.node_addresses(variables) == address


def test_only_what_a_firewall_lacks_is_added() -> None:
    wanted = [
        {"source": "", "port": "80", "protocol": "tcp"},
        {"source": "10.42.0.0/16", "port": "", "protocol": ""},
        {"source": "192.0.2.2", "port": "8472", "protocol": "udp"},
    ]
    assert prepare.lacking(wanted, [" 80/tcp", "10.42.0.0/16 "]) == wanted[2:]
    assert prepare.lacking(wanted, [" 80/tcp", "10.42.0.0/16 ", "192.0.2.2 8472/udp"]) == []
