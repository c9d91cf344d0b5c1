"""What later runs do to a cluster, as one story: each test goes on from the one before."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from fleet import Answer, Fleet, changed, wait_until

from .conftest import AGENT, ANSWERS, LOUD, SERVER, SPARE, gives_away, is_ready, nodes

CONFIG = "/etc/rancher/k3s/config.yaml"


def declared(folder: Path, pods: dict[str, int | None]) -> str:
    """The argument that declares agents, some with their own number of pods, beside the other inventory."""
    hosts: dict[str, Any] = {
        name: {} if number is None else {"k3s_node_config": {"kubelet-arg": [f"max-pods={number}"]}}
        for name, number in pods.items()
    }
    path = folder / "hosts.json"
    path.write_text(json.dumps({"k3s_agents": {"hosts": hosts}}))
    return f"--inventory={path}"


def wait_until_they_take(fleet: Fleet, pods: dict[str, str]) -> None:
    """Wait until each node's kubelet has told that it takes so many pods."""

    def have_told() -> bool:
        return {name: status["capacity"]["pods"] for name, status in nodes(fleet).items()} == pods

    wait_until(have_told, f"the nodes do not take {pods}")


def state(fleet: Fleet, *names: str) -> tuple[dict[str, str], dict[str, set[str]]]:
    """What has to be the same afterwards: K3s' process on the named nodes, and all pods."""
    return {name: fleet.main_pid(name) for name in names}, fleet.pods()


def test_a_second_run_changes_nothing_anywhere(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(fleet, SERVER, AGENT)
    started = time.monotonic()
    done = fleet.play("site.yml")
    with capsys.disabled():
        print(f"\nsite.yml again, two nodes: {time.monotonic() - started:.1f} s")
    assert done.returncode == 0, done.stdout
    assert set(changed(done.stdout)) == {0}
    assert state(fleet, SERVER, AGENT) == before


def test_a_change_for_one_node_restarts_that_node_alone(fleet: Fleet, tmp_path: Path) -> None:
    before, pid = state(fleet, SERVER), fleet.main_pid(AGENT)
    done = fleet.play("k3s.yml", declared(tmp_path, {AGENT: 90}))
    assert done.returncode == 0, done.stdout
    assert fleet.main_pid(AGENT) not in (pid, "0")
    assert state(fleet, SERVER) == before
    wait_until_they_take(fleet, {SERVER: "110", AGENT: "90"})


def test_an_agent_is_added_by_a_run_for_it_alone(fleet: Fleet, tmp_path: Path, version: str, secret: str) -> None:
    before = state(fleet, SERVER, AGENT)
    done = fleet.play("site.yml", declared(tmp_path, {AGENT: 90, SPARE: 80}), f"--limit={SPARE}", *LOUD)
    assert done.returncode == 0, done.stdout
    assert not gives_away(done.stdout, secret, fleet)
    assert state(fleet, SERVER, AGENT) == before
    wait_until_they_take(fleet, {SERVER: "110", AGENT: "90", SPARE: "80"})
    added = nodes(fleet)[SPARE]
    assert is_ready(added)
    assert added["nodeInfo"]["kubeletVersion"] == version
    deployment = fleet.objects("deployment/greeter", "--namespace=customer-a")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] in fleet.nodes[SPARE].check_output("k3s ctr images list --quiet").split()
    for host, body in ANSWERS.items():
        assert fleet.get(host, SPARE) == Answer(200, "application/json", body)


def test_one_run_mends_what_an_interrupted_one_left_and_takes_a_setting_back(fleet: Fleet, tmp_path: Path) -> None:
    pids = {name: fleet.main_pid(name) for name in (SERVER, SPARE)}
    # As a run leaves it that was cut off after it had taken a setting back, and before it had K3s start anew.
    spare = fleet.nodes[SPARE]
    text = spare.file(CONFIG).content_string
    assert "max-pods=80" in text
    spare.run_expect([0], f"sed -i '/^kubelet-arg:/d; /max-pods=80/d' {CONFIG}")

    done = fleet.play("site.yml", declared(tmp_path, {SPARE: None}))
    assert done.returncode == 0, done.stdout
    wait_until_they_take(fleet, {SERVER: "110", AGENT: "110", SPARE: "110"})
    found = nodes(fleet)
    assert [name for name, status in found.items() if not is_ready(status)] == []
    assert fleet.main_pid(SERVER) == pids[SERVER]
    assert fleet.main_pid(SPARE) not in (pids[SPARE], "0")
    for name in (SERVER, AGENT, SPARE):
        for host, body in ANSWERS.items():
            assert fleet.get(host, name) == Answer(200, "application/json", body)
