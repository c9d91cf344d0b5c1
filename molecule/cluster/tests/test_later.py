"""What later runs do to a cluster, as one story: each test goes on from the one before."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from fleet import Answer, Fleet, changed, container, podman, wait_until
from pack import images as write_archive

from .conftest import AGENT, ANSWERS, LOUD, SERVER, SPARE, gives_away, is_ready, nodes

CONFIG = "/etc/rancher/k3s/config.yaml"
# With these a kubelet has too little disk, and removes at once each image that no container uses and nobody keeps.
PRESSED = (
    "eviction-hard=imagefs.available<99%", "eviction-pressure-transition-period=1s", "minimum-image-ttl-duration=1s",
)  # fmt: skip
GREETERS = "--selector=app.kubernetes.io/name=greeter"


def declared(folder: Path, pods: dict[str, int | None], *arguments: str) -> str:
    """The argument that declares agents beside the other inventory, some with their own number of pods and kubelet."""
    hosts: dict[str, Any] = {
        name: {} if number is None else {"k3s_node_config": {"kubelet-arg": [f"max-pods={number}", *arguments]}}
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


def greeters(fleet: Fleet, node: str) -> set[str]:
    """The customers all of whose pods are ready and on the node."""
    pods = fleet.objects("pods", "--all-namespaces", GREETERS)["items"]
    wanted = fleet.objects("deployments", "--all-namespaces", GREETERS)["items"]
    found = [
        pod["metadata"]["namespace"]
        for pod in pods
        if pod["spec"].get("nodeName") == node
        and "deletionTimestamp" not in pod["metadata"]
        and ("Ready", "True") in [(each["type"], each["status"]) for each in pod["status"].get("conditions", [])]
    ]
    return {
        each["metadata"]["namespace"]
        for each in wanted
        if found.count(each["metadata"]["namespace"]) == each["spec"]["replicas"]
    }


def image(fleet: Fleet) -> str:
    """What the customers' pods run."""
    deployment = fleet.objects("deployment/greeter", "--namespace=customer-a")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def images(fleet: Fleet, node: str) -> set[str]:
    """The names of all images on a node."""
    return set(fleet.nodes[node].check_output("k3s ctr images list --quiet").split())


def bring(fleet: Fleet, node: str, name: str, folder: Path) -> None:
    """Import an image, different for each name, that no pod uses."""
    archive = folder / "image.tar.gz"
    write_archive(archive, name.encode(), name, "amd64")
    podman("cp", str(archive), f"{container(node)}:/tmp/image.tar.gz")
    fleet.nodes[node].check_output("gzip -dc /tmp/image.tar.gz | k3s ctr images import -")


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
    """The node has no greeter at the time, and its kubelet wants room from then on."""
    fleet.kubectl("cordon", AGENT)
    fleet.kubectl("delete", "pods", "--all-namespaces", f"--field-selector=spec.nodeName={AGENT}", GREETERS)
    wait_until(lambda: greeters(fleet, SERVER) == {"customer-a", "customer-b"}, "all pods on the server")
    bring(fleet, AGENT, "localhost/unused:1", tmp_path)
    before, pid = state(fleet, SERVER), fleet.main_pid(AGENT)
    done = fleet.play("k3s.yml", declared(tmp_path, {AGENT: 90}, *PRESSED))
    assert done.returncode == 0, done.stdout
    assert fleet.main_pid(AGENT) not in (pid, "0")
    assert state(fleet, SERVER) == before
    wait_until_they_take(fleet, {SERVER: "110", AGENT: "90"})


def test_the_image_outlives_garbage_collection_and_a_pod_that_moves_to_the_node_answers(
    fleet: Fleet, tmp_path: Path
) -> None:
    wait_until(lambda: "localhost/unused:1" not in images(fleet, AGENT), "an image that nobody keeps stays")
    assert image(fleet) in images(fleet, AGENT)
    done = fleet.play("k3s.yml", declared(tmp_path, {AGENT: 90}))
    assert done.returncode == 0, done.stdout
    fleet.kubectl("uncordon", AGENT)
    fleet.kubectl("cordon", SERVER)
    try:
        fleet.kubectl("delete", "pods", "--namespace=customer-b", GREETERS)
        wait_until(lambda: "customer-b" in greeters(fleet, AGENT), "the pod is not ready on the agent")
    finally:
        fleet.kubectl("uncordon", SERVER)
    host = "customer-b.parcellab.com"
    assert fleet.get(host, AGENT) == Answer(200, "application/json", ANSWERS[host])


def test_a_node_without_the_image_is_named_and_the_next_run_mends_it_and_clears_away_old_ones(
    fleet: Fleet, tmp_path: Path
) -> None:
    lost, old, other = image(fleet), "localhost/greeter:old", "localhost/greeter-two:old"
    for name in (old, other):
        bring(fleet, SERVER, name, tmp_path)
    fleet.nodes[SERVER].check_output("k3s ctr images remove %s", lost)
    fault = f"{SERVER}: has no image {lost}, so that no pod of it can start there; run playbooks/site.yml"
    assert fault in " ".join(fleet.play("status.yml").stdout.split())
    done = fleet.play("image.yml")
    assert done.returncode == 0, done.stdout
    assert images(fleet, SERVER) & {lost, old, other} == {lost, other}
    assert set(changed(fleet.play("image.yml").stdout)) == {0}


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
    assert image(fleet) in images(fleet, SPARE)
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
