"""Faults of the settings and of the inventory; those of customers are in ``test_broken_customers.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import preflight
import pytest

GOOD: dict[str, Any] = {
    "k3s_version": "v1.35.6+k3s1",
    "k3s_config": {"disable": ["servicelb"]},
    "k3s_artifact_dir": "",
    "k3s_manifests": [],
    "greeter_builder": "podman",
}


@pytest.fixture(autouse=True)
def builders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller on which podman is installed and docker is not."""
    podman = tmp_path / "podman"
    podman.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_good_settings_have_no_fault(tmp_path: Path) -> None:
    assert preflight.setting_faults(GOOD) == []
    assert preflight.setting_faults(GOOD | {"k3s_artifact_dir": str(tmp_path)}) == []


@pytest.mark.parametrize(
    ("setting", "value", "fault"),
    [
        ("k3s_version", "1.35", "k3s_version: '1.35' is no release; write one such as v1.35.6+k3s1"),
        ("k3s_version", 1.35, "k3s_version: 1.35 is no release; write one such as v1.35.6+k3s1"),
        (
            "k3s_config",
            ["disable: traefik"],
            "k3s_config: is a list; write a mapping of K3s flags, such as {disable: [servicelb]}",
        ),
        (
            "k3s_artifact_dir",
            "/nowhere",
            "k3s_artifact_dir: /nowhere is no folder on the controller; name one, or leave it empty to download",
        ),
        ("k3s_manifests", "a.yaml", "k3s_manifests: is a text; write a list of files"),
        ("k3s_manifests", ["/nowhere.yaml"], "k3s_manifests: /nowhere.yaml is no file on the controller"),
        ("greeter_builder", "kaniko", "greeter_builder: 'kaniko' is unknown; write podman or docker"),
        (
            "greeter_builder",
            "docker",
            "greeter_builder: docker is not installed on the controller; install it, or set the other one",
        ),
    ],
)
def test_a_faulty_setting_is_named_with_what_to_write(setting: str, value: object, fault: str) -> None:
    assert preflight.setting_faults(GOOD | {setting: value}) == [fault]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({}, "the group k3s_servers has no host"),
        ({"k3s_cluster": ["a", "b"], "k3s_servers": ["a", "b"]}, "has 2 hosts; this release runs one server"),
        ({"k3s_cluster": ["a", "b"], "k3s_servers": ["a"], "k3s_agents": ["b"]}, "the group k3s_agents has hosts"),
        ({"k3s_cluster": ["a", "b"], "k3s_servers": ["a"]}, "b lie(s) in k3s_cluster itself"),
        ({"k3s_servers": ["a"]}, "k3s_servers is not a child of k3s_cluster"),
    ],
)
def test_a_faulty_inventory_is_told(groups: dict[str, list[str]], words: str) -> None:
    (fault,) = preflight.inventory_faults(groups)
    assert words in fault


def test_a_good_inventory_has_no_fault() -> None:
    assert preflight.inventory_faults({"k3s_cluster": ["a"], "k3s_servers": ["a"], "k3s_agents": []}) == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"service_mgr": "openrc", "architecture": "x86_64"}, "host a: runs openrc; use a host whose services systemd"),
        ({"service_mgr": "systemd", "architecture": "riscv64"}, "host a: K3s has no release for riscv64; use one of"),
    ],
)
def test_a_host_that_cannot_run_k3s_is_told(facts: dict[str, str], words: str) -> None:
    (fault,) = preflight.host_faults(["a"], {"a": {"_preflight_facts": {}, "ansible_facts": facts}})
    assert words in fault


def test_hosts_that_were_not_asked_have_no_fault() -> None:
    facts = {"service_mgr": "systemd", "architecture": "aarch64"}
    assert preflight.host_faults(["a", "b"], {"a": {"_preflight_facts": {}, "ansible_facts": facts}, "b": {}}) == []
