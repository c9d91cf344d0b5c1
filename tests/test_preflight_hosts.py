"""Faults of the hosts that were asked, of their releases, and what the module finds on a host."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.modules import host_facts
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import hosts as preflight_hosts
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import nodes as preflight
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import versions as preflight_versions

LIMITS = {
    "preflight_server_memory": 2048,
    "preflight_agent_memory": 512,
    "preflight_disk": 2048,
    "preflight_clock": 30,
}
OLDEST = "v1.26.0+k3s1"
FACTS = {"service_mgr": "systemd", "architecture": "x86_64", "nodename": "node"}
FOUND: dict[str, Any] = {
    "memory": 3923,
    "disk": 20480,
    "disk_path": "/var/lib",
    "clock": 0.2,
    "machine_id": "",
    "boot_id": "b1",
    "cgroup": 2,
    "cgroup_memory": True,
    "cmdline": "",
    "ports": [],
    "version": "",
    "services": [],
    "k3s": {"foreign": [], "settings": {}, "state": "", "node_name": ""},
}


def asked(
    found: dict[str, Any] | None = None, facts: dict[str, str] | None = None, **settings: object
) -> dict[str, Any]:
    """Variables of a host that was asked and is as it should be, except for what is given."""
    return {
        "_preflight_facts": {},
        "ansible_facts": FACTS | (facts or {}) | {"host_facts": FOUND | (found or {})},
        **settings,
    }


def cluster(hosts: dict[str, dict[str, Any]], agents: str = "x") -> dict[str, preflight.Node]:
    """Nodes with these variables; those whose letter is among ``agents`` are agents. Their host names differ."""
    for name, variables in hosts.items():
        if "ansible_facts" in variables and variables["ansible_facts"]["nodename"] == "node":
            variables["ansible_facts"] = variables["ansible_facts"] | {"nodename": f"node-{name}"}
    return {name: preflight.read_node("agent" if name in agents else "server", given) for name, given in hosts.items()}


def faults(hosts: dict[str, dict[str, Any]], agents: str = "x") -> list[str]:
    """Faults of these hosts."""
    return preflight.messages([*preflight_hosts.host_faults(cluster(hosts, agents), LIMITS)])


def old_python(stdout: str, stderr: str = "") -> dict[str, Any]:
    """Variables of a host whose Python Ansible cannot use, and which answers so when it is asked for its version."""
    answer = {"module_stderr": "SyntaxError: invalid syntax\n", "msg": "Module result deserialization failed"}
    return {
        "_preflight_facts": {"failed": True, "failed_modules": {"greeter.fleet.host_facts": answer}},
        "_preflight_python": {"stdout": stdout, "stderr": stderr},
    }


K3S = {"version": "v1.35.6+k3s1", "services": ["k3s"]}
OWN_PORTS = [{"port": port, "process": "k3s-server", "k3s": True} for port in (6443, 10250)]


@pytest.mark.parametrize(
    "host",
    [
        asked(),
        asked(facts={"service_mgr": "openrc", "architecture": "armv7l"}),
        # A board sold with 2 GB.
        asked({"memory": 1846}),
        asked({"clock": -29.0}),
        asked(K3S | {"ports": OWN_PORTS, "disk": 100}, k3s_version="v1.35.6+k3s1"),
        # What is seen without root, where K3s runs.
        asked(K3S | {"ports": [{"port": 6443, "process": "", "k3s": False}]}, k3s_version="v1.35.6+k3s1"),
        asked({"ports": [{"port": 2379, "process": "etcd", "k3s": False}]}),
        asked({"ports": [{"port": 80, "process": "nginx", "k3s": False}]}, k3s_config={"disable": "traefik"}),
        asked(
            {"ports": [{"port": 443, "process": "nginx", "k3s": False}]}, k3s_server_config={"disable+": ["servicelb"]}
        ),
        asked({"cgroup": 1}, k3s_version="v1.34.1+k3s1"),
        asked({"cgroup": 1}, k3s_version="v1.35.6+k3s1", k3s_config={"kubelet-arg": ["fail-cgroupv1=false"]}),
        # The role prepare writes a Raspberry Pi's command line.
        asked({"cgroup_memory": False, "cmdline": "/boot/firmware/cmdline.txt"}),
        # And it starts OpenRC's service for control groups.
        asked({"cgroup_memory": False, "cgroup": 0}, {"service_mgr": "openrc"}, k3s_version="v1.35.6+k3s1"),
        asked(facts={"nodename": "Node-1.Example.com"}),
        asked(facts={"nodename": "my_host"}, k3s_node_config={"node-name": "my-host"}),
        # An answer from before this module, and a host that was not asked.
        {"_preflight_facts": {}, "ansible_facts": FACTS},
        {},
    ],
)
def test_a_good_host_has_no_fault(host: dict[str, Any]) -> None:
    assert faults({"a": host}) == []


@pytest.mark.parametrize(
    ("host", "fault"),
    [
        (
            asked(facts={"service_mgr": "sysvinit"}),
            "runs sysvinit; use a host whose services systemd or OpenRC runs",
        ),
        (
            asked(facts={"architecture": "riscv64"}),
            "K3s has no release for riscv64; use one of x86_64, aarch64, armv7l",
        ),
        (
            asked({"memory": 1700}),
            "has 1700 MB of memory, and K3s wants 2048 for its role;"
            " use a larger host, or lower preflight_server_memory",
        ),
        (
            asked({"disk": 900}, k3s_version="v1.35.6+k3s1"),
            "has 900 MB free at /var/lib, a release wants 2048; make room, or lower preflight_disk",
        ),
        (
            asked(K3S | {"disk": 900}, k3s_version="v1.35.7+k3s1"),
            "has 900 MB free at /var/lib, a release wants 2048; make room, or lower preflight_disk",
        ),
        (
            asked({"clock": 71.6}),
            "the clock is 72 s ahead of the controller's; set both by NTP (certificates are valid from a time on),"
            " or raise preflight_clock",
        ),
        (
            asked({"clock": -3600.0}),
            "the clock is 3600 s behind the controller's; set both by NTP (certificates are valid from a time on),"
            " or raise preflight_clock",
        ),
        (
            asked({"cgroup": 1}, k3s_version="v1.35.6+k3s1"),
            "has control groups of version 1, with which no kubelet from v1.35 on starts; boot it with"
            " systemd.unified_cgroup_hierarchy=1, or put fail-cgroupv1=false into k3s_config.kubelet-arg",
        ),
        (
            asked({"cgroup_memory": False}),
            "the control groups cannot limit memory; boot it with cgroup_enable=memory",
        ),
        (
            asked({"ports": [{"port": 443, "process": "nginx", "k3s": False}]}),
            "port 443 is taken by nginx, and the customers' ingress needs it; stop that, or move it to another port",
        ),
        (
            asked({"ports": [{"port": 6443, "process": "", "k3s": False}]}),
            "port 6443 is taken by a process that cannot be seen, and the API server needs it;"
            " stop that, or move it to another port",
        ),
        (
            asked(K3S | {"ports": [{"port": 10250, "process": "kubelet", "k3s": False}]}, k3s_version=K3S["version"]),
            "port 10250 is taken by kubelet, and the kubelet needs it; stop that, or move it to another port",
        ),
        (
            asked(
                {"ports": [{"port": 2380, "process": "etcd", "k3s": False}]}, k3s_server_config={"cluster-init": True}
            ),
            "port 2380 is taken by etcd, and etcd needs it; stop that, or move it to another port",
        ),
        (
            asked({"services": ["k3s-agent"]}),
            "has the service k3s-agent, and lies in k3s_servers; put it back into the other group,"
            " or uninstall K3s there first",
        ),
        (
            asked(facts={"nodename": "my_host"}),
            "my_host is no name for a node; rename the host, or write node-name into its k3s_node_config",
        ),
        (
            {"_preflight_facts": {"unreachable": True, "msg": "No route to host"}},
            "cannot be used; No route to host",
        ),
        (
            {
                "_preflight_facts": {
                    "failed": True,
                    "msg": "The following modules failed to execute: ansible.legacy.setup.",
                    "failed_modules": {"ansible.legacy.setup": {"module_stderr": "sudo: a password is required\n"}},
                }
            },
            "cannot be used; sudo: a password is required",
        ),
        (
            old_python("Python 3.7.16\r\n"),
            "its Python is 3.7, and Ansible here needs 3.9 or newer there;"
            " install a newer one, or name it in ansible_python_interpreter",
        ),
        # Python 2 tells its version there.
        (
            old_python("", "Python 2.7.18\n"),
            "its Python is 2.7, and Ansible here needs 3.9 or newer there;"
            " install a newer one, or name it in ansible_python_interpreter",
        ),
        # Something else is wrong.
        (old_python("Python 3.10.2\n"), "cannot be used; SyntaxError: invalid syntax"),
        (old_python("sh: 1: python3: not found\n"), "cannot be used; SyntaxError: invalid syntax"),
    ],
)
def test_a_host_that_cannot_run_k3s_is_told(host: dict[str, Any], fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_hosts, "PYTHON", (3, 9))
    assert faults({"a": host}) == [f"host a: {fault}"]


def test_the_limits_are_those_of_the_host() -> None:
    small = {"memory": 900, "disk": 900, "clock": 900}
    limits = {"preflight_server_memory": "900", "preflight_disk": 900, "preflight_clock": "900"}
    assert faults({"a": asked(small, None, **limits)}) == []
    assert len(faults({"a": asked(small)})) == 3


def test_what_is_wrong_with_several_hosts_is_told_once() -> None:
    assert faults({name: asked({"clock": 71.6}) for name in "abc"}) == [
        "hosts a, b, c: the clock is 72 s ahead of the controller's;"
        " set both by NTP (certificates are valid from a time on), or raise preflight_clock"
    ]


def test_what_only_servers_need_is_nothing_to_agents() -> None:
    ports = [{"port": port, "process": "other", "k3s": False} for port in (2379, 2380, 6443)]
    assert faults({"a": {}, "x": asked({"memory": 480, "ports": ports})}) == []
    assert faults({"a": {}, "x": asked({"memory": 400})}) == [
        "host x: has 400 MB of memory, and K3s wants 512 for its role;"
        " use a larger host, or lower preflight_agent_memory"
    ]
    assert faults({"a": {}, "x": asked({"services": ["k3s"]})}) == [
        "host x: has the service k3s, and lies in k3s_agents; put it back into the other group,"
        " or uninstall K3s there first"
    ]


def test_the_ports_of_etcd_are_for_several_servers_without_a_datastore_of_their_own() -> None:
    etcd = asked({"ports": [{"port": 2379, "process": "etcd", "k3s": False}]})
    assert len(faults({"a": etcd, "b": {}, "c": {}})) == 1
    assert faults({"a": etcd | {"k3s_datastore_endpoint": "https://127.0.0.1:2379"}, "b": {}}) == []


def test_two_nodes_of_one_name_are_told() -> None:
    same = {"nodename": "Debian"}
    message = (
        "hosts a, x: all would be the node debian; give each a host name of its own,"
        " or node-name in its k3s_node_config"
    )
    assert faults({"a": asked(facts=same), "x": asked(facts=same)}) == [message]
    # The name that was written of a host that this run has not asked.
    assert faults({"a": asked(facts=same), "x": {"k3s_node_config": {"node-name": "debian"}}}) == [message]
    assert faults({"a": asked(facts=same), "x": asked(facts=same, k3s_node_config={"node-name": "x"})}) == []
    assert faults({"a": asked(facts=same), "x": asked(facts=same, k3s_node_config={"with-node-id": True})}) == []


def test_copies_of_one_disk_are_told() -> None:
    assert faults({"a": asked({"machine_id": "1"}), "x": asked({"machine_id": "1", "boot_id": "b2"})}) == [
        "hosts a, x: have the same machine-id, as copies of one disk do, and their pods would not reach each other;"
        " empty /etc/machine-id on all but one, and boot them again"
    ]
    # Containers of one machine.
    assert faults({"a": asked({"machine_id": "1"}), "x": asked({"machine_id": "2"})}) == []
    assert faults({"a": asked(), "x": asked()}) == []


def test_one_machine_by_two_names_is_told_once() -> None:
    same = asked({"machine_id": "1"}, facts={"nodename": "debian"})
    assert faults({"a": same, "x": same}) == ["hosts a, x: are one and the same machine; name it once in the inventory"]


def test_every_architecture_needs_its_artifacts(tmp_path: Path) -> None:
    for name in ("k3s", "sha256sum-amd64.txt", "k3s-armhf"):
        (tmp_path / name).write_text("#!/bin/sh\n")
    folder: dict[str, Any] = {"k3s_artifact_dir": str(tmp_path), "k3s_version": "v1.35.6+k3s1"}
    arm, arm64 = {"architecture": "armv7l"}, {"architecture": "aarch64"}
    assert faults({"a": asked(**folder), "x": asked(facts=arm, **folder), "y": asked(facts=arm64, **folder)}, "xy") == [
        f"host x: is armv7l, and k3s_artifact_dir {tmp_path} has no sha256sum-arm.txt;"
        " put it there, from the release's own page",
        f"host y: is aarch64, and k3s_artifact_dir {tmp_path} has no k3s-arm64 and no sha256sum-arm64.txt;"
        " put it there, from the release's own page",
    ]
    pins = {"k3s_checksums": {"v1.35.6+k3s1": {"arm": "0" * 64}}}
    assert faults({"a": asked(facts=arm, **folder, **pins)}) == []


def elf(machine: int) -> bytes:
    """The first bytes of a program for Linux."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + machine.to_bytes(2, "little") + bytes(40)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (elf(62), None),
        (b"#!/usr/bin/env python3\n", None),
        (elf(183), "is a program for aarch64, and the host is x86_64; put the release's own file for x86_64 there"),
        (
            elf(243),
            "is a program for another architecture, and the host is x86_64;"
            " put the release's own file for x86_64 there",
        ),
        (b"\xcf\xfa\xed\xfe" + bytes(40), "is no program for Linux; put the release's own file for x86_64 there"),
        (b"<html>404</html>", "is no program for Linux; put the release's own file for x86_64 there"),
        (b"", "is no program for Linux; put the release's own file for x86_64 there"),
    ],
)
def test_a_binary_that_the_host_cannot_run_is_told(tmp_path: Path, content: bytes, fault: str | None) -> None:
    (tmp_path / "k3s").write_bytes(content)
    (tmp_path / "sha256sum-amd64.txt").touch()
    found = faults({"a": asked(k3s_artifact_dir=str(tmp_path), k3s_version="v1.35.6+k3s1")})
    assert found == ([f"host a: k3s_artifact_dir: {tmp_path}/k3s {fault}"] if fault else [])


