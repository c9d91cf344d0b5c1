"""What is reported of the objects that the API has refused."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.greeter.fleet.plugins.filter import customers_refused

DENIED = 'admission webhook "images.example.com" denied the request: not from "our" registry'


def thing(kind: str, customer: str) -> dict[str, Any]:
    """An object as it is sent."""
    if kind == "Namespace":
        return {"kind": kind, "metadata": {"name": f"customer-{customer}"}}
    return {"kind": kind, "metadata": {"name": "greeter", "namespace": f"customer-{customer}"}}


def error(message: str, code: int = 422) -> dict[str, Any]:
    """What kubernetes.core.k8s answers of an object that was refused."""
    status = {"kind": "Status", "status": "Failure", "message": message, "reason": "Invalid", "code": code}
    return {"changed": False, "result": {}, "error": {"msg": f"Failed to create object: {json.dumps(status)}"}}


def answers(*outcomes: dict[str, Any]) -> dict[str, Any]:
    return {"changed": True, "result": {"results": list(outcomes)}}


DONE = {"changed": True, "result": {"kind": "Service"}, "method": "create"}


def test_each_refused_object_comes_with_the_apis_own_message() -> None:
    sent = [thing("Deployment", "a"), thing("Service", "a"), thing("Deployment", "b-c")]
    assert customers_refused.refused(sent, answers(error(DENIED), DONE, error("no"))) == [
        {"customer": "a", "object": "Deployment greeter", "message": DENIED, "again": False},
        {"customer": "b-c", "object": "Deployment greeter", "message": "no", "again": False},
    ]


def test_a_single_object_is_answered_without_a_list() -> None:
    assert customers_refused.refused([thing("Service", "a")], error("no")) == [
        {"customer": "a", "object": "Service greeter", "message": "no", "again": False}
    ]
    assert customers_refused.refused([thing("Service", "a")], DONE) == []


def test_a_certificate_goes_by_its_customer() -> None:
    assert customers_refused.refused(["a", "b"], answers(DONE, error("no"))) == [
        {"customer": "b", "object": "Secret greeter-tls", "message": "no", "again": False}
    ]


def test_a_message_that_is_no_status_is_passed_on_as_it_is() -> None:
    outcome = {"error": {"msg": "Failed to find exact match for traefik.io/v1alpha1.Middleware"}}
    assert customers_refused.refused([thing("Middleware", "a")], outcome) == [
        {
            "customer": "a",
            "object": "Middleware greeter",
            "message": "Failed to find exact match for traefik.io/v1alpha1.Middleware",
            "again": False,
        }
    ]


def test_a_task_that_was_skipped_has_refused_nothing() -> None:
    assert customers_refused.refused([], {"changed": False, "skipped": True}) == []


def test_of_a_customer_without_a_namespace_only_that_is_reported() -> None:
    lost = 'namespaces "customer-a" not found'
    sent = [thing("Namespace", "a"), thing("Service", "a"), thing("Deployment", "a"), thing("Service", "b")]
    assert customers_refused.refused(sent, answers(error(DENIED), error(lost), error(lost), error("no"))) == [
        {"customer": "a", "object": "Namespace customer-a", "message": DENIED, "again": False},
        {"customer": "b", "object": "Service greeter", "message": "no", "again": False},
    ]
    # A namespace that is there, and one that somebody takes away meanwhile.
    assert len(customers_refused.refused(sent, answers(error(DENIED), error("no"), error(lost), DONE))) == 2
    assert len(customers_refused.refused(sent, answers(DONE, error(lost), error(lost), DONE))) == 2


def test_what_the_cluster_had_no_time_for_may_be_sent_again() -> None:
    codes = (400, 403, 404, 409, 422, 429, 500, 503, 504)
    sent = [thing("Service", "a")] * len(codes)
    found = customers_refused.refused(sent, answers(*(error("no", code) for code in codes)))
    assert [code for code, each in zip(codes, found, strict=True) if each["again"]] == [409, 429, 500, 503, 504]


def test_a_right_to_create_that_is_missing_is_named_though_the_api_does_not() -> None:
    details = {"name": "greeter", "group": "networking.k8s.io", "kind": "ingresses"}
    status = {"message": 'ingresses.networking.k8s.io "greeter" is forbidden: ', "details": details, "code": 403}
    outcome = {"error": {"msg": f"Failed to apply object: {json.dumps(status)}"}}
    (found,) = customers_refused.refused([thing("Ingress", "a")], outcome)
    assert found["message"] == (
        'ingresses.networking.k8s.io "greeter" is forbidden: the user may not create ingresses.networking.k8s.io; '
        "grant it as docs/rights.yaml does"
    )
