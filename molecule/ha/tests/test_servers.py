"""Several servers, an agent and what later runs do to them, as one story: each test goes on from the one before.

The scenario etcd tells it too, of three servers with embedded etcd.
"""

from __future__ import annotations

import json
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest

from fleet import Answer, Fleet, changed, pod_uids, replace_host

SCENARIO = os.environ["MOLECULE_SCENARIO_NAME"]
SERVERS = [f"greeter-{SCENARIO}-{number}" for number in range(1, {"ha": 3, "etcd": 4}[SCENARIO])]
FIRST, SECOND, AGENT = *SERVERS[:2], f"greeter-{SCENARIO}-{len(SERVERS) + 1}"
NODES = [*SERVERS, AGENT]
ALL_READY = dict.fromkeys(NODES, "True")
HI = Answer(200, "application/json", b'{"response":"Hi!"}')


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """The converged hosts."""
    return Fleet()


def nodes(fleet: Fleet, server: str) -> dict[str, str]:
    """Node → whether it is Ready, as one of the servers says."""
    listed = json.loads(fleet.nodes[server].check_output("k3s kubectl get nodes --output=json"))
    return {
        node["metadata"]["name"]: each["status"]
        for node in listed["items"]
        for each in node["status"]["conditions"]
        if each["type"] == "Ready"
    }


def moment(fleet: Fleet, node: str, event: str) -> int:
    """When K3s last began to start (``InactiveExit``) or had started (``ActiveEnter``), on the clock of all hosts."""
    service = "k3s-agent" if node == AGENT else "k3s"
    shown = fleet.nodes[node].check_output(f"systemctl show {service} --property={event}TimestampMonotonic --value")
    return int(shown)


def fleet_pods(fleet: Fleet) -> dict[str, set[str]]:
    """The customers' pods, as the second server says: the first may be down."""
    return pod_uids(json.loads(fleet.nodes[SECOND].check_output("k3s kubectl get pods -A --output=json")))


def settings(folder: Path, flags: dict[str, object]) -> str:
    """The argument for these flags of all servers."""
    path = folder / "settings.json"
    path.write_text(json.dumps({"k3s_server_config": flags}))
    return f"--extra-vars=@{path}"


def test_both_servers_are_of_one_cluster_and_every_node_answers(fleet: Fleet) -> None:
    for server in SERVERS:
        assert nodes(fleet, server) == ALL_READY
    for node in NODES:
        assert fleet.get("customer-a.parcellab.com", node) == HI


def test_the_servers_were_started_one_after_the_other_and_the_agent_last(fleet: Fleet) -> None:
    for earlier, later in pairwise(NODES):
        assert moment(fleet, earlier, "ActiveEnter") < moment(fleet, later, "InactiveExit")


@pytest.mark.skipif(SCENARIO == "etcd", reason="its datastore is embedded")
def test_the_datastores_address_is_for_root_alone(fleet: Fleet) -> None:
    for server in SERVERS:
        file = fleet.nodes[server].file("/etc/rancher/k3s/config.yaml.d/secrets.yaml")
        assert (file.user, file.mode) == ("root", 0o600)
        assert "datastore-endpoint: http://" in file.content_string
        assert "datastore" not in fleet.nodes[server].file("/etc/rancher/k3s/config.yaml").content_string


def test_a_second_run_changes_nothing_anywhere(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    before = fleet.main_pids(), fleet.pods()
    started = time.monotonic()
    done = fleet.play("site.yml")
    with capsys.disabled():
        print(f"\nsite.yml again, {len(NODES)} nodes: {time.monotonic() - started:.1f} s")
    assert done.returncode == 0, done.stdout
    assert set(changed(done.stdout)) == {0}
    assert (fleet.main_pids(), fleet.pods()) == before


def test_a_server_that_does_not_come_back_stops_the_roll(fleet: Fleet, tmp_path: Path) -> None:
    before = fleet.main_pids()
    with fleet.called("customer-a.parcellab.com", AGENT, per_second=10) as seen:
        broken = settings(tmp_path, {"kubelet-arg": ["no-such-flag"]})
        done = fleet.play("k3s.yml", broken, "--extra-vars=k3s_ready_timeout=20")
    assert done.returncode != 0
    assert f"K3s on {FIRST} is not Ready" in done.stdout
    after = fleet.main_pids()
    assert [name for name in NODES if after[name] != before[name]] == [FIRST]
    assert set(seen) == {HI}
    assert nodes(fleet, SECOND)[SECOND] == "True"


def test_the_next_run_restarts_the_servers_one_at_a_time_and_nothing_else(fleet: Fleet, tmp_path: Path) -> None:
    before, pods = fleet.main_pids(), fleet_pods(fleet)
    with fleet.called("customer-a.parcellab.com", AGENT, per_second=10) as seen:
        done = fleet.play("k3s.yml", settings(tmp_path, {"kubelet-arg": ["max-pods=90"]}))
    assert done.returncode == 0, done.stdout
    after = fleet.main_pids()
    assert [name for name in NODES if after[name] != before[name]] == SERVERS
    for earlier, later in pairwise(SERVERS):
        assert moment(fleet, earlier, "ActiveEnter") < moment(fleet, later, "InactiveExit")
    assert set(seen) == {HI}
    assert nodes(fleet, FIRST) == ALL_READY
    assert fleet_pods(fleet) == pods


def test_a_replaced_first_server_joins_the_others_and_leaves_them_alone(fleet: Fleet, tmp_path: Path) -> None:
    before = fleet.main_pids()
    replace_host(FIRST)
    with fleet.called("customer-a.parcellab.com", AGENT, per_second=10) as seen:
        done = fleet.play("site.yml", settings(tmp_path, {"kubelet-arg": ["max-pods=90"]}))
    assert done.returncode == 0, done.stdout
    assert {name: fleet.main_pid(name) for name in SERVERS[1:]} == {name: before[name] for name in SERVERS[1:]}
    for server in SERVERS:
        assert nodes(fleet, server) == ALL_READY
    for node in NODES:
        assert fleet.get("customer-a.parcellab.com", node) == HI
    # The pods of the host that went are missed by the ingress until Kubernetes has noticed, and not for ever.
    assert seen[-1] == HI
    again = fleet.play("k3s.yml", settings(tmp_path, {"kubelet-arg": ["max-pods=90"]}))
    assert set(changed(again.stdout)) == {0}
