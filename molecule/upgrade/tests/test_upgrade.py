"""A cluster's way through two more releases, as one story: each test goes on from the one before."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet import PROJECT, Answer, Fleet, changed

SERVER, AGENT = "greeter-upgrade-1", "greeter-upgrade-2"
HOST = "customer-a.parcellab.com"
BACKUPS = PROJECT / ".kube/upgrade-backups"
HI = Answer(200, "application/json", b'{"response":"Hi!"}')
# A budget of the operator's own: the Kubernetes that the test hosts may have is too old for the customers' own.
BUDGET = """
apiVersion: {api}
kind: PodDisruptionBudget
metadata: {{name: {name}, namespace: customer-a}}
spec:
  {limit}
  selector: {{matchLabels: {{app.kubernetes.io/name: greeter}}}}
"""


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """The converged hosts."""
    return Fleet()


@pytest.fixture(scope="module")
def found(fleet: Fleet) -> dict[str, str]:
    """What the hosts were made from."""
    return dict(json.loads((fleet.ephemeral / "testbed.json").read_text()))


@pytest.fixture(scope="module")
def releases(found: dict[str, str]) -> list[str]:
    """Two folders with a release each, the second newer than the first, and both newer than what is installed."""
    given = os.environ.get("K3S_NEXT_ARTIFACT_DIRS", "")
    if given:
        return given.split(":")
    if not found["k3s_version"].startswith("v1.20.2+testbed"):
        pytest.skip("the releases after this one have to be given: K3S_NEXT_ARTIFACT_DIRS=/first:/second")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "greeter-fleet"
    build = [PROJECT / "molecule/testbed/k3s/build.sh", cache]
    return [
        subprocess.run([*build, version], check=True, capture_output=True, text=True).stdout.strip()
        for version in ("v1.20.2+testbed2", "v1.20.2+testbed3")
    ]


def version_in(folder: str) -> str:
    """The version of a release."""
    (binary,) = (path for path in Path(folder).glob("k3s*") if "images" not in path.name)
    said = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    return said.split()[2]


def to(folder: str) -> list[str]:
    """The arguments by which an operator asks for a release."""
    return [f"--extra-vars=k3s_artifact_dir={folder}", f"--extra-vars=k3s_version={version_in(folder)}"]


def nodes(fleet: Fleet) -> dict[str, Any]:
    """Node → its object."""
    return {node["metadata"]["name"]: node for node in fleet.objects("nodes")["items"]}


def versions(fleet: Fleet) -> dict[str, str]:
    """Node → the version that its kubelet reports."""
    return {name: node["status"]["nodeInfo"]["kubeletVersion"] for name, node in nodes(fleet).items()}


def cordoned(fleet: Fleet) -> list[str]:
    """The nodes that take no new pods."""
    return [name for name, node in nodes(fleet).items() if node["spec"].get("unschedulable")]


def bear(fleet: Fleet, name: str, limit: str) -> None:
    """Make a budget for the customer's pods."""
    api = "policy/v1" if "policy/v1" in fleet.kubectl("api-versions").split() else "policy/v1beta1"
    text = BUDGET.format(api=api, name=name, limit=limit)
    fleet.node.run_expect([0], "printf %s | k3s kubectl apply --filename=-", text)


def is_called_off(done: subprocess.CompletedProcess[str]) -> str:
    """What a run that had to fail has said, without its line breaks."""
    assert done.returncode != 0, done.stdout
    return re.sub(r"\s+", " ", done.stdout)


def other_minor(version: str, step: int) -> str:
    """The same version some minor ones away."""
    major, minor, rest = version.split(".", 2)
    return f"{major}.{int(minor) + step}.{rest}"


def eventually(fact: Callable[[], object]) -> bool:
    """Whether something is so within three minutes."""
    until = time.monotonic() + 180
    while not fact():
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


def manifest(folder: Path, name: str, *config_maps: str) -> str:
    """A manifest on the controller with these ConfigMaps in it."""
    path = folder / name
    maps = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": each}} for each in config_maps]
    path.write_text(yaml.safe_dump_all(maps))
    return str(path)


def handed(*manifests: str, **settings: object) -> str:
    """The argument by which an operator hands K3s manifests."""
    return f"--extra-vars={json.dumps({'k3s_manifests': manifests, **settings})}"


def config_maps(fleet: Fleet) -> set[str]:
    """Those of the namespace default that a manifest has made."""
    names = {each["metadata"]["name"] for each in fleet.objects("configmaps")["items"]}
    return names & {"one", "two", "both"}


def nodes_of_traefik(fleet: Fleet) -> list[str]:
    """The node of each pod of Traefik that is ready."""
    pods = fleet.objects("pods", "--namespace=kube-system", "--selector=app.kubernetes.io/name=traefik")["items"]
    return sorted(
        pod["spec"]["nodeName"]
        for pod in pods
        for condition in pod["status"].get("conditions", [])
        if (condition["type"], condition["status"]) == ("Ready", "True") and "deletionTimestamp" not in pod["metadata"]
    )


