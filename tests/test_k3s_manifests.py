"""Which objects go with a manifest that is taken back, and how many pods K3s' Traefik gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.filter.k3s_manifests import taken_back, traefik_replicas

TWO_OF_THEM = """
apiVersion: v1
kind: Namespace
metadata: {name: monitoring}
---
# nothing but a comment
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "007", namespace: monitoring, labels: {app: bond}}
spec: {replicas: 1}
"""
A_LIST = (
    '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}]}'
)


def note(name: str) -> dict[str, Any]:
    """K3s' note of a manifest."""
    return {"apiVersion": "k3s.cattle.io/v1", "kind": "Addon", "metadata": {"name": name, "namespace": "kube-system"}}


def test_what_a_manifest_declares_goes_the_last_first_and_by_name_alone() -> None:
    assert taken_back({"both.v2.yaml": TWO_OF_THEM}, []) == [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "007", "namespace": "monitoring"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}},
        note("both"),
    ]


def test_items_of_lists_go_too() -> None:
    found = taken_back({"a.json": A_LIST}, [])
    assert found == [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}, note("a")]


@pytest.mark.parametrize(
    ("kept", "goes"),
    [
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: '007', namespace: monitoring}", False),
        # Another version of the same group is the same object.
        ("apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: '007', namespace: monitoring}", False),
        ("apiVersion: extensions/v1\nkind: Deployment\nmetadata: {name: '007', namespace: monitoring}", True),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: '007'}", True),
        ("apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: '007', namespace: monitoring}", True),
    ],
)
def test_what_another_manifest_declares_too_stays(kept: str, goes: bool) -> None:
    kinds = [each["kind"] for each in taken_back({"both.yaml": TWO_OF_THEM}, [kept])]
    assert ("Deployment" in kinds) == goes
    assert "Namespace" in kinds


@pytest.mark.parametrize("text", ["", "- 1", "text", "kind: Pod", "a: [", "apiVersion: v1\nkind: Pod\nmetadata: {}"])
def test_what_k3s_cannot_have_applied_has_nothing_to_take_back(text: str) -> None:
    assert taken_back({"broken.yaml": text}, []) == [note("broken")]


DB = {"k3s_node_config": {"node-taint": ["dedicated=db:NoSchedule"]}}
ONLY_CRITICAL = {"k3s_server_config": {"node-taint": "CriticalAddonsOnly=true:NoExecute"}}


@pytest.mark.parametrize(
    ("servers", "agents", "replicas"),
    [
        ([{}], [], 0),
        ([{}], [{}], 2),
        ([{}, {}, {}], [{}, {}], 2),
        ([{}], [DB], 0),
        ([{}], [DB, {}], 2),
        # Traefik may run on servers that are for what is critical.
        ([ONLY_CRITICAL], [{}], 2),
        # A taint of the servers is none of the agents.
        ([{}], [ONLY_CRITICAL], 2),
        ([{}], [{"k3s_node_config": {"node-taint": ["a=b:PreferNoSchedule"]}}], 2),
        ([{}], [{"k3s_config": {"node-taint": ["node-role.kubernetes.io/control-plane:NoExecute"]}}], 0),
    ],
)
def test_traefik_gets_two_pods_where_two_nodes_take_them(
    servers: list[dict[str, Any]], agents: list[dict[str, Any]], replicas: int
) -> None:
    hostvars = {f"s{number}": each for number, each in enumerate(servers)}
    hostvars |= {f"a{number}": each for number, each in enumerate(agents)}
    groups = {"k3s_servers": [f"s{number}" for number in range(len(servers))]}
    groups |= {"k3s_agents": [f"a{number}" for number in range(len(agents))]}
    assert traefik_replicas(hostvars, groups, []) == replicas


def test_traefik_is_left_to_a_manifest_that_configures_it(tmp_path: Path) -> None:
    other, own = tmp_path / "other.yaml", tmp_path / "own.yaml"
    other.write_text("apiVersion: helm.cattle.io/v1\nkind: HelmChartConfig\nmetadata: {name: coredns}")
    own.write_text(
        "apiVersion: helm.cattle.io/v1\nkind: HelmChartConfig\nmetadata: {name: traefik, namespace: kube-system}"
    )
    groups = {"k3s_servers": ["s1", "s2"]}
    assert traefik_replicas({"s1": {}, "s2": {}}, groups, [str(other)]) == 2
    assert traefik_replicas({"s1": {}, "s2": {}}, groups, [str(other), str(own)]) == 0
