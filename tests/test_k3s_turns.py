"""Who starts K3s with whom: agents all at once, but for an upgrade."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from .conftest import PROJECT, Run

AGENTS = ["agent-1", "agent-2", "agent-3"]


@pytest.mark.parametrize(
    ("upgraded", "batches"),
    [
        ([], [AGENTS]),
        (["agent-2"], [["agent-1"], ["agent-2"], ["agent-3"]]),
        (["server"], [["agent-1"], ["agent-2"], ["agent-3"]]),
    ],
)
def test_agents_that_are_upgraded_take_turns(
    ansible: Run, tmp_path: Path, upgraded: list[str], batches: list[list[str]]
) -> None:
    (agents,) = (
        play
        for play in yaml.safe_load((PROJECT / "playbooks/k3s.yml").read_text())
        if play["name"] == "Start the agents"
    )
    looked_at = {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.set_fact": {"k3s_upgrade": "{{ upgraded }}"}}],
    }
    turns = agents | {"tasks": [{"ansible.builtin.debug": {"msg": "my turn"}}]}
    (tmp_path / "turns.yml").write_text(yaml.safe_dump([looked_at, turns]))
    hosts = {name: {"upgraded": name in upgraded} for name in AGENTS}
    groups = {"k3s_servers": {"hosts": {"server": {"upgraded": "server" in upgraded}}}, "k3s_agents": {"hosts": hosts}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(groups))
    done = ansible("ansible-playbook", f"--inventory={tmp_path}/hosts.yml", f"{tmp_path}/turns.yml")
    assert done.returncode == 0, done.stdout
    _, *shown = done.stdout.split("PLAY [Start the agents]")
    assert [sorted(name for name in AGENTS if f"[{name}]" in batch) for batch in shown] == batches
