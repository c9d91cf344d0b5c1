"""What every node is in a cluster, what it is configured with, and what is wrong with it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.filter import k3s_nodes

from .conftest import PROJECT

TOKEN_FILE = "/etc/rancher/k3s/token"
NO_DATASTORE = {"endpoint": "", "cafile": "", "certfile": "", "keyfile": ""}
NEW: dict[str, Any] = {
    "present": [],
    "has_cluster": False,
    "has_joined": False,
    "server_url": "",
    "addresses": [],
    "found": {"settings": {"secrets-encryption": True}},
}


def host(address: str, **info: object) -> dict[str, Any]:
    """The variables of a host at ``address`` that has no K3s yet, but for what ``info`` says."""
    return {"k3s_info": NEW | {"addresses": [address]} | info}


def membership(hosts: dict[str, dict[str, Any]], name: str, **settings: object) -> dict[str, Any]:
    """The membership of one of the ``hosts``; all whose names begin with s are servers."""
    servers = [each for each in hosts if each.startswith("s")]
    defaults = {
        "registration_address": "", "datastore_endpoint": "", "token": "", "left_out": [], "running": list(hosts),
        "restores": False,
    }  # fmt: skip
    return k3s_nodes.membership(hosts, name, servers, defaults | settings)


def joined(address: str, by: str, **info: object) -> dict[str, Any]:
    """A host at ``address`` that has joined by the server at ``by``."""
    return host(address, server_url=f"https://{by}:6443", has_joined=True, present=[TOKEN_FILE], **info)


def is_member(
    initial: str, server_url: str, *, role: str = "server", cluster_init: bool, needs_token: bool
) -> dict[str, Any]:
    """A membership without a fault, in a cluster that is yet to be made."""
    return {
        "role": role,
        "initial_server": initial,
        "kubeconfig_server": "s1",
        "has_cluster": False,
        "server_url": server_url,
        "cluster_init": cluster_init,
        "secrets_encryption": True,
        "needs_token": needs_token,
        "fault": "",
    }


THREE_NEW = {"s1": host("192.0.2.1"), "s2": host("192.0.2.2"), "s3": host("192.0.2.3"), "a1": host("192.0.2.9")}
THREE = {
    "s1": host("192.0.2.1", has_cluster=True, has_joined=True),
    "s2": joined("192.0.2.2", "192.0.2.1", has_cluster=True),
    "s3": joined("192.0.2.3", "192.0.2.1", has_cluster=True),
    "a1": joined("192.0.2.9", "192.0.2.1"),
}


def test_one_server_needs_nobody() -> None:
    assert membership({"s1": host("192.0.2.1")}, "s1") == is_member("s1", "", cluster_init=False, needs_token=False)


def test_three_new_servers_and_an_agent_join_the_first() -> None:
    assert membership(THREE_NEW, "s1") == is_member("s1", "", cluster_init=True, needs_token=False)
    for other in ("s2", "s3", "a1"):
        role = "agent" if other == "a1" else "server"
        assert membership(THREE_NEW, other) == is_member(
            "s1", "https://192.0.2.1:6443", role=role, cluster_init=False, needs_token=True
        )


def test_who_has_joined_stays_as_it_is_in_whatever_order_the_inventory_names_the_servers() -> None:
    for names in (["s1", "s2", "s3", "a1"], ["s3", "s2", "s1", "a1"]):
        hosts = {name: THREE[name] for name in names}
        urls = {name: membership(hosts, name)["server_url"] for name in hosts}
        assert urls == {
            "s1": "", "s2": "https://192.0.2.1:6443", "s3": "https://192.0.2.1:6443", "a1": "https://192.0.2.1:6443",
        }  # fmt: skip
        assert [name for name in hosts if membership(hosts, name)["cluster_init"]] == ["s1"]
        assert sorted(name for name in hosts if membership(hosts, name)["needs_token"]) == ["a1", "s2", "s3"]


def test_a_replaced_first_server_joins_the_others_and_nobody_else_changes() -> None:
    hosts = THREE | {"s1": host("192.0.2.1")}
    assert membership(hosts, "s1") == is_member(
        "s2", "https://192.0.2.2:6443", cluster_init=False, needs_token=True
    ) | {"has_cluster": True}
    for other in ("s2", "s3", "a1"):
        assert membership(hosts, other)["server_url"] == "https://192.0.2.1:6443"


def test_an_agent_whose_server_is_no_longer_there_turns_to_another() -> None:
    hosts = {name: THREE[name] for name in ("s2", "s3", "a1")}
    assert membership(hosts, "a1")["server_url"] == "https://192.0.2.2:6443"
    assert (
        membership(hosts, "s2")["server_url"] == "https://192.0.2.1:6443"
    )  # of no effect once a server has its member


def test_a_single_server_that_gets_company_moves_to_etcd() -> None:
    hosts = {"s1": THREE["s1"], "s2": host("192.0.2.2"), "s3": host("192.0.2.3")}
    assert membership(hosts, "s1")["cluster_init"]
    assert membership(hosts, "s2")["server_url"] == "https://192.0.2.1:6443"


@pytest.mark.parametrize(
    ("address", "url"),
    [("k3s.example.com", "https://k3s.example.com:6443"), ("2001:db8::10", "https://[2001:db8::10]:6443")],
)
def test_nodes_join_by_the_registration_address_if_there_is_one(address: str, url: str) -> None:
    assert membership(THREE_NEW, "s1", registration_address=address)["server_url"] == ""
    for other in ("s2", "a1"):
        assert membership(THREE_NEW, other, registration_address=address)["server_url"] == url
    assert membership(THREE, "a1", registration_address=address)["server_url"] == url


def test_with_a_datastore_of_their_own_servers_join_nobody_but_share_the_token() -> None:
    settings = {"datastore_endpoint": "postgres://k3s@db.example.com/k3s"}
    servers = {name: THREE_NEW[name] for name in ("s1", "s2")}
    assert membership(servers, "s1", **settings) == is_member("s1", "", cluster_init=False, needs_token=False)
    assert membership(servers, "s2", **settings) == is_member("s1", "", cluster_init=False, needs_token=True)
    again = {"s2": host("192.0.2.2", has_cluster=True, present=[TOKEN_FILE]), "s1": host("192.0.2.1", has_cluster=True)}
    assert {name: membership(again, name, **settings)["needs_token"] for name in again} == {"s1": False, "s2": True}


def test_the_kubeconfig_is_the_first_servers_also_when_that_has_just_been_replaced() -> None:
    assert membership(THREE | {"s1": host("192.0.2.1")}, "a1")["kubeconfig_server"] == "s1"
    gone: dict[str, dict[str, Any]] = THREE | {"s1": {}}
    assert (
        membership(gone, "a1", left_out=[{"item": "s1", "unreachable": True}], running=["s2", "s3", "a1"])[
            "kubeconfig_server"
        ]
        == "s2"
    )
    assert (
        membership(gone, "a1", left_out=[THREE["s1"]["k3s_info"] | {"item": "s1"}], running=["a1"])["kubeconfig_server"]
        == "s1"
    )


def test_a_given_token_is_for_all() -> None:
    assert membership({"s1": host("192.0.2.1")}, "s1", token="x")["needs_token"]


def test_the_node_ip_of_the_configuration_is_what_others_join_by() -> None:
    hosts = THREE_NEW | {"s1": host("192.0.2.1") | {"k3s_node_config": {"node-ip": "2001:db8::1,198.51.100.1"}}}
    assert membership(hosts, "a1")["server_url"] == "https://[2001:db8::1]:6443"


def test_a_server_left_out_of_the_run_counts_by_what_it_answered() -> None:
    hosts: dict[str, dict[str, Any]] = {"s1": {}, "a1": host("192.0.2.9")}
    answer = NEW | {"item": "s1", "has_cluster": True, "addresses": ["192.0.2.1"]}
    found = membership(hosts, "a1", left_out=[answer], running=["a1"])
    assert (found["server_url"], found["fault"]) == ("https://192.0.2.1:6443", "")


@pytest.mark.parametrize(
    ("hosts", "settings", "words"),
    [
        (
            {"s1": {}, "s2": host("192.0.2.2"), "s3": host("192.0.2.3")},
            {"left_out": [{"item": "s1", "unreachable": True}], "running": ["s2", "s3"]},
            "s1 cannot be asked whether there is a cluster already, and no other server has one; "
            "mend that first, or take it out of k3s_servers",
        ),
        (
            {"s1": {}, "s2": host("192.0.2.2"), "s3": host("192.0.2.3")},
            {"left_out": [NEW | {"item": "s1"}], "running": ["s2"]},
            "s1 is the first server and has no K3s yet; run this for s1 too",
        ),
        (
            {"s1": {"k3s_info": NEW}, "s2": host("192.0.2.2")},
            {},
            "s1 has no address that others could reach; "
            "set k3s_registration_address, or node-ip in its k3s_node_config",
        ),
    ],
)
def test_what_cannot_become_one_cluster_is_told(
    hosts: dict[str, dict[str, Any]], settings: dict[str, Any], words: str
) -> None:
    assert membership(hosts, "s2", **settings)["fault"] == words


def test_a_server_whose_cluster_was_moved_aside_begins_anew_whatever_its_old_configuration_says() -> None:
    hosts = {"s2": joined("192.0.2.2", "192.0.2.1"), "s1": host("192.0.2.1")}
    assert membership(hosts, "s2")["server_url"] == ""
    assert membership(hosts, "s1")["server_url"] == "https://192.0.2.2:6443"


def test_later_layers_win_and_a_plus_adds() -> None:
    layers = {
        "k3s_config": {"disable": ["servicelb"], "node-label": "a=1", "debug": True},
        "k3s_server_config": {"disable+": "traefik", "debug": False},
        "k3s_agent_config": {"node-label+": ["b=2"]},
        "k3s_node_config": {"node-label+": ["c=3"]},
    }
    assert k3s_nodes.FilterModule().filters()["k3s_settings"](layers, "server") == {
        "disable": ["servicelb", "traefik"], "node-label": ["a=1", "c=3"], "debug": False,
    }  # fmt: skip
    assert k3s_nodes.FilterModule().filters()["k3s_settings"](layers, "agent") == {
        "disable": ["servicelb"], "node-label": ["a=1", "b=2", "c=3"], "debug": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "info", "encrypts"),
    [
        ({}, {"has_cluster": False}, True),
        ({"secrets-encryption": True}, {"has_cluster": True}, True),
        # As others have set it up.
        ({}, {"has_cluster": True}, False),
        ({"secrets-encryption": False}, {"has_cluster": False}, True),
        # What a backup holds is as the hosts had it, if there are still their files.
        ({}, {"has_cluster": False, "restores": True, "present": ["/etc/rancher/k3s/config.yaml"]}, False),
        ({}, {"has_cluster": False, "restores": True}, True),
    ],
)
def test_secrets_of_a_cluster_that_is_there_stay_as_they_are(
    settings: dict[str, Any], info: dict[str, Any], encrypts: bool
) -> None:
    restores = info.pop("restores", False)
    hosts = {"s1": host("192.0.2.1", found={"settings": settings}, **info), "s2": host("192.0.2.2")}
    for name in hosts:
        made = membership(hosts, name, restores=restores)
        plain = k3s_nodes.configuration({}, made, [], NO_DATASTORE, selinux=False)["plain"]
        assert plain["secrets-encryption"] is encrypts


def test_the_configuration_of_a_server_encrypts_secrets_and_keeps_its_own_apart() -> None:
    own = {"tls-san": "k3s.example.com", "etcd-s3-secret-key": "hidden", "debug": True}
    names = ["", "192.0.2.2", "k3s.example.com"]
    assert k3s_nodes.configuration(own, membership(THREE_NEW, "s2"), names, NO_DATASTORE, selinux=False) == {
        "plain": {
            "secrets-encryption": True,
            "write-kubeconfig-mode": "0600",
            "tls-san": ["k3s.example.com", "192.0.2.2"],
            "debug": True,
            "server": "https://192.0.2.1:6443",
            "token-file": "/etc/rancher/k3s/token",
        },
        "secret": {"etcd-s3-secret-key": "hidden"},
    }
    off = {"secrets-encryption": False}
    bare = k3s_nodes.configuration(off, membership(THREE_NEW, "s1"), [], NO_DATASTORE, selinux=True)
    assert bare["plain"] == {
        "secrets-encryption": False,
        "write-kubeconfig-mode": "0600",
        "tls-san": [],
        "cluster-init": True,
        "selinux": True,
    }


def test_an_agent_gets_no_setting_of_a_server() -> None:
    assert k3s_nodes.configuration({}, membership(THREE_NEW, "a1"), ["192.0.2.9"], NO_DATASTORE, selinux=False) == {
        "plain": {"server": "https://192.0.2.1:6443", "token-file": "/etc/rancher/k3s/token"}, "secret": {},
    }  # fmt: skip


def test_a_datastore_has_its_password_kept_apart_and_its_files_beside_the_configuration() -> None:
    datastore = {
        "endpoint": "postgres://k3s:hidden@db/k3s",
        "cafile": "pki/ca.pem",
        "certfile": "",
        "keyfile": "pki/key.pem",
    }
    made = membership(THREE_NEW, "s1", datastore_endpoint=datastore["endpoint"])
    assert k3s_nodes.configuration({}, made, [], datastore, selinux=False) == {
        "plain": {
            "secrets-encryption": True,
            "write-kubeconfig-mode": "0600",
            "tls-san": [],
            "datastore-cafile": "/etc/rancher/k3s/datastore-cafile.pem",
            "datastore-keyfile": "/etc/rancher/k3s/datastore-keyfile.pem",
        },
        "secret": {"datastore-endpoint": "postgres://k3s:hidden@db/k3s"},
    }
    agent = k3s_nodes.configuration({}, membership(THREE_NEW, "a1"), [], datastore, selinux=False)
    assert agent["secret"] == {}


def node(name: str = "n1", version: str = "v1.35.6+k3s1", **conditions: str) -> dict[str, Any]:
    """A Node with these conditions (type → status)."""
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {},
        "status": {
            "nodeInfo": {"kubeletVersion": version},
            "conditions": [{"type": key, "status": value, "message": "as it is"} for key, value in conditions.items()],
        },
    }


LEASE = {"kind": "Lease", "metadata": {"name": "n1"}, "spec": {"renewTime": "2026-11-22T10:00:10.000000Z"}}


@pytest.mark.parametrize(
    ("found", "later", "faults"),
    [
        (node(Ready="True"), 0.5, []),
        (node(Ready="True", EtcdIsVoter="True"), 0.5, []),
        (node(Ready="True", EtcdIsVoter="False"), 0.5, ["n1 is no voting member of etcd"]),
        (node(Ready="Unknown"), 0.5, ["n1 is not Ready: as it is"]),
        (node(), 0.5, ["n1 is not Ready: its kubelet has not said why"]),
        (node(version="v1.34.1+k3s1", Ready="True"), 0.5, ["n1 runs v1.34.1+k3s1, wanted is v1.35.6+k3s1"]),
        # What the API says of a node that has stopped a moment ago.
        (node(Ready="True"), -0.5, ["n1 has not been heard of since K3s started there"]),
    ],
)
def test_a_node_is_back_when_it_has_been_heard_of_since_its_start(
    found: dict[str, Any], later: float, faults: list[str]
) -> None:
    answer = json.dumps({"items": [found, LEASE]})
    started = datetime(2026, 11, 22, 10, 0, 10, tzinfo=UTC).timestamp() - later
    assert k3s_nodes.node_faults(answer, {"n1": "v1.35.6+k3s1"}, started) == faults


def test_a_node_that_was_never_heard_of_is_not_back() -> None:
    answer = json.dumps({"items": [node(Ready="True"), LEASE | {"spec": {}}]})
    assert k3s_nodes.node_faults(answer, {"n1": "v1.35.6+k3s1"}, 0.0)


def test_nodes_that_are_not_well_are_named_with_the_reason() -> None:
    nodes = [node("n1", Ready="True"), node("n2", "v1.34.1+k3s1", Ready="True"), node("n3", Ready="False"), node("n4")]
    expected = dict.fromkeys(["n1", "n2", "n3", "n4", "n5"], "v1.35.6+k3s1")
    assert k3s_nodes.node_faults(json.dumps({"items": nodes}), expected) == [
        "n2 runs v1.34.1+k3s1, wanted is v1.35.6+k3s1",
        "n3 is not Ready: as it is",
        "n4 is not Ready: its kubelet has not said why",
        "n5 is no node of the cluster",
    ]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="only kubectl knows what it prints")
@pytest.mark.parametrize("status", ["True", "Unknown", None])
def test_only_a_node_that_is_there_and_well_is_ready(tmp_path: Path, status: str | None) -> None:
    found = {"apiVersion": "v1"} | node(**({"Ready": status} if status else {}))
    found["metadata"]["labels"] = {"node-role.kubernetes.io/etcd": "true"}
    path = tmp_path / "node.json"
    path.write_text(json.dumps(found))
    printed = {}
    for name in ("replaced", "leave"):
        (wanted,) = re.findall("'--output=(jsonpath=.+)'", (PROJECT / f"roles/k3s/tasks/{name}.yml").read_text())
        patch = ["kubectl", "patch", "--local", f"--filename={path}", "--type=merge", "--patch={}", "--output", wanted]
        printed[name] = subprocess.run(patch, check=True, capture_output=True, text=True).stdout
    assert printed["replaced"].startswith("n1 ")
    assert printed["replaced"].endswith(" True") is (status == "True")
    assert printed["leave"].startswith("True ") is (status == "True")
    assert '"node-role.kubernetes.io/etcd"' in printed["leave"]


def among(*others: dict[str, Any], **own: str) -> str:
    """A list of the node n1 with these conditions, and the others."""
    return json.dumps({"items": [node("n1", **own), *others]})


def with_spec(found: dict[str, Any], **spec: object) -> dict[str, Any]:
    """The same node with this ``spec``."""
    return found | {"spec": spec}


WELL = node("n2", Ready="True")
TAINTS = [{"key": "for", "value": "databases", "effect": "NoSchedule"}]
LAGGING = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]
SOFT = [{"key": "for", "value": "databases", "effect": "PreferNoSchedule"}]


@pytest.mark.parametrize(
    ("nodes", "can"),
    [
        (among(WELL, Ready="True"), True),
        (among(with_spec(WELL, taints=SOFT), Ready="True"), True),
        (among(with_spec(WELL, taints=LAGGING), Ready="True"), True),
        # With no other node that takes pods, there is nowhere to go.
        (among(Ready="True"), False),
        (among(node("n2", Ready="Unknown"), Ready="True"), False),
        (among(with_spec(WELL, unschedulable=True), Ready="True"), False),
        (among(with_spec(WELL, taints=TAINTS), Ready="True"), False),
        (among(node("n2", Ready="False"), node("n3", Ready="True"), Ready="True"), True),
        # With no kubelet that stops them, pods would be waited for in vain.
        (among(WELL, Ready="Unknown"), False),
        # It has never joined.
        (json.dumps({"items": [WELL]}), False),
    ],
)
def test_pods_are_moved_off_a_node_that_is_well_to_one_that_takes_them(nodes: str, can: bool) -> None:
    assert k3s_nodes.can_drain(nodes, "n1") is can


def test_who_is_cordoned_by_an_upgrade_is_told_from_whom_the_operator_has_cordoned() -> None:
    ours, theirs, free = (with_spec(node(name), unschedulable=name != "n3") for name in ("n1", "n2", "n3"))
    ours["metadata"]["annotations"] = {"greeter-fleet/cordoned": "upgrade"}
    theirs["metadata"]["annotations"] = {"reason": "memory"}
    answer = json.dumps({"items": [ours, theirs, free, LEASE]})
    assert k3s_nodes.cordoned(answer, by_upgrade=True) == ["n1"]
    assert k3s_nodes.cordoned(answer, by_upgrade=False) == ["n2"]
