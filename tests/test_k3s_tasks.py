"""What the role's tasks make of what a cluster says, with a command k3s that says it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import GIVEN, PLAIN, PROJECT

RUN = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {{name: k3s, tasks_from: {tasks}}}
"""
INVENTORY = "k3s_servers:\n  hosts:\n    localhost: {ansible_connection: local}\n"
ADDRESS = "127.0.0.77"

Done = tuple[int, str, list[str]]
Tasks = Callable[..., Done]


@pytest.fixture
def tasks(tmp_path: Path) -> Tasks:
    """A function that runs one of the role's files of tasks where k3s is a shell script.

    It gives how that ended, what was said, on one line, and what k3s was called with.
    """
    if os.geteuid() or Path(sys.executable).resolve().is_relative_to("/usr/local/bin"):
        pytest.skip("only root can put another k3s where the host's would be, and not where Python lies too")

    def run(name: str, script: str, *arguments: str, **variables: object) -> Done:
        folder = tmp_path / "bin"
        folder.mkdir()
        k3s, log = folder / "k3s", tmp_path / "log"
        read = 'case "$*" in *--filename=-*) cat >/dev/null ;; esac'
        k3s.write_text(f'#!/bin/sh\nshift\necho "$*" >>{log}\n{read}\n{script}\n')
        k3s.chmod(0o755)
        playbook, extra, inventory = (tmp_path / name for name in ("run.yml", "extra.json", "hosts.yml"))
        playbook.write_text(RUN.format(tasks=name))
        inventory.write_text(INVENTORY)
        extra.write_text(json.dumps({"ansible_python_interpreter": sys.executable} | variables))
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            f"--inventory={inventory}",
            f"--extra-vars=@{extra}",
            str(playbook),
            *arguments,
        ]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /usr/local/bin && exec "$@"', str(folder), *command],
            cwd=PROJECT,
            env=os.environ | PLAIN | GIVEN | {"ANSIBLE_ROLES_PATH": str(PROJECT / "roles")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        return done.returncode, " ".join(done.stdout.split()), log.read_text().splitlines() if log.exists() else []

    return run


def membership(**others: object) -> dict[str, Any]:
    """The fact of that name."""
    return {"initial_server": "localhost", "server_url": f"https://{ADDRESS}:6443", "role": "agent"} | others


def test_nobody_joins_by_an_address_where_the_cluster_does_not_answer(tasks: Tasks) -> None:
    code, said, calls = tasks(
        "join",
        """
        case "$*" in
          *--server=*) echo "Unable to connect to the server: no route to host" >&2; exit 1 ;;
          *kube-vip*) echo "web-1 Pending ErrImagePull"; echo "web-2 Pending ErrImagePull" ;;
        esac""",
        k3s_membership=membership(),
        k3s_registration_address=ADDRESS,
        k3s_kube_vip_interface="eth7",
        k3s_ready_timeout=4,
    )
    assert code != 0
    assert f"localhost was not started: it joins by https://{ADDRESS}:6443, where no API server of this cluster" in said
    assert "no route to host" in said
    assert "kube-vip is to hold the address on eth7; its pods: web-1 Pending ErrImagePull, web-2 Pending" in said
    assert "take its image, ghcr.io/kube-vip/kube-vip:" in said
    assert calls[0] == f"get --raw=/readyz --server=https://{ADDRESS}:6443 --request-timeout=5s"


def test_a_host_joins_as_soon_as_the_cluster_answers_at_the_address(tasks: Tasks, tmp_path: Path) -> None:
    with socket.create_server((ADDRESS, 6443)):
        code, said, calls = tasks(
            "join",
            f"test -e {tmp_path}/asked || {{ touch {tmp_path}/asked; exit 1; }}",
            k3s_membership=membership(),
            k3s_ready_timeout=12,
        )
    assert code == 0, said
    assert len(calls) == 2


NODE = {"_k3s_object": {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "web-1"}}, "_k3s_ask": "localhost"}


