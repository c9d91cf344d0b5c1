"""What the playbook would write on every node of a cluster's shapes: check mode over hosts that have no K3s yet."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import PROJECT, Run

VERSION = "v1.35.6+k3s1"
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
SECRET = "correct-horse-battery-staple"
LOCAL = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "ansible_host": "192.0.2.99",
    "ansible_become": False,
}

Files = dict[str, dict[str, str]]
"""Host → path → what it would hold."""

Foresee = Callable[[list[str], list[str], Mapping[str, object]], tuple[Files, str]]

CONFIG, SECRETS, TOKEN = (f"/etc/rancher/k3s/{name}" for name in ("config.yaml", "config.yaml.d/secrets.yaml", "token"))
REGISTRIES = "/etc/rancher/k3s/registries.yaml"
KUBE_VIP = "/var/lib/rancher/k3s/server/manifests/kube-vip.yaml"


@pytest.fixture(scope="module", autouse=True)
def bare() -> None:
    """Check mode looks at this machine: it must have no K3s of its own."""
    if Path("/usr/local/bin/k3s").exists():
        pytest.skip("this machine runs K3s itself")


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """A folder of artifacts whose binary says nothing but its version."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    binary = folder / {"amd64": "k3s", "arm64": "k3s-arm64"}[ARCH]
    binary.write_text(f"#!/bin/sh\necho 'k3s version {VERSION} (0)'\n")
    binary.chmod(0o755)
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    (folder / f"sha256sum-{ARCH}.txt").write_text(f"{digest}  {binary.name}\n")
    return folder


@pytest.fixture
def foresee(ansible: Run, tmp_path: Path, artifacts: Path) -> Foresee:
    """A function that gives what a run would write and all that it says, at its loudest."""

    def run(servers: list[str], agents: list[str], settings: Mapping[str, object]) -> tuple[Files, str]:
        inventory, extra = tmp_path / "hosts.yml", tmp_path / "extra.json"
        groups = {"k3s_servers": servers, "k3s_agents": agents}
        children = {group: {"hosts": dict.fromkeys(names, LOCAL)} for group, names in groups.items()}
        inventory.write_text(yaml.safe_dump({"k3s_cluster": {"children": children}}))
        extra.write_text(json.dumps({"k3s_version": VERSION, "k3s_artifact_dir": str(artifacts), **settings}))
        done = ansible(
            "ansible-playbook", f"--inventory={inventory}", f"--extra-vars=@{extra}", "--check", "--diff", "-vvv",
            str(PROJECT / "playbooks/k3s.yml"), ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return written(done.stdout), done.stdout

    return run


def written(output: str) -> Files:
    """The files in the diffs of the JSON callback's ``output``."""
    files: Files = {}
    for play in json.loads(output[output.index("{\n") :])["plays"]:
        for task in play["tasks"]:
            for host, result in task["hosts"].items():
                for each in result.get("results", [result]):
                    for diff in each["diff"] if isinstance(each.get("diff"), list) else []:
                        if isinstance(diff.get("after"), str):
                            arguments = each["invocation"]["module_args"]
                            files.setdefault(host, {})[arguments["dest"]] = diff["after"]
    return files


def unit(files: dict[str, str]) -> str:
    """The description of the service, whichever service manager this machine has."""
    (text,) = (files[path] for path in files if path.startswith(("/etc/systemd/system/", "/etc/init.d/")))
    return text


def test_one_server(foresee: Foresee) -> None:
    files, _ = foresee(["s1"], [], {"k3s_config": {"disable": ["servicelb"]}})
    assert yaml.safe_load(files["s1"][CONFIG]) == {
        "secrets-encryption": True,
        "write-kubeconfig-mode": "0600",
        "disable": ["servicelb"],
        "tls-san": ["192.0.2.99"],
    }
    assert "/usr/local/bin/k3s server" in unit(files["s1"]).replace('\ncommand_args="', " ")
    assert SECRETS not in files["s1"]
    assert REGISTRIES not in files["s1"]


def test_three_servers_and_an_agent_behind_an_address_of_kube_vip(foresee: Foresee) -> None:
    servers, agents = ["s1", "s2", "s3"], ["a1"]
    files, _ = foresee(servers, agents, {"k3s_registration_address": "192.0.2.10", "k3s_kube_vip_interface": "eth7"})
    of_servers = {
        "secrets-encryption": True, "write-kubeconfig-mode": "0600", "tls-san": ["192.0.2.10"],
    }  # fmt: skip
    joining = {"server": "https://192.0.2.10:6443", "token-file": TOKEN}
    assert {host: yaml.safe_load(files[host][CONFIG]) for host in files} == {
        "s1": of_servers | {"cluster-init": True},
        "s2": of_servers | joining,
        "s3": of_servers | joining,
        "a1": joining,
    }
    assert "/usr/local/bin/k3s agent" in unit(files["a1"]).replace('\ncommand_args="', " ")
    assert sorted(host for host in files if KUBE_VIP in files[host]) == servers
    (daemons,) = (each for each in yaml.safe_load_all(files["s1"][KUBE_VIP]) if each["kind"] == "DaemonSet")
    (container,) = daemons["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert (environment["address"], environment["vip_interface"], environment["vip_subnet"]) == (
        "192.0.2.10",
        "eth7",
        "32",
    )


def test_layers_of_settings_reach_the_nodes_they_are_for(foresee: Foresee) -> None:
    settings: dict[str, Any] = {
        "k3s_registration_address": "fd00::10",
        "k3s_config": {"cluster-cidr": "10.42.0.0/16,fd42::/56", "service-cidr": "10.43.0.0/16,fd43::/112"},
        "k3s_server_config": {"disable": ["servicelb"]},
        "k3s_agent_config": {"node-label": ["kind=agent"]},
        "k3s_node_config": {"node-label+": ["rack=1"]},
    }
    files, _ = foresee(["s1"], ["a1"], settings)
    server, agent = (yaml.safe_load(files[host][CONFIG]) for host in ("s1", "a1"))
    assert (server["disable"], server["node-label"], server["tls-san"]) == (["servicelb"], ["rack=1"], ["fd00::10"])
    assert agent == settings["k3s_config"] | {
        "node-label": ["kind=agent", "rack=1"], "server": "https://[fd00::10]:6443", "token-file": TOKEN,
    }  # fmt: skip


def test_an_external_datastore_and_all_that_is_secret_stays_hidden(foresee: Foresee, tmp_path: Path) -> None:
    key = tmp_path / "client.key"
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n")
    settings = {
        "k3s_registration_address": "192.0.2.10",
        "k3s_token": SECRET,
        "k3s_datastore_endpoint": f"postgres://k3s:{SECRET}@db.example.com:5432/k3s",
        "k3s_datastore_keyfile": str(key),
        "k3s_registries": {"configs": {"registry.example.com": {"auth": {"username": "k3s", "password": SECRET}}}},
        "k3s_environment": {"HTTPS_PROXY": f"http://k3s:{SECRET}@proxy.example.com:3128"},
        "k3s_server_config": {"etcd-s3-secret-key": SECRET},
    }
    files, output = foresee(["s1", "s2"], ["a1"], settings)
    for host in ("s1", "s2"):
        config = yaml.safe_load(files[host][CONFIG])
        assert config["datastore-keyfile"] == "/etc/rancher/k3s/datastore-keyfile.pem"
        assert "server" not in config
        assert "cluster-init" not in config
    changed = re.findall(r'"name": "k3s : (.+)"', output)
    for task in (
        "Write the token to a file of its own",
        "Write what of it is secret",
        "Give the service its environment",
    ):
        assert task in changed
    assert SECRET not in output
