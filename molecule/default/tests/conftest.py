"""What this scenario's tests share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fleet import PROJECT, Fleet, pod_uids

LATER = PROJECT / "molecule/default/vars/customers-later.yml"

WithGreeting = Callable[[str, str], str]


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """The converged host, on which playbooks read the customers of the side effect."""
    return Fleet(f"--extra-vars=@{LATER}")


@pytest.fixture(scope="session")
def pods_before(fleet: Fleet) -> dict[str, set[str]]:
    """The customers' pods before the side effect changed what is declared."""
    return pod_uids(json.loads((fleet.ephemeral / "pods-before.json").read_text()))


@pytest.fixture(scope="session")
def found(fleet: Fleet) -> dict[str, str]:
    """What the test bed has chosen: the Kubernetes under test and where it comes from."""
    return fleet.found


@pytest.fixture
def with_greeting(tmp_path: Path) -> WithGreeting:
    """A function that gives the argument for the customers of the side effect, but one with another greeting."""

    def write(customer: str, greeting: str) -> str:
        declared = yaml.safe_load(LATER.read_text())
        declared["customers"].setdefault(customer, {})["greeting"] = greeting
        path = tmp_path / "customers.yml"
        path.write_text(yaml.safe_dump(declared, allow_unicode=True))
        return f"--extra-vars=@{path}"

    return write
