"""Which Python `make` takes, the newest that is there and can be used, and what runs with the other Ansible."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import PROJECT
from .run import OTHER_ANSIBLE, OTHER_PYTHONS, phases

# What the script asks of a Python, answered by its version alone.
PYTHON = """#!/bin/sh
[ "$3" = {version} ] && echo {name}
"""
# As pyenv's for a version that is not selected, and as Debian's python3 without the package python3-venv.
UNUSABLE = "#!/bin/sh\necho 'command not found' >&2\nexit 127\n"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder that is all of PATH besides the system's shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "sh"):
        (folder / name).symlink_to(f"/bin/{name}")
    return folder


def install(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def found(programs: Path, *versions: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROJECT / "tests/find_python.sh", *versions],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_of_the_versions_that_runs_is_taken(programs: Path) -> None:
    install(programs / "python3.13", UNUSABLE)
    install(programs / "python3.12", PYTHON.format(version="3.12", name="twelve"))
    install(programs / "python3", PYTHON.format(version="3.11", name="eleven"))
    assert found(programs, "3.14", "3.13", "3.12", "3.11").stdout == "twelve\n"
    assert found(programs, "3.11").stdout == "eleven\n"


def test_one_that_pyenv_keeps_is_found_behind_its_shim(programs: Path, tmp_path: Path) -> None:
    install(programs / "pyenv", f"#!/bin/sh\necho {tmp_path}\n")
    install(programs / "python3.13", UNUSABLE)
    install(tmp_path / "versions/3.13.0/bin/python3", PYTHON.format(version="3.13", name="kept"))
    assert found(programs, "3.13").stdout == "kept\n"


def test_the_interpreter_itself_is_named_not_an_environment_of_it(programs: Path) -> None:
    """Else `make` would remove the very Python that it makes .venv of."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (programs / "python3").symlink_to(sys.executable)
    assert found(programs, version).stdout == f"{Path(sys.executable).resolve()}\n"


def test_none_is_an_error_that_says_what_to_do(programs: Path) -> None:
    install(programs / "python3", UNUSABLE)
    done = found(programs, "3.12", "3.11")
    assert (done.returncode, done.stdout) == (1, "")
    assert "3.12 3.11" in done.stderr
    assert "python3-venv" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_no_stage_overwrites_the_report_of_another() -> None:
    reports = [stage.report for _, stages in phases(False, True) for stage in stages if stage.report]
    assert len(set(reports)) == len(reports)
    assert sum(report.startswith(f"{OTHER_ANSIBLE}-") for report in reports) == 3


def test_every_python_that_make_takes_has_one_of_the_two_ansibles() -> None:
    (taken,) = re.findall(r"find_python\.sh ([\d. ]+)\)", (PROJECT / "Makefile").read_text())
    own = set(taken.split()) - set(OTHER_PYTHONS)
    assert set(OTHER_PYTHONS) < set(taken.split())
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in own
    assert len({version < "3.12" for version in own}) == 1
