"""The cluster's kubeconfig within a person's own one."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.greeter.fleet.plugins.filter.k3s_merge_kubeconfig import merge

from .conftest import PROJECT, Run

REFRESH = PROJECT / "roles/k3s/tasks/kubeconfig_refresh.yml"
TEMPLATE = PROJECT / "roles/k3s/templates/kubeconfig.yaml.j2"
OURS = """\
apiVersion: v1
kind: Config
clusters:
  - name: fleet
    cluster: {server: "https://192.0.2.1:6443", certificate-authority-data: Q0E=}
users:
  - name: fleet
    user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}
contexts:
  - name: fleet
    context: {cluster: fleet, user: fleet}
current-context: fleet
"""
OTHER = """\
apiVersion: v1
clusters:
- cluster:
    insecure-skip-tls-verify: true
    server: https://192.0.2.99
  name: work
contexts:
- context:
    cluster: work
    namespace: "on"
    user: work
  name: work
current-context: work
kind: Config
preferences: {}
users:
- name: work
  user:
    auth-provider:
      config:
        expiry: 2026-11-22T10:00:00Z
        id: "12e4"
        port: "0x10"
        count: 7
      name: oidc
    token: "5e1234567890"
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: /usr/bin/login
      args: ["--a: b", "a: b", "a #b", "b:", "no", "-", "é", "two\\nlines", ""]
      env: null
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config"


def merged_text(file: Path, text: str) -> str:
    """What the file is to become if it holds the text."""
    file.write_text(text)
    found = merge(str(file), "own.yaml", OURS)
    assert (found["path"], found["fault"]) == (str(file), "")
    return found["text"]


def merged(file: Path, text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(merged_text(file, text)))


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "clusters: null\nusers: []\n"])
def test_a_file_without_entries_becomes_the_clusters_own(file: Path, text: str) -> None:
    assert merged(file, text) == yaml.safe_load(OURS)


def test_our_entries_are_added_and_the_others_stay(file: Path) -> None:
    assert (
        merged_text(file, OTHER)
        == """\
apiVersion: "v1"
kind: Config
clusters:
- cluster:
    insecure-skip-tls-verify: true
    server: "https://192.0.2.99"
  name: work
- name: fleet
  cluster:
    server: "https://192.0.2.1:6443"
    certificate-authority-data: "Q0E="
contexts:
- context:
    cluster: work
    namespace: "on"
    user: work
  name: work
- name: fleet
  context:
    cluster: fleet
    user: fleet
current-context: work
preferences: {}
users:
- name: work
  user:
    auth-provider:
      config:
        expiry: "2026-11-22T10:00:00Z"
        id: "12e4"
        port: "0x10"
        count: 7
      name: oidc
    token: "5e1234567890"
    exec:
      apiVersion: "client.authentication.k8s.io/v1"
      command: "/usr/bin/login"
      args:
      - "--a: b"
      - "a: b"
      - "a #b"
      - "b:"
      - "no"
      - "-"
      - "é"
      - "two\\nlines"
      - ""
      env: null
- name: fleet
  user:
    client-certificate-data: "Q0VSVA=="
    client-key-data: "S0VZ"
"""
    )


def test_what_is_merged_already_stays_to_the_letter(file: Path) -> None:
    for text in (merged_text(file, OTHER), "# mine\n" + OURS):
        assert merged_text(file, text) == text


@pytest.mark.parametrize("text", ["y", "Off", "null", "12e4", "0o17", "1_0", "1:30", "2026-11-22", "<<", "=", "~"])
def test_a_text_stays_one_for_every_reader_of_yaml(file: Path, text: str) -> None:
    for given in (f'users: [{{name: work, user: {{token: "{text}"}}}}]\n', f'"{text}": 1\n'):
        assert f'"{text}"' in merged_text(file, given)


def test_what_is_written_once_for_two_stays_with_both(file: Path) -> None:
    found = merged(file, "users: [{name: work, user: &login {token: t}}, {name: home, user: *login}]\n")
    assert [user["user"] for user in found["users"][:2]] == [{"token": "t"}] * 2


def test_older_entries_of_the_name_are_replaced_in_their_places(file: Path) -> None:
    both = merged(file, OTHER)
    both["users"][1]["user"] = {"client-key-data": "T0xE"}
    both["clusters"][1]["cluster"]["server"] = "https://192.0.2.7:6443"
    both["users"].insert(0, both["users"].pop())
    both["users"].append(both["users"][0])
    found = merged(file, yaml.safe_dump(both))
    assert [user["name"] for user in found["users"]] == ["fleet", "work"]
    assert found["users"][0] == yaml.safe_load(OURS)["users"][0]
    assert [cluster["name"] for cluster in found["clusters"]] == ["work", "fleet"]
    assert found["clusters"][1]["cluster"]["server"] == "https://192.0.2.1:6443"
    assert found["current-context"] == "work"


def test_the_context_becomes_ours_where_there_is_none(file: Path) -> None:
    for none in ("", "current-context: ''\n", "current-context: null\n"):
        assert merged(file, OTHER.replace("current-context: work\n", none))["current-context"] == "fleet"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: b: c\n", "is not YAML (line 1)"),
        ("a: 1\nb: [\n", "is not YAML (line 3)"),
        ("\x00", "is not YAML"),
        ("user: !vault secret-word\n", "is not YAML (line 1)"),
        ("secret-word", "is no mapping of clusters, users and contexts"),
        ("- clusters\n", "is no mapping of clusters, users and contexts"),
        ("kind: Secret\n", "is of another kind than Config"),
        ("clusters: {work: {}}\n", "has clusters that are no list"),
        ("users: ''\n", "has users that are no list"),
        ("contexts: [{name: work}, work]\n", "has an entry without a name, number 2 of contexts"),
        ("clusters: [{cluster: {}}]\n", "has an entry without a name, number 1 of clusters"),
    ],
)
def test_what_is_no_kubeconfig_is_refused_in_words_that_give_nothing_away(file: Path, text: str, fault: str) -> None:
    file.write_text(text)
    expected = {"path": str(file), "text": text, "fault": fault}
    assert merge(str(file), "own.yaml") == merge(str(file), "own.yaml", OURS) == expected


