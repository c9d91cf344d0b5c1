"""Settings of the whole fleet are the same for every host, or a fault."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight.shared import shared_faults

REST = "; it belongs to the whole fleet: write it once, for all hosts of the inventory"
SECRET = "hunter2-Xo7q9Kp2Lm4w"


def faults(*settings: dict[str, Any]) -> list[str]:
    """The faults of a cluster whose hosts a, b, c … have these settings."""
    hosts = dict(zip("abcde", settings, strict=False))
    return shared_faults({"k3s_cluster": list(hosts), "k3s_servers": ["a"]}, hosts)


@pytest.mark.parametrize(
    "same",
    [
        {},
        {"customers": {"a": {"greeting": "Hi!"}}, "customers_domain": "example.com", "greeter_builder": "podman"},
        {"k3s_kubeconfig": "/home/me/fleet.yaml", "endpoints_timeout": 5},
    ],
)
def test_what_all_hosts_have_has_no_fault(same: dict[str, Any]) -> None:
    assert faults(same, dict(same), dict(same)) == []
    assert faults(same) == []


@pytest.mark.parametrize(
    "name",
    ["k3s_version", "k3s_config", "k3s_node_config", "k3s_api_url", "endpoints_address", "endpoints_port", "other"],
)
def test_what_belongs_to_a_host_may_differ(name: str) -> None:
    assert faults({name: "one"}, {name: "other"}, {}) == []


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (
            [{"customers_domain": "one.example.com"}, {"customers_domain": "two.example.com"}, {}],
            "customers_domain: is one.example.com for a, two.example.com for b, not set for c",
        ),
        (
            [{"customers_prune": True}, {}, {"customers_prune": True}],
            "customers_prune: is True for a, c, not set for b",
        ),
        ([{"greeter_base_image": "x:1"}, {"greeter_base_image": "x:2"}], "greeter_base_image: is x:1 for a, x:2 for b"),
        ([{"endpoints_report": "/tmp/a"}, {"endpoints_report": ""}], "endpoints_report: differs between a and b"),
        ([{"k3s_cluster_name": "x"}, {"k3s_cluster_name": "y"}], "k3s_cluster_name: is x for a, y for b"),
        ([{"customers": {"a": {"greeting": SECRET}}}, {}, {}], "customers: differs between a and b, c"),
        ([{"greeter_registry_password": SECRET}, {}], "greeter_registry_password: differs between a and b"),
    ],
)
def test_what_differs_is_told_with_hosts_and_values_but_no_secret(settings: list[dict[str, Any]], fault: str) -> None:
    assert faults(*settings) == [fault + REST]


def test_a_template_that_cannot_be_worked_out_is_told_where_nobody_else_does() -> None:
    class Broken(dict[str, Any]):
        def __getitem__(self, key: str) -> object:
            raise ValueError(f"'{key}_of_nobody' is undefined")

    given = Broken(greeter_builder="", customers={})
    assert faults(given, given) == [
        "greeter_builder: cannot be worked out ('greeter_builder_of_nobody' is undefined); mend it"
    ]