def test_traefik_has_a_pod_on_either_node(fleet: Fleet) -> None:
    assert eventually(lambda: nodes_of_traefik(fleet) == [SERVER, AGENT])


def test_a_manifest_that_is_taken_back_goes_with_what_it_has_made(fleet: Fleet, tmp_path: Path) -> None:
    one, two = manifest(tmp_path, "one.yaml", "one", "both"), manifest(tmp_path, "two.yaml", "two", "both")
    pids = fleet.main_pids()

    def play(*arguments: str) -> list[int]:
        done = fleet.play("k3s.yml", *arguments)
        assert done.returncode == 0, done.stdout
        return changed(done.stdout)

    play(handed(one, two))
    assert eventually(lambda: config_maps(fleet) == {"one", "two", "both"})
    # What another manifest declares too stays.
    play(handed(two))
    assert config_maps(fleet) == {"two", "both"}
    play(handed(one))
    assert eventually(lambda: config_maps(fleet) == {"one", "both"})
    play(handed(k3s_traefik_replicas=0))
    assert config_maps(fleet) == set()
    assert eventually(lambda: len(nodes_of_traefik(fleet)) == 1)
    play()
    assert eventually(lambda: nodes_of_traefik(fleet) == [SERVER, AGENT])
    assert play() == [0, 0]
    assert fleet.main_pids() == pids


@pytest.mark.parametrize(("step", "words"), [(-1, "is older than"), (2, "skips a minor version")])
def test_no_way_leads_back_or_over_a_minor_version(fleet: Fleet, found: dict[str, str], step: int, words: str) -> None:
    pids = fleet.main_pids()
    wanted = other_minor(found["k3s_version"], step)
    said = is_called_off(fleet.play("upgrade.yml", f"--extra-vars=k3s_version={wanted}"))
    # What is wrong with several hosts is one line.
    assert re.search(rf"- hosts? {SERVER}[^:]*: k3s_version: {re.escape(wanted)} {words}", said)
    assert fleet.main_pids() == pids


def test_an_agent_is_not_raised_above_a_server_that_is_left_out(fleet: Fleet, releases: list[str]) -> None:
    pids = fleet.main_pids()
    was, wanted = versions(fleet)[SERVER], version_in(releases[0])
    said = is_called_off(fleet.play("k3s.yml", f"--limit={AGENT}", *to(releases[0])))
    assert f"{AGENT} cannot get {wanted} in a run that leaves out others: the server {SERVER} runs {was}" in said
    assert fleet.main_pids() == pids
    assert not fleet.nodes[AGENT].file("/usr/local/bin/k3s-next").exists


def test_nobody_is_started_to_join_by_an_address_where_the_cluster_does_not_answer(
    fleet: Fleet, tmp_path: Path
) -> None:
    pids = fleet.main_pids()
    elsewhere = tmp_path / "hosts.json"
    # Nobody has this address: https://www.rfc-editor.org/rfc/rfc5737
    settings = {"k3s_registration_address": "192.0.2.1", "k3s_ready_timeout": 4}
    elsewhere.write_text(json.dumps({"k3s_agents": {"hosts": {AGENT: settings}}}))
    said = is_called_off(fleet.play("k3s.yml", f"--inventory={elsewhere}"))
    assert f"{AGENT} was not started: it joins by https://192.0.2.1:6443, where no API server of this cluster" in said
    assert fleet.main_pids() == pids
    done = fleet.play("k3s.yml")
    assert done.returncode == 0, done.stdout
    assert fleet.main_pid(SERVER) == pids[SERVER]


def test_check_mode_shows_the_upgrade_and_does_nothing(fleet: Fleet, releases: list[str]) -> None:
    pids, before = fleet.main_pids(), versions(fleet)
    done = fleet.play("k3s.yml", "--check", "--diff", *to(releases[0]))
    assert done.returncode == 0, done.stdout
    assert re.search(rf"Drain the node.*\n(?:skipping|changed): \[{SERVER}", done.stdout)
    assert all(number > 0 for number in changed(done.stdout)[:2])
    assert (fleet.main_pids(), versions(fleet), cordoned(fleet)) == (pids, before, [])
    for node in (SERVER, AGENT):
        assert not fleet.nodes[node].file("/usr/local/bin/k3s-next").exists


