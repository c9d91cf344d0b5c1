"""What the plan of the customers says, against a cluster that is a list of objects."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml
from ansible_collections.greeter.fleet.plugins.module_utils import compare, kubernetes_api
from ansible_collections.greeter.fleet.plugins.module_utils import plan as planning

Object = dict[str, Any]


def thing(kind: str, customer: str, api_version: str = "v1", **more: object) -> Object:
    """An object as the templates make it."""
    labels = {"app.kubernetes.io/instance": customer, "app.kubernetes.io/managed-by": "greeter-fleet"}
    metadata: Object = {"name": "greeter", "namespace": f"customer-{customer}", "labels": labels}
    if kind == "Namespace":
        metadata = {"name": f"customer-{customer}", "labels": labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def deployment(customer: str, image: str = "greeter:1") -> Object:
    containers = [{"name": "greeter", "image": image}]
    spec = {"replicas": 1, "template": {"spec": {"containers": containers}}}
    return thing("Deployment", customer, "apps/v1", spec=spec)


def room(customer: str) -> list[Object]:
    """Everything a customer has here."""
    return [thing("Namespace", customer), deployment(customer), thing("Service", customer, spec={"type": "ClusterIP"})]


def live(found: Object) -> Object:
    """The object as a server has it after it was applied and rolled out."""
    held: Object = deepcopy(found if found["kind"] == "Secret" else compare.annotated(found))
    held["metadata"] |= {"generation": 1, "uid": "1", "resourceVersion": "1"}
    held["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    return held


class Cluster(kubernetes_api.Cluster):
    """Objects, and which kinds are served; counts what it is asked."""

    def __init__(self, *objects: Object, unserved: str = "") -> None:
        """Hold the ``objects``, and serve every kind but one."""
        self.held = list(objects)
        self.unserved = unserved
        self.asked = 0

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the kind is served."""
        return bool(api_version) and kind != self.unserved

    def objects(
        self, api_version: str, kind: str, labels: str = "", namespace: str = "", fields: str = ""
    ) -> Iterator[Object]:
        """Every object of a kind that carries the label and has the namespace and name."""
        self.asked += 1
        for found in self.held:
            carried = {f"{name}={value}" for name, value in found["metadata"].get("labels", {}).items()}
            if (
                (found["apiVersion"], found["kind"]) == (api_version, kind)
                and labels in ("", *carried)
                and namespace in ("", found["metadata"].get("namespace"))
                and fields in ("", f"metadata.name={found['metadata']['name']}")
            ):
                yield found


def plan(
    cluster: Cluster | None, *declared: Object, secrets: tuple[Object, ...] = (), show: bool = True, **params: object
) -> planning.Plan:
    settings = {"fleet": "greeter-fleet", "absent": [], "prune": False} | params
    texts = {"objects": yaml.safe_dump_all(declared), "secrets": yaml.safe_dump_all(secrets)}
    return planning.Plan(cluster, settings | texts, with_diff=show)


def test_without_a_cluster_everybody_is_new() -> None:
    found = plan(None, *room("a"), *room("b"))
    assert found.report() == ["+ new         a: ", "+ new         b: ", "= unchanged   0 of 2"]
    assert len(found.apply) == 6
    assert found.waiting == {"a", "b"}


def test_a_new_customer_takes_no_request_for_each_object() -> None:
    cluster = Cluster(*map(live, room("a")))
    assert plan(cluster, *room("a"), *room("b")).report() == ["+ new         b: ", "= unchanged   1 of 2"]
    assert cluster.asked == len(planning.KINDS)


def test_what_is_as_declared_takes_one_request_for_each_kind() -> None:
    cluster = Cluster(*(live(found) for name in ("a", "b", "c") for found in room(name)))
    found = plan(cluster, *room("a"), *room("b"), *room("c"))
    assert found.report() == ["= unchanged   3 of 3"]
    assert (found.apply, found.remove, found.waiting, found.diff) == ([], [], set(), [])
    assert cluster.asked == len(planning.KINDS)


