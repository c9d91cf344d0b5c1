"""What this scenario's tests share."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from fleet import Fleet, wait_until

SERVER, AGENT, SPARE = "greeter-cluster-1", "greeter-cluster-2", "greeter-cluster-3"
ANSWERS = {
    "customer-a.parcellab.com": b'{"response":"Hi!"}',
    "customer-b.parcellab.com": b'{"response":"Dear Sir or Madam!"}',
}
LOUD = ("-vvv", "--diff")


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """The converged hosts."""
    return Fleet()


@pytest.fixture(scope="session")
def version(fleet: Fleet) -> str:
    """The Kubernetes under test."""
    return fleet.found["k3s_version"]


@pytest.fixture(scope="session")
def secret(fleet: Fleet) -> str:
    """What nodes join by, without what says of which cluster it is."""
    token: str = fleet.node.check_output("cat /var/lib/rancher/k3s/server/token")
    head, _, found = token.rpartition("::server:")
    assert head.startswith("K10")
    assert len(found) >= 16
    return found


def gives_away(output: str, secret: str, fleet: Fleet) -> bool:
    """Whether a run's output holds the secret, as it is or in the token's file as modules hand files on."""
    encoded = base64.b64encode(fleet.node.check_output("cat /var/lib/rancher/k3s/server/token").encode()).decode()
    text = "".join(output.split())
    # The last digits depend on whether the file ends with its line.
    return secret in text or encoded[:-4] in text


def nodes(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """Node → what it says of itself."""
    return {node["metadata"]["name"]: node["status"] for node in fleet.objects("nodes")["items"]}


def is_ready(status: dict[str, Any]) -> bool:
    """Whether a node is Ready."""
    return any((each["type"], each["status"]) == ("Ready", "True") for each in status["conditions"])


def pods_by_node(fleet: Fleet) -> dict[str, set[str]]:
    """Node → the customers whose pods run on it."""
    found: dict[str, set[str]] = {}
    for pod in fleet.objects("pods", "--all-namespaces", "--selector=app.kubernetes.io/name=greeter")["items"]:
        if "deletionTimestamp" not in pod["metadata"]:
            found.setdefault(pod["spec"]["nodeName"], set()).add(pod["metadata"]["namespace"])
    return found


def heard(fleet: Fleet, name: str) -> str:
    """When a node's kubelet was last heard of."""
    return fleet.kubectl("get", f"lease/{name}", "--namespace=kube-node-lease", "--output=jsonpath={.spec.renewTime}")


def wait_until_back(fleet: Fleet, name: str, since: str) -> None:
    """Wait until a node is Ready and was heard of anew: what the API says of one that has stopped stays for a while."""
    wait_until(lambda: heard(fleet, name) != since and is_ready(nodes(fleet)[name]), f"{name} is not back")
