"""The end of the output of all tests names what failed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from .conftest import PROJECT

SOME = """
import pytest

def test_passes():
    pass

@pytest.mark.parametrize("number", range({failing}))
def test_fails(number):
    assert number == -1, "first line\\nsecond line"

@pytest.fixture
def broken():
    raise OSError("no such thing")

def test_errs(broken):
    pass
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The program, with reports of its own."""
    spec = importlib.util.spec_from_file_location("run", PROJECT / "tests/run.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "run", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "REPORTS", tmp_path)
    return module


Tests = Callable[[int], None]


@pytest.fixture
def tests(tmp_path: Path) -> Tests:
    """A function that has pytest write a report of some tests, so many of which fail and one of which errs."""

    def write(failing: int) -> None:
        (tmp_path / "test_some.py").write_text(SOME.format(failing=failing))
        command = [sys.executable, "-m", "pytest", "--quiet", "test_some.py", "--junitxml=some.xml"]
        subprocess.run([*command, "-p", "no:cacheprovider"], cwd=tmp_path, check=False, capture_output=True)

    return write


def test_failed_tests_are_named_with_the_first_line_of_the_reason(run: ModuleType, tests: Tests) -> None:
    tests(1)
    lines = run.named([run.pytest("some"), run.Stage("ruff", [])])
    assert lines == [
        "failed: pytest: some",
        "  test_some::test_fails[0]: AssertionError: first line",
        '  test_some::test_errs: failed on setup with "OSError: no such thing"',
        "failed: ruff",
    ]


def test_every_stage_is_named_though_one_has_many_failed_tests(run: ModuleType, tests: Tests) -> None:
    tests(30)
    lines = run.named([run.pytest("some"), run.Stage("ruff", [])])
    assert len(lines) == 13
    assert lines[-2:] == ["  and 21 more", "failed: ruff"]


def test_a_stage_that_wrote_no_report_is_named_alone(run: ModuleType) -> None:
    assert run.named([run.molecule("ha")]) == ["failed: molecule ha"]
