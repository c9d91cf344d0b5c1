"""No question to a cluster may last for ever: every call of kubectl in roles and playbooks has a limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import PROJECT

COMMANDS = ("ansible.builtin.command", "ansible.builtin.shell", "ansible.builtin.raw")
# They wait for what others do, besides the answer to each request.
WAITING = {"delete", "drain", "rollout", "wait"}


def tasks(found: object) -> Iterator[dict[str, Any]]:
    """All tasks of a file, of its plays and blocks too."""
    for each in found if isinstance(found, list) else []:
        yield each
        for inner in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks(each.get(inner))


def words(task: dict[str, Any]) -> list[str]:
    """The words of the command that a task runs, if it runs any."""
    given = next((task[name] for name in COMMANDS if name in task), "")
    if isinstance(given, dict):
        given = given.get("argv") or given.get("cmd") or ""
    return [str(word) for word in (given.split() if isinstance(given, str) else given)]


def calls() -> Iterator[tuple[str, list[str]]]:
    """Each call of kubectl: where it stands, and what follows the word kubectl."""
    for path in sorted([*PROJECT.glob("roles/*/tasks/*.yml"), *PROJECT.glob("playbooks/**/*.yml")]):
        for task in tasks(yaml.safe_load(path.read_text())):
            command = words(task)
            if "kubectl" in command:
                yield f"{path.relative_to(PROJECT)}: {task['name']}", command[command.index("kubectl") + 1 :]


CALLS = dict(calls())


def test_the_calls_are_found() -> None:
    files = {Path(where.partition(":")[0]).name for where in CALLS}
    assert {"delete.yml", "drain_node.yml", "leave.yml", "ready.yml", "wait.yml"} <= files


@pytest.mark.parametrize("where", CALLS)
def test_every_call_of_kubectl_has_a_limit(where: str) -> None:
    verb = next(word for word in CALLS[where] if not word.startswith("-"))
    for limit in ("--request-timeout=", *(["--timeout="] if verb in WAITING else [])):
        assert [word for word in CALLS[where] if word.startswith(limit)], f"kubectl {verb} without {limit}"
