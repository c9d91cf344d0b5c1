"""Every faulty customer file is refused by ``site.yml`` itself, in the right words, before anything is touched."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from .conftest import Run

CASES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "broken_customers.yml").read_text())
GOOD = "customers:\n  a: {greeting: 'Hi!'}\n"

Runs = dict[str, Future[CompletedProcess[str]]]


@pytest.fixture(scope="module")
def runs(ansible: Run, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Every case's run of ``site.yml``, two at a time."""
    inventory = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    inventory.write_text(
        "k3s_cluster: {children: {k3s_servers: {hosts: {nowhere: {ansible_host: 127.0.0.1, ansible_port: 1}}}}}\n"
    )

    def site(text: str) -> CompletedProcess[str]:
        path = tmp_path_factory.mktemp("case") / "customers.yml"
        path.write_text(text)
        return ansible("ansible-playbook", "playbooks/site.yml", "-i", str(inventory), "-e", f"@{path}")

    pool = ThreadPoolExecutor(2)
    return {name: pool.submit(site, case["file"]) for name, case in CASES.items()} | {"good": pool.submit(site, GOOD)}


@pytest.mark.parametrize("name", CASES)
def test_a_broken_file_is_refused_in_the_right_words(runs: Runs, name: str) -> None:
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


def test_a_good_file_has_no_fault_of_its_own(runs: Runs) -> None:
    output = runs["good"].result().stdout
    faults = re.findall(r"^ *- (.*)", output, re.MULTILINE)
    assert any(fault.startswith("host nowhere: cannot be used") for fault in faults)
    assert not [fault for fault in faults if fault.startswith("customers")]
