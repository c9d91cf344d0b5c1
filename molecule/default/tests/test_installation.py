"""What the k3s role installs, and what it refuses to install."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from fleet import PROJECT, Fleet

KUBECONFIG = PROJECT / ".kube/default.yaml"


def test_the_kubelet_reports_the_wanted_version(fleet: Fleet, found: dict[str, str]) -> None:
    (node,) = fleet.objects("nodes")["items"]
    assert node["status"]["nodeInfo"]["kubeletVersion"] == found["k3s_version"]


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/usr/local/bin/k3s", 0o755),
        ("/etc/rancher/k3s/config.yaml", 0o600),
        ("/etc/rancher/k3s/k3s.yaml", 0o600),
        ("/var/lib/rancher/k3s/server/token", 0o600),
    ],
)
def test_files_are_open_to_nobody_they_are_not_for(fleet: Fleet, path: str, mode: int) -> None:
    file = fleet.node.file(path)
    assert (file.user, file.mode) == ("root", mode)


def test_the_kubeconfig_on_the_controller_is_private_and_of_this_cluster(fleet: Fleet) -> None:
    assert KUBECONFIG.stat().st_mode & 0o777 == 0o600
    kubeconfig = yaml.safe_load(KUBECONFIG.read_text())
    assert kubeconfig["current-context"] == "default"
    assert kubeconfig["clusters"][0]["cluster"]["server"] == f"https://{fleet.address}:6443"


def test_no_secret_is_in_the_loudest_output(fleet: Fleet) -> None:
    token = fleet.node.check_output("cat /var/lib/rancher/k3s/server/token")
    key = yaml.safe_load(KUBECONFIG.read_text())["users"][0]["user"]["client-key-data"]
    # A module hands the file on as base64.
    encoded = fleet.node.check_output("base64 --wrap=0 /etc/rancher/k3s/k3s.yaml")
    KUBECONFIG.unlink()
    done = fleet.play("k3s.yml", "-vvv", "--diff")
    assert done.returncode == 0, done.stdout
    assert KUBECONFIG.exists()
    output = done.stdout
    assert token not in output
    assert key not in output
    assert encoded not in output
    assert token not in fleet.node.check_output("ps -eo args")


@pytest.fixture
def artifacts(found: dict[str, str], tmp_path: Path) -> Path:
    """A copy of the artifacts under test that may be spoilt."""
    if not found["k3s_artifact_dir"]:
        pytest.skip("this run downloads a release and has no artifacts to spoil")
    return Path(shutil.copytree(found["k3s_artifact_dir"], tmp_path / "artifacts"))


def list_another(artifacts: Path, name: str) -> Path:
    """Have the list name another checksum for a file, so that neither the folder nor the host has what it lists."""
    (checksums,) = artifacts.glob("sha256sum-*.txt")
    lines = [line.split() for line in checksums.read_text().splitlines()]
    checksums.write_text("".join(f"{'0' * 64 if file == name else digest}  {file}\n" for digest, file in lines))
    return checksums


def refused(fleet: Fleet, *settings: str) -> str:
    """Run the k3s playbook with ``settings``, see it fail and leave everything as it was, and return what it said."""

    def state() -> tuple[str, str, str]:
        files = "/usr/local/bin/k3s /etc/rancher/k3s/config.yaml /etc/systemd/system/k3s.service"
        return (
            fleet.main_pid(),
            fleet.node.check_output(f"sha256sum {files}"),
            fleet.node.check_output(f"stat -c %y {files}"),
        )

    before = state()
    done = fleet.play("k3s.yml", *(f"--extra-vars={setting}" for setting in settings))
    assert done.returncode != 0
    assert state() == before
    return " ".join(done.stdout.split())


def test_a_binary_that_is_not_the_listed_one_is_refused(fleet: Fleet, artifacts: Path) -> None:
    checksums = list_another(artifacts, "k3s")
    said = refused(fleet, f"k3s_artifact_dir={artifacts}")
    assert f"{artifacts}/k3s is not what {checksums} lists" in said
    assert "Nothing was installed. Set k3s_artifact_dir to a folder with the files of one release" in said


def test_images_that_are_not_the_listed_ones_are_refused(fleet: Fleet, artifacts: Path) -> None:
    (images,) = artifacts.glob("k3s-airgap-images-*")
    checksums = list_another(artifacts, images.name)
    assert f"{images} is not what {checksums} lists" in refused(fleet, f"k3s_artifact_dir={artifacts}")


def test_a_folder_without_the_list_is_refused(fleet: Fleet, artifacts: Path) -> None:
    (checksums,) = artifacts.glob("sha256sum-*.txt")
    checksums.unlink()
    assert f"{artifacts}/k3s is not what {checksums} lists" in refused(fleet, f"k3s_artifact_dir={artifacts}")


def test_a_folder_without_the_binary_is_refused(fleet: Fleet, artifacts: Path) -> None:
    list_another(artifacts, "k3s")
    (artifacts / "k3s").unlink()
    assert f"{artifacts}/k3s is missing" in refused(fleet, f"k3s_artifact_dir={artifacts}")


def test_a_checksum_of_the_operators_own_wins_over_the_list(
    fleet: Fleet, artifacts: Path, found: dict[str, str]
) -> None:
    pins = {"k3s_checksums": {found["k3s_version"]: dict.fromkeys(["amd64", "arm64"], "1" * 64)}}
    said = refused(fleet, f"k3s_artifact_dir={artifacts}", json.dumps(pins))
    assert f"{artifacts}/k3s is not what k3s_checksums says" in said


def test_artifacts_of_another_version_are_refused(fleet: Fleet, artifacts: Path) -> None:
    said = refused(fleet, f"k3s_artifact_dir={artifacts}", "k3s_version=v9.9.9+k3s1")
    assert "but k3s_version is v9.9.9+k3s1" in said


def test_neither_a_release_nor_artifacts_is_one_clear_message(fleet: Fleet) -> None:
    said = refused(fleet, "k3s_artifact_dir=", "k3s_release_url=http://127.0.0.1:1", "k3s_version=v9.9.9+k3s1")
    assert "K3s v9.9.9+k3s1 is not to be had from http://127.0.0.1:1/v9.9.9%2Bk3s1" in said
    assert "Set k3s_release_url to a mirror" in said
    assert "or k3s_artifact_dir to a folder on the controller" in said
