"""Faults of the inventory and of the controller, and what is known of a node."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.greeter.fleet.plugins.plugin_utils import k3s_settings
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import nodes as preflight

Groups = dict[str, list[str]]


def groups(servers: str = "a", agents: str = "", stray: str = "") -> Groups:
    """An inventory's groups, from the letters of their hosts."""
    return {
        "k3s_cluster": sorted({*servers, *agents, *stray}),
        "k3s_servers": [*servers],
        "k3s_agents": [*agents],
    }


def inventory_faults(given: Groups, **settings: object) -> list[str]:
    """Faults of an inventory whose hosts all have the same settings."""
    hosts = {host for members in given.values() for host in members}
    return list(preflight.inventory_faults(given, preflight.read_nodes(given, dict.fromkeys(hosts, settings))))


@pytest.mark.parametrize("servers", ["a", "abc", "abcde"])
@pytest.mark.parametrize("agents", ["", "x", "xyz"])
def test_an_odd_number_of_servers_has_no_fault(servers: str, agents: str) -> None:
    assert inventory_faults(groups(servers, agents)) == []


def test_a_kubernetes_that_is_there_needs_no_servers() -> None:
    assert inventory_faults({"kubernetes": ["a"], "k3s_cluster": [], "k3s_servers": [], "k3s_agents": []}) == []


@pytest.mark.parametrize("servers", ["a", "ab", "abcd"])
def test_any_number_of_servers_has_no_fault_with_a_datastore_of_their_own(servers: str) -> None:
    endpoint = "postgres://k3s:secret@db.example.com/k3s"
    assert inventory_faults(groups(servers), k3s_datastore_endpoint=endpoint) == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "inventory: the group k3s_servers has no host; put the host that is to run K3s there"),
        (
            groups("ab"),
            "inventory: the group k3s_servers has 2 hosts; embedded etcd wants an odd number: use 1 or 3,"
            " or set k3s_datastore_endpoint to a datastore outside the cluster",
        ),
        (
            groups("abcd", "x"),
            "inventory: the group k3s_servers has 4 hosts; embedded etcd wants an odd number: use 3 or 5,"
            " or set k3s_datastore_endpoint to a datastore outside the cluster",
        ),
        (
            groups("a") | {"kubernetes": ["b"]},
            "inventory: has hosts in kubernetes and in k3s_cluster; a cluster is the one or the other, use an inventory"
            " for each",
        ),
        (
            {"kubernetes": ["a", "b"]},
            "inventory: the group kubernetes has 2 hosts; one host stands for the cluster, leave the others out",
        ),
        (
            groups("a", "ax"),
            "inventory: a lies in k3s_servers and in k3s_agents; use only one (a server runs pods too)",
        ),
        (
            groups("a", "", "xy"),
            "inventory: x, y lie(s) in k3s_cluster itself; use its group k3s_servers or k3s_agents",
        ),
        (
            {"k3s_servers": ["a"]},
            "inventory: k3s_servers is not a child of k3s_cluster; see inventory/local/hosts.yml",
        ),
        (
            {"k3s_cluster": ["a"], "k3s_servers": ["a"], "k3s_agents": ["b"]},
            "inventory: k3s_agents is not a child of k3s_cluster; see inventory/local/hosts.yml",
        ),
    ],
)
def test_a_faulty_inventory_is_told(given: Groups, fault: str) -> None:
    assert inventory_faults(given) == [fault]


def test_an_empty_datastore_is_none() -> None:
    assert len(inventory_faults(groups("ab"), k3s_datastore_endpoint="")) == 1


@pytest.fixture
def builders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller on which podman is installed and docker is not."""
    (tmp_path / "podman").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("builders")
@pytest.mark.parametrize(
    ("builder", "faults"),
    [
        ("podman", []),
        ("kaniko", ["greeter_builder: 'kaniko' is unknown; write podman or docker"]),
        (
            "docker",
            ["greeter_builder: docker is not installed on the controller; install it, or set the other one"],
        ),
    ],
)
def test_a_builder_that_is_not_there_is_told(builder: str, faults: list[str]) -> None:
    assert list(preflight.builder_faults(builder)) == faults


def test_the_config_of_a_node_is_merged_as_k3s_merges_its_files() -> None:
    node = preflight.read_node(
        "server",
        {
            "k3s_config": {"disable": "servicelb", "node-label": ["a=1"], "debug": True},
            "k3s_server_config": {"disable+": ["traefik"], "debug": False},
            "k3s_agent_config": {"debug": "of agents only"},
            "k3s_node_config": {"node-label+": ["b=2", "c=3"], "node-name": "one"},
        },
    )
    assert node.config == {
        "disable": ["servicelb", "traefik"],
        "node-label": ["a=1", "b=2", "c=3"],
        "debug": False,
        "node-name": "one",
    }
    assert node.origin == {
        "disable": "k3s_server_config",
        "node-label": "k3s_node_config",
        "debug": "k3s_server_config",
        "node-name": "k3s_node_config",
    }


def test_a_flag_with_commas_stays_whole_until_its_values_are_wanted() -> None:
    limits = "eviction-hard=memory.available<100Mi,nodefs.available<5%"
    config = k3s_settings.node_config(
        {"k3s_config": {"kubelet-arg": limits}, "k3s_node_config": {"kubelet-arg+": "max-pods=200"}}, "agent"
    )
    assert config == {"kubelet-arg": [limits, "max-pods=200"]}
    assert k3s_settings.flag_values("servicelb, traefik") == ["servicelb", "traefik"]
    assert k3s_settings.flag_values(["servicelb", "traefik,metrics-server"]) == [
        "servicelb",
        "traefik",
        "metrics-server",
    ]
    assert k3s_settings.flag_values(None) == []
    assert k3s_settings.flag_values("192.0.2.10,") == ["192.0.2.10", ""]


def test_a_host_of_both_groups_is_taken_for_a_server() -> None:
    known = preflight.read_nodes(groups("a", "ab", "c"), {"a": {}, "b": {}, "c": {}})
    assert {name: node.role for name, node in known.items()} == {"a": "server", "b": "agent", "c": ""}