def version_faults(hosts: dict[str, tuple[str, str]]) -> list[str]:
    """Faults of hosts' wanted and installed releases."""
    variables = {
        name: asked({"version": found and f"v{found}"}, k3s_version=f"v{wanted}")
        for name, (wanted, found) in hosts.items()
    }
    return preflight.messages([*preflight_versions.version_faults(cluster(variables, agents="xyz"), OLDEST)])


POLICY = "(kubernetes.io/releases/version-skew-policy)"


@pytest.mark.parametrize(
    "hosts",
    [
        {"a": ("1.35.6+k3s1", ""), "b": ("1.34.9+k3s1", ""), "c": ("1.35.6+k3s1", ""), "x": ("1.32.1+k3s1", "")},
        {"a": ("1.35.6+k3s1", "1.35.6+k3s1"), "x": ("1.35.6+k3s2", "1.35.6+k3s1")},
        {"a": ("1.35.6+k3s1", "1.34.9+k3s3"), "x": ("1.35.6+k3s1", "1.32.0+k3s1")},
        {"a": ("1.36.0+k3s1", "1.36.0-rc2+k3s1")},
        {"a": ("1.36.0-rc10+k3s1", "1.36.0-rc9+k3s1")},
        {"a": ("1.35.10+k3s1", "1.35.9+k3s2")},
        {"a": ("1.35.6+k3s1", "1.35.6+testbed7")},
        {"x": ("1.35.6+k3s1", "")},
    ],
)
def test_versions_that_go_together_have_no_fault(hosts: dict[str, tuple[str, str]]) -> None:
    assert version_faults(hosts) == []


