"""What is said of pods that do not leave a node."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.filter.k3s_pods import crowded, drain_blockers

OWNED = [{"kind": "ReplicaSet", "name": "greeter-1"}]


def pod(name: str, node: str = "web-1", phase: str = "Running", **more: object) -> dict[str, Any]:
    """A pod of the namespace shop."""
    metadata = {"name": name, "namespace": "shop", "labels": {"app": "greeter"}, "ownerReferences": OWNED} | more
    return {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}, "status": {"phase": phase}}


def budget(selector: dict[str, Any] | None, allowed: int = 0, namespace: str = "shop") -> dict[str, Any]:
    """A budget that lets so many pods go."""
    status = {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 2}
    metadata = {"name": "strict", "namespace": namespace}
    return {"kind": "PodDisruptionBudget", "metadata": metadata, "spec": {"selector": selector}, "status": status}


def said(*objects: dict[str, Any]) -> list[str]:
    """What keeps pods on the node web-1."""
    return drain_blockers(json.dumps({"items": objects}), "web-1")


STRICT = ["The PodDisruptionBudget shop/strict lets no pod go: 1 healthy, 2 needed"]


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        ({"matchLabels": {"app": "greeter"}}, True),
        ({"matchLabels": {"app": "other"}}, False),
        ({}, True),
        (None, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["greeter"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["greeter"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_a_budget_that_lets_no_pod_go_is_named_once(selector: dict[str, Any] | None, holds: bool) -> None:
    assert said(pod("one"), pod("two"), budget(selector)) == (STRICT if holds else [])


def test_budgets_that_spare_a_pod_or_are_of_another_namespace_are_none() -> None:
    assert said(pod("one"), budget({}, allowed=1), budget({}, namespace="other")) == []


def test_pods_that_need_not_move_are_none() -> None:
    stays = [[{"kind": "DaemonSet", "name": "kube-vip"}], [{"kind": "Node", "name": "web-1"}]]
    pods = [pod("elsewhere", node="web-2"), pod("done", phase="Succeeded")]
    assert said(*pods, *(pod("stays", ownerReferences=each) for each in stays), budget({})) == []


def test_a_pod_that_does_not_end_is_named_with_what_it_waits_for() -> None:
    since = {"deletionTimestamp": "2026-11-22T12:00:00Z"}
    assert said(pod("one", **since), pod("two", **since, finalizers=["example.org/a", "example.org/b"])) == [
        "The pod shop/one was to have ended by 2026-11-22T12:00:00Z and has not",
        "The pod shop/two was to have ended by 2026-11-22T12:00:00Z and has not;"
        " its finalizers are example.org/a, example.org/b",
    ]


def test_a_pod_without_a_controller_is_named() -> None:
    assert said(pod("alone", ownerReferences=[])) == [
        "The pod shop/alone has no controller that would start it elsewhere; delete it yourself"
    ]


def node(name: str, **spec: object) -> dict[str, Any]:
    """A node that is Ready."""
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    return {"kind": "Node", "metadata": {"name": name}, "spec": spec, "status": status}


def at(name: str, place: str, ready: str = "True", **metadata: object) -> dict[str, Any]:
    """A pod of Traefik; without a place it is still to get one."""
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": name, **metadata}, "spec": {"nodeName": place} if place else {}, "status": status}


BOTH = [node("web-1"), node("web-2")]


@pytest.mark.parametrize(
    ("pods", "nodes", "moved"),
    [
        ([at("a", "web-1"), at("b", "web-1")], BOTH, "a"),
        ([at("a", "web-1"), at("b", "web-1", ready="False")], BOTH, "b"),
        ([at("a", "web-1"), at("b", "web-2")], BOTH, ""),
        ([at("a", "web-1"), at("b", "")], BOTH, ""),
        ([at("a", "web-1"), at("b", "web-1")], [node("web-1")], ""),
        ([at("a", "web-1"), at("b", "web-1")], [node("web-1"), node("web-2", unschedulable=True)], ""),
        # One is on its way already.
        ([at("a", "web-1"), at("b", "web-1", deletionTimestamp="2026-11-22T12:00:00Z")], BOTH, ""),
        ([at("a", "web-1")], BOTH, ""),
        ([], BOTH, ""),
    ],
)
def test_one_of_the_pods_is_moved_where_all_are_on_one_node(
    pods: list[dict[str, Any]], nodes: list[dict[str, Any]], moved: str
) -> None:
    assert crowded(json.dumps({"items": pods}), json.dumps({"items": nodes})) == moved
