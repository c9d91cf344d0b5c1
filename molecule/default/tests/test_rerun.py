"""Running it again: what is as declared stays untouched, and what would change is shown."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fleet import Answer, Fleet, changed, wait_until

from .conftest import WithGreeting


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    before = fleet.main_pid(), fleet.pods()
    done = fleet.play("site.yml")
    assert done.returncode == 0, done.stdout
    assert set(changed(done.stdout)) == {0}
    assert (fleet.main_pid(), fleet.pods()) == before


def test_check_mode_on_a_converged_host_foresees_nothing(fleet: Fleet) -> None:
    done = fleet.play("site.yml", "--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert set(changed(done.stdout)) == {0}


def test_check_mode_shows_what_would_change_and_changes_nothing(fleet: Fleet, with_greeting: WithGreeting) -> None:
    before = fleet.pods()
    done = fleet.play("site.yml", "--check", "--diff", with_greeting("b", "Good evening!"))
    assert done.returncode == 0, done.stdout
    assert "~ changed     b: greeting\n" in done.stdout
    assert re.search(r"^-\s+value: Dear Sir or Madam!$", done.stdout, re.MULTILINE)
    assert re.search(r"^\+\s+value: Good evening!$", done.stdout, re.MULTILINE)
    assert sum(changed(done.stdout)) == 1
    assert fleet.get("customer-b.parcellab.com").body == b'{"response":"Dear Sir or Madam!"}'
    assert fleet.pods() == before


def test_check_mode_names_a_customer_who_would_be_new(fleet: Fleet, with_greeting: WithGreeting) -> None:
    done = fleet.play("site.yml", "--check", "--diff", with_greeting("soon", "Not yet!"))
    assert done.returncode == 0, done.stdout
    assert "+ new         soon: customer-soon.parcellab.com\n" in done.stdout
    assert fleet.get("customer-soon.parcellab.com").status == 404


def test_a_new_greeting_loses_no_request(fleet: Fleet, with_greeting: WithGreeting) -> None:
    old, new = '{"response":"Grüß Gott, $(CUSTOMER_NAME) 👋"}'.encode(), b'{"response":"Good night!"}'
    changed_to = with_greeting("fickle", "Good night!")
    with fleet.called("customer-fickle.parcellab.com", "greeter-default", per_second=20) as seen:
        for playbook in ("customers.yml", "verify.yml"):
            done = fleet.play(playbook, changed_to)
            assert done.returncode == 0, done.stdout
    assert fleet.get("customer-fickle.parcellab.com").body == new
    assert {answer.body if isinstance(answer, Answer) else answer for answer in seen} == {old, new}
    assert {answer.status for answer in seen if isinstance(answer, Answer)} == {200}
    assert fleet.play("customers.yml").returncode == 0


@pytest.fixture
def mirror(found: dict[str, str], tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings for a mirror on the controller's loopback whose binary is not quite the installed one."""
    if not found["k3s_artifact_dir"]:
        pytest.skip("this run downloads a release and has no artifacts to offer")
    release = tmp_path / "mirror" / found["k3s_version"]
    release.mkdir(parents=True)
    (checksums,) = Path(found["k3s_artifact_dir"]).glob("sha256sum-*.txt")
    binary = (Path(found["k3s_artifact_dir"]) / "k3s").read_bytes() + b"\n"
    (release / "k3s").write_bytes(binary)
    (release / checksums.name).write_text(f"{hashlib.sha256(binary).hexdigest()}  k3s\n")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=release.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "k3s_release_url": f"http://127.0.0.1:{server.server_port}",
            "k3s_artifact_dir": "",
            "k3s_download_on": "controller",
            "k3s_checksums": {
                found["k3s_version"]: dict.fromkeys(["amd64", "arm64"], hashlib.sha256(binary).hexdigest())
            },
        }
        server.shutdown()


def wait_until_it_takes(fleet: Fleet, pods: str) -> None:
    """Wait until the node's kubelet has told that it takes so many pods."""

    def has_told() -> bool:
        (node,) = fleet.objects("nodes")["items"]
        return bool(node["status"]["capacity"]["pods"] == pods)

    wait_until(has_told, f"the node does not take {pods} pods")


def test_whatever_changes_restarts_k3s_and_no_pod(
    fleet: Fleet, mirror: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pods = fleet.pods()
    settings = tmp_path / "settings.json"
    settings.write_text('{"k3s_config": {"kubelet-arg": ["no-such-flag"]}, "k3s_ready_timeout": 20}')
    refused = fleet.play("k3s.yml", f"--extra-vars=@{settings}")
    assert refused.returncode != 0
    assert "K3s on greeter-default is not Ready at v" in refused.stdout
    # Its own words, however much it has written since: whatever a line begins with, K3s' level or klog's.
    errors = refused.stdout.partition("Its last errors:\n")[2].partition("Its last lines:\n")[0]
    assert re.search(r"^\s*\S.*kubelet", errors, re.MULTILINE), refused.stdout
    for changes, capacity in ({"k3s_config": {"kubelet-arg": ["max-pods=90"]}}, "90"), (mirror, "110"), ({}, "110"):
        pid, binary = fleet.main_pid(), fleet.node.file("/usr/local/bin/k3s").sha256sum
        settings.write_text(json.dumps(changes))
        done = fleet.play("k3s.yml", f"--extra-vars=@{settings}")
        assert done.returncode == 0, done.stdout
        assert fleet.main_pid() != pid
        assert (fleet.node.file("/usr/local/bin/k3s").sha256sum == binary) == ("k3s_config" in changes)
        assert fleet.pods() == pods
        wait_until_it_takes(fleet, capacity)
