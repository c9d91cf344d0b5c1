"""What the plan of the customers says, against a cluster that is a list of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml
from ansible_collections.greeter.fleet.plugins.module_utils import compare, kubernetes_api, report
from ansible_collections.greeter.fleet.plugins.module_utils import plan as planning
from ansible_collections.greeter.fleet.plugins.module_utils.difference import Difference

Object = dict[str, Any]

ID = "0123456789abcdef"


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


def owned(found: object) -> Object:
    """The fields of an object in the form of the API's fieldsV1."""
    fields: Object = {}
    if isinstance(found, dict):
        fields = {f"f:{name}": owned(value) for name, value in found.items()}
    elif isinstance(found, list) and found and all(isinstance(each, dict) and "name" in each for each in found):
        fields = {json.dumps({"name": each["name"]}).join(("k:", "")): {".": {}, **owned(each)} for each in found}
    return fields


def by(manager: str, fields: Object, time: str = "2026-01-02T00:00:00Z") -> Object:
    """An entry of managedFields, of an update."""
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": owned(fields)}


def live(found: Object) -> Object:
    """The object as a server has it after it was applied and rolled out."""
    held: Object = Difference(found, None, ID).sent
    held = deepcopy(held)
    fields = owned({key: value for key, value in held.items() if key not in ("apiVersion", "kind")})
    entry = {"manager": "greeter-fleet", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields}
    held["metadata"] |= {"generation": 1, "uid": "1", "resourceVersion": "1", "managedFields": [entry]}
    held["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    return held


def edited(found: Object, manager: str, change: Object) -> Object:
    """A live object after somebody has sent it a merge patch, by which its fields are no longer ours."""
    held = deepcopy(compare.merged(found, change))
    take_over(held["metadata"]["managedFields"][0]["fieldsV1"], owned(change))
    held["metadata"]["managedFields"].append(by(manager, change))
    return held


def take_over(ours: Object, theirs: Object) -> None:
    for name, below in theirs.items():
        if below and name in ours:
            take_over(ours[name], below)
        else:
            ours.pop(name, None)


# The fleet's own namespace, as a run has made it.
OWN: Object = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {
        "name": "greeter-fleet",
        "labels": {
            "app.kubernetes.io/managed-by": "greeter-fleet",
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/audit": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
        },
        "annotations": {"greeter-fleet/cluster": "here"},
    },
}


