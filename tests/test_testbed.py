"""What is done to this machine's container engine when the hosts of a scenario are removed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from .conftest import PROJECT, Run

# Knows no container, no volume and no network, says that somebody has hosts, and keeps what it was asked.
PODMAN = """#!/bin/sh
printf '%s\\n' "$*" >>"$PODMAN_ASKED"
case "$1 $2" in
  --version*) echo podman version 5.0.0 ;;
  "ps --all") echo 4711 ;;
  *) exit 1 ;;
esac
"""


def test_destroy_asks_only_for_what_bears_this_checkouts_mark(ansible: Run, tmp_path: Path) -> None:
    claim, elsewhere, folder = tmp_path / "claim", tmp_path / "elsewhere", tmp_path / "folder"
    elsewhere.mkdir()
    claim.symlink_to(elsewhere)
    asked = tmp_path / "asked"
    podman = tmp_path / "bin/podman"
    podman.parent.mkdir()
    podman.write_text(PODMAN)
    podman.chmod(0o755)
    done = ansible(
        "ansible-playbook", "molecule/testbed/destroy.yml", "--inventory=molecule/testbed/inventory",
        "--inventory=molecule/ha/inventory", f"--extra-vars=testbed_claim={claim}",
        PATH=f"{podman.parent}:/usr/sbin:/usr/bin:/sbin:/bin", PODMAN_ASKED=str(asked),
        MOLECULE_EPHEMERAL_DIRECTORY=str(folder), MOLECULE_SCENARIO_NAME="ha",
        MOLECULE_PROJECT_DIRECTORY=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    mark = hashlib.sha256(str(PROJECT.resolve()).encode()).hexdigest()[:6]
    names = set(re.findall(r"\bgreeter-ha\S*", asked.read_text()))
    assert {name for name in names if mark not in name} == set()
    wanted = {f"greeter-ha{which}-{mark}" for which in ("", "-1", "-2", "-3", "-datastore")}
    assert wanted | {f"greeter-ha-1-{mark}-kubelet"} <= names
    # The usual addresses are another checkout's, which has them still.
    assert claim.is_symlink()
    assert not folder.exists()
