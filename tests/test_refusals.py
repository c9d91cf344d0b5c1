"""What is told of the objects that the API has refused."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.greeter.fleet.plugins.filter import customers_results

DENIED = 'admission webhook "images.example.com" denied the request: not from "our" registry'


def thing(kind: str, customer: str) -> dict[str, Any]:
    """An object as it is sent."""
    if kind == "Namespace":
        return {"kind": kind, "metadata": {"name": f"customer-{customer}"}}
    return {"kind": kind, "metadata": {"name": "greeter", "namespace": f"customer-{customer}"}}


def refused(message: str) -> dict[str, Any]:
    """What kubernetes.core.k8s answers of an object that was refused."""
    status = {"kind": "Status", "status": "Failure", "message": message, "reason": "Invalid", "code": 422}
    return {"changed": False, "result": {}, "error": {"msg": f"Failed to create object: {json.dumps(status)}"}}


def answers(*outcomes: dict[str, Any]) -> dict[str, Any]:
    return {"changed": True, "result": {"results": list(outcomes)}}


DONE = {"changed": True, "result": {"kind": "Service"}, "method": "create"}


def test_the_apis_own_words_are_told_of_each_object() -> None:
    sent = [thing("Deployment", "a"), thing("Service", "a"), thing("Deployment", "b-c")]
    assert customers_results.failures(sent, answers(refused(DENIED), DONE, refused("no"))) == [
        {"customer": "a", "object": "Deployment greeter", "message": DENIED},
        {"customer": "b-c", "object": "Deployment greeter", "message": "no"},
    ]


def test_a_single_object_is_answered_without_a_list() -> None:
    assert customers_results.failures([thing("Service", "a")], refused("no")) == [
        {"customer": "a", "object": "Service greeter", "message": "no"}
    ]
    assert customers_results.failures([thing("Service", "a")], DONE) == []


def test_a_certificate_goes_by_its_customer() -> None:
    assert customers_results.failures(["a", "b"], answers(DONE, refused("no"))) == [
        {"customer": "b", "object": "TLS certificate", "message": "no"}
    ]


def test_a_message_that_is_no_status_is_told_as_it_is() -> None:
    outcome = {"error": {"msg": "Failed to find exact match for traefik.io/v1alpha1.Middleware"}}
    assert customers_results.failures([thing("Middleware", "a")], outcome) == [
        {
            "customer": "a",
            "object": "Middleware greeter",
            "message": "Failed to find exact match for traefik.io/v1alpha1.Middleware",
        }
    ]


def test_a_task_that_was_skipped_has_refused_nothing() -> None:
    assert customers_results.failures([], {"changed": False, "skipped": True}) == []


def test_of_a_customer_without_a_namespace_only_that_is_told() -> None:
    lost = 'namespaces "customer-a" not found'
    sent = [thing("Namespace", "a"), thing("Service", "a"), thing("Deployment", "a"), thing("Service", "b")]
    assert customers_results.failures(sent, answers(refused(DENIED), refused(lost), refused(lost), refused("no"))) == [
        {"customer": "a", "object": "Namespace customer-a", "message": DENIED},
        {"customer": "b", "object": "Service greeter", "message": "no"},
    ]
    # A namespace that is there, and one that somebody takes away meanwhile.
    assert len(customers_results.failures(sent, answers(refused(DENIED), refused("no"), refused(lost), DONE))) == 2
    assert len(customers_results.failures(sent, answers(DONE, refused(lost), refused(lost), DONE))) == 2


def test_whatever_is_not_as_declared_is_one_line_and_what_explains_it() -> None:
    waited = {
        "missing": ["b", "c"],
        "staying": ["customer-d"],
        "silent": "",
        "reasons": {"b": ["pod greeter-1 waiting: ImagePullBackOff", "event of Pod greeter-1: Failed: no"]},
    }
    problems = customers_results.problems(
        [{"customer": "a", "object": "Service greeter", "message": "no"}], waited, 300
    )
    assert problems == [
        "- a: Service greeter: no",
        "- b: not rolled out within 300 s",
        "    pod greeter-1 waiting: ImagePullBackOff",
        "    event of Pod greeter-1: Failed: no",
        "- c: not rolled out within 300 s",
        "- namespace customer-d: still being removed after 300 s",
    ]
    assert customers_results.problems([], {"changed": False, "skipped": True}, 300) == []