def test_a_change_is_sent_as_what_differs() -> None:
    cluster = Cluster(*map(live, room("a")))
    found = plan(cluster, thing("Namespace", "a"), deployment("a", "greeter:2"), room("a")[2])
    assert found.report() == ["~ changed     a: image", "= unchanged   0 of 1"]
    (change,) = found.apply
    assert change["metadata"]["name"] == "greeter"
    assert change["metadata"]["namespace"] == "customer-a"
    assert change["spec"] == {"template": {"spec": {"containers": [{"name": "greeter", "image": "greeter:2"}]}}}
    assert found.waiting == {"a"}
    (difference,) = found.diff
    assert difference["before"]["spec"] == deployment("a", "greeter:1")["spec"]
    assert difference["after"]["spec"] == deployment("a", "greeter:2")["spec"]
    assert "resourceVersion" not in difference["before"]["metadata"]


def test_a_change_by_hand_is_told_apart() -> None:
    held = [live(found) for found in room("a")]
    held[1]["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"
    assert plan(Cluster(*held), *room("a")).report() == [
        "~ changed     a: changed by hand in the cluster: image",
        "= unchanged   0 of 1",
    ]


def test_an_object_that_lost_its_label_is_found_and_mended() -> None:
    held = [live(found) for found in room("a")]
    del held[2]["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    found = plan(Cluster(*held), *room("a"))
    (change,) = found.apply
    assert change["kind"] == "Service"
    assert change["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "greeter-fleet"}


def test_an_object_that_is_gone_is_made_again() -> None:
    found = plan(Cluster(*map(live, room("a")[:2])), *room("a"))
    assert found.report()[0] == "~ changed     a: Service missing"
    assert found.apply == [compare.annotated(room("a")[2])]


def test_a_rollout_that_is_not_complete_is_waited_for() -> None:
    held = [live(found) for found in room("a")]
    held[1]["status"]["availableReplicas"] = 0
    found = plan(Cluster(*held), *room("a"))
    assert found.apply == []
    assert found.waiting == {"a"}


def test_an_object_that_is_no_longer_declared_goes_and_a_foreign_one_stays() -> None:
    budget = thing("PodDisruptionBudget", "a", "policy/v1")
    account = thing("ServiceAccount", "a")
    foreign = thing("Service", "a")
    foreign["metadata"] |= {"name": "theirs", "labels": {}}
    found = plan(Cluster(*map(live, [*room("a"), account, budget, foreign])), *room("a"))
    assert found.report()[0] == "~ changed     a: ServiceAccount not declared, disruption budget"
    name = {"name": "greeter", "namespace": "customer-a"}
    assert found.remove == [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": name},
    ]


def test_a_difference_is_what_people_declare_before_and_after() -> None:
    budget = live(thing("PodDisruptionBudget", "a", "policy/v1", spec={"maxUnavailable": 1}))
    budget["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{}], "selfLink": "/x"}
    cluster = Cluster(*map(live, [room("a")[0], room("a")[1]]), budget)
    found = plan(cluster, *room("a"))
    metadata = {**thing("Service", "a")["metadata"], "annotations": {}}
    assert found.diff == [
        {
            "before": "",
            "after": {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": "ClusterIP"}},
            "before_header": "Service/customer-a/greeter",
            "after_header": "Service/customer-a/greeter",
        },
        {
            "before": {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": metadata,
                "spec": {"maxUnavailable": 1},
            },
            "after": "",
            "before_header": "PodDisruptionBudget/customer-a/greeter",
            "after_header": "PodDisruptionBudget/customer-a/greeter",
        },
    ]
    # Writing thousands of objects takes longer than all the rest.
    assert plan(cluster, *room("a"), show=False).diff == []


NAMESPACE_B = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "customer-b"}}


@pytest.mark.parametrize(
    ("params", "line", "removed"),
    [
        ({}, "- undeclared  b (stays; customers_prune would remove it)", []),
        ({"prune": True}, "- undeclared  b", [NAMESPACE_B]),
        ({"absent": ["b"]}, "- absent      b", [NAMESPACE_B]),
    ],
)
def test_who_is_not_declared_goes_only_when_told_to(params: dict[str, Any], line: str, removed: list[Object]) -> None:
    found = plan(Cluster(*map(live, [*room("a"), *room("b")])), *room("a"), **params)
    assert found.report() == [line, "= unchanged   1 of 1"]
    assert found.remove == removed


def test_another_fleets_namespaces_are_none_of_ours() -> None:
    theirs = thing("Namespace", "b")
    theirs["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "another-fleet"
    found = plan(Cluster(*map(live, [*room("a"), theirs])), *room("a"), prune=True, absent=["b"])
    assert found.report() == ["= unchanged   1 of 1"]
    assert found.remove == []


def test_a_declared_namespace_that_is_not_ours_is_a_fault() -> None:
    theirs = live(thing("Namespace", "b"))
    theirs["metadata"]["labels"] = {}
    found = plan(Cluster(*map(live, room("a")), theirs), *room("a"), *room("b"))
    assert found.faults == [
        "customer b: the namespace customer-b is there already and not this fleet's: it has no label "
        "app.kubernetes.io/managed-by=greeter-fleet; rename the customer, or remove the namespace"
    ]


def test_a_namespace_on_its_way_out_is_a_fault_if_declared_and_no_news_if_not() -> None:
    leaving = live(thing("Namespace", "b"))
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster = Cluster(*map(live, room("a")), leaving)
    (fault,) = plan(cluster, *room("a"), *room("b")).faults
    assert fault == "customer b: the namespace customer-b is being deleted; run again when it is gone"
    assert plan(cluster, *room("a"), prune=True).report() == ["= unchanged   1 of 1"]


def test_a_kind_the_cluster_does_not_serve_is_a_fault_that_names_the_setting() -> None:
    budget = thing("PodDisruptionBudget", "a", "policy/v1")
    (fault,) = plan(Cluster(unserved="PodDisruptionBudget"), *room("a"), budget).faults
    assert fault == (
        "customers a: the cluster serves no PodDisruptionBudget of policy/v1; "
        "set disruption_budget: false for them or in customers_defaults, or use a newer Kubernetes"
    )


def test_a_secret_is_compared_and_never_shown() -> None:
    secret = thing("Secret", "a", data={"tls.key": "c2VjcmV0"})
    held = live(thing("Secret", "a", data={"tls.key": "b2xk"}))
    found = plan(Cluster(*map(live, room("a")), held), *room("a"), secrets=(secret,))
    assert found.secrets == {"a"}
    assert found.apply == []
    assert found.report()[0] == "~ changed     a: TLS certificate"
    assert "c2VjcmV0" not in str(found.diff)
    assert "b2xk" not in str(found.diff)
    assert found.diff[0]["before"] != found.diff[0]["after"]
    assert plan(Cluster(*map(live, [*room("a"), secret])), *room("a"), secrets=(secret,)).report() == [
        "= unchanged   1 of 1"
    ]


@pytest.mark.parametrize(
    ("kind", "path", "label"),
    [
        ("Secret", "data.tls.crt", "TLS certificate"),
        ("Secret", "missing", "TLS certificate"),
        ("PodDisruptionBudget", "spec.maxUnavailable", "disruption budget"),
        ("HorizontalPodAutoscaler", "spec.maxReplicas", "autoscaling"),
        ("Middleware", "spec.redirectScheme.scheme", "HTTPS redirect"),
        ("ResourceQuota", "spec.hard.pods", "quota"),
        ("LimitRange", "spec.limits", "resources"),
        ("NetworkPolicy", "spec.ingress", "network policy"),
        ("Service", "metadata.labels.team", "labels"),
        ("ResourceQuota", "metadata.labels.team", "labels"),
        ("Service", "metadata.annotations.note", "annotations"),
        ("Service", f"metadata.annotations.{compare.LAST_APPLIED}", "the record of what was declared"),
        ("Deployment", "spec.replicas", "replicas"),
        ("Deployment", "spec.template.spec.containers[greeter].env[GREETING].value", "greeting"),
        ("Deployment", "spec.template.spec.containers[greeter].env[LOG]", "env"),
        ("Deployment", "spec.template.spec.containers[greeter].env", "env"),
        ("Deployment", "spec.template.spec.containers[greeter].image", "image"),
        ("Deployment", "spec.template.spec.containers[greeter].imagePullPolicy", None),
        ("Deployment", "spec.template.spec.containers[greeter].resources.limits.cpu", "resources"),
        ("Deployment", "spec.template.spec.nodeSelector.disk", "node selector"),
        ("Deployment", "spec.template.spec.tolerations", "tolerations"),
        ("Ingress", "spec.rules", "hosts"),
        ("Ingress", "spec.tls", "TLS"),
        ("Ingress", "spec.ingressClassName", "ingress class"),
        ("Service", "spec.type", None),
    ],
)
def test_what_people_call_the_change_of_a_field(kind: str, path: str, label: str | None) -> None:
    assert planning.labelled(kind, path) == (label or f"{kind} {path}")


def test_many_names_in_a_fault_are_cut_short() -> None:
    assert planning.some([str(number) for number in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
