"""What `make demo` shows: the table of answers, and curl lines that work when pasted."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
# Read without Ansible: whatever the operator's file says, its greetings are what must come back.
DECLARED = yaml.safe_load((PROJECT / "group_vars/all/customers.yml").read_text())["customers"]
BODIES = [
    json.dumps({"response": DECLARED[name]["greeting"]}, ensure_ascii=False, separators=(",", ":"))
    for name in sorted(DECLARED)
]
LINES = (PROJECT / ".kube/demo-endpoints.txt").read_text().splitlines()


def test_the_table_shows_every_customers_answer() -> None:
    table = LINES[1 : LINES.index("")]
    assert [line.split(maxsplit=1)[1] for line in table] == [f"200 {body}" for body in BODIES]


def test_the_curl_lines_work_when_pasted() -> None:
    commands = [line for line in LINES if line.startswith("curl ")]
    answers = [
        subprocess.run(["bash", "-c", f"{command} --silent"], capture_output=True, text=True, check=True).stdout
        for command in commands
    ]
    assert answers == BODIES
