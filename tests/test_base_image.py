"""The lookup that says which image a base image's name stands for, with a builder that notes how it is called."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible_collections.greeter.fleet.plugins.lookup.base_image import LookupModule

NAME = "docker.io/library/python:3.13-slim"
BUILDER = """#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >>calls
case "$1" in
image) [ -f store ] || {{ echo "no such image" >&2; exit 125; }}; cat store;;
pull) {pull};;
esac
"""
INSPECT, PULL = f"image inspect --format={{{{.Id}}}} {NAME}", f"pull --quiet {NAME}"


class Builder:
    """Stands for podman."""

    def __init__(self, folder: Path, pull: str) -> None:
        """Write the program, with the shell's words that stand for its ``pull``."""
        self.folder, self.program = folder, folder / "podman"
        self.program.write_text(BUILDER.format(pull=pull))
        self.program.chmod(0o755)

    def look_up(self, check_mode: bool = False) -> str:
        """Ask the lookup."""
        (found,) = LookupModule().run(
            [NAME],
            {"ansible_check_mode": check_mode},
            builder=str(self.program),
            folder=str(self.folder / "cache"),
        )
        return found

    @property
    def calls(self) -> list[str]:
        """How the builder was called."""
        return (self.folder / "calls").read_text().splitlines() if (self.folder / "calls").exists() else []


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path, "echo sha256:1234 >store")


def test_an_image_that_is_there_is_asked_for_once_and_a_newer_one_changes_nothing(builder: Builder) -> None:
    (builder.folder / "store").write_text("1234\n")
    assert builder.look_up() == "1234"
    (builder.folder / "store").write_text("5678\n")
    assert builder.look_up() == "1234"
    assert builder.calls == [INSPECT]


def test_one_that_is_not_there_is_fetched(builder: Builder) -> None:
    assert builder.look_up() == "1234"
    assert builder.calls == [INSPECT, PULL, INSPECT]


def test_many_forks_of_a_run_ask_once(builder: Builder) -> None:
    with ThreadPoolExecutor(8) as forks:
        assert set(forks.map(lambda _: builder.look_up(), range(8))) == {"1234"}
    assert builder.calls.count(PULL) == 1


def test_check_mode_fetches_and_keeps_nothing(builder: Builder) -> None:
    assert builder.look_up(check_mode=True) == ""
    (builder.folder / "store").write_text("1234")
    assert builder.look_up(check_mode=True) == "1234"
    builder.program.unlink()
    assert builder.look_up(check_mode=True) == ""
    assert builder.calls == [INSPECT, INSPECT]
    assert not (builder.folder / "cache").exists()


def test_what_is_known_needs_no_builder(builder: Builder) -> None:
    builder.look_up()
    builder.program.unlink()
    assert builder.look_up() == "1234"


def test_once_the_answer_is_gone_it_is_asked_anew(builder: Builder) -> None:
    builder.look_up()
    (builder.folder / "cache/base_docker.io_library_python_3.13-slim.txt").unlink()
    (builder.folder / "store").write_text("5678\n")
    assert builder.look_up() == "5678"


def test_what_cannot_be_fetched_is_told_with_what_to_write(tmp_path: Path) -> None:
    broken = Builder(tmp_path, "echo 'retrying' >&2; echo 'Error: manifest unknown' >&2; exit 125")
    with pytest.raises(AnsibleError) as error:
        broken.look_up()
    fault = f"{broken.program} cannot fetch {NAME} (Error: manifest unknown); name one that it can"
    assert error.value.message == f"greeter_base_image: {fault}"
    # Nothing was kept: the next run asks again.
    Builder(tmp_path, "echo 9abc >store")
    assert broken.look_up() == "9abc"


def test_a_missing_builder_is_told(builder: Builder) -> None:
    builder.program.unlink()
    with pytest.raises(AnsibleError) as error:
        builder.look_up()
    fault = f"{builder.program} cannot be run on the controller (No such file or directory); install it, or set the"
    assert error.value.message == f"greeter_builder: {fault} other one"
