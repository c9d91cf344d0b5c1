"""What the module k3s_backup takes from a server, and puts onto another."""

from __future__ import annotations

import getpass
import json
import os
import signal
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from ansible_collections.greeter.fleet.plugins.modules import k3s_backup
from ansible_collections.greeter.fleet.plugins.modules.k3s_backup import BackupError

TOKEN = f"K10{'ab' * 32}::server:not-for-others\n"
# Stands in for K3s: what it is told, it notes; snapshots lie where it says.
K3S = """#!/bin/sh
echo "$*" >>{folder}/told
case "$*" in
--version) echo "k3s version v1.35.6+k3s1 (0000)" ;;
"etcd-snapshot save --name "*) pwd >>{folder}/told
    echo "a snapshot" >"{folder}/snapshots/$4-node-1{suffix}"; {ending} ;;
"etcd-snapshot ls") echo "Name Location Size Created"
    for each in $(ls {folder}/snapshots); do echo "$each file://{folder}/snapshots/$each 1 now"; done ;;
"etcd-snapshot delete "*) rm {folder}/snapshots/"$3" ;;
"server --cluster-reset "*) pwd >>{folder}/told; {ending}; mkdir {server}/db/etcd ;;
esac
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a server with a token, beside one for what is temporary, and a K3s."""
    server, temporary = tmp_path / "server", tmp_path / "tmp"
    for folder in (server / "db", temporary, tmp_path / "snapshots"):
        folder.mkdir(parents=True)
    (server / "token").write_text(TOKEN)
    monkeypatch.setattr(k3s_backup, "SERVER", server)
    monkeypatch.setattr(k3s_backup, "TEMPORARY", temporary)
    monkeypatch.setattr(k3s_backup, "BINARY", tmp_path / "k3s")
    k3s(tmp_path)
    return server


def k3s(folder: Path, *, suffix: str = "", ending: str = "true") -> None:
    """Write the K3s that stands in, with the ending of what it says it has saved and of what it does last."""
    path = folder / "k3s"
    path.write_text(K3S.format(folder=folder, server=folder / "server", suffix=suffix, ending=ending))
    path.chmod(0o755)


def members(archive: Path) -> dict[str, bytes]:
    """Name → content."""
    with tarfile.open(archive) as tar:
        return {entry.name: content.read() for entry in tar if (content := tar.extractfile(entry))}


def new_server(server: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another server, that has nothing yet."""
    other = server.with_name("other")
    monkeypatch.setattr(k3s_backup, "SERVER", other)
    return other


@contextmanager
def writing(path: Path) -> Iterator[list[int]]:
    """Write rows into a database in WAL mode as fast as can be meanwhile; give those that are committed."""
    over, committed = threading.Event(), list[int]()
    begun = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE kine (id INTEGER PRIMARY KEY, value BLOB)")
            database.execute("CREATE INDEX by_value ON kine (value)")
            for number in range(1_000_000):
                with database:
                    database.execute("INSERT INTO kine VALUES (?, ?)", (number, os.urandom(500)))
                committed.append(number)
                if number == 300:
                    begun.set()
                if over.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        yield committed
    finally:
        over.set()
        writer.join()


def test_sqlite_is_copied_whole_while_it_is_written(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing(server / "db/state.db") as committed:
        before = len(committed)
        taken = k3s_backup.take(getpass.getuser(), 30)
        after = len(committed)
    assert after > before
    assert taken["kind"] == "sqlite"
    other = new_server(server, monkeypatch)
    assert k3s_backup.put(Path(taken["archive"]), 30) == {"kind": "sqlite"}
    assert sorted(path.name for path in (other / "db").iterdir()) == ["state.db"]
    with closing(sqlite3.connect(other / "db/state.db")) as database:
        rows = [number for (number,) in database.execute("SELECT id FROM kine ORDER BY id")]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    # As of one moment: all that was committed before, nothing of later, and no gap.
    assert rows == list(range(len(rows)))
    assert before <= len(rows) <= after + 1
    assert (other / "token").read_text() == TOKEN
    assert (
        stat.S_IMODE((other / "token").stat().st_mode) == stat.S_IMODE((other / "db/state.db").stat().st_mode) == 0o600
    )


@pytest.fixture(autouse=True)
def private() -> Iterator[None]:
    """The module's umask."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_an_archive_says_what_it_is_and_is_for_its_owner_alone(server: Path) -> None:
    sqlite3.connect(server / "db/state.db").close()
    (server / "token").chmod(0o644)
    taken = k3s_backup.take(getpass.getuser(), 30)
    archive, folder = Path(taken["archive"]), Path(taken["folder"])
    assert [oct(stat.S_IMODE(path.stat().st_mode)) for path in (archive, folder)] == ["0o600", "0o700"]
    assert list(folder.iterdir()) == [archive]
    with tarfile.open(archive) as tar:
        assert {entry.mode for entry in tar} == {0o600}
    found = members(archive)
    assert list(found) == ["token", "state.db", "about.json"]
    about = json.loads(found["about.json"])
    assert {name: about[name] for name in ("format", "kind", "k3s_version", "node")} == {
        "format": 1,
        "kind": "sqlite",
        "k3s_version": "v1.35.6+k3s1",
        "node": os.uname().nodename,
    }
    assert about["files"]["token"]["size"] == len(TOKEN)


@pytest.mark.parametrize(("suffix", "member"), [("", "snapshot"), (".zip", "snapshot.zip")])
def test_etcd_is_saved_by_k3s_and_the_snapshot_deleted(server: Path, tmp_path: Path, suffix: str, member: str) -> None:
    (server / "db/etcd/member").mkdir(parents=True)
    k3s(tmp_path, suffix=suffix)
    (tmp_path / "snapshots/etcd-snapshot-node-1").write_text("a scheduled one")
    taken = k3s_backup.take(getpass.getuser(), 30)
    assert taken["kind"] == "etcd"
    assert members(Path(taken["archive"]))[member] == b"a snapshot\n"
    # What a run that is killed leaves is found by the name.
    assert (tmp_path / "told").read_text().splitlines()[2].startswith(f"{tmp_path}/tmp/k3s-backup-")
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["etcd-snapshot-node-1"]


def test_nothing_is_left_of_a_backup_that_fails(server: Path, tmp_path: Path) -> None:
    (server / "db/etcd/member").mkdir(parents=True)
    k3s(tmp_path, ending="echo no space left; exit 1")
    with pytest.raises(BackupError, match=r"k3s etcd-snapshot save ended with status 1: no space left"):
        k3s_backup.take(getpass.getuser(), 30)
    assert list((tmp_path / "tmp").iterdir()) == list((tmp_path / "snapshots").iterdir()) == []


def test_nothing_is_left_of_a_backup_that_is_interrupted(server: Path, tmp_path: Path) -> None:
    (server / "db/etcd/member").mkdir(parents=True)
    k3s(tmp_path, ending="kill -TERM $PPID; exec sleep 30")
    before = signal.signal(signal.SIGTERM, k3s_backup.leave)
    try:
        with pytest.raises(BackupError, match="interrupted"):
            k3s_backup.take(getpass.getuser(), 30)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert list((tmp_path / "tmp").iterdir()) == list((tmp_path / "snapshots").iterdir()) == []


def test_what_an_earlier_run_was_not_let_to_remove_is_removed(server: Path, tmp_path: Path) -> None:
    sqlite3.connect(server / "db/state.db").close()
    old, young, foreign = (tmp_path / "tmp" / name for name in ("k3s-backup-old", "k3s-backup-young", "systemd-old"))
    for folder in (old, young, foreign):
        folder.mkdir()
    for folder in (old, foreign):
        os.utime(folder, (0, 0))
    k3s_backup.take(getpass.getuser(), 30)
    assert [folder.exists() for folder in (old, young, foreign)] == [False, True, True]


def test_a_damaged_database_is_told(server: Path) -> None:
    with writing(server / "db/state.db"):
        pass
    with (server / "db/state.db").open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 10)
    with pytest.raises(BackupError, match=r"state\.db (is damaged|cannot be copied): "):
        k3s_backup.take(getpass.getuser(), 30)