def test_a_budget_that_spares_no_pod_stops_the_roll_before_anything_is_replaced(
    fleet: Fleet, releases: list[str]
) -> None:
    pids, before, pods = fleet.main_pids(), versions(fleet), fleet.pods()
    bear(fleet, "strict", "minAvailable: 2")
    said = is_called_off(fleet.play("k3s.yml", *to(releases[0]), "--extra-vars=k3s_drain_timeout=3"))
    assert f"The pods of {SERVER} could not be moved to other nodes within 3 s, so it keeps the K3s it has" in said
    assert "The PodDisruptionBudget customer-a/strict lets no pod go: 2 healthy, 2 needed." in said
    assert (fleet.main_pids(), versions(fleet), fleet.pods()) == (pids, before, pods)
    assert cordoned(fleet) == []
    # A K3s that crashes now comes back as it was.
    for node, version in before.items():
        assert f"k3s version {version} " in fleet.nodes[node].check_output("k3s --version")
    fleet.kubectl("delete", "poddisruptionbudget", "strict", "--namespace=customer-a")


def test_an_upgrade_of_both_loses_no_request(
    fleet: Fleet, releases: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before, was, pids, earlier = fleet.pods()["customer-a"], versions(fleet), fleet.main_pids(), set(BACKUPS.iterdir())
    bear(fleet, "usual", "maxUnavailable: 1")
    started = time.monotonic()
    with fleet.called(HOST, SERVER, AGENT, per_second=25) as seen:
        done = fleet.play("upgrade.yml", *to(releases[0]))
    with capsys.disabled():
        lost = sum(answer != HI for answer in seen)
        print(f"\nupgrade of two nodes: {time.monotonic() - started:.1f} s, {len(seen)} requests, {lost} lost")
    assert done.returncode == 0, done.stdout
    assert versions(fleet) == dict.fromkeys((SERVER, AGENT), version_in(releases[0]))
    assert cordoned(fleet) == []
    assert [answer for answer in seen if answer != HI] == []
    assert len(seen) > 500
    # None of the pods was on its node when K3s was replaced there: they were moved.
    assert fleet.pods()["customer-a"].isdisjoint(before)
    assert [name for name, pid in fleet.main_pids().items() if pid == pids[name]] == []
    # The state of before, and that alone: the agent's turn takes none.
    (backup,) = set(BACKUPS.iterdir()) - earlier
    assert json.loads(subprocess.check_output(["tar", "-xzOf", backup, "about.json"]))["k3s_version"] == was[SERVER]
    events = fleet.objects("events", "--field-selector=reason=NodeNotSchedulable")["items"]
    assert {event["involvedObject"]["name"] for event in events} == {SERVER, AGENT}


def test_a_node_that_fails_half_way_stops_the_roll_and_says_how_to_go_on(
    fleet: Fleet, releases: list[str], tmp_path: Path
) -> None:
    failing = tmp_path / "hosts.json"
    settings = {"k3s_node_config": {"kubelet-arg": ["no-such-flag"]}, "k3s_ready_timeout": 8}
    failing.write_text(json.dumps({"k3s_agents": {"hosts": {AGENT: settings}}}))
    with fleet.called(HOST, SERVER, AGENT, per_second=25) as seen:
        said = is_called_off(fleet.play("k3s.yml", f"--inventory={failing}", *to(releases[1])))
    assert f"K3s on {AGENT} is not Ready at {version_in(releases[1])}" in said
    assert "it stays cordoned; mend it and run this again: it goes on from here" in said
    assert versions(fleet) == {SERVER: version_in(releases[1]), AGENT: version_in(releases[0])}
    assert cordoned(fleet) == [AGENT]
    assert [answer for answer in seen if answer != HI] == []


def test_the_next_run_goes_on_where_it_was_stopped(fleet: Fleet, releases: list[str]) -> None:
    pids, pods = fleet.main_pids(), fleet.pods()
    # Whom the operator has cordoned stays so.
    fleet.kubectl("cordon", SERVER)
    done = fleet.play("upgrade.yml", *to(releases[1]))
    assert done.returncode == 0, done.stdout
    assert versions(fleet) == dict.fromkeys((SERVER, AGENT), version_in(releases[1]))
    assert cordoned(fleet) == [SERVER]
    fleet.kubectl("uncordon", SERVER)
    assert (fleet.main_pid(SERVER), fleet.pods()) == (pids[SERVER], pods)


def test_the_run_after_it_only_lets_pods_onto_a_node_that_an_interrupted_upgrade_has_cordoned(
    fleet: Fleet, releases: list[str]
) -> None:
    pids = fleet.main_pids()
    mark = '{"metadata":{"annotations":{"greeter-fleet/cordoned":"upgrade"}},"spec":{"unschedulable":true}}'
    fleet.kubectl("patch", "node", AGENT, f"--patch={mark}")
    done = fleet.play("k3s.yml", *to(releases[1]))
    assert done.returncode == 0, done.stdout
    assert sum(changed(done.stdout)) == 1, done.stdout
    assert cordoned(fleet) == []
    assert "greeter-fleet/cordoned" not in nodes(fleet)[AGENT]["metadata"]["annotations"]
    assert fleet.main_pids() == pids
