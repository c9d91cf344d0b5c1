"""Every faulty customer file is refused by Ansible itself, in the right words, before anything is touched."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from .conftest import Run
from .test_customer_faults import write_certificates

CASES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "broken_customers.yml").read_text())
# What becomes of a file before any role sees it, and that site.yml does refuse, takes a run for each.
BY_SITE = [name for name, case in CASES.items() if case.get("by") == "site"]
# All others take one run: a host for each case, whose variables are the case's file.
BY_HOST = {name: f"case-{number}" for number, name in enumerate(CASES) if name not in BY_SITE}
GOOD = "customers:\n  a: {greeting: 'Hi!'}\n"
# As playbooks/customers.yml begins.
PLAY = """
- name: Give every customer their greeter
  hosts: all
  connection: local
  gather_facts: false
  tasks:
    - name: Check the customers
      ansible.builtin.include_role:
        name: preflight
        tasks_from: customers
    - name: Give every customer their greeter
      ansible.builtin.debug:
        msg: This would touch the cluster
"""

Runs = dict[str, Future[CompletedProcess[str]]]
Answers = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def runs(ansible: Run, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The runs of ``site.yml``, two at a time."""
    inventory = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    inventory.write_text(
        "k3s_cluster: {children: {k3s_servers: {hosts: {nowhere: {ansible_host: 127.0.0.1, ansible_port: 1}}}}}\n"
    )

    def site(text: str) -> CompletedProcess[str]:
        path = tmp_path_factory.mktemp("case") / "customers.yml"
        path.write_text(text)
        return ansible("ansible-playbook", "playbooks/site.yml", "-i", str(inventory), "-e", f"@{path}")

    pool = ThreadPoolExecutor(2)
    return {name: pool.submit(site, CASES[name]["file"]) for name in BY_SITE} | {"good": pool.submit(site, GOOD)}


@pytest.fixture(scope="module")
def answers(ansible: Run, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Host → what each task of the one run answered for it."""
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "host_vars").mkdir()
    for name, host in BY_HOST.items():
        (folder / "host_vars" / f"{host}.yml").write_text(CASES[name]["file"])
    (folder / "host_vars" / "good.yml").write_text(GOOD)
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": dict.fromkeys([*BY_HOST.values(), "good"])}}))
    (folder / "play.yml").write_text(PLAY)
    write_certificates(folder / "certificates")
    done = ansible(
        "ansible-playbook", str(folder / "play.yml"), "-i", str(folder / "hosts.yml"), "-e",
        f"certificates={folder / 'certificates'}", ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    assert "rendering template" not in done.stdout + done.stderr
    (play,) = json.loads(done.stdout[done.stdout.index("{") :])["plays"]
    found: Answers = {host: [] for host in [*BY_HOST.values(), "good"]}
    for task in play["tasks"]:
        for host, answer in task["hosts"].items():
            found[host].append(answer)
    return found


@pytest.mark.parametrize("name", BY_SITE)
def test_site_refuses_a_broken_file_in_the_right_words(runs: Runs, name: str) -> None:
    done = runs[name].result()
    output = done.stdout + done.stderr
    assert done.returncode != 0
    for words in CASES[name]["says"]:
        assert words in output
    for words in CASES[name].get("says_not", []):
        assert words not in output
    assert "Traceback" not in output
    assert "rendering template" not in output
    assert not re.search(r"changed=[1-9]", output)
    assert "Install K3s" not in output


def test_a_good_file_has_no_fault_of_its_own(runs: Runs, answers: Answers) -> None:
    output = runs["good"].result().stdout
    faults = re.findall(r"^ *- (.*)", output, re.MULTILINE)
    assert any(fault.startswith("host nowhere: cannot be used") for fault in faults)
    assert not [fault for fault in faults if fault.startswith("customers")]
    assert answers["good"][-1]["msg"] == "This would touch the cluster"


@pytest.mark.parametrize("name", BY_HOST)
def test_preflight_refuses_broken_customers_in_the_right_words_and_no_others(answers: Answers, name: str) -> None:
    answer = answers[BY_HOST[name]]
    last = answer[-1]
    assert last.get("failed")
    assert not any(each.get("changed") for each in answer)
    head, *faults = last["msg"].splitlines()
    assert head == f"Nothing was changed: {len(faults)} fault(s) to mend first."
    for words in CASES[name]["says"]:
        assert words in last["msg"]
    assert not [fault for fault in faults if not any(words in fault for words in CASES[name]["says"])]