@pytest.mark.usefixtures("server")
def test_a_server_whose_state_lies_elsewhere_is_told() -> None:
    with pytest.raises(BackupError, match="holds neither SQLite nor embedded etcd: the cluster's state lies elsewhere"):
        k3s_backup.take(getpass.getuser(), 30)


def test_a_python_without_sqlite_is_told(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (server / "db/state.db").touch()
    monkeypatch.setattr(k3s_backup, "HAS_SQLITE", False)
    with pytest.raises(BackupError, match=r"required Python library \(sqlite3\)"):
        k3s_backup.take(getpass.getuser(), 30)


def test_etcd_is_put_back_by_k3s(server: Path, tmp_path: Path) -> None:
    (server / "db/etcd/member").mkdir(parents=True)
    archive = Path(k3s_backup.take(getpass.getuser(), 30)["archive"])
    (tmp_path / "server").rename(tmp_path / "old")
    assert k3s_backup.put(archive, 30) == {"kind": "etcd"}
    told, folder = (tmp_path / "told").read_text().splitlines()[-2:]
    # K3s unpacks what is compressed where it is started.
    assert told == (
        f"server --cluster-reset --cluster-reset-restore-path={folder}/snapshot --token-file={folder}/token"
        " --etcd-s3=false"
    )
    assert sorted(path.name for path in server.iterdir()) == ["db", "token"]
    assert (server / "token").read_text() == TOKEN


def test_a_host_whose_restore_failed_has_no_cluster(server: Path, tmp_path: Path) -> None:
    (server / "db/etcd/member").mkdir(parents=True)
    archive = Path(k3s_backup.take(getpass.getuser(), 30)["archive"])
    (tmp_path / "server").rename(tmp_path / "old")
    k3s(tmp_path, ending="echo no such luck; exit 1")
    with pytest.raises(BackupError, match=r"k3s server --cluster-reset ended with status 1: .*no such luck"):
        k3s_backup.put(archive, 30)
    assert [path.name for path in server.iterdir()] == ["db"]


def test_a_cluster_that_is_there_is_not_replaced(server: Path) -> None:
    sqlite3.connect(server / "db/state.db").close()
    archive = Path(k3s_backup.take(getpass.getuser(), 30)["archive"])
    (server / "token").write_text("of another cluster")
    with pytest.raises(BackupError, match="this host holds a cluster already"):
        k3s_backup.put(archive, 30)
    assert (server / "token").read_text() == "of another cluster"
