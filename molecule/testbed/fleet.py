"""A scenario's converged hosts, as its tests see them: over HTTP, over the Kubernetes API, and as machines."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import testinfra
import yaml

PROJECT = Path(__file__).parents[2]
PORT = 8080
# The most that may take what comes by itself, and a playbook, in seconds: bounds for a slow machine, and no measures.
PATIENCE = 300
PLAY_SECONDS = 1200
GROUPS = ("k3s_servers", "k3s_agents", "testbed_spares")


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    content_type: str | None
    body: bytes


class Fleet:
    """The hosts of the scenario whose tests run, and the customers on them.

    Attributes:
        scenario: Its name.
        ephemeral: The folder of what belongs to these hosts.
        found: What they were made from: which Kubernetes, which base image, at which addresses.
        addresses: Host → the address of this machine that leads to it; those that are spare come last.
        nodes: Host → the machine.
        address: That of the first server.
        node: The first server itself.
    """

    def __init__(self, *arguments: str) -> None:
        """Find the hosts by what Molecule says of the scenario; every playbook gets the ``arguments``."""
        self._arguments = arguments
        self.scenario = os.environ["MOLECULE_SCENARIO_NAME"]
        self.ephemeral = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
        inventory = yaml.safe_load((PROJECT / f"molecule/{self.scenario}/inventory/hosts.yml").read_text())
        hosts = {name: each for group in GROUPS for name, each in inventory.get(group, {}).get("hosts", {}).items()}
        self.found: dict[str, str] = json.loads((self.ephemeral / "testbed.json").read_text())
        self.addresses = {
            name: f"{self.found['loopback']}.{settings['testbed_number']}" for name, settings in hosts.items()
        }
        self.nodes = {name: testinfra.get_host(f"podman://{container(name)}") for name in self.addresses}
        self._servers = list(inventory["k3s_servers"]["hosts"])
        self.address, self.node = self.addresses[self._servers[0]], self.nodes[self._servers[0]]

    def get(self, host: str, node: str = "") -> Answer:
        """Send ``GET /`` for ``host`` through the port that a node, the first server if none is named, publishes."""
        address = self.addresses[node] if node else self.address
        connection = http.client.HTTPConnection(address, PORT, timeout=60)
        try:
            connection.request("GET", "/", headers={"Host": host})
            response = connection.getresponse()
            return Answer(response.status, response.headers["Content-Type"], response.read())
        finally:
            connection.close()

    def wait_for_answer(self, host: str, wanted: bytes | int) -> None:
        """Wait until a host gives this body, or this status: an ingress follows the cluster with some delay."""

        def is_given() -> bool:
            try:
                answer = self.get(host)
            except OSError:
                return False
            return wanted in (answer.body, answer.status)

        wait_until(is_given, f"{host} does not answer {wanted!r}")

    def served(self) -> set[str]:
        """The versions of APIs that the cluster serves, such as ``policy/v1``."""
        return set(self.kubectl("api-versions").split())

    @contextmanager
    def called(self, host: str, *nodes: str, per_second: int) -> Iterator[list[Answer | str]]:
        """Call ``host`` meanwhile, so often a second through each of the nodes; give what came back, or the error."""
        over, seen = threading.Event(), list[Answer | str]()

        def call(node: str) -> None:
            started = time.monotonic()
            # Bounded as `play` is: whatever takes longer has failed anyway.
            for number in range(1, PLAY_SECONDS * per_second):
                try:
                    seen.append(self.get(host, node))
                except OSError as error:
                    seen.append(f"{time.monotonic() - started:.1f} s, {node}: {error!r}")
                if over.wait(max(0.0, started + number / per_second - time.monotonic())):
                    return

        callers = [threading.Thread(target=call, args=[node]) for node in nodes]
        for caller in callers:
            caller.start()
        try:
            yield seen
        finally:
            over.set()
            for caller in callers:
                caller.join()

    def main_pid(self, node: str = "") -> str:
        """The process number of K3s on a node, the first server if none is named; ``0`` where it does not run."""
        name = node or self._servers[0]
        service = "k3s" if name in self._servers else "k3s-agent"
        return str(self.nodes[name].check_output(f"systemctl show {service} --property=MainPID --value"))

    def main_pids(self) -> dict[str, str]:
        """Host → the process number of K3s, ``0`` where it does not run."""
        return {name: self.main_pid(name) for name in self.nodes}

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
            timeout=PLAY_SECONDS,
            check=False,
        )


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    """Look again and again until something holds; say what is wrong if it does not in the end."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, otherwise
        time.sleep(0.2)


def container(host: str) -> str:
    """The container that is a host of this checkout's; it has a name of its own, so that no other checkout's is it."""
    return f"{host}-{hashlib.sha256(os.fsencode(PROJECT.resolve())).hexdigest()[:6]}"


def pod_uids(pods: dict[str, Any]) -> dict[str, set[str]]:
    """Namespaces of customers → pod UIDs, from a PodList of the API."""
    found: dict[str, set[str]] = {}
    for pod in pods["items"]:
        metadata = pod["metadata"]
        if metadata["namespace"].startswith("customer-") and "deletionTimestamp" not in metadata:
            found.setdefault(metadata["namespace"], set()).add(metadata["uid"])
    return found


def podman(*arguments: str) -> str:
    """What podman prints."""
    return subprocess.run(["podman", *arguments], check=True, capture_output=True, text=True).stdout


def replace_host(name: str) -> None:
    """Put a bare host of the same name in the place of another one."""
    (known,) = json.loads(podman("inspect", container(name)))
    podman("rm", "--force", "--time=0", container(name))
    podman("volume", "rm", *(mount["Name"] for mount in known["Mounts"] if mount["Type"] == "volume"))
    podman(*known["Config"]["CreateCommand"][1:])
    podman("start", container(name))
    (port,) = known["HostConfig"]["PortBindings"]["22/tcp"]
    wait_until(lambda: lets_in(port["HostIp"], int(port["HostPort"])), f"{name} has no SSH server")


def lets_in(address: str, port: int) -> bool:
    """Whether an SSH server answers there."""
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def changed(output: str) -> list[int]:
    """The ``changed=`` numbers of a run's recap, one for each host."""
    return [int(number) for number in re.findall(r"changed=(\d+)", output)]
