"""What the playbook would write on every node of a cluster's shapes: check mode over hosts that have no K3s yet."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from collections.abc import Mapping
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

CONFIG, SECRETS, TOKEN = (f"/etc/rancher/k3s/{name}" for name in ("config.yaml", "config.yaml.d/secrets.yaml", "token"))
REGISTRIES = "/etc/rancher/k3s/registries.yaml"
LAYERS: dict[str, Any] = {
    "k3s_config": {"cluster-cidr": "10.42.0.0/16,fd42::/56", "service-cidr": "10.43.0.0/16,fd43::/112"},
    "k3s_server_config": {"disable": ["servicelb", "traefik"], "etcd-s3-secret-key": SECRET},
    "k3s_agent_config": {"node-label": ["kind=agent"]},
    "k3s_node_config": {"node-label+": ["rack=1"]},
}
MANIFESTS = "/var/lib/rancher/k3s/server/manifests/greeter-fleet"
KUBE_VIP, TRAEFIK = f"{MANIFESTS}/kube-vip.yaml", f"{MANIFESTS}/greeter-fleet-traefik.yaml"


@pytest.fixture(scope="module", autouse=True)
def bare() -> None:
    """Check mode looks at this machine: it must have no K3s of its own."""
    if Path("/usr/local/bin/k3s").exists():
        pytest.skip("this machine runs K3s itself")


def make_artifacts(folder: Path) -> Path:
    """Fill a folder of artifacts whose binary says nothing but its version."""
    folder.mkdir()
    binary = folder / {"amd64": "k3s", "arm64": "k3s-arm64"}[ARCH]
    binary.write_text(f"#!/bin/sh\necho 'k3s version {VERSION} (0)'\n")
    binary.chmod(0o755)
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    (folder / f"sha256sum-{ARCH}.txt").write_text(f"{digest}  {binary.name}\n")
    return folder


def foreseen(
    ansible: Run, folder: Path, servers: list[str], agents: list[str], settings: Mapping[str, object], *arguments: str
) -> tuple[Files, str]:
    """Give what a run would write, and all that it says."""
    inventory, extra = folder / "hosts.yml", folder / "extra.json"
    groups = {"k3s_servers": servers, "k3s_agents": agents}
    children = {group: {"hosts": dict.fromkeys(names, LOCAL)} for group, names in groups.items()}
    inventory.write_text(yaml.safe_dump({"k3s_cluster": {"children": children}}))
    artifacts = make_artifacts(folder / "artifacts")
    extra.write_text(json.dumps({"k3s_version": VERSION, "k3s_artifact_dir": str(artifacts), **settings}))
    done = ansible(
        "ansible-playbook", f"--inventory={inventory}", f"--extra-vars=@{extra}", "--check", "--diff", *arguments,
        str(PROJECT / "playbooks/k3s.yml"), ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_PIPELINING="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return written(done.stdout), done.stdout


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


@pytest.mark.parametrize(
    ("binary", "mode", "said"),
    [
        # As a browser leaves it.
        (
            "#!/bin/sh\necho 'k3s version v1.34.1+k3s1 (0)'\n",
            0o644,
            "holds k3s version v1.34.1+k3s1 (0), but k3s_version is",
        ),
        (f"#!/bin/sh\necho 'k3s version {VERSION} (0)'\n", 0o444, None),
        # Of another system: the controller cannot ask it.
        ("\x7fELF of another architecture", 0o755, None),
    ],
)
def test_artifacts_are_asked_for_their_version_where_that_can_be(
    ansible: Run, tmp_path: Path, binary: str, mode: int, said: str | None
) -> None:
    artifacts = make_artifacts(tmp_path / "artifacts")
    (path,) = (each for each in artifacts.iterdir() if each.name.startswith("k3s"))
    path.write_text(binary)
    path.chmod(mode)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    inventory, extra = tmp_path / "hosts.yml", tmp_path / "extra.json"
    inventory.write_text(
        yaml.safe_dump({"k3s_cluster": {"children": {"k3s_servers": {"hosts": {"s1": LOCAL}}, "k3s_agents": {}}}})
    )
    settings = {"k3s_version": VERSION, "k3s_artifact_dir": str(artifacts), "k3s_checksums": {VERSION: {ARCH: digest}}}
    extra.write_text(json.dumps(settings))
    arguments = f"--inventory={inventory}", f"--extra-vars=@{extra}", "--check", str(PROJECT / "playbooks/k3s.yml")
    done = ansible("ansible-playbook", *arguments)
    output = " ".join(done.stdout.split())
    assert (done.returncode == 0) == (said is None), done.stdout
    assert said is None or (said in output and "Nothing was installed." in output)
    assert "Errno" not in done.stdout


def unit(files: dict[str, str]) -> str:
    """The description of the service, whichever service manager this machine has."""
    (text,) = (files[path] for path in files if path.startswith(("/etc/systemd/system/", "/etc/init.d/")))
    return text


def test_one_server(ansible: Run, tmp_path: Path) -> None:
    files, _ = foreseen(ansible, tmp_path, ["s1"], [], {"k3s_config": {"disable": ["servicelb"]}})
    assert yaml.safe_load(files["s1"][CONFIG]) == {
        "secrets-encryption": True,
        "write-kubeconfig-mode": "0600",
        "disable": ["servicelb"],
        "tls-san": ["192.0.2.99"],
    }
    assert "/usr/local/bin/k3s server" in unit(files["s1"]).replace('\ncommand_args="', " ")
    assert SECRETS not in files["s1"]
    assert REGISTRIES not in files["s1"]
    assert TRAEFIK not in files["s1"]


def test_three_servers_and_an_agent_behind_an_address_of_kube_vip(ansible: Run, tmp_path: Path) -> None:
    servers, agents = ["s1", "s2", "s3"], ["a1"]
    settings = {"k3s_registration_address": "192.0.2.10", "k3s_kube_vip_interface": "eth7"}
    files, _ = foreseen(ansible, tmp_path, servers, agents, settings)
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
    assert sorted(host for host in files if TRAEFIK in files[host]) == servers
    config = yaml.safe_load(files["s1"][TRAEFIK])
    assert (config["kind"], config["metadata"]["name"]) == ("HelmChartConfig", "traefik")
    values = yaml.safe_load(config["spec"]["valuesContent"])
    assert values["deployment"] == {"replicas": 2}
    assert values["podDisruptionBudget"] == {"enabled": True, "maxUnavailable": 1}
    (spread,) = values["topologySpreadConstraints"]
    assert (spread["maxSkew"], spread["whenUnsatisfiable"]) == (1, "DoNotSchedule")
    (daemons,) = (each for each in yaml.safe_load_all(files["s1"][KUBE_VIP]) if each["kind"] == "DaemonSet")
    (container,) = daemons["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert (environment["address"], environment["vip_interface"], environment["vip_subnet"]) == (
        "192.0.2.10",
        "eth7",
        "32",
    )


@pytest.fixture(scope="module")
def full(ansible: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, str]:
    """Two servers and an agent with everything that can be set: layers, an external datastore, and secrets."""
    folder = tmp_path_factory.mktemp("full")
    key = folder / "client.key"
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n")
    settings = LAYERS | {
        "k3s_registration_address": "fd00::10",
        "k3s_token": SECRET,
        "k3s_datastore_endpoint": f"postgres://k3s:{SECRET}@db.example.com:5432/k3s",
        "k3s_datastore_keyfile": str(key),
        "k3s_registries": {"configs": {"registry.example.com": {"auth": {"username": "k3s", "password": SECRET}}}},
        "k3s_environment": {"HTTPS_PROXY": f"http://k3s:{SECRET}@proxy.example.com:3128"},
    }
    return foreseen(ansible, folder, ["s1", "s2"], ["a1"], settings, "-vvv")


def test_layers_of_settings_reach_the_nodes_they_are_for(full: tuple[Files, str]) -> None:
    files, _ = full
    servers, agent = ([yaml.safe_load(files[host][CONFIG]) for host in hosts] for hosts in (("s1", "s2"), ("a1",)))
    for server in servers:
        assert (server["node-label"], server["tls-san"]) == (["rack=1"], ["fd00::10"])
        assert server["disable"] == ["servicelb", "traefik"]
    assert agent == [
        LAYERS["k3s_config"]
        | {"node-label": ["kind=agent", "rack=1"], "server": "https://[fd00::10]:6443", "token-file": TOKEN}
    ]


def test_traefik_is_not_configured_where_there_is_none(full: tuple[Files, str]) -> None:
    files, _ = full
    assert [host for host in files if TRAEFIK in files[host]] == []


def test_an_external_datastore_and_all_that_is_secret_stays_hidden(full: tuple[Files, str]) -> None:
    files, output = full
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


PUT = """
- name: Put K3s on the hosts
  hosts: k3s_servers
  gather_subset: ["!all", min]
  roles:
    - role: k3s