class Cluster(kubernetes_api.Cluster):
    """Objects, and which kinds are served and may be listed; counts what it is asked."""

    def __init__(self, *objects: Object, unserved: str = "", forbidden: tuple[str, ...] = ()) -> None:
        """Hold the ``objects``, and serve every kind but one."""
        self.held = [live(OWN), *objects]
        self.unserved = unserved
        self.forbidden = forbidden
        self.asked = 0

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the kind is served."""
        return bool(api_version) and kind != self.unserved

    def objects(
        self, api_version: str, kind: str, labels: str = "", namespace: str = "", fields: str = ""
    ) -> Iterator[Object]:
        """Every object of a kind that carries the label and has the namespace and name."""
        self.asked += 1
        if kind in self.forbidden:
            raise kubernetes_api.ForbiddenError("ci", f"list {kind}")
        for found in self.held:
            carried = {f"{name}={value}" for name, value in found["metadata"].get("labels", {}).items()}
            if (
                (found["apiVersion"], found["kind"]) == (api_version, kind)
                and (labels in ("", *carried) or "!" in labels)
                and namespace in ("", found["metadata"].get("namespace"))
                and fields in ("", f"metadata.name={found['metadata']['name']}")
            ):
                yield found


def plan(
    held: Cluster | None, /, *declared: Object, secrets: tuple[Object, ...] = (), show: bool = True, **params: object
) -> planning.Plan:
    settings = {
        "fleet": "greeter-fleet",
        "cluster": "here",
        "absent": [],
        "prune": False,
        "prune_limit": 10,
        "refuse_foreign": [],
        "refused": [],
        "only": False,
    } | params
    texts = {"objects": yaml.safe_dump_all(declared), "secrets": yaml.safe_dump_all(secrets)}
    return planning.Plan(held, settings | texts, with_diff=show)


# One for each kind.
REQUESTS = len(planning.KINDS) + len(planning.FOREIGN)


def test_without_a_cluster_everybody_is_new() -> None:
    found = plan(None, *room("a"), *room("b"))
    assert found.report.lines() == ["+ new         a: ", "+ new         b: ", "= unchanged   0 of 2"]
    assert len(found.apply) == 6
    assert found.waiting == {"a", "b"}


def test_a_new_customer_takes_no_request_for_each_object() -> None:
    cluster = Cluster(*map(live, room("a")))
    assert plan(cluster, *room("a"), *room("b")).report.lines() == ["+ new         b: ", "= unchanged   1 of 2"]
    assert cluster.asked == REQUESTS


def test_what_is_as_declared_takes_one_request_for_each_kind() -> None:
    cluster = Cluster(*(live(found) for name in ("a", "b", "c") for found in room(name)))
    found = plan(cluster, *room("a"), *room("b"), *room("c"))
    assert found.report.lines() == ["= unchanged   3 of 3"]
    assert (found.apply, found.remove, found.waiting, found.diff) == ([], [], set(), [])
    assert cluster.asked == REQUESTS


def test_who_was_touched_is_looked_at_again_and_nobody_else() -> None:
    changed = [thing("Namespace", "b"), deployment("b", "greeter:2"), room("b")[2]]
    cluster = Cluster(*(live(found) for name in ("a", "b", "c", "undeclared") for found in room(name)))
    assert plan(cluster, *room("a"), *changed, *room("c")).touched == ["b"]
    asked = cluster.asked
    again = plan(cluster, *changed, only=True, prune=True)
    assert [each["kind"] for each in again.apply] == ["Deployment"]
    assert (again.remove, again.faults, again.touched) == ([], [], ["b"])
    assert again.report.lines() == ["~ changed     b: image", "= unchanged   0 of 1"]
    assert cluster.asked - asked == len(planning.KINDS)


def test_of_more_than_a_few_all_is_asked_for_at_once() -> None:
    names = [f"c{number}" for number in range(planning.FEW + 1)]
    cluster = Cluster(*(live(found) for name in [*names, "another"] for found in room(name)))
    found = plan(cluster, *(found for name in names for found in room(name)), only=True)
    assert (found.apply, found.remove, cluster.asked) == ([], [], len(planning.KINDS))


def test_where_namespaces_come_or_go_all_are_looked_at_again() -> None:
    cluster = Cluster(*(live(found) for name in ("a", "b") for found in room(name)))
    assert plan(cluster, *room("a"), *room("b"), *room("c")).touched == []
    assert plan(cluster, *room("a"), absent=["b"]).touched == []


def test_a_change_is_sent_as_what_differs() -> None:
    cluster = Cluster(*map(live, room("a")))
    found = plan(cluster, thing("Namespace", "a"), deployment("a", "greeter:2"), room("a")[2])
    assert found.report.lines() == ["~ changed     a: image", "= unchanged   0 of 1"]
    (sent,) = found.apply
    assert sent["spec"] == deployment("a", "greeter:2")["spec"]
    assert sent["metadata"]["labels"]["greeter-fleet/id"] == ID
    assert found.fields == []
    assert found.waiting == {"a"}
    (difference,) = found.diff
    assert difference["before"]["spec"] == deployment("a", "greeter:1")["spec"]
    assert difference["after"]["spec"] == deployment("a", "greeter:2")["spec"]
    assert "resourceVersion" not in difference["before"]["metadata"]


def test_a_change_by_hand_is_told_apart_with_who_and_when() -> None:
    held = [live(found) for found in room("a")]
    containers = [{"name": "greeter", "image": "evil:1"}]
    held[1] = edited(held[1], "kubectl-edit", {"spec": {"template": {"spec": {"containers": containers}}}})
    assert plan(Cluster(*held), *room("a")).report.lines() == [
        "~ changed     a: changed in the cluster by kubectl-edit (2026-01-02T00:00:00Z): image",
        "= unchanged   0 of 1",
    ]


def test_a_change_by_hand_and_a_declared_one_are_told_apart_in_one_object() -> None:
    held = [live(found) for found in room("a")]
    held[1] = edited(held[1], "kubectl-scale", {"spec": {"replicas": 5}})
    found = plan(Cluster(*held), room("a")[0], deployment("a", "greeter:2"), room("a")[2])
    assert found.report.lines()[0] == (
        "~ changed     a: image; changed in the cluster by kubectl-scale (2026-01-02T00:00:00Z): replicas"
    )


def test_what_comes_back_after_a_run_is_told_as_such() -> None:
    held = [live(found) for found in room("a")]
    evil = {"spec": {"externalIPs": ["192.0.2.1"]}}
    held[2] = edited(held[2], "kubectl-edit", evil)
    (sent,) = plan(Cluster(*held), *room("a")).apply
    assert sent["metadata"]["annotations"]["greeter-fleet/put-back"] == "Service spec.externalIPs"
    annotations = {"greeter-fleet/put-back": "Service spec.externalIPs"}
    held[2] = edited(
        compare.merged(live(room("a")[2]), {"metadata": {"annotations": annotations}}), "kubectl-edit", evil
    )
    assert plan(Cluster(*held), *room("a")).report.lines()[0] == (
        "~ changed     a: changed in the cluster by kubectl-edit (2026-01-02T00:00:00Z), although a run has put it "
        "back: Service spec.externalIPs"
    )
    held[2] = compare.merged(live(room("a")[2]), {"metadata": {"annotations": annotations}})
    assert plan(Cluster(*held), *room("a")).report.lines() == ["= unchanged   1 of 1"]


def test_an_object_that_lost_its_labels_is_found_and_mended() -> None:
    held = [live(found) for found in room("a")]
    for name in ("app.kubernetes.io/managed-by", "greeter-fleet/id"):
        del held[2]["metadata"]["labels"][name]
    found = plan(Cluster(*held), *room("a"))
    (sent,) = found.apply
    assert sent["kind"] == "Service"
    assert sent["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "greeter-fleet"
    assert found.report.refused == {}


def test_an_object_that_is_gone_is_made_again_whole() -> None:
    found = plan(Cluster(*map(live, room("a")[:2])), *room("a"))
    assert found.report.lines()[0] == "~ changed     a: changed in the cluster: Service missing"
    (sent,) = found.apply
    assert sent["spec"] == {"type": "ClusterIP"}


def test_a_new_object_of_a_customer_with_other_changes_is_no_missing_one() -> None:
    budget = thing("PodDisruptionBudget", "a", "policy/v1")
    found = plan(Cluster(*map(live, room("a"))), room("a")[0], deployment("a", "greeter:2"), room("a")[2], budget)
    assert found.report.lines()[0] == "~ changed     a: disruption budget, image"
    found = plan(Cluster(*map(live, room("a"))), *room("a"), budget)
    assert found.report.lines()[0] == "~ changed     a: changed in the cluster: disruption budget missing"


def test_an_object_that_somebody_else_has_is_that_customers_line_and_stays_as_it_is() -> None:
    theirs = thing("Service", "a", spec={"type": "NodePort"})
    theirs["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
    found = plan(Cluster(*map(live, room("b")), *map(live, room("a")[:2]), theirs), *room("a"), *room("b"))
    assert found.report.lines() == [
        "! refused     a: Service greeter is there already and not this fleet's by its labels "
        "(app.kubernetes.io/managed-by is Helm); remove it",
        "= unchanged   1 of 2",
    ]
    assert found.apply == []


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
    found = plan(Cluster(*map(live, [*room("a"), account, budget]), foreign), *room("a"))
    assert found.report.lines()[:2] == [
        "~ changed     a: ServiceAccount not declared, disruption budget",
        "? foreign     Service theirs, which nobody has declared, in a",
    ]
    name = {"name": "greeter", "namespace": "customer-a"}
    assert found.remove == [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name},
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": name},
    ]


def test_a_difference_is_what_people_declare_before_and_after() -> None:
    budget = live(thing("PodDisruptionBudget", "a", "policy/v1", spec={"maxUnavailable": 1}))
    budget["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z", "selfLink": "/x"}
    cluster = Cluster(*map(live, [room("a")[0], room("a")[1]]), budget)
    found = plan(cluster, *room("a"))
    metadata = {**thing("Service", "a")["metadata"], "annotations": {}}
    metadata["labels"]["greeter-fleet/id"] = ID
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
    assert found.report.lines() == [line, "= unchanged   1 of 1"]
    assert found.remove == removed


def test_another_fleets_namespaces_are_none_of_ours() -> None:
    theirs = thing("Namespace", "b")
    theirs["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "another-fleet"
    found = plan(Cluster(*map(live, [*room("a"), theirs])), *room("a"), prune=True, absent=["b"])
    assert found.report.lines() == ["= unchanged   1 of 1"]
    assert found.remove == []


def test_a_declared_namespace_that_is_not_ours_is_that_customers_line() -> None:
    theirs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "customer-b"}}
    found = plan(Cluster(*map(live, room("a")), theirs), *room("a"), *room("b"))
    assert found.report.refused == {
        "b": {
            "Namespace customer-b": "is there already and not this fleet's by its labels "
            "(app.kubernetes.io/managed-by is not there); remove it, or rename the customer"
        }
    }
    assert (found.apply, found.faults) == ([], [])


@pytest.mark.parametrize("kind", ["Namespace", "Service"])
def test_what_is_on_its_way_out_is_that_customers_line(kind: str) -> None:
    held = [live(found) for found in room("b")]
    (leaving,) = [found for found in held if found["kind"] == kind]
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    changed = [thing("Namespace", "a"), deployment("a", "greeter:2"), room("a")[2]]
    found = plan(Cluster(*map(live, room("a")), *held), *changed, *room("b"))
    assert found.report.refused == {
        "b": {f"{kind} {leaving['metadata']['name']}": "is being deleted; run again when it is gone"}
    }
    assert [sent["metadata"]["namespace"] for sent in found.apply] == ["customer-a"]


def test_an_absent_customer_that_stays_is_told_every_time() -> None:
    leaving = live(thing("Namespace", "b"))
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster = Cluster(*map(live, room("a")), leaving)
    found = plan(cluster, *room("a"), absent=["b"])
    assert found.report.lines() == ["- absent      b (is being removed)", "= unchanged   1 of 1"]
    assert (found.leaving, found.remove) == (["customer-b"], [])
    assert plan(cluster, *room("a"), prune=True).report.lines() == ["= unchanged   1 of 1"]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("payments", {"greeter-fleet/id": ID, "app.kubernetes.io/instance": "b"}),
        ("customer-b", {"app.kubernetes.io/instance": "b"}),
        ("customer-b", {"greeter-fleet/id": "another", "app.kubernetes.io/instance": "b"}),
    ],
)
def test_what_only_looks_like_the_fleets_is_named_and_stays(name: str, labels: dict[str, str]) -> None:
    lookalike = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "greeter-fleet"} | labels},
    }
    found = plan(Cluster(*map(live, room("a")), lookalike), *room("a"), prune=True, absent=["b"])
    assert found.report.lines()[0] == f"? not ours    namespace {name}, by its id or its name; it stays"
    assert found.remove == []


def test_copies_and_others_secrets_in_a_customers_namespace_stay() -> None:
    copy = live(room("a")[2])
    copy["metadata"]["name"] = "greeter-copy"
    secret = live(thing("Secret", "a", data={"tls.key": "eA=="}))
    secret["metadata"]["name"] = "theirs"
    ingress = thing("Ingress", "a", "networking.k8s.io/v1", spec={"rules": [], "tls": [{"secretName": "greeter-tls"}]})
    found = plan(Cluster(*map(live, [*room("a"), ingress]), copy, secret), *room("a"), ingress)
    assert found.report.lines() == [
        "? foreign     Service greeter-copy, which nobody has declared, in a",
        "= unchanged   1 of 1",
    ]
    assert found.remove == []


def test_what_a_controller_has_made_is_not_foreign_and_what_may_not_be_seen_is_told() -> None:
    solver = thing("Pod", "a")
    solver["metadata"] |= {
        "name": "solver",
        "labels": {},
        "ownerReferences": [{"kind": "Challenge", "controller": True}],
    }

    assert plan(
        Cluster(*map(live, room("a")), solver, forbidden=("Role", "RoleBinding")), *room("a")
    ).report.lines() == [
        "? not seen    Role, RoleBinding: the kubeconfig may not list them",
        "= unchanged   1 of 1",
    ]


def test_foreign_objects_of_some_kinds_end_the_run() -> None:
    binding = thing("RoleBinding", "a", "rbac.authorization.k8s.io/v1")
    binding["metadata"] |= {"name": "admin", "labels": {}}
    cluster = Cluster(*map(live, room("a")), binding)
    assert plan(cluster, *room("a")).faults == []
    assert plan(cluster, *room("a"), refuse_foreign=["Pod"]).faults == []
    assert plan(cluster, *room("a"), refuse_foreign=["RoleBinding"]).faults == [
        "customers a: nobody has declared the RoleBinding admin there; remove it, or take RoleBinding out of "
        "customers_refuse_foreign"
    ]


def test_no_more_customers_go_in_one_run_than_the_limit_says() -> None:
    cluster = Cluster(*map(live, [*room("a"), *room("b"), *room("c")]))
    assert plan(cluster, *room("a"), prune=True, prune_limit=2).faults == []
    assert plan(cluster, *room("a"), prune=True, prune_limit=1).faults == [
        "customers_prune would remove 2 customers (b, c), and at most 1 may go in one run; set customers_prune_limit "
        "to 2 if it is meant"
    ]
    assert plan(cluster, *room("a"), absent=["b", "c"], prune_limit=1).faults == []


def test_a_strangers_cluster_is_refused() -> None:
    found = plan(Cluster(*map(live, room("a"))), *room("a"), cluster="elsewhere")
    (fault,) = found.faults
    assert fault.startswith("the kubeconfig leads to the cluster here, and the inventory is that of elsewhere; use")
    assert found.apply == found.remove == []


def test_a_first_run_marks_what_is_there_and_removes_nobody_unasked() -> None:
    cluster = Cluster(*(found for name in ("a", "b") for found in map(unmarked, room(name))))
    cluster.held.pop(0)
    found = plan(cluster, *room("a"), prune=True)
    assert found.report.lines() == [
        "~ changed     a: the marks of this fleet",
        "- undeclared  b (stays; a first run removes nobody)",
        "= unchanged   0 of 1",
    ]
    own, *rest = found.apply
    assert own["metadata"]["name"] == "greeter-fleet"
    assert own["metadata"]["annotations"]["greeter-fleet/cluster"] == "here"
    ids = {sent["metadata"]["labels"]["greeter-fleet/id"] for sent in (own, *rest)}
    assert len(ids) == 1
    assert (len(rest), found.remove) == (3, [])
    assert plan(cluster, *room("a"), absent=["b"]).remove == [NAMESPACE_B]


def unmarked(found: Object) -> Object:
    """An object of ours from before there were marks."""
    held = live(found)
    del (
        held["metadata"]["labels"]["greeter-fleet/id"],
        held["metadata"]["annotations"],
        held["metadata"]["managedFields"],
    )
    return held


def test_a_host_that_another_ingress_serves_is_that_customers_line() -> None:
    def ingress(customer: str) -> Object:
        spec = {"rules": [{"host": "x.example.com"}]}
        return thing("Ingress", customer, "networking.k8s.io/v1", spec=spec)

    cluster = Cluster(*map(live, [*room("a"), *room("b"), ingress("b")]))
    found = plan(cluster, *room("a"), ingress("a"))
    assert found.report.refused["a"] == {
        "Ingress greeter": "x.example.com is served by the Ingress customer-b/greeter already; remove that, or its "
        "customer (state: absent), or choose another host"
    }
    assert plan(cluster, *room("a"), ingress("a"), absent=["b"]).report.refused == {}
    # Nor is anything of theirs taken away that was found before.
    held = Cluster(*map(live, [*room("a"), quota("a", pods="1"), *room("b"), ingress("b")]))
    found = plan(held, *room("a"), ingress("a"))
    assert (found.apply, found.remove, found.waiting) == ([], [], set())


def quota(customer: str, **hard: str) -> Object:
    return thing("ResourceQuota", customer, spec={"hard": hard})


@pytest.mark.parametrize(
    ("was", "now", "first"),
    [
        # Larger: at once.
        ({"limits.cpu": "1"}, {"limits.cpu": "2"}, {"limits.cpu": "2"}),
        # Smaller: as it is, until the pods that need it are gone.
        ({"limits.cpu": "2", "pods": "2"}, {"limits.cpu": "1", "pods": "2"}, None),
        # Both: room for what runs and what comes.
        (
            {"limits.cpu": "600m", "pods": "3"},
            {"limits.cpu": "500m", "pods": "5"},
            {"limits.cpu": "1.100", "pods": "8"},
        ),
    ],
)
def test_a_quota_is_never_smaller_than_what_runs_and_what_comes(
    was: dict[str, str], now: dict[str, str], first: dict[str, str] | None
) -> None:
    held = [*map(live, room("a")), live(quota("a", **was))]
    found = plan(Cluster(*held), thing("Namespace", "a"), deployment("a", "greeter:2"), room("a")[2], quota("a", **now))
    sent = [each["spec"]["hard"] for each in found.apply if each["kind"] == "ResourceQuota"]
    assert sent == ([first] if first else [])
    assert [each["spec"]["hard"] for each in found.later] == ([] if first == now else [now])
    # Once nothing is rolled out any more, it is as declared.
    settled = plan(Cluster(*held), *room("a"), quota("a", **now))
    assert [each["spec"]["hard"] for each in settled.apply] == [now]
    assert settled.later == []


def test_an_autoscaler_takes_over_from_the_pods_that_are_there() -> None:
    held = [live(found) for found in room("a")]
    held[1]["spec"]["replicas"] = 4
    autoscaled = deployment("a")
    del autoscaled["spec"]["replicas"]
    (sent,) = plan(Cluster(*held), thing("Namespace", "a"), autoscaled, room("a")[2]).apply
    assert sent["spec"]["replicas"] == 4
    # From then on they are the autoscaler's.
    scaled = edited(live(autoscaled), "kube-controller-manager", {"spec": {"replicas": 7}})
    found = plan(Cluster(held[0], scaled, held[2]), thing("Namespace", "a"), autoscaled, room("a")[2])
    assert found.report.lines() == ["= unchanged   1 of 1"]


def test_what_holds_characters_that_no_apply_can_send_is_told_apart() -> None:
    wide = thing("Service", "a", spec={"note": "\U0001f600"})
    found = plan(None, room("a")[0], thing("ServiceAccount", "a", note="\uffff ä"), wide)
    assert [each["kind"] for each in found.apply] == ["Namespace", "ServiceAccount", "Service"]
    assert [each["kind"] for each in found.wide] == ["Service"]


def test_what_the_cluster_has_refused_is_not_sent_again() -> None:
    given_up = [{"customer": "b", "object": "Namespace customer-b"}, {"customer": "a", "object": "Service greeter"}]
    found = plan(Cluster(*map(live, room("a")[:2])), *room("a"), *room("b"), refused=given_up)
    assert found.apply == []
    assert found.report.differences == []
    cluster = Cluster(*map(live, [*room("a"), *room("b")]))
    assert plan(cluster, *room("a"), absent=["b"], refused=given_up).remove == []


def test_a_kind_the_cluster_does_not_serve_is_a_fault_that_names_the_setting() -> None:
    budget = thing("PodDisruptionBudget", "a", "policy/v1")
    (fault,) = plan(Cluster(unserved="PodDisruptionBudget"), *room("a"), budget).faults
    assert fault == (
        "customers a: the cluster serves no PodDisruptionBudget of policy/v1; "
        "set disruption_budget: false for them or in customers_defaults, or use a newer Kubernetes"
    )


def test_all_rights_that_are_missing_are_one_fault() -> None:
    found = plan(Cluster(forbidden=("Namespace", "Deployment")), *room("a"))
    assert found.faults == ["ci may not list Namespace, list Deployment; grant it as docs/rights.yaml does"]


def test_what_nobody_declares_needs_no_right_to_look_for_it() -> None:
    cluster = Cluster(*map(live, room("a")), forbidden=("Secret", "HorizontalPodAutoscaler"))
    found = plan(cluster, *room("a"))
    assert (found.faults, found.report.lines()) == ([], ["= unchanged   1 of 1"])
    assert plan(cluster, *room("a"), secrets=(certificate(),)).faults == [
        "ci may not list Secret; grant it as docs/rights.yaml does"
    ]


def test_without_a_look_at_the_namespaces_nothing_is_known() -> None:
    found = plan(Cluster(forbidden=("Namespace",)), absent=["b"])
    assert found.faults == ["ci may not list Namespace; grant it as docs/rights.yaml does"]


def certificate(key: str = "c2VjcmV0") -> Object:
    """The Secret of a customer who brings their own."""
    found = thing("Secret", "a", data={"tls.key": key})
    found["metadata"]["name"] = "greeter-tls"
    return found


def test_of_secrets_only_those_that_are_made_here_are_looked_at() -> None:
    named = thing("Secret", "a", data={"tls.key": "bWluZQ=="})
    named["metadata"]["name"] = "my-tls"
    found = plan(Cluster(*map(live, [*room("a"), named])), *room("a"))
    assert (found.remove, found.report.lines()) == ([], ["= unchanged   1 of 1"])


def test_a_secret_is_compared_and_never_shown() -> None:
    secret = certificate()
    held = live(certificate("b2xk"))
    found = plan(Cluster(*map(live, room("a")), held), *room("a"), secrets=(secret,))
    assert found.secrets == {"a"}
    assert found.apply == []
    assert found.report.lines()[0] == "~ changed     a: TLS certificate"
    assert "c2VjcmV0" not in str(found.diff)
    assert "b2xk" not in str(found.diff)
    assert found.diff[0]["before"] != found.diff[0]["after"]
    assert plan(Cluster(*map(live, [*room("a"), secret])), *room("a"), secrets=(secret,)).report.lines() == [
        "= unchanged   1 of 1"
    ]


@pytest.mark.parametrize(
    ("kind", "path", "label"),
    [
        ("Secret", "data.tls.crt", "TLS certificate"),
        ("Secret", "not declared", "TLS certificate"),
        ("PodDisruptionBudget", "spec.maxUnavailable", "disruption budget"),
        ("HorizontalPodAutoscaler", "spec.maxReplicas", "autoscaling"),
        ("Middleware", "spec.redirectScheme.scheme", "HTTPS redirect"),
        ("ResourceQuota", "spec.hard.pods", "quota"),
        ("LimitRange", "spec.limits", "resources"),
        ("NetworkPolicy", "spec.ingress", "network policy"),
        ("Service", "metadata.labels.team", "labels"),
        ("ResourceQuota", "metadata.labels.team", "labels"),
        ("Service", "metadata.annotations.note", "annotations"),
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
    assert report.labelled(kind, path) == (label or f"{kind} {path}")


def test_many_names_in_a_fault_are_cut_short() -> None:
    assert report.some([str(number) for number in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