def test_the_file_is_found_where_its_link_leads_and_need_not_be_there(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles/config", tmp_path / "config"
    link.symlink_to(real)
    absent = {"path": str(real), "text": "", "fault": ""}
    assert merge(str(link), "own.yaml") == absent
    real.parent.mkdir()
    real.write_text(OTHER)
    assert merge(str(link), "own.yaml") == absent | {"text": OTHER}


def test_the_home_folder_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert merge("~/.kube/config", "own.yaml")["path"] == str(tmp_path / ".kube/config")


def test_a_file_that_cannot_be_merged_into_is_named_with_the_reason(tmp_path: Path) -> None:
    own, binary, below = tmp_path / "own.yaml", tmp_path / "binary", tmp_path / "binary/config"
    own.write_text(OURS)
    binary.write_bytes(b"\xff\xfe")
    faults = {path: merge(str(path), str(own))["fault"] for path in (own, binary, below, tmp_path)}
    assert faults == {
        own: "is k3s_kubeconfig itself; name your own file, or leave k3s_kubeconfig_merge empty",
        binary: "is not YAML",
        below: "cannot be read (Not a directory)",
        tmp_path: "cannot be read (Is a directory)",
    }


def test_a_folder_that_may_not_be_written_to_is_found_out_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, _mode: path != tmp_path)
    assert merge(str(tmp_path / "new/config"), "own.yaml") == {
        "path": str(tmp_path / "new/config"),
        "text": "",
        "fault": "is in a folder that you may not write to",
    }


@pytest.mark.parametrize(
    ("last", "server"),
    [({}, ""), ({"ready": False, "message": ""}, ""), ({"ready": True, "message": ""}, "s4")],
)
def test_the_kubeconfig_is_that_of_the_first_server_that_answers(last: dict[str, Any], server: str) -> None:
    statuses = {
        "s1": {"unreachable": True, "msg": "timed\nout"},
        "s2": {"ready": False, "message": "failed checks: etcd"},
        "s3": {"failed": True, "msg": "no sudo"},
        "s4": last,
        "s5": {"ready": server != "", "message": "" if server else "refused"},
    }
    hostvars = {host: {"inventory_hostname": host, "_k3s_status": each} for host, each in statuses.items()}
    (fetch,) = [task for task in yaml.safe_load(REFRESH.read_text()) if "vars" in task and "block" in task]
    templar = Templar(DataLoader(), variables={"hostvars": hostvars, "ansible_play_hosts_all": list(hostvars)})
    assert templar.template(trust_as_template(fetch["vars"]["_k3s_kubeconfig_server"])) == server
    message = templar.template(trust_as_template(fetch["block"][0]["ansible.builtin.fail"]["msg"]))
    assert " ".join(message.split()) == (
        "Nothing was changed. No server of the cluster answers. s1: timed out; s2: failed checks: etcd; s3: no sudo; "
        f"s4: no K3s; s5: {'no K3s' if server else 'refused'}."
    )


@pytest.mark.parametrize("name", ["fleet", "123", "1e3", "null", "2026-11-22", "#1", 7])
def test_kubectl_reads_every_name_of_a_cluster_as_a_text(name: object) -> None:
    admin = base64.b64encode(OURS.encode()).decode()
    variables = {
        "k3s_cluster_name": name,
        "k3s_registration_address": "",
        "hostvars": {"s1": {"k3s_api_url": "https://192.0.2.1:6443"}},
        "_k3s_kubeconfig_server": "s1",
        "_k3s_kubeconfig_read": {"content": admin},
    }
    # A bare templar knows nothing of the collection's filters.
    template = TEMPLATE.read_text().replace("| greeter.fleet.k3s_url", "")
    text = Templar(DataLoader(), variables=variables).template(trust_as_template(template))
    found = yaml.safe_load(text)
    assert {each["name"] for kind in ("clusters", "users", "contexts") for each in found[kind]} == {str(name)}
    assert found["contexts"][0]["context"] == {"cluster": str(name), "user": str(name)}
    assert found["current-context"] == str(name)


def test_nothing_is_changed_where_no_server_answers(ansible: Run, tmp_path: Path) -> None:
    hosts = {
        "s1": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
        "s2": {"ansible_connection": "local", "ansible_python_interpreter": "/nowhere/python"},
    }
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"k3s_cluster": {"children": {"k3s_servers": {"hosts": hosts}}}}))
    done = ansible(
        "ansible-playbook", "playbooks/kubeconfig.yml", f"--inventory={inventory}",
        "--extra-vars=ansible_become=false", f"--extra-vars=k3s_kubeconfig={tmp_path}/kubeconfig.yaml",
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    said = " ".join(done.stdout.split())
    assert re.search(
        r"Nothing was changed\. No server of the cluster answers\. s1: .*; s2: .*/nowhere/python.*\.", said
    )
    assert list(tmp_path.iterdir()) == [inventory]