- name: Tell what is to follow
  hosts: k3s_servers
  gather_facts: false
  tasks:
    - name: Tell
      ansible.builtin.debug:
        msg: "{{ inventory_hostname }} {{ 'has to start' if k3s_restart_required else 'stays' }}"
"""


def test_a_change_requires_a_restart_where_k3s_is(ansible: Run, tmp_path: Path) -> None:
    """Check mode writes nothing here, so each of the files is one that changes."""
    artifacts = make_artifacts(tmp_path / "artifacts")
    digest = next(artifacts.glob("sha256sum-*")).read_text().split()[0]
    nothing: dict[str, Any] = {
        "version": "", "sha256": "", "images": {}, "active": False, "enabled": False, "present": [], "not_run_from": [],
        "server_url": "", "has_cluster": False, "has_joined": False, "addresses": ["192.0.2.1"],
        "found": {"foreign": [], "settings": {}, "state": "", "node_name": ""},
    }  # fmt: skip
    as_wanted = nothing | {"version": VERSION, "sha256": digest, "active": True, "enabled": True}
    settings = {
        "k3s_version": VERSION,
        "k3s_artifact_dir": str(artifacts),
        "k3s_token": SECRET,
        "infos": {"s1": as_wanted, "s2": nothing},
        # What is given so wins over what the role registers.
        "k3s_info": "{{ infos[inventory_hostname] }}",
    }
    inventory, extra, playbook = (tmp_path / name for name in ("hosts.yml", "extra.json", "put.yml"))
    inventory.write_text(yaml.safe_dump({"k3s_servers": {"hosts": {"s1": LOCAL, "s2": LOCAL}}, "k3s_agents": {}}))
    extra.write_text(json.dumps(settings))
    playbook.write_text(PUT)
    done = ansible("ansible-playbook", f"--inventory={inventory}", f"--extra-vars=@{extra}", "--check", str(playbook))
    assert done.returncode == 0, done.stdout
    assert "s1 has to start" in done.stdout
    assert "s2 stays" in done.stdout
