"""Who has set what in an object, by managedFields as API servers write them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.module_utils import ownership

Object = dict[str, Any]

DECLARED: Object = {
    "kind": "Deployment",
    "metadata": {"labels": {"team": "blue"}, "annotations": {}},
    "spec": {
        "template": {
            "metadata": {"annotations": {}},
            "spec": {
                "nodeSelector": {},
                "tolerations": [{"key": "a", "operator": "Exists"}],
                "containers": [{"name": "greeter", "ports": [{"name": "http", "containerPort": 8080}]}],
            },
        }
    },
}


def entry(fields: Object, manager: str = "kubectl-edit", operation: str = "Update", **more: str) -> Object:
    return {"manager": manager, "operation": operation, "time": "2026-01-02T00:00:00Z", "fieldsV1": fields, **more}


def changed(held: Object, *entries: Object, declared: Object = DECLARED) -> dict[str, str]:
    """The places that count as somebody else's → by whom."""
    metadata = declared["metadata"] | held.get("metadata", {}) | {"managedFields": list(entries)}
    live = {**declared, **held, "metadata": metadata}
    return {ownership.dotted(each.path): each.manager for each in ownership.changes(declared, live)}


def in_pod(fields: Object) -> Object:
    return {"f:spec": {"f:template": {"f:spec": fields}}}


def pod(**changes: object) -> Object:
    return {"spec": {"template": {"spec": DECLARED["spec"]["template"]["spec"] | changes}}}


CONTAINER = 'k:{"name":"greeter"}'
PORT = 'k:{"containerPort":8080,"protocol":"TCP"}'


