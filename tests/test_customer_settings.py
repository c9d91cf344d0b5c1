"""Which of the three layers of a customer's settings wins: built in, for all customers, their own."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.plugin_utils.customers import full_settings


def full(own: dict[str, Any], every: dict[str, Any]) -> dict[str, Any]:
    """All settings of a customer ``a``, without the greeting."""
    found = full_settings({"a": {"greeting": "Hi!", **own}}, "example.com", every)["a"]
    assert found.pop("greeting") == "Hi!"
    return found


BUILT_IN = {
    "hosts": ["customer-a.example.com"],
    "replicas": 1,
    "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
    "labels": {},
    "annotations": {},
    "node_selector": {},
    "tolerations": [],
    "env": {},
    "disruption_budget": True,
    "tls": {},
}


def test_what_nobody_says_is_built_in() -> None:
    assert full({}, {}) == BUILT_IN


@pytest.mark.parametrize("setting", ["labels", "annotations", "node_selector", "env"])
def test_keys_of_both_are_joined_and_the_customers_own_wins(setting: str) -> None:
    found = full({setting: {"b": "own", "c": "own"}}, {setting: {"a": "every", "b": "every"}})
    assert found == BUILT_IN | {setting: {"a": "every", "b": "own", "c": "own"}}


def test_resources_are_joined_down_to_each_amount() -> None:
    found = full({"resources": {"limits": {"cpu": 1}}}, {"resources": {"limits": {"memory": "1Gi"}}})
    assert found["resources"] == {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"cpu": 1, "memory": "1Gi"}}


@pytest.mark.parametrize(
    ("setting", "own", "every"),
    [
        ("tolerations", [{"key": "a"}], [{"key": "b"}]),
        ("tls", {"secret": "mine"}, {"issuer": "ours", "redirect": True}),
        ("disruption_budget", False, True),
        ("image", "mine:1", "ours:1"),
    ],
)
def test_of_everything_else_the_customers_own_takes_the_place(setting: str, own: object, every: object) -> None:
    assert full({}, {setting: every}) == BUILT_IN | {setting: every}
    assert full({setting: own}, {setting: every}) == BUILT_IN | {setting: own}


def test_a_number_of_pods_and_an_autoscaler_exclude_each_other() -> None:
    scaled = {"min": 1, "max": 3, "cpu": 80}
    without = {name: value for name, value in BUILT_IN.items() if name != "replicas"}
    assert full({}, {"autoscaling": scaled}) == without | {"autoscaling": scaled}
    assert full({"replicas": 2}, {"autoscaling": scaled}) == BUILT_IN | {"replicas": 2}
    assert full({"autoscaling": scaled}, {"replicas": 2}) == without | {"autoscaling": scaled}


@pytest.mark.parametrize(
    ("own", "hosts"), [({"host": "one.example.org"}, ["one.example.org"]), ({"hosts": ["a.b", "c.d"]}, ["a.b", "c.d"])]
)
def test_hosts_of_their_own_take_the_place_of_the_usual_one(own: dict[str, Any], hosts: list[str]) -> None:
    assert full(own, {}) == BUILT_IN | {"hosts": hosts}


def test_absent_customers_are_left_out() -> None:
    declared = {"b": {"state": "absent"}, "c": {"greeting": "Moin!"}, "a": {"greeting": "Hi!", "state": "present"}}
    assert list(full_settings(declared, "example.com", {})) == ["a", "c"]


def test_of_some_nobody_else_is_given() -> None:
    declared = {name: {"greeting": "Hi!"} for name in ("a", "b", "c")}
    assert list(full_settings(declared, "example.com", {}, ["c", "a", "nobody"])) == ["a", "c"]