@pytest.mark.parametrize(
    ("hosts", "fault"),
    [
        (
            {"a": ("1.35.6+k3s1", ""), "b": ("1.33.9+k3s1", ""), "c": ("1.34.0+k3s1", "")},
            "k3s_version: a has v1.35.6+k3s1 and b has v1.33.9+k3s1;"
            f" write versions at most one minor version apart for all servers {POLICY}",
        ),
        (
            {"a": ("1.35.6+k3s1", ""), "b": ("1.34.6+k3s1", ""), "x": ("1.35.6+k3s1", "")},
            "host x: k3s_version: v1.35.6+k3s1 is newer than v1.34.6+k3s1 of the server b;"
            f" write that for the agent, or a newer one for the servers {POLICY}",
        ),
        (
            {"a": ("1.35.6+k3s1", ""), "x": ("1.31.6+k3s1", "")},
            "host x: k3s_version: v1.31.6+k3s1 is more than three minor versions older than v1.35.6+k3s1"
            f" of the server a; write a newer one {POLICY}",
        ),
        (
            {"a": ("1.35.6+k3s1", "1.36.0+k3s1")},
            "host a: k3s_version: v1.35.6+k3s1 is older than v1.36.0+k3s1, which is installed;"
            " write v1.36.0+k3s1 or a newer one (K3s goes back only by restoring a backup)",
        ),
        (
            {"a": ("1.36.6+k3s1", ""), "x": ("1.35.6+k3s1", "1.35.6+k3s2")},
            "host x: k3s_version: v1.35.6+k3s1 is older than v1.35.6+k3s2, which is installed;"
            " write v1.35.6+k3s2 or a newer one (K3s goes back only by restoring a backup)",
        ),
        (
            {"a": ("1.36.0-rc1+k3s1", "1.36.0+k3s1")},
            "host a: k3s_version: v1.36.0-rc1+k3s1 is older than v1.36.0+k3s1, which is installed;"
            " write v1.36.0+k3s1 or a newer one (K3s goes back only by restoring a backup)",
        ),
        (
            {"a": ("1.36.0-rc9+k3s1", "1.36.0-rc10+k3s1")},
            "host a: k3s_version: v1.36.0-rc9+k3s1 is older than v1.36.0-rc10+k3s1, which is installed;"
            " write v1.36.0-rc10+k3s1 or a newer one (K3s goes back only by restoring a backup)",
        ),
        (
            {"a": ("1.35.6+k3s1", "1.32.4+k3s1")},
            "host a: k3s_version: v1.35.6+k3s1 skips a minor version, v1.32.4+k3s1 is installed;"
            f" write a release of v1.33 first {POLICY}",
        ),
    ],
)
def test_versions_that_do_not_go_together_are_told(hosts: dict[str, tuple[str, str]], fault: str) -> None:
    assert version_faults(hosts) == [fault]


