"""K3s is taken off again, first off the agent and then off all, as one story: each test goes on from the one before."""

from __future__ import annotations

import json
from pathlib import Path

from fleet import PROJECT, Fleet, changed

from .conftest import AGENT, HI, SERVER, Picture, differences, picture

YES = "--extra-vars=confirm=yes"
KUBECONFIG = PROJECT / ".kube/uninstall.yaml"
REPORT = PROJECT / ".kube/uninstall-endpoints.txt"


def nodes(fleet: Fleet) -> dict[str, bool]:
    """Node → whether it takes pods."""
    return {
        node["metadata"]["name"]: not node["spec"].get("unschedulable", False)
        for node in fleet.objects("nodes")["items"]
    }


def ghost(folder: Path) -> str:
    """The argument that declares one agent more, which nobody can reach."""
    path = folder / "hosts.json"
    path.write_text(json.dumps({"k3s_agents": {"hosts": {"ghost": {"testbed_address": "127.0.20.250"}}}}))
    return f"--inventory={path}"


def test_a_site_of_two_nodes_is_up(fleet: Fleet, before: dict[str, Picture]) -> None:
    assert set(before) == {SERVER, AGENT}
    assert nodes(fleet) == {SERVER: True, AGENT: True}
    assert KUBECONFIG.exists()
    assert REPORT.exists()
    for name in (SERVER, AGENT):
        assert fleet.get("customer-a.parcellab.com", name) == HI


def test_without_a_yes_nothing_is_touched(fleet: Fleet) -> None:
    pids, pods = fleet.main_pids(), fleet.pods()
    done = fleet.play("uninstall.yml")
    assert done.returncode == 2, done.stdout
    assert f"Nothing was touched on {SERVER}, {AGENT}: the answer was not yes." in " ".join(done.stdout.split())
    done = fleet.play("uninstall.yml", "--extra-vars=confirm=no")
    assert done.returncode == 2, done.stdout
    assert (fleet.main_pids(), fleet.pods()) == (pids, pods)


def test_servers_cannot_go_alone(fleet: Fleet) -> None:
    pids = fleet.main_pids()
    done = fleet.play("uninstall.yml", YES, f"--limit={SERVER},localhost")
    assert done.returncode == 2, done.stdout
    assert f"This run takes all servers, and {AGENT} would stay without one." in " ".join(done.stdout.split())
    assert fleet.main_pids() == pids


def test_check_mode_lists_and_touches_nothing(fleet: Fleet) -> None:
    pids, pods = fleet.main_pids(), fleet.pods()
    done = fleet.play("uninstall.yml", "--check", "--diff")
    assert done.returncode == 0, done.stdout
    for line in (
        "service k3s",
        "service k3s-agent",
        "interface cni0",
        "file /usr/local/bin/k3s",
        "folder /var/lib/kubelet",
    ):
        assert f"-{line}\n" in done.stdout
    assert "mine" not in [line for line in done.stdout.splitlines() if line.startswith("-")]
    assert (fleet.main_pids(), fleet.pods()) == (pids, pods)
    assert nodes(fleet) == {SERVER: True, AGENT: True}
    assert KUBECONFIG.exists()


def test_pods_that_cannot_move_stop_it_before_the_host_is_touched(fleet: Fleet) -> None:
    deployment = fleet.objects("deployment/greeter", "--namespace=customer-a")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    fleet.kubectl(
        "run", "alone", f"--image={container['image']}", "--image-pull-policy=Never",
        f'--overrides={{"spec": {{"nodeName": "{AGENT}", "terminationGracePeriodSeconds": 0}}}}',
    )  # fmt: skip
    pids = fleet.main_pids()
    done = fleet.play("uninstall.yml", YES, f"--limit={AGENT},localhost", "--extra-vars=k3s_drain_timeout=5")
    assert done.returncode == 2, done.stdout
    said = " ".join(done.stdout.split())
    assert f"The pods of the node {AGENT} could not be moved within 5 s, so {AGENT} was not touched." in said
    assert "default/alone" in said
    assert fleet.main_pids() == pids
    assert nodes(fleet) == {SERVER: True, AGENT: False}
    fleet.kubectl("delete", "pod", "alone", "--wait=true")
    fleet.kubectl("uncordon", AGENT)


def test_an_agent_leaves_and_no_request_is_lost(fleet: Fleet, before: dict[str, Picture]) -> None:
    pid = fleet.main_pid(SERVER)
    with fleet.called("customer-a.parcellab.com", SERVER, per_second=10) as seen:
        done = fleet.play("uninstall.yml", YES, f"--limit={AGENT},localhost")
    assert done.returncode == 0, done.stdout
    assert len(seen) > 20
    assert set(seen) == {HI}
    assert nodes(fleet) == {SERVER: True}
    assert fleet.main_pid(SERVER) == pid
    pods = fleet.objects("pods", "--namespace=customer-a")["items"]
    assert [pod["spec"]["nodeName"] for pod in pods] == [SERVER, SERVER]
    # The one that was on the agent was ended by its kubelet, in good order, and not with the host.
    events = fleet.objects("events", "--namespace=customer-a", "--field-selector=reason=Killing")["items"]
    assert {event["source"]["host"] for event in events} == {AGENT}
    assert KUBECONFIG.exists()
    assert differences(before[AGENT], picture(AGENT)) == []


def test_the_rest_goes_though_one_host_is_not_reached(fleet: Fleet, before: dict[str, Picture], tmp_path: Path) -> None:
    done = fleet.play("uninstall.yml", ghost(tmp_path), YES)
    assert done.returncode != 0, done.stdout
    assert "Not uninstalled: ghost" in done.stdout
    assert differences(before[SERVER], picture(SERVER)) == []
    # The cluster may be needed once more for the host that was not reached.
    assert KUBECONFIG.exists()


def test_the_next_run_finds_only_what_the_controller_keeps(fleet: Fleet) -> None:
    done = fleet.play("uninstall.yml", YES)
    assert done.returncode == 0, done.stdout
    assert sum(changed(done.stdout)) == 1
    assert not KUBECONFIG.exists()
    assert not REPORT.exists()


def test_a_last_run_changes_nothing(fleet: Fleet, before: dict[str, Picture]) -> None:
    done = fleet.play("uninstall.yml", YES)
    assert done.returncode == 0, done.stdout
    assert set(changed(done.stdout)) == {0}
    for name in (SERVER, AGENT):
        assert differences(before[name], picture(name)) == []
