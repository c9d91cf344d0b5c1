"""What the customers role would send to the cluster, read back as objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import PROJECT, Run

RENDER = """
- name: Render the customers' objects
  hosts: localhost
  gather_facts: false
  vars_files: ["{role}/defaults/main.yml", "{role}/vars/main.yml"]
  tasks:
    - name: Write the objects
      ansible.builtin.template:
        src: "{role}/templates/customers.yaml.j2"
        dest: "{out}"
        mode: "0600"
"""

Render = Callable[[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture
def render(ansible: Run, tmp_path: Path) -> Render:
    """A function from customers to the objects the role makes of them."""

    def objects(customers: dict[str, Any]) -> list[dict[str, Any]]:
        (tmp_path / "customers.json").write_text(json.dumps({"customers": customers, "customers_image": "greeter:1"}))
        playbook = tmp_path / "render.yml"
        out = tmp_path / "objects.yaml"
        role = PROJECT / "roles/customers"
        playbook.write_text(RENDER.format(role=role, out=out))
        done = ansible("ansible-playbook", str(playbook), "-e", f"@{tmp_path}/customers.json")
        assert done.returncode == 0, done.stdout + done.stderr
        return list(yaml.safe_load_all(out.read_text()))

    return objects


def environment(objects: list[dict[str, Any]], namespace: str) -> dict[str, str]:
    (deployment,) = (
        found for found in objects if found["kind"] == "Deployment" and found["metadata"]["namespace"] == namespace
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_greetings_reach_the_container_as_they_were_written(render: Render) -> None:
    objects = render(
        {
            "plain": {"greeting": "Dear Sir or Madam!"},
            "quotes": {"greeting": """say "hi", it's 100% \\n"""},
            "world": {"greeting": "Grüß Gott, 世界 👋"},
            "yaml": {"greeting": "no: #{comment} [x] - &a *b"},
            # Kubernetes makes one dollar of two, and would else put the customer's name here.
            "dollars": {"greeting": "$5, $$6 and $(CUSTOMER_NAME)"},
        }
    )
    assert environment(objects, "customer-plain")["GREETING"] == "Dear Sir or Madam!"
    assert environment(objects, "customer-quotes")["GREETING"] == """say "hi", it's 100% \\n"""
    assert environment(objects, "customer-world")["GREETING"] == "Grüß Gott, 世界 👋"
    assert environment(objects, "customer-yaml")["GREETING"] == "no: #{comment} [x] - &a *b"
    assert environment(objects, "customer-dollars")["GREETING"] == "$$5, $$$$6 and $$(CUSTOMER_NAME)"


def test_every_customer_has_a_room_of_their_own(render: Render) -> None:
    objects = render({"a": {"greeting": "Hi!"}, "007": {"greeting": "Bond", "host": "bond.example.com", "replicas": 2}})
    kinds = [
        "Namespace",
        "ResourceQuota",
        "LimitRange",
        "NetworkPolicy",
        "ServiceAccount",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "Ingress",
    ]
    assert [(found["kind"], found["metadata"].get("namespace")) for found in objects] == [
        (kind, None if kind == "Namespace" else namespace)
        for namespace in ("customer-007", "customer-a")
        for kind in kinds
        if kind != "PodDisruptionBudget" or namespace == "customer-007"
    ]
    assert [found["metadata"]["name"] for found in objects if found["kind"] == "Namespace"] == [
        "customer-007",
        "customer-a",
    ]
    hosts = [found["spec"]["rules"][0]["host"] for found in objects if found["kind"] == "Ingress"]
    assert hosts == ["bond.example.com", "customer-a.parcellab.com"]
    assert [found["spec"]["replicas"] for found in objects if found["kind"] == "Deployment"] == [2, 1]
    assert {found["metadata"]["labels"]["app.kubernetes.io/managed-by"] for found in objects} == {"greeter-fleet"}


def test_a_customer_has_exactly_these_objects(render: Render) -> None:
    expected = (Path(__file__).parent / "customer.yaml").read_text()
    assert render({"a": {"greeting": "Hi!"}}) == list(yaml.safe_load_all(expected))