def test_what_keeps_an_object_from_being_deleted_is_named(tasks: Tasks) -> None:
    code, said, calls = tasks(
        "delete",
        """
        case "$1" in
          delete) echo "error: timed out waiting for the condition on nodes/web-1" >&2; exit 1 ;;
          get) echo "wrangler.cattle.io/managed-etcd-controller wrangler.cattle.io/node" ;;
        esac""",
        **NODE,
    )
    assert code != 0
    assert (
        "Node web-1 could not be deleted within 60 s: its finalizers wait for somebody who does not answer,"
        " wrangler.cattle.io/managed-etcd-controller, wrangler.cattle.io/node."
    ) in said, said
    assert "k3s kubectl patch node web-1 --type=merge --patch=" in said
    assert calls[0] == "delete --filename=- --ignore-not-found --timeout=60s --request-timeout=30s"


@pytest.mark.parametrize("says", ['no matches for kind "Node" in version "v1"', ""])
def test_what_is_not_there_is_deleted_already(tasks: Tasks, says: str) -> None:
    code, said, _ = tasks("delete", f"test -z '{says}' || {{ echo '{says}' >&2; exit 1; }}", **NODE)
    assert (code, "changed=0" in said) == (0, True), said


def test_what_keeps_pods_on_a_node_is_named(tasks: Tasks, tmp_path: Path) -> None:
    labels = {"app": "greeter"}
    pod = {
        "kind": "Pod", "spec": {"nodeName": "web-1"}, "status": {},
        "metadata": {"name": "one", "namespace": "shop", "labels": labels, "ownerReferences": [{"kind": "ReplicaSet"}]},
    }  # fmt: skip
    budget = {
        "kind": "PodDisruptionBudget", "metadata": {"name": "strict", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": labels}}, "status": {"currentHealthy": 2, "desiredHealthy": 2},
    }  # fmt: skip
    (tmp_path / "answer").write_text(json.dumps({"items": [pod, budget]}))
    code, said, calls = tasks(
        "drain_node",
        f"""
        case "$1" in
          drain) for time in 1 2 3; do echo "error when evicting pods/one: (will retry after 5s)" >&2; done; exit 1 ;;
          get) cat {tmp_path}/answer ;;
        esac""",
        _k3s_drained="web-1",
        _k3s_ask="localhost",
        k3s_drain_timeout=7,
    )
    assert code != 0
    assert "The PodDisruptionBudget shop/strict lets no pod go: 2 healthy, 2 needed. kubectl says:" in said
    assert "kubectl says: error when evicting pods/one: (will retry after 5s)" in said
    assert "--timeout=7s" in calls[0].split()


def test_an_agent_is_not_brought_past_servers_that_are_left_out(tasks: Tasks, tmp_path: Path) -> None:
    server = {
        "metadata": {"name": "web-1", "labels": {"node-role.kubernetes.io/control-plane": "true"}},
        "status": {"nodeInfo": {"kubeletVersion": "v1.35.6+k3s1"}},
    }
    (tmp_path / "answer").write_text(json.dumps({"items": [server]}))
    code, said, _ = tasks(
        "skew",
        f"cat {tmp_path}/answer",
        k3s_membership=membership(),
        k3s_node={"name": "web-2"},
        k3s_info={"version": "v1.35.6+k3s1", "sha256": ""},
        k3s_version="v1.36.4+k3s1",
    )
    assert code != 0
    assert (
        "localhost cannot get v1.36.4+k3s1 in a run that leaves out others: the server web-1 runs v1.35.6+k3s1" in said
    )


@pytest.mark.parametrize(
    ("script", "is_configured", "is_told"),
    [
        ("printf 'traefik greeter-fleet'", True, False),
        ("printf 'traefik '", False, True),
        ("echo 'the server is not there' >&2; exit 1", False, False),
    ],
)
def test_a_configuration_of_traefik_that_is_somebody_elses_is_left_alone(
    tasks: Tasks, script: str, is_configured: bool, is_told: bool
) -> None:
    code, said, calls = tasks(
        "manifests", script, "--check", k3s_membership=membership(has_cluster=True), k3s_traefik_replicas=2
    )
    assert code == 0, said
    assert len(calls) == 1
    (outcome,) = re.findall(r"Spread Traefik over the nodes\] \*+ (\w+):", said)
    assert (outcome == "changed", "which is somebody else's" in said) == (is_configured, is_told)
