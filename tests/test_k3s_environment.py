"""The environment reaches K3s as it is declared: through systemd's reading of the file, and through a shell's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import PROJECT, Run

VALUES = {
    "HTTPS_PROXY": "http://fleet:p$HOME$$x@proxy.example.com:3128",
    "COMMAND": "$(touch executed) `touch executed` ${HOME}",
    "QUOTES": """it's "quoted" 'twice'""",
    "BACKSLASHES": r"a\b\\c\"d\$e\`f\'g\n\t\ ",
    "MARKS": "# ; & | < > * ? ~ ! %h %% =",
    "SPACES": "  two before and after  ",
    "EMPTY": "",
    "NON_ASCII": "Grüße 👋",
}
WRITE = """
- name: Write the environment
  hosts: localhost
  gather_facts: false
  vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - name: Write it
      ansible.builtin.template: {src: "{{ template }}", dest: "{{ file }}", mode: "0600"}
"""


@pytest.fixture(scope="module")
def environment(ansible: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the role's template makes of `VALUES`."""
    folder = tmp_path_factory.mktemp("environment")
    file, extra, playbook = folder / "k3s.env", folder / "extra.json", folder / "write.yml"
    template = str(PROJECT / "roles/k3s/templates/environment.j2")
    extra.write_text(json.dumps({"k3s_environment": VALUES, "template": template, "file": str(file)}))
    playbook.write_text(WRITE)
    done = ansible("ansible-playbook", "--inventory=localhost,", f"--extra-vars=@{extra}", str(playbook))
    assert done.returncode == 0, done.stdout
    return file


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["busybox", "sh"]], ids=" ".join)
def test_a_shell_that_sources_the_file_executes_nothing_of_it(
    environment: Path, shell: list[str], tmp_path: Path
) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not here")
    # As the service's start_pre does.
    script = f"set -o allexport; . {environment}; set +o allexport; env -0"
    printed = subprocess.run([*shell, "-c", script], cwd=tmp_path, capture_output=True, check=True).stdout.decode()
    seen = dict(line.split("=", 1) for line in printed.split("\0") if line)
    assert {name: seen.get(name) for name in VALUES} == VALUES
    assert not (tmp_path / "executed").exists()


def test_systemd_reads_the_same_from_the_file(environment: Path) -> None:
    """By its rules, systemd.exec(5): in double quotes a backslash before one of these goes, and nothing expands."""
    seen = {}
    for line in environment.read_text().splitlines():
        name, _, quoted = line.partition("=")
        value, rest = "", quoted[1:-1]
        while rest:
            step = 1 if rest[0] == "\\" and rest[1] in '"\\`$' else 0
            assert rest[step] != '"' or step
            value, rest = value + rest[step], rest[step + 1 :]
        seen[name] = value
        assert (quoted[0], quoted[-1]) == ('"', '"')
    assert seen == VALUES
