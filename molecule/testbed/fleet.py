"""A scenario's converged host, as its tests see it: over HTTP, over the Kubernetes API, and as a machine."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import testinfra
import yaml

PROJECT = Path(__file__).parents[2]
PORT = 8080


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    content_type: str | None
    body: bytes


class Fleet:
    """The one host of the scenario whose tests run, and the customers on it."""

    def __init__(self, *arguments: str) -> None:
        """Find the host by what Molecule says of the scenario; every playbook gets the ``arguments``."""
        self._arguments = arguments
        self.scenario = os.environ["MOLECULE_SCENARIO_NAME"]
        self.ephemeral = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
        inventory = yaml.safe_load((PROJECT / f"molecule/{self.scenario}/inventory/hosts.yml").read_text())
        ((name, settings),) = inventory["k3s_servers"]["hosts"].items()
        self.address = str(settings["testbed_address"])
        self.node = testinfra.get_host(f"podman://{name}")

    def get(self, host: str) -> Answer:
        """Send ``GET /`` for ``host`` through the port the machine publishes."""
        connection = http.client.HTTPConnection(self.address, PORT, timeout=10)
        try:
            connection.request("GET", "/", headers={"Host": host})
            response = connection.getresponse()
            return Answer(response.status, response.headers["Content-Type"], response.read())
        finally:
            connection.close()

    def main_pid(self) -> str:
        """The process number of K3s."""
        return str(self.node.check_output("systemctl show k3s --property=MainPID --value"))

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints; an `AssertionError` if it fails."""
        return str(self.node.check_output(" ".join(["k3s kubectl", *("%s" for _ in arguments)]), *arguments))

    def objects(self, *arguments: str) -> dict[str, Any]:
        """What `kubectl get` finds, from JSON."""
        return dict(json.loads(self.kubectl("get", *arguments, "--output=json")))

    def pods(self) -> dict[str, set[str]]:
        """Customers' namespaces → the UIDs of the pods in them that are not on their way out."""
        return pod_uids(self.objects("pods", "--all-namespaces"))

    def command(self, playbook: str, *arguments: str) -> list[str]:
        """The command by which an operator runs one of the project's playbooks."""
        return [
            "ansible-playbook", f"playbooks/{playbook}",
            "--inventory=molecule/testbed/inventory", f"--inventory=molecule/{self.scenario}/inventory",
            *self._arguments, *arguments,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """The environment that `command` runs in."""
        return os.environ | {
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",  # Molecule forces colours on its verifier; tests read lines.
            "CONTAINERS_CONF": str(self.ephemeral / "containers.conf"),
        }

    def play(self, playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the project's playbooks as an operator would; standard output and errors come as one."""
        return subprocess.run(
            self.command(playbook, *arguments),
            cwd=PROJECT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )


def pod_uids(pods: dict[str, Any]) -> dict[str, set[str]]:
    """Namespaces of customers → pod UIDs, from a PodList of the API."""
    found: dict[str, set[str]] = {}
    for pod in pods["items"]:
        metadata = pod["metadata"]
        if metadata["namespace"].startswith("customer-") and "deletionTimestamp" not in metadata:
            found.setdefault(metadata["namespace"], set()).add(metadata["uid"])
    return found


def changed(output: str) -> list[int]:
    """The ``changed=`` numbers of a run's recap, one for each host."""
    return [int(number) for number in re.findall(r"changed=(\d+)", output)]
