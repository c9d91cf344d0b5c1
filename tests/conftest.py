"""What the tests of the playbooks share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

Run = Callable[..., subprocess.CompletedProcess[str]]

# Colours off even where the caller forces them, as Molecule does for its verifier: tests read lines.
PLAIN = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}

# What a module was given is in its result, as it always is before ansible-core 2.21.
GIVEN = {"ANSIBLE_INJECT_INVOCATION": "1"}


@pytest.fixture(scope="session")
def ansible() -> Run:
    """A function that runs an Ansible program of this environment in the project and returns how it ended."""

    def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).parent / program), *arguments],
            cwd=PROJECT,
            env=os.environ | PLAIN | GIVEN | environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