@pytest.mark.parametrize(
    ("version", "limit", "faults"),
    [
        ("v1.26.0+k3s1", OLDEST, []),
        ("v1.26.0-rc1+k3s1", OLDEST, []),
        (
            "v1.25.16+k3s4",
            OLDEST,
            ["k3s_version: v1.25.16+k3s4 is older than what the roles are made for; write v1.26.0+k3s1 or a newer one"],
        ),
        ("v1.25.16+k3s4", "v1.20.0+testbed1", []),
        ("v1.36.4+k3s1", 1.26, ["preflight_oldest_k3s: '1.26' is no release; write one such as v1.26.0+k3s1"]),
    ],
)
def test_the_oldest_k3s_that_is_supported_is_enforced(version: str, limit: object, faults: list[str]) -> None:
    """A host's own limit wins over everybody's."""
    nodes = cluster({"a": {"k3s_version": version, "preflight_oldest_k3s": limit}})
    assert [fault for _, fault in preflight_versions.version_faults(nodes, "v1.99.0+k3s1")] == faults
    nodes = cluster({"a": {"k3s_version": version}})
    assert [fault for _, fault in preflight_versions.version_faults(nodes, str(limit))] == faults


def test_the_module_sees_this_machine() -> None:
    begin = time.monotonic()
    found = host_facts.host_facts(time.time() - 100)
    assert time.monotonic() - begin < 5
    assert set(found) == set(FOUND)
    assert found["memory"] > 100
    assert found["disk"] >= 0
    assert Path(found["disk_path"]) in (Path("/var/lib/rancher"), Path("/var/lib"))
    assert 99 < found["clock"] < 110


