"""Many faults at once are one list, before anything is touched and without a secret, by Ansible itself."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from .conftest import Run

# Two names of this machine, as servers; as agents one that cannot be reached, and one whose Python is too old.
INVENTORY = """
k3s_cluster:
  vars:
    ansible_become: false
    k3s_token: my-super-secret-token-zq9
  children:
    k3s_servers:
      vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
      hosts:
        one: {k3s_version: v1.35.6+k3s1, k3s_node_config: {kubelet_arg: [max-pods=200]}}
        two: {k3s_version: v1.35.6+k3s1, k3s_environment: {HTTPS_PROXY: "{{ vault_proxy }}"}}
    k3s_agents:
      hosts:
        three: {ansible_host: 127.0.0.1, ansible_port: 1, k3s_version: v1.36.0+k3s1}
        four:
          ansible_connection: local
          ansible_python_interpreter: "{{ inventory_dir }}/python3.6"
          k3s_version: v1.35.6+k3s1
"""
OLD_PYTHON = """#!/bin/sh
if [ "$1" = --version ]; then echo Python 3.6.15; exit; fi
echo '    from __future__ import annotations' >&2
echo 'SyntaxError: future feature annotations is not defined' >&2
exit 1
"""
# What the command line gives wins over the project's own group_vars.
GIVEN = """
k3s_registration_address: https://k3s.example.com:6443
customers: {a: {greeting: 42}}
"""

# Of core 2.19, and from 2.20 on: the oldest Python on hosts.
PYTHON = "3.8" if version("ansible-core").startswith("2.19.") else "3.9"
FAULTS = [
    "inventory: the group k3s_servers has 2 hosts; embedded etcd wants an odd number: use 1 or 3,"
    " or set k3s_datastore_endpoint to a datastore outside the cluster",
    "k3s_token: is a placeholder that anybody can guess;"
    " write a random one (openssl rand -hex 32), or leave it empty: K3s then makes one",
    "k3s_registration_address: 'https://k3s.example.com:6443' is no address;"
    " write a host name or an IP alone, without scheme, port and brackets",
    "host one: k3s_node_config.kubelet_arg: is no flag of K3s;"
    " write it in small letters, with '-' between words and none in front",
    "host two: k3s_environment: cannot be worked out: 'vault_proxy' is undefined",
    "host three: k3s_version: v1.36.0+k3s1 is newer than v1.35.6+k3s1 of the server one;"
    " write that for the agent, or a newer one for the servers (kubernetes.io/releases/version-skew-policy)",
    "hosts one, two: are one and the same machine; name it once in the inventory",
    f"host four: its Python is 3.6, and Ansible here needs {PYTHON} or newer there;"
    " install a newer one, or name it in ansible_python_interpreter",
    "customers.a.greeting: is a number, not a text; put it in quotes",
]

# What preflight's module gathers besides its own, next to what Ansible's does.
FACTS = """
- name: Gather the facts twice
  hosts: localhost
  connection: local
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - name: As preflight does
      ansible.builtin.gather_facts: {now: 0}
      vars: {ansible_facts_modules: [greeter.fleet.host_facts]}
      register: one
    - name: As others do
      ansible.builtin.gather_facts: {gather_subset: ["!all", min]}
      register: other
    - name: Compare
      ansible.builtin.debug:
        msg: "differ in {{ one.ansible_facts.keys() | symmetric_difference(other.ansible_facts.keys()) | to_json }}"
"""


@pytest.fixture(scope="module")
def refused(ansible: Run, tmp_path_factory: pytest.TempPathFactory) -> CompletedProcess[str]:
    """A run of ``site.yml`` where everything is wrong at once."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "hosts.yml").write_text(INVENTORY)
    (folder / "given.yml").write_text(GIVEN)
    (folder / "python3.6").write_text(OLD_PYTHON)
    (folder / "python3.6").chmod(0o755)
    with socket.socket() as kubelet:
        # Where somebody else has it already, it is taken too.
        with suppress(OSError):
            kubelet.bind(("127.0.0.1", 10250))
            kubelet.listen()
        return ansible(
            "ansible-playbook", "playbooks/site.yml", "-vvv", "-i", str(folder / "hosts.yml"), "-e",
            f"@{folder / 'given.yml'}",
        )  # fmt: skip


def test_every_fault_is_in_the_one_list(refused: CompletedProcess[str]) -> None:
    output = refused.stdout + refused.stderr
    assert refused.returncode != 0
    for fault in FAULTS:
        assert f"- {fault}\n" in output
    assert re.search(r"- hosts one, two: port 10250 is taken by \w+, and the kubelet needs it; stop that", output)
    assert re.search(r"- host three: cannot be used; .*port 1", output)
    assert output.count("Nothing was changed:") == output.count("fault(s) to mend first.") > 0
    assert "Traceback" not in output


def test_no_secret_is_shown_and_nothing_but_preflight_runs(refused: CompletedProcess[str]) -> None:
    output = refused.stdout + refused.stderr
    assert "zq9" not in output
    assert not re.search(r"changed=[1-9]", output)
    assert {task.split(" : ")[0] for task in re.findall(r"^TASK \[(.*)\]", output, re.MULTILINE)} == {"preflight"}


def test_a_limited_run_asks_only_its_hosts(ansible: Run, tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    output = ansible("ansible-playbook", "playbooks/preflight.yml", "-i", str(path), "--limit", "one").stdout
    assert "inventory: the group k3s_servers has 2 hosts" in output
    assert "host three: k3s_version" in output
    assert "cannot be used" not in output
    assert "one and the same machine" not in output


def test_the_facts_of_all_roles_come_with_host_facts(ansible: Run, tmp_path: Path) -> None:
    path = tmp_path / "facts.yml"
    path.write_text(FACTS)
    done = ansible("ansible-playbook", str(path), "-i", "localhost,")
    assert 'differ in ["host_facts"]' in done.stdout
    assert "WARNING" not in done.stderr
