"""What the stories share: a fleet, and a way to declare customers and see what becomes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet import PATIENCE, Fleet, changed

STANDING: dict[str, Any] = {
    "a": {"greeting": "Hi!"},
    "b": {"greeting": "Dear Sir or Madam!"},
    "c": {"greeting": "Moin!"},
}


MARKS = ("+ ", "~ ", "- ", "= ", "! ", "? ")


class Story:
    """One fleet, and the customers that are declared for it at the moment."""

    def __init__(self, folder: Path) -> None:
        """Keep the customers' file in ``folder``."""
        self.fleet = Fleet()
        self.is_put_back = True
        self._file = folder / "customers.json"
        self.declare(**STANDING)

    def declare(self, settings: dict[str, Any] | None = None, **customers: dict[str, Any]) -> None:
        """Declare ``customers`` and no others, with the variables ``settings``."""
        self._declared = {"customers": customers, **(settings or {})}
        self._file.write_text(json.dumps(self._declared))

    def arguments(self) -> list[str]:
        """What makes a playbook read what is declared."""
        return [f"--extra-vars=@{self._file}"]

    def plan(self, *arguments: str) -> list[str]:
        """The plan's lines; the plan must change nothing."""
        done = self.fleet.play("plan.yml", *self.arguments(), *arguments)
        assert done.returncode == 0, done.stdout
        assert set(changed(done.stdout)) == {0}
        return plan_lines(done.stdout)

    def converge(self) -> str:
        """Apply what is declared, see that a second run changes nothing, and return what the first one said."""
        done = self.fleet.play("customers.yml", *self.arguments())
        assert done.returncode == 0, done.stdout
        again = self.fleet.play("customers.yml", *self.arguments())
        assert again.returncode == 0, again.stdout
        assert set(changed(again.stdout)) == {0}
        customers = self._declared["customers"].values()
        wanted = sum(customer.get("state") != "absent" for customer in customers)
        assert plan_lines(again.stdout)[-1].split() == ["=", "unchanged", str(wanted), "of", str(wanted)]
        assert not [line for line in plan_lines(again.stdout) if line[0] in "+~"]
        self.is_put_back = self._declared == {"customers": STANDING}
        return done.stdout

    def refused(self) -> str:
        """Apply what is declared, see it fail, and return what was said as one line."""
        done = self.fleet.play("customers.yml", *self.arguments())
        assert done.returncode != 0, done.stdout
        assert "Traceback" not in done.stdout
        said = " ".join(done.stdout.split())
        self.is_put_back = "Nothing was changed" in said
        return said

    def pods(self) -> dict[str, set[str]]:
        """The standing customers' namespaces → the UIDs of their pods; others may still be on their way out."""
        standing = {f"customer-{name}" for name in STANDING}
        return {namespace: uids for namespace, uids in self.fleet.pods().items() if namespace in standing}

    def namespaces(self) -> set[str]:
        """The customers' namespaces in the cluster."""
        found = self.fleet.objects("namespaces")["items"]
        return {each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith("customer-")}


def plan_lines(output: str) -> list[str]:
    """The lines of the plan in what a playbook printed, without the times."""
    lines = [line.strip() for line in output.splitlines() if line.startswith("        ")]
    return [re.sub(r" \(\d{4}-[^)]*Z\)", "", line) for line in lines if line[:2] in MARKS]


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The fleet with its three standing customers."""
    return Story(tmp_path_factory.mktemp("story"))


@pytest.fixture(autouse=True)
def _put_back(story: Story) -> Iterator[None]:
    """Every story ends with the standing customers; the others are on their way out, so no two stories share a name."""
    story.declare(**STANDING)
    story.is_put_back = False
    yield
    if story.is_put_back:
        return
    story.declare({"customers_prune": True, "customers_prune_limit": 1000, "customers_wait": False}, **STANDING)
    done = story.fleet.play("customers.yml", *story.arguments())
    assert done.returncode == 0, done.stdout
    for name in STANDING:
        story.fleet.kubectl(
            "rollout", "status", "deployment/greeter", f"--namespace=customer-{name}", f"--timeout={PATIENCE}s"
        )
