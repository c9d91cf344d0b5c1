"""When a customer's rollout counts as complete."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import customers
import pytest

COMPLETE: dict[str, Any] = {
    "metadata": {"name": "greeter", "namespace": "customer-a", "generation": 3},
    "spec": {"replicas": 2},
    "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
}


def test_a_complete_rollout_is_not_missing() -> None:
    assert customers.rollouts_missing([COMPLETE], {"a": {}}) == []


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 2},  # the controller has not seen the change yet
        {"replicas": 3},  # an old pod is left
        {"updatedReplicas": 1},
        {"availableReplicas": 1},
    ],
)
def test_an_incomplete_rollout_is_missing(status: dict[str, int]) -> None:
    deployment = deepcopy(COMPLETE)
    deployment["status"] |= status
    assert customers.rollouts_missing([deployment], {"a": {}}) == ["a"]


def test_a_deployment_without_status_is_missing() -> None:
    deployment = deepcopy(COMPLETE)
    del deployment["status"]
    assert customers.rollouts_missing([deployment], {"a": {}}) == ["a"]


def test_a_customer_without_deployment_is_missing() -> None:
    assert customers.rollouts_missing([COMPLETE], {"a": {}, "b": {}}) == ["b"]
