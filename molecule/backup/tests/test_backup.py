"""A cluster that is backed up, and comes back: as one story, each test goes on from the one before."""

from __future__ import annotations

import base64
import re
import stat
import time
from pathlib import Path

import pytest

from fleet import PROJECT, Answer, Fleet, changed, replace_host, wait_until

SERVER = "greeter-backup-1"
ANSWERS = {
    "customer-a.parcellab.com": Answer(200, "application/json", b'{"response":"Hi!"}'),
    "customer-b.parcellab.com": Answer(200, "application/json", b'{"response":"Dear Sir or Madam!"}'),
}
BACKUPS = PROJECT / ".kube/backup-backups"
LOUD = ("-vvv", "--diff")
TOKEN = "/var/lib/rancher/k3s/server/token"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """The converged host."""
    return Fleet()


@pytest.fixture(scope="module")
def pods(fleet: Fleet) -> dict[str, set[str]]:
    """The customers' pods when the backup is taken."""
    return fleet.pods()


@pytest.fixture(scope="module")
def token(fleet: Fleet) -> str:
    """The token when the backup is taken."""
    return str(fleet.node.file(TOKEN).content_string)


@pytest.fixture(scope="module")
def archive() -> Path:
    """The one backup there is."""
    (path,) = BACKUPS.iterdir()
    return path


def gives_away(output: str, token: str) -> bool:
    """Whether a run's output holds the token's secret, as it is or as modules hand files on."""
    text = "".join(output.split())
    return token.strip().rpartition(":")[2] in text or base64.b64encode(token.encode()).decode()[:-4] in text


def answers(fleet: Fleet) -> dict[str, Answer | str]:
    """Host → what comes back."""
    found: dict[str, Answer | str] = {}
    for host in ANSWERS:
        try:
            found[host] = fleet.get(host)
        except OSError as error:
            found[host] = repr(error)
    return found


def state(fleet: Fleet) -> str:
    """What a single server keeps its state in: K3s has SQLite unless it is told otherwise."""
    return "sqlite" if fleet.node.file("/var/lib/rancher/k3s/server/db/state.db").exists else "etcd"


def left_on_host(fleet: Fleet) -> list[str]:
    """Files of backups that the host still has."""
    places = "/var/tmp/k3s-backup-* /var/lib/rancher/k3s/server/db/snapshots/* /var/lib/rancher/k3s/server/restore*"
    return list(fleet.node.run(f"ls -d {places}").stdout.split())


def test_check_mode_says_what_would_be_done_and_writes_nothing(fleet: Fleet) -> None:
    done = fleet.play("backup.yml", "--check", "--diff")
    assert done.returncode == 0, done.stdout
    said = "".join(done.stdout.split())
    assert f"A backup of backup ({state(fleet)} on {SERVER}) would be written to {BACKUPS}".replace(" ", "") in said
    assert not BACKUPS.exists()


def test_a_backup_is_taken_while_everything_goes_on(fleet: Fleet, pods: dict[str, set[str]], token: str) -> None:
    pid = fleet.main_pid()
    with fleet.called("customer-a.parcellab.com", SERVER, per_second=10) as seen:
        done = fleet.play("backup.yml", *LOUD)
    assert done.returncode == 0, done.stdout
    (path,) = BACKUPS.iterdir()
    assert re.fullmatch(r"backup-\d{8}T\d{6}Z\.tar\.gz", path.name)
    assert [oct(stat.S_IMODE(each.stat().st_mode)) for each in (BACKUPS, path)] == ["0o700", "0o600"]
    said = " ".join(done.stdout.split())
    assert re.search(rf"{path}: \d+\.\d [kM]B, {state(fleet)} of v\S+ on {SERVER}, \d+\.\d s", said)
    assert not gives_away(done.stdout, token)
    assert left_on_host(fleet) == []
    assert (fleet.main_pid(), fleet.pods()) == (pid, pods)
    assert set(seen) == {ANSWERS["customer-a.parcellab.com"]}


def test_what_cannot_be_restored_is_refused_and_the_host_left_alone(
    fleet: Fleet, archive: Path, pods: dict[str, set[str]], tmp_path: Path
) -> None:
    pid = fleet.main_pid()
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(archive.read_bytes()[:-1000])
    for path, words in (
        (broken, rf"k3s_restore_from: {broken} is damaged or cut off \(.*\); take another backup"),
        (archive, rf"{SERVER} holds a cluster, which the backup would replace\. .* -e confirm=yes"),
    ):
        done = fleet.play("restore.yml", f"--extra-vars=k3s_restore_from={path}")
        assert done.returncode != 0
        said = " ".join(done.stdout.split())
        assert re.search(rf"Nothing was changed\. .*{words}", said), done.stdout
        assert set(changed(done.stdout)) == {0}
    assert (fleet.main_pid(), fleet.pods()) == (pid, pods)


