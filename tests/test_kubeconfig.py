"""The cluster's kubeconfig within a person's own one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.greeter.fleet.plugins.filter import k3s_kubeconfig

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


def merged(text: str, ours: str = OURS) -> dict[str, Any]:
    return dict(yaml.safe_load(k3s_kubeconfig.merged(text, ours)))


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "clusters: null\nusers: []\n"])
def test_a_file_without_entries_becomes_the_clusters_own(text: str) -> None:
    assert k3s_kubeconfig.fault(text) == ""
    assert merged(text) == yaml.safe_load(OURS)


def test_our_entries_are_added_and_the_others_stay() -> None:
    text = k3s_kubeconfig.merged(OTHER, OURS)
    assert (
        text
        == """\
apiVersion: v1
kind: Config
clusters:
- cluster:
    insecure-skip-tls-verify: true
    server: https://192.0.2.99
  name: work
- name: fleet
  cluster:
    server: https://192.0.2.1:6443
    certificate-authority-data: Q0E=
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
      apiVersion: client.authentication.k8s.io/v1
      command: /usr/bin/login
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
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
"""
    )


def test_what_is_merged_already_stays_to_the_letter() -> None:
    once = k3s_kubeconfig.merged(OTHER, OURS)
    assert k3s_kubeconfig.merged(once, OURS) == once
    by_hand = "# mine\n" + OURS
    assert k3s_kubeconfig.merged(by_hand, OURS) == by_hand


def test_what_is_written_once_for_two_is_written_twice() -> None:
    shared = "users: [{name: work, user: &login {token: t}}, {name: home, user: *login}]\n"
    assert k3s_kubeconfig.merged(shared, OURS).count("token: t\n") == 2


def test_older_entries_of_the_name_are_replaced_in_their_places() -> None:
    stale = OURS.replace("S0VZ", "T0xE").replace("192.0.2.1", "192.0.2.7")
    both = merged(OTHER, stale)
    both["users"].insert(0, both["users"].pop())
    both["users"].append(both["users"][0])
    found = merged(yaml.safe_dump(both))
    assert [user["name"] for user in found["users"]] == ["fleet", "work"]
    assert found["users"][0] == yaml.safe_load(OURS)["users"][0]
    assert [cluster["name"] for cluster in found["clusters"]] == ["work", "fleet"]
    assert found["clusters"][1]["cluster"]["server"] == "https://192.0.2.1:6443"
    assert found["current-context"] == "work"


def test_the_context_becomes_ours_where_there_is_none() -> None:
    for none in ("", "current-context: ''\n", "current-context: null\n"):
        assert merged(OTHER.replace("current-context: work\n", none))["current-context"] == "fleet"


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
def test_what_is_no_kubeconfig_is_refused_in_words_that_give_nothing_away(text: str, fault: str) -> None:
    assert k3s_kubeconfig.fault(text) == fault


def test_the_file_is_found_where_its_link_leads_and_need_not_be_there(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles/config", tmp_path / "config"
    link.symlink_to(real)
    absent = {"path": str(real), "text": "", "fault": ""}
    assert k3s_kubeconfig.target(str(link), "own.yaml") == absent
    real.parent.mkdir()
    real.write_text(OTHER)
    assert k3s_kubeconfig.target(str(link), "own.yaml") == absent | {"text": OTHER}


def test_the_home_folder_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert k3s_kubeconfig.target("~/.kube/config", "own.yaml")["path"] == str(tmp_path / ".kube/config")


def test_a_file_that_cannot_be_merged_into_is_named_with_the_reason(tmp_path: Path) -> None:
    own, binary, below = tmp_path / "own.yaml", tmp_path / "binary", tmp_path / "binary/config"
    own.write_text(OURS)
    binary.write_bytes(b"\xff\xfe")
    faults = {path: k3s_kubeconfig.target(str(path), str(own))["fault"] for path in (own, binary, below, tmp_path)}
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
    assert k3s_kubeconfig.target(str(tmp_path / "new/config"), "own.yaml") == {
        "path": str(tmp_path / "new/config"),
        "text": "",
        "fault": "is in a folder that you may not write to",
    }


def test_the_kubeconfig_is_that_of_the_first_server_that_answers() -> None:
    hosts: dict[str, dict[str, Any]] = {
        "s1": {"_k3s_status": {"unreachable": True, "msg": "timed\nout"}},
        "s2": {"_k3s_status": {"ready": False, "said": "failed checks: etcd"}},
        "s3": {"_k3s_status": {"ready": False, "said": ""}},
        "s4": {},
    }
    why = "s1: timed out; s2: failed checks: etcd; s3: no K3s; s4: no K3s"
    assert k3s_kubeconfig.answering(hosts, list(hosts)) == {"server": "", "why": why}
    hosts["s3"]["_k3s_status"] = {"ready": True, "said": ""}
    assert k3s_kubeconfig.answering(hosts, list(hosts))["server"] == "s3"
