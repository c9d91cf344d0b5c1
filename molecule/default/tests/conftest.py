"""The converged host, as the tests see it: over HTTP, over the Kubernetes API, and as a machine."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host

NAME = "greeter-default"
ADDRESS = "127.0.20.1"
PORT = 8080
PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
LATER = PROJECT / "molecule/default/vars/customers-later.yml"


WithGreeting = Callable[[str, str], Path]


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    content_type: str | None
    body: bytes


class Fleet:
    """One converged host and the customers on it."""

    def __init__(self, node: Host) -> None:
        """Remember ``node``, the host as testinfra reaches it."""
        self.node = node

    def get(self, host: str) -> Answer:
        """Send ``GET /`` for ``host`` through the port the machine publishes."""
        connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=10)
        try:
            connection.request("GET", "/", headers={"Host": host})
            response = connection.getresponse()
            return Answer(response.status, response.headers["Content-Type"], response.read())
        finally:
            connection.close()

    def main_pid(self) -> str:
        """The process number of K3s."""
        return str(self.node.check_output("systemctl show k3s --property=MainPID --value"))

    def kubectl(self, *arguments: str) -> dict[str, Any]:
        """What kubectl prints as JSON."""
        return dict(json.loads(self.node.check_output(f"k3s kubectl {' '.join(arguments)} --output=json")))

    def pods(self) -> dict[str, set[str]]:
        """Customers' namespaces → the UIDs of the pods in them that are not on their way out."""
        return pod_uids(self.kubectl("get", "pods", "--all-namespaces"))

    def play(self, playbook: str, *arguments: str, customers: Path = LATER) -> subprocess.CompletedProcess[str]:
        """Run one of the project's playbooks as an operator would."""
        return subprocess.run(
            [
                "ansible-playbook", f"playbooks/{playbook}",
                "--inventory=molecule/testbed/inventory", "--inventory=molecule/default/inventory",
                f"--extra-vars=@{customers}", *arguments,
            ],
            cwd=PROJECT,
            env=os.environ
            | {
                "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "1",
                "CONTAINERS_CONF": str(EPHEMERAL / "containers.conf"),
            },
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )  # fmt: skip


def pod_uids(pods: dict[str, Any]) -> dict[str, set[str]]:
    """Namespaces of customers → pod UIDs, from a PodList of the API."""
    found: dict[str, set[str]] = {}
    for pod in pods["items"]:
        metadata = pod["metadata"]
        if metadata["namespace"].startswith("customer-") and "deletionTimestamp" not in metadata:
            found.setdefault(metadata["namespace"], set()).add(metadata["uid"])
    return found


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """The converged host."""
    return Fleet(testinfra.get_host(f"podman://{NAME}"))


@pytest.fixture(scope="session")
def pods_before() -> dict[str, set[str]]:
    """The customers' pods before the side effect changed what is declared."""
    return pod_uids(json.loads((EPHEMERAL / "pods-before.json").read_text()))


@pytest.fixture(scope="session")
def found() -> dict[str, str]:
    """What the test bed has chosen: the Kubernetes under test and where it comes from."""
    return dict(json.loads((EPHEMERAL / "testbed.json").read_text()))


@pytest.fixture
def with_greeting(tmp_path: Path) -> WithGreeting:
    """A function that writes a customers' file in which one customer has another greeting, and returns its path."""

    def write(customer: str, greeting: str) -> Path:
        declared = yaml.safe_load(LATER.read_text())
        declared["customers"].setdefault(customer, {})["greeting"] = greeting
        path = tmp_path / "customers.yml"
        path.write_text(yaml.safe_dump(declared, allow_unicode=True))
        return path

    return write