def test_what_was_deleted_since_comes_back(
    fleet: Fleet, archive: Path, pods: dict[str, set[str]], token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.kubectl("delete", "namespace", "customer-a", "--wait=false")
    wait_until(lambda: answers(fleet) != ANSWERS, "customer-a still answers")
    restore = "restore.yml", f"--extra-vars=k3s_restore_from={archive}", "--extra-vars=confirm=yes"
    # Once in vain: its K3s does not start.
    broken = '{"k3s_config": {"kubelet-arg": ["no-such-flag"]}, "k3s_ready_timeout": 20}'
    assert fleet.play(*restore, f"--extra-vars={broken}").returncode != 0
    started = time.monotonic()
    done = fleet.play(*restore, *LOUD)
    with capsys.disabled():
        print(f"\nrestore.yml over a cluster: {time.monotonic() - started:.1f} s")
    assert done.returncode == 0, done.stdout
    assert not gives_away(done.stdout, token)
    wait_until(lambda: answers(fleet) == ANSWERS, "not all customers answer")
    assert fleet.pods() == pods
    assert left_on_host(fleet) == []
    # Nothing is deleted for good.
    first, second = sorted(fleet.node.check_output("ls -d /var/lib/rancher/k3s/server.before-*").split())
    assert fleet.node.file(f"{first}/token").content_string == token
    assert f"lies in {first}, then {second} on {SERVER}." in " ".join(done.stdout.split())
    assert not fleet.node.file("/var/lib/rancher/k3s/restoring").exists


def test_a_bare_host_becomes_the_cluster_that_was(
    fleet: Fleet, archive: Path, pods: dict[str, set[str]], token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    password = fleet.node.file("/etc/rancher/node/password").content_string
    replace_host(SERVER)
    started = time.monotonic()
    done = fleet.play("restore.yml", f"--extra-vars=k3s_restore_from={archive}")
    with capsys.disabled():
        print(f"\nrestore.yml onto a bare host: {time.monotonic() - started:.1f} s")
    assert done.returncode == 0, done.stdout
    wait_until(lambda: answers(fleet) == ANSWERS, "not all customers answer")
    assert fleet.pods() == pods
    assert fleet.node.file(TOKEN).content_string == token
    assert fleet.node.file("/etc/rancher/node/password").content_string != password
    assert oct(fleet.node.file(TOKEN).mode) == "0o600"


def test_afterwards_everything_is_as_declared_and_no_backup_is_put_over_it(
    fleet: Fleet, archive: Path, pods: dict[str, set[str]]
) -> None:
    pid = fleet.main_pid()
    done = fleet.play("site.yml", f"--extra-vars=k3s_restore_from={archive}")
    assert done.returncode == 0, done.stdout
    assert set(changed(done.stdout)) == {0}
    assert (fleet.main_pid(), fleet.pods()) == (pid, pods)


def test_a_k3s_of_somebody_else_is_refused_and_is_taken_over_when_told(fleet: Fleet) -> None:
    """The same one without the mark of this project, and with Secrets that are not encrypted."""
    unit, config = "/etc/systemd/system/k3s.service", "/etc/rancher/k3s/config.yaml"
    fleet.node.run_expect([0], f"sed -i /k3s-started-from/d {unit} && sed -i /secrets-encryption/d {config}")
    old = {path: fleet.node.file(path).content_string for path in (unit, config)}
    pid, pods = fleet.main_pid(), fleet.pods()
    for playbook in ("site.yml", "k3s.yml"):
        done = fleet.play(playbook)
        assert done.returncode != 0
        assert f"has a K3s that this project has not put there ({unit}, {config}" in " ".join(done.stdout.split())
        assert set(changed(done.stdout)) == {0}
    assert {path: fleet.node.file(path).content_string for path in old} == old
    assert fleet.main_pid() == pid

    done = fleet.play("site.yml", "--extra-vars=k3s_adopt=true", "--diff")
    assert done.returncode == 0, done.stdout
    folder = fleet.node.check_output("ls -d /etc/rancher/k3s-before-*")
    assert fleet.node.file(folder).mode == 0o700
    assert {path: fleet.node.file(f"{folder}{path}").content_string for path in old} == old
    assert "secrets-encryption: false" in fleet.node.file(config).content_string
    assert (fleet.main_pid() == pid, fleet.pods()) == (False, pods)
    done = fleet.play("site.yml")
    assert done.returncode == 0, done.stdout
    assert set(changed(done.stdout)) == {0}