def test_the_module_sees_who_listens() -> None:
    for family, host in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
        with socket.socket(family) as server:
            server.bind((host, 0))
            port = server.getsockname()[1]
            assert host_facts.taken_ports([port]) == []
            server.listen()
            (found,) = host_facts.taken_ports([port])
            assert found == {"port": port, "process": Path("/proc/self/comm").read_text().strip(), "k3s": False}
            # The other end of a connection listens to nobody.
            with socket.create_connection((host, port)) as client:
                assert host_facts.taken_ports([client.getsockname()[1]]) == []


def proc(folder: Path, comm: str = "other", exe: str = "/usr/bin/other", cgroup: str = "0::/user.slice\n") -> Path:
    """A process's folder as /proc has it."""
    folder.mkdir()
    (folder / "comm").write_text(f"{comm}\n")
    (folder / "cgroup").write_text(cgroup)
    (folder / "exe").symlink_to(exe)
    return folder


def test_the_module_knows_what_is_a_part_of_k3s(tmp_path: Path) -> None:
    assert not host_facts.is_k3s(proc(tmp_path / "1"))
    assert not host_facts.is_k3s(proc(tmp_path / "2", "k3s-proxy", cgroup="0::/system.slice/k3s-proxy.service\n"))
    assert not host_facts.is_k3s(tmp_path / "gone")
    assert host_facts.is_k3s(proc(tmp_path / "3", "k3s-server"))
    assert host_facts.is_k3s(proc(tmp_path / "4", exe="/var/lib/rancher/k3s/data/abc/bin/containerd"))
    assert host_facts.is_k3s(proc(tmp_path / "5", cgroup="0::/system.slice/k3s.service\n"))
    assert host_facts.is_k3s(proc(tmp_path / "6", cgroup="1:name=systemd:/system.slice/k3s-agent.service\n"))
    assert host_facts.is_k3s(proc(tmp_path / "7", "traefik", cgroup="0::/kubepods/burstable/pod1/abc\n"))


def test_the_module_asks_an_installed_k3s_for_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "k3s"
    monkeypatch.setattr(host_facts, "BINARY", binary)
    assert host_facts.k3s_version() == ""
    binary.write_text("#!/bin/sh\necho 'k3s version v1.35.6+k3s1 (abc)'; echo 'go version go1.25'\n")
    binary.chmod(0o755)
    assert host_facts.k3s_version() == "v1.35.6+k3s1"
    binary.write_text("of another architecture")
    assert host_facts.k3s_version() == ""
