"""Which backups and restores are refused as they are run, in one list and before any host is touched."""

from __future__ import annotations

from pathlib import Path

from .conftest import Run
from .test_k3s_backups import SECRET, TOKEN, archive

# No host has this address: whoever calls it is told so.
INVENTORY = """
k3s_cluster:
  children:
    k3s_servers:
      hosts:
        server1: {ansible_host: 192.0.2.11}
        server2: {ansible_host: 192.0.2.12}
    k3s_agents:
"""


def inventory(folder: Path) -> str:
    """The argument for the inventory."""
    path = folder / "hosts.yml"
    path.write_text(INVENTORY)
    return f"--inventory={path}"


def said(output: str) -> str:
    """What a run says, on one line."""
    return " ".join(output.split())


def test_all_that_speaks_against_a_restore_is_said_at_once(ansible: Run, tmp_path: Path) -> None:
    path = archive(tmp_path, k3s_version="v9.9.9+k3s1")
    done = ansible(
        "ansible-playbook", "playbooks/restore.yml", inventory(tmp_path), "--limit=server2", "-vvv",
        f"--extra-vars=k3s_restore_from={path}", "--extra-vars=k3s_token=another-token-than-it",
        "--extra-vars=k3s_datastore_endpoint=mysql://user:word-of-the-database@tcp(db:3306)/k3s",
    )  # fmt: skip
    assert done.returncode != 0
    output = said(done.stdout)
    for words in (
        "Nothing was changed. The backup cannot be restored:",
        "is older than v9.9.9+k3s1 of the backup; write v9.9.9+k3s1",
        "k3s_token: is not the token of the backup",
        "k3s_datastore_endpoint: the cluster's state lies in that database; restore it there, by its own means",
        "--limit: leaves out server1; all hosts of a cluster are restored together",
    ):
        assert words in output, done.stdout
    assert "UNREACHABLE" not in done.stdout
    # Whoever gives variables at the start sees them with -vvv; what the archive holds shows nowhere.
    assert SECRET not in done.stdout
    assert TOKEN not in done.stdout


def test_a_restore_without_a_backup_is_told_what_to_write(ansible: Run, tmp_path: Path) -> None:
    done = ansible("ansible-playbook", "playbooks/restore.yml", inventory(tmp_path))
    assert done.returncode != 0
    assert "k3s_restore_from: is empty; write the path of an archive that backup.yml has made" in said(done.stdout), (
        done.stdout
    )
    assert "UNREACHABLE" not in done.stdout


def test_the_backup_of_a_datastore_elsewhere_is_refused(ansible: Run, tmp_path: Path) -> None:
    path = tmp_path / "hosts.json"
    path.write_text('{"k3s_cluster": {"children": {"k3s_servers": {"hosts": {"server1": {}}}}}}')
    done = ansible(
        "ansible-playbook", "playbooks/backup.yml", f"--inventory={path}", "--connection=local",
        "--extra-vars=ansible_become=false ansible_python_interpreter={{ ansible_playbook_python }}",
        f"--extra-vars=k3s_backup_dir={tmp_path}/backups",
        "--extra-vars=k3s_datastore_endpoint=mysql://user:word-of-the-database@tcp(db:3306)/k3s",
    )  # fmt: skip
    assert done.returncode != 0
    assert "No backup was taken. The cluster's state lies in the database of k3s_datastore_endpoint: back that" in said(
        done.stdout
    ), done.stdout
    assert "word-of-the-database" not in done.stdout
    assert not (tmp_path / "backups").exists()