@pytest.mark.parametrize(
    ("held", "fields", "place"),
    [
        (pod(hostNetwork=True), in_pod({"f:hostNetwork": {}}), "spec.template.spec.hostNetwork"),
        # A map that the API keeps as a whole.
        (pod(nodeSelector={"disk": "no"}), in_pod({"f:nodeSelector": {}}), "spec.template.spec.nodeSelector.disk"),
        # A list that it keeps as a whole.
        (
            pod(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute"}]),
            in_pod({"f:tolerations": {}}),
            "spec.template.spec.tolerations[0].effect",
        ),
        # Items by what the API knows them by, called by their names.
        (
            pod(containers=[{"name": "greeter", "tty": True}]),
            in_pod({"f:containers": {CONTAINER: {"f:tty": {}}}}),
            "spec.template.spec.containers[greeter].tty",
        ),
        (
            pod(containers=[{"name": "greeter", "env": [{"name": "EVIL", "value": "1"}]}]),
            in_pod({"f:containers": {CONTAINER: {"f:env": {".": {}, 'k:{"name":"EVIL"}': {".": {}, "f:value": {}}}}}}),
            "spec.template.spec.containers[greeter].env",
        ),
        ({"metadata": {"labels": {"mine": "1"}}}, {"f:metadata": {"f:labels": {"f:mine": {}}}}, "metadata.labels.mine"),
        ({"imagePullSecrets": [{"name": "x"}]}, {"f:imagePullSecrets": {}}, "imagePullSecrets"),
    ],
)
def test_what_somebody_has_added_is_theirs(held: Object, fields: Object, place: str) -> None:
    assert changed(held, entry(fields)) == {place: "kubectl-edit"}


def noted(kind: str, key: str, manager: str) -> dict[str, str]:
    """What counts of a label or annotation that a manager has set."""
    return changed({"metadata": {kind: {key: "x"}}}, entry({"f:metadata": {f"f:{kind}": {f"f:{key}": {}}}}, manager))


@pytest.mark.parametrize(
    ("key", "manager"),
    [
        ("deployment.kubernetes.io/revision", "kube-controller-manager"),
        ("cert-manager.io/issued-at", "cert-manager-ingress-shim"),
        ("field.cattle.io/projectId", "rancher"),
        ("ingress.kubernetes.io/backends", "glbc"),
        # A roll back by hand puts back what a controller keeps, too.
        ("deployment.kubernetes.io/desired-replicas", "kubectl"),
    ],
)
def test_what_controllers_note_is_theirs_to_note(key: str, manager: str) -> None:
    assert noted("annotations", key, manager) == {}


@pytest.mark.parametrize(
    ("key", "manager"),
    [
        ("cert-manager.io/issuer", "kubectl-annotate"),
        ("traefik.ingress.kubernetes.io/router.middlewares", "some-operator"),
        ("nginx.ingress.kubernetes.io/rewrite-target", "some-operator"),
        ("note", "some-operator"),
        ("example.com/note", "Mozilla"),
        ("example.com/note", "OpenAPI-Generator"),
    ],
)
def test_what_people_note_and_what_changes_what_is_served_counts(key: str, manager: str) -> None:
    assert list(noted("annotations", key, manager)) == [f"metadata.annotations.{key}"]


@pytest.mark.parametrize(
    ("held", "made"),
    [
        ({"status": {"replicas": 1}}, entry({"f:status": {"f:replicas": {}}})),
        ({"status": {"replicas": 1}}, entry({"f:status": {"f:replicas": {}}}, "k3s", subresource="status")),
        # An autoscaler and whoever scales what it looks after.
        (
            {"spec": DECLARED["spec"] | {"replicas": 3}},
            entry({"f:spec": {"f:replicas": {}}}, "kube-controller-manager", subresource="scale"),
        ),
        (
            {
                "spec": {
                    "template": DECLARED["spec"]["template"]
                    | {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
                }
            },
            entry(
                {
                    "f:spec": {
                        "f:template": {"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}}}
                    }
                },
                "kubectl-rollout",
            ),
        ),
        # Somebody has made the object anew, from the same manifest: all of it is theirs, what the server fills in too.
        (
            pod(serviceAccount="greeter"),
            entry(in_pod({"f:serviceAccount": {}, "f:nodeSelector": {}}), "kubectl-create"),
        ),
        # Gone again meanwhile.
        ({}, entry(in_pod({"f:hostNetwork": {}}))),
        ({"metadata": {"finalizers": ["x"]}}, entry({"f:metadata": {"f:finalizers": {".": {}, 'v:"x"': {}}}})),
    ],
)
def test_what_is_no_change(held: Object, made: Object) -> None:
    assert changed(held, made) == {}


def test_what_we_have_declared_is_ours_until_somebody_takes_it_over() -> None:
    ours = entry(in_pod({"f:hostNetwork": {}}), "greeter-fleet", "Apply")
    live = {"metadata": {"managedFields": [ours]}, **pod(hostNetwork=True)}
    assert ownership.owns(live, "spec.template.spec.hostNetwork")
    assert ownership.owns(live, "spec.template")
    assert not ownership.owns(live, "spec.template.spec.host")
    assert ownership.author(live, "spec.template.spec.hostNetwork") == ("", "")
    assert [ownership.dotted(path) for path in ownership.dropped(DECLARED, DECLARED | live)] == [
        "spec.template.spec.hostNetwork"
    ]
    (change,) = ownership.changes(
        DECLARED, DECLARED | live | {"metadata": {"managedFields": [ours, entry(in_pod({"f:hostNetwork": {}}))]}}
    )
    assert change.declared


def test_the_last_who_has_set_something_is_its_author() -> None:
    fields = in_pod({"f:containers": {CONTAINER: {"f:ports": {PORT: {"f:hostPort": {}}}}}})
    early = entry(fields, "early") | {"time": "2026-01-01T00:00:00Z"}
    live = DECLARED | {"metadata": {"managedFields": [entry(fields, "late"), early]}}
    place = "spec.template.spec.containers[greeter].ports"
    assert ownership.author(live, place) == ("late", "2026-01-02T00:00:00Z")
    assert ownership.author(live, f"{place}[8080,TCP].hostPort.x")[0] == "late"
    assert ownership.author(live, "spec.template.spec.containers[greeter].port") == ("", "")


def test_a_field_goes_by_itself_and_an_item_with_its_list() -> None:
    paths = [
        ("spec", "template", "spec", "hostNetwork"),
        ("spec", "template", "spec", "containers", "[greeter]", "tty"),
        ("metadata", "labels", "mine"),
    ]
    assert ownership.removal(paths, DECLARED) == {
        "spec": {
            "template": {
                "spec": {"hostNetwork": None, "containers": DECLARED["spec"]["template"]["spec"]["containers"]}
            }
        },
        "metadata": {"labels": {"mine": None}},
    }
