"""A host that was cut off before the first run: nothing was missed there, and nothing was even asked for."""

from __future__ import annotations

import hashlib
import re
import socket
from pathlib import Path

import pytest

from fleet import Answer, Fleet, wait_until

# The rule for the host itself; that for its pods, which are not the run's doing, says whose packets it drops.
RULE = re.compile(r"^\s*(?P<packets>\d+)\s+\d+\s+DROP\s.*\s![0-9.]+/24\s*$", re.MULTILINE)
IMAGES = "/var/lib/rancher/k3s/agent/images"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """The converged host."""
    return Fleet()


@pytest.fixture(scope="module")
def artifacts(fleet: Fleet) -> Path:
    """The folder on the controller that everything came from."""
    return Path(fleet.found["k3s_artifact_dir"])


def refused(fleet: Fleet) -> int:
    """How many packets the host has tried to send out of its network."""
    listed = fleet.node.check_output("iptables --wait --table mangle --list POSTROUTING --numeric --verbose --exact")
    found = RULE.search(listed)
    assert found, listed
    return int(found["packets"])


def connects(fleet: Fleet, address: str, port: int) -> bool:
    """Whether the host can open a connection."""
    return bool(fleet.node.run("timeout 2 bash -c '</dev/tcp/%s/%s'", address, str(port)).rc == 0)


def test_the_whole_run_asked_for_nothing_outside(fleet: Fleet) -> None:
    assert refused(fleet) == 0


@pytest.mark.parametrize(
    ("host", "body"),
    [
        ("customer-a.parcellab.com", b'{"response":"Hi!"}'),
        ("customer-b.parcellab.com", b'{"response":"Dear Sir or Madam!"}'),
    ],
)
def test_the_customers_answer(fleet: Fleet, host: str, body: bytes) -> None:
    assert fleet.get(host) == Answer(200, "application/json", body)


def test_the_binary_and_the_images_are_those_of_the_folder(fleet: Fleet, artifacts: Path) -> None:
    (images,) = artifacts.glob("k3s-airgap-images-*")
    brought = [name for name in fleet.node.check_output(f"ls {IMAGES}").split() if name.startswith("k3s-airgap-")]
    assert brought == [images.name]
    for path, source in (("/usr/local/bin/k3s", artifacts / "k3s"), (f"{IMAGES}/{images.name}", images)):
        assert fleet.node.file(path).sha256sum == hashlib.sha256(source.read_bytes()).hexdigest()


def test_every_pod_runs_from_an_image_that_was_brought(fleet: Fleet) -> None:
    def not_ready() -> list[str]:
        pods = fleet.objects("pods", "--all-namespaces")["items"]
        assert len(pods) >= 2
        # A Job's pods come to an end.
        states = [pod["status"] for pod in pods if pod["status"]["phase"] != "Succeeded"]
        ready = {"type": "Ready", "status": "True"}
        return [each for each in states if not any(ready.items() <= one.items() for one in each.get("conditions", []))]

    # What the release brings besides may still be starting.
    wait_until(lambda: not not_ready(), "not all pods are ready")


def test_the_host_is_cut_off(fleet: Fleet) -> None:
    """The machine itself is outside the hosts' network: with a way around the rule, the very same call gets through."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        outside = probe.getsockname()[0]
    with socket.create_server((outside, 0)) as listener:
        port = listener.getsockname()[1]
        before = refused(fleet)
        assert not connects(fleet, outside, port)
        assert refused(fleet) > before
        way_out = f"POSTROUTING --destination {outside} --jump ACCEPT"
        fleet.node.check_output(f"iptables --wait --table mangle --insert {way_out}")
        try:
            assert connects(fleet, outside, port)
        finally:
            fleet.node.check_output(f"iptables --wait --table mangle --delete {way_out}")
        assert not connects(fleet, outside, port)
    assert fleet.node.run("getent hosts example.org").rc != 0
