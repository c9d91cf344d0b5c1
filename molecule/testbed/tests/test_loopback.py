"""Hosts of two checkouts never share an address."""

import socket
from pathlib import Path

import pytest

import loopback


@pytest.fixture
def checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two checkouts whose folders have the same name, on a machine where the usual addresses are free."""
    monkeypatch.setattr(loopback, "CLAIMS", tmp_path)
    # Real hosts may have the others.
    monkeypatch.setattr(loopback, "USUAL", "127.255.254")
    folders = [tmp_path / name / "greeter-fleet" for name in ("mine", "yours")]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


def test_the_first_checkout_gets_the_usual_addresses_for_good_and_the_second_one_its_own(checkouts: list[Path]) -> None:
    mine, yours = checkouts
    for _ in range(2):
        assert loopback.choose(mine, "demo", ["2"]) == "127.255.254"
        assert loopback.choose(yours, "demo", ["2"]) == loopback.own(yours)
    assert loopback.choose(yours, "ha", ["8", "9"]) == "127.255.254"


def test_a_checkout_that_is_gone_has_no_claim(checkouts: list[Path]) -> None:
    mine, yours = checkouts
    loopback.choose(mine, "demo", ["2"])
    mine.rmdir()
    assert loopback.choose(yours, "demo", ["2"]) == "127.255.254"


@pytest.mark.parametrize("address", ["127.255.254.3", "0.0.0.0"])
def test_addresses_at_which_somebody_listens_are_left_to_them(checkouts: list[Path], address: str) -> None:
    with socket.create_server((address, 0)) as listener, pytest.MonkeyPatch.context() as context:
        context.setattr(loopback, "PORTS", (listener.getsockname()[1],))
        assert loopback.choose(checkouts[0], "demo", ["2", "3"]) == loopback.own(checkouts[0])


def test_own_addresses_differ_and_are_never_the_usual_ones() -> None:
    found = {loopback.own(Path(f"/home/{number}/greeter-fleet")) for number in range(500)}
    assert len(found) > 490
    assert not [each for each in found if each.startswith("127.0.")]
    assert {len(each.split(".")) for each in found} == {3}
