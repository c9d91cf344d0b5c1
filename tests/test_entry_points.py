"""The values of ``group_vars`` are the same whichever way a person enters the project."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from .conftest import PROJECT, Run

# What the files say, read without Ansible.
DECLARED = yaml.safe_load((PROJECT / "group_vars/all/customers.yml").read_text())
SHOW = """
- name: Show what a playbook sees
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Show the domain and the release
      ansible.builtin.debug:
        msg: "seen {{ customers_domain }} {{ k3s_release_url }}"
"""
WANTED = f"seen {DECLARED['customers_domain']} https://github.com/k3s-io/k3s/releases/download"


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    """An inventory outside the project, as an operator has it."""
    path = tmp_path / "hosts.ini"
    path.write_text("[k3s_servers]\nnode.example.com\n[k3s_cluster:children]\nk3s_servers\n")
    return str(path)


def test_ansible_inventory_sees_them(ansible: Run, elsewhere: str) -> None:
    for arguments in ((), ("-i", elsewhere)):
        listed = json.loads(ansible("ansible-inventory", "--list", *arguments).stdout)
        (seen,) = listed["_meta"]["hostvars"].values()
        assert seen["customers"] == DECLARED["customers"]


def test_ad_hoc_commands_see_them(ansible: Run, elsewhere: str) -> None:
    for name, arguments in (("local", ()), (Path(elsewhere).parent.name, ("-i", elsewhere))):
        done = ansible(
            "ansible", "localhost", *arguments, "-m", "ansible.builtin.debug",
            "-a", "msg='seen {{ customers_domain }} {{ k3s_release_url }} {{ k3s_kubeconfig }}'",
        )  # fmt: skip
        assert f"{WANTED} {PROJECT}/.kube/{name}.yaml" in done.stdout


@pytest.mark.parametrize("playbook", sorted(path.name for path in (PROJECT / "playbooks").glob("*.yml")))
def test_every_playbook_is_well_formed(ansible: Run, playbook: str) -> None:
    assert ansible("ansible-playbook", "--syntax-check", f"playbooks/{playbook}").returncode == 0


def test_playbooks_see_them(ansible: Run, elsewhere: str) -> None:
    path = PROJECT / "playbooks" / "show-for-test.yml"
    path.write_text(SHOW)
    try:
        for arguments in ((), ("-i", elsewhere)):
            assert WANTED in ansible("ansible-playbook", str(path), *arguments).stdout
    finally:
        path.unlink()


def test_molecule_sees_them_for_its_hosts(ansible: Run, tmp_path: Path) -> None:
    path = tmp_path / "show.yml"
    path.write_text(SHOW.replace("hosts: localhost", "hosts: all"))
    (tmp_path / "testbed.json").write_text('{"loopback": "127.0.20"}')
    done = ansible(
        "ansible-playbook", str(path), "--connection=local",
        "-i", "molecule/testbed/inventory", "-i", "molecule/demo/inventory",
        "-e", "ansible_connection=local",
        MOLECULE_EPHEMERAL_DIRECTORY=str(tmp_path),
    )  # fmt: skip
    assert len(re.findall(re.escape(WANTED), done.stdout)) == 1
