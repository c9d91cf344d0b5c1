"""Running it again: what is as declared stays untouched, and what would change is shown."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from fleet import Answer, Fleet, changed

from .conftest import WithGreeting

CALLS_PER_SECOND = 20


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    before = fleet.main_pid(), fleet.pods()
    done = fleet.play("site.yml")
    assert done.returncode == 0, done.stdout
    assert changed(done.stdout) == [0, 0]
    assert (fleet.main_pid(), fleet.pods()) == before


def test_check_mode_on_a_converged_host_foresees_nothing(fleet: Fleet) -> None:
    done = fleet.play("site.yml", "--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert changed(done.stdout) == [0, 0]


def test_check_mode_shows_what_would_change_and_changes_nothing(fleet: Fleet, with_greeting: WithGreeting) -> None:
    before = fleet.pods()
    done = fleet.play("site.yml", "--check", "--diff", with_greeting("b", "Good evening!"))
    assert done.returncode == 0, done.stdout
    assert "~ changed     b: greeting\n" in done.stdout
    assert re.search(r"^-\s+value: Dear Sir or Madam!$", done.stdout, re.MULTILINE)
    assert re.search(r"^\+\s+value: Good evening!$", done.stdout, re.MULTILINE)
    assert sorted(changed(done.stdout)) == [0, 1]
    assert fleet.get("customer-b.parcellab.com").body == b'{"response":"Dear Sir or Madam!"}'
    assert fleet.pods() == before


def test_check_mode_names_a_customer_who_would_be_new(fleet: Fleet, with_greeting: WithGreeting) -> None:
    done = fleet.play("site.yml", "--check", "--diff", with_greeting("soon", "Not yet!"))
    assert done.returncode == 0, done.stdout
    assert "+ new         soon: customer-soon.parcellab.com\n" in done.stdout
    assert fleet.get("customer-soon.parcellab.com").status == 404


def test_a_new_greeting_loses_no_request(fleet: Fleet, with_greeting: WithGreeting) -> None:
    old, new = '{"response":"Grüß Gott, $(CUSTOMER_NAME) 👋"}'.encode(), b'{"response":"Good night!"}'
    over = threading.Event()
    seen: list[Answer | str] = []

    def call() -> None:
        # Bounded: a rollout that takes longer than five minutes has failed anyway.
        for _ in range(300 * CALLS_PER_SECOND):
            try:
                seen.append(fleet.get("customer-fickle.parcellab.com"))
            except OSError as error:
                seen.append(repr(error))
            if over.wait(1 / CALLS_PER_SECOND):
                return

    caller = threading.Thread(target=call)
    caller.start()
    try:
        changed_to = with_greeting("fickle", "Good night!")
        for playbook in ("customers.yml", "verify.yml"):
            done = fleet.play(playbook, changed_to)
            assert done.returncode == 0, done.stdout
    finally:
        over.set()
        caller.join()
    assert fleet.get("customer-fickle.parcellab.com").body == new
    assert {answer.body if isinstance(answer, Answer) else answer for answer in seen} == {old, new}
    assert {answer.status for answer in seen if isinstance(answer, Answer)} == {200}
    assert fleet.play("customers.yml").returncode == 0


def test_a_changed_configuration_restarts_k3s_once_and_no_pod(fleet: Fleet, tmp_path: Path) -> None:
    pods = fleet.pods()
    config = tmp_path / "config.json"
    config.write_text('{"k3s_config": {"kubelet-arg": ["max-pods=90"]}}')
    for arguments, capacity in ([f"--extra-vars=@{config}"], "90"), ([], "110"):
        pid = fleet.main_pid()
        done = fleet.play("k3s.yml", *arguments)
        assert done.returncode == 0, done.stdout
        assert fleet.main_pid() != pid
        assert fleet.pods() == pods
        (node,) = fleet.objects("nodes")["items"]
        assert node["status"]["capacity"]["pods"] == capacity
