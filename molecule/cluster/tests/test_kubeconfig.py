"""The kubeconfig fetched anew, and merged into a person's own one."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import kubernetes
import pytest
import yaml

from fleet import PROJECT, Fleet, changed

from .conftest import AGENT, LOUD, SERVER

OWN = """\
# mine
clusters: [{name: work, cluster: {server: "https://192.0.2.9"}}]
users: [{name: work, user: {token: "5e1234567890"}}]
contexts: [{name: work, context: {cluster: work, user: work}}]
current-context: work
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of another cluster, behind a symbolic link."""
    folder = tmp_path_factory.mktemp("kubeconfig")
    (folder / "dotfile").write_text(OWN)
    (folder / "config").symlink_to("dotfile")
    return folder / "config"


def kept() -> str:
    """What the first run has fetched."""
    return (PROJECT / ".kube/cluster.yaml").read_text()


def test_another_server_is_asked_if_the_first_is_gone_and_both_clusters_are_in_the_file(
    fleet: Fleet, own: Path, tmp_path: Path
) -> None:
    before = kept()
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"k3s_servers": {"hosts": {"gone": {"testbed_address": "127.0.20.99"}}}}))
    command = fleet.command("kubeconfig.yml", f"--extra-vars=k3s_kubeconfig_merge={own}", *LOUD)
    # The first inventory has the first server.
    command.insert(2, f"--inventory={inventory}")
    done = subprocess.run(
        command, cwd=PROJECT, env=fleet.environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    assert sum(changed(done.stdout)) == 1
    assert kept() == before
    key = yaml.safe_load(before)["users"][0]["user"]["client-key-data"]
    assert not [secret for secret in (key, "5e1234567890") if secret in done.stdout + done.stderr]

    assert own.is_symlink()
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    (backup,) = own.parent.glob("dotfile.*~")
    assert backup.read_text() == OWN
    assert yaml.safe_load(own.read_text())["users"][0] == yaml.safe_load(OWN)["users"][0]
    contexts, current = kubernetes.config.list_kube_config_contexts(str(own))
    assert ([context["name"] for context in contexts], current["name"]) == (["work", "cluster"], "work")
    with kubernetes.config.new_client_from_config(str(own), "cluster") as client:
        found = kubernetes.client.CoreV1Api(client).list_node().items
    assert {node.metadata.name for node in found} == {SERVER, AGENT}


def test_a_second_run_changes_nothing(fleet: Fleet, own: Path) -> None:
    before = own.read_text()
    done = fleet.play("kubeconfig.yml", f"--extra-vars=k3s_kubeconfig_merge={own}")
    assert done.returncode == 0, done.stdout
    assert set(changed(done.stdout)) == {0}
    assert own.read_text() == before
    assert len(list(own.parent.iterdir())) == 3


def test_a_file_that_is_no_kubeconfig_is_refused_and_left_alone(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("secret-word")
    done = fleet.play("kubeconfig.yml", f"--extra-vars=k3s_kubeconfig_merge={path}", "-vvv")
    assert done.returncode == 2
    wrong = f"k3s_kubeconfig_merge: {path} is no mapping of clusters, users and contexts."
    assert f"Nothing was changed. {wrong}" in " ".join(done.stdout.split())
    assert "secret-word" not in done.stdout
    assert path.read_text() == "secret-word"
