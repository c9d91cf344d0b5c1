"""How the cluster is, as status.yml tells it: with an agent that stands still and an absent host, then well."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fleet import Fleet, changed

from .conftest import AGENT, LOUD, SERVER, gives_away, heard, wait_until_back

ABSENT = "greeter-cluster-9"


def report(output: str) -> list[str]:
    """The lines that status.yml shows, without the days on which certificates expire."""
    _, _, shown = output.partition("TASK [k3s : Show the cluster]")
    lines = shown.partition("msg: |-\n")[2].partition("\nTASK ")[0].rstrip().splitlines()
    return [re.sub(r"until \d{4}-\d\d-\d\d, \d+ days", "until …", line.strip()) for line in lines]


def test_faults_are_named_with_what_to_do_and_end_as_a_failure(fleet: Fleet, version: str, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"k3s_agents": {"hosts": {ABSENT: {"testbed_address": "127.0.20.99"}}}}))
    fleet.nodes[AGENT].run_expect([0], "systemctl stop k3s-agent")
    try:
        done = fleet.play("status.yml", f"--inventory={inventory}")
    finally:
        before = heard(fleet, AGENT)
        fleet.nodes[AGENT].run_expect([0], "systemctl start k3s-agent")
    assert done.returncode == 2, done.stdout
    rows = [re.split("  +", line) for line in report(done.stdout)[:4]]
    assert rows[:2] + rows[3:] == [
        ["NODE", "ROLE", "K3S", "VERSION", "READY", "CERTIFICATES"],
        [SERVER, "server", "runs", version, "yes", "until …"],
        [ABSENT, "agent", "not reached", "?", "no node", "?"],
    ]
    # Whether Kubernetes has missed it by now depends on the day.
    assert rows[2] in ([AGENT, "agent", "stopped", version, ready, "until …"] for ready in ("yes", "no"))
    assert report(done.stdout)[4:] == [
        "",
        "2 faults:",
        f"{AGENT}: the service k3s-agent does not run; look at journalctl -u k3s-agent, then systemctl start k3s-agent",
        f"{ABSENT}: cannot be reached (Failed to connect to the host via ssh: ssh: connect to host 127.0.20.99 port "
        "2222: Connection refused); see that it runs, and that Ansible gets there",
    ]
    assert set(changed(done.stdout)) == {0}

    wait_until_back(fleet, AGENT, before)


def test_once_the_agent_is_back_all_is_well_and_no_secret_is_told(fleet: Fleet, version: str, secret: str) -> None:
    done = fleet.play("status.yml", "--check", *LOUD)
    assert done.returncode == 0, done.stdout
    assert report(done.stdout) == [
        f"NODE               ROLE    K3S   {'VERSION'.ljust(len(version))}  READY  CERTIFICATES",
        f"greeter-cluster-1  server  runs  {version}  yes    until …",
        f"greeter-cluster-2  agent   runs  {version}  yes    until …",
        "",
        "The cluster is well: 2 of 2 nodes are Ready.",
    ]
    assert set(changed(done.stdout)) == {0}
    assert not gives_away(done.stdout, secret, fleet)
    assert "PRIVATE KEY" not in done.stdout
