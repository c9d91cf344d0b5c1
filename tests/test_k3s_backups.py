"""Which backups can be restored, in words."""

from __future__ import annotations

import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from ansible_collections.greeter.fleet.plugins.filter.k3s_backup_info import backup_info

SECRET = "not-for-others-at-all"
TOKEN = f"K10{'ab' * 32}::server:{SECRET}"
ABOUT = {
    "format": 1,
    "kind": "sqlite",
    "k3s_version": "v1.35.6+k3s1",
    "node": "server1",
    "time": "2026-11-22T12:00:00Z",
}


def archive(folder: Path, files: dict[str, bytes] | None = None, without: str = "", **about: object) -> Path:
    """A backup, with these files instead of those it lists, without one of them, and other words about it."""
    listed = {"token": f"{TOKEN}\n".encode(), "state.db": bytes(range(256)) * 1000}
    listed.pop(without, None)
    sums = {name: {"sha256": sha256(content).hexdigest(), "size": len(content)} for name, content in listed.items()}
    text = json.dumps(ABOUT | about | {"files": sums}).encode()
    path = folder / "backup.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in ((listed if files is None else files) | {"about.json": text}).items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def faults(path: Path, version: str = "v1.35.6+k3s1", token: str = "") -> list[str]:
    found = backup_info(str(path), version, token)
    assert SECRET not in json.dumps(found)
    return [fault.replace(str(path), "FILE") for fault in found["faults"]]


def test_a_whole_backup_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = backup_info("backup.tar.gz")
    assert found["faults"] == []
    assert found["path"] == str(path)
    assert found["size"] == path.stat().st_size
    # No checksum of the token either: a short one could be guessed by it.
    assert found["about"] == {name: value for name, value in ABOUT.items() if name != "format"}


@pytest.mark.parametrize("left", [10, 200, 1000])
def test_a_backup_that_is_cut_off_is_told(tmp_path: Path, left: int) -> None:
    path = archive(tmp_path)
    path.write_bytes(path.read_bytes()[:left])
    (fault,) = faults(path)
    assert fault.startswith("k3s_restore_from: FILE is damaged or cut off (")


def test_a_backup_in_which_a_bit_has_turned_is_told(tmp_path: Path) -> None:
    path = archive(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (fault,) = faults(path)
    assert fault.startswith("k3s_restore_from: FILE is damaged")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"token": f"{TOKEN}\n".encode()}, "is damaged: its parts are not those that its about.json lists"),
        ({"token": b"other", "state.db": b""}, "is damaged: its parts are not those that its about.json lists"),
    ],
)
def test_a_backup_without_its_own_parts_is_told(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    (fault,) = faults(archive(tmp_path, files))
    assert fault == f"k3s_restore_from: FILE {words}; take another backup"


@pytest.mark.parametrize("without", ["token", "state.db"])
def test_a_backup_without_what_makes_a_cluster_is_told(tmp_path: Path, without: str) -> None:
    (fault,) = faults(archive(tmp_path, without=without))
    assert "is damaged: its parts are not those" in fault


def test_what_is_no_backup_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    assert faults(path) == [
        "k3s_restore_from: FILE is not there; write the path of an archive that backup.yml has made"
    ]
    path.write_text("customers:\n")
    words = "k3s_restore_from: FILE is no backup of backup.yml"
    assert faults(path) == [f"{words}, or cannot be read; write the path of one"]
    assert faults(tmp_path)[0].startswith("k3s_restore_from: FILE is no backup of backup.yml")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(__file__, "test.py")
    assert faults(path) == [f"{words}: it holds no about.json of one"]
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path, "folder", recursive=False)
    assert faults(path) == [f"{words}: it holds more than files"]


def test_a_later_format_is_told(tmp_path: Path) -> None:
    (fault,) = faults(archive(tmp_path, format=2))
    assert fault == "k3s_restore_from: FILE has the format 2, which this version of the project does not read"


@pytest.mark.parametrize(
    ("taken", "target", "words"),
    [
        ("v1.35.6+k3s1", "v1.35.6+k3s1", ""),
        ("v1.35.5+k3s2", "v1.35.6+k3s1", ""),
        ("v1.34.9+k3s1", "v1.35.6+k3s1", ""),
        ("v1.20.2+testbed1", "v1.20.2+testbed1", ""),
        ("v1.35.6+k3s2", "v1.35.6+k3s1", "v1.35.6+k3s1 is older than v1.35.6+k3s2 of the backup; write v1.35.6+k3s2"),
        ("v1.36.0+k3s1", "v1.35.6+k3s1", "v1.35.6+k3s1 is older than v1.36.0+k3s1 of the backup; write v1.36.0+k3s1"),
        (
            "v1.33.1+k3s1",
            "v1.35.6+k3s1",
            "v1.35.6+k3s1 is more than one minor version newer than v1.33.1+k3s1 of the backup; write v1.33.1+k3s1, "
            "and upgrade step by step afterwards",
        ),
        ("latest", "v1.35.6+k3s1", "v1.35.6+k3s1 cannot be compared with latest of the backup; write latest"),
    ],
)
def test_versions_that_do_not_follow_each_other_are_told(tmp_path: Path, taken: str, target: str, words: str) -> None:
    assert faults(archive(tmp_path, k3s_version=taken), version=target) == ([f"k3s_version: {words}"] if words else [])


@pytest.mark.parametrize(
    ("given", "same"),
    [
        (TOKEN, True),
        (SECRET, True),
        (f"K10{'cd' * 32}::server:{SECRET}", False),
        (SECRET[:-1], False),
        ("another-one-altogether", False),
    ],
)
def test_a_token_that_is_not_the_backups_is_told(tmp_path: Path, given: str, same: bool) -> None:
    words = "is not the token of the backup, by which its secrets are encrypted; write that one, or leave it empty"
    assert faults(archive(tmp_path), token=given) == ([] if same else [f"k3s_token: {words}"])


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    found = faults(archive(tmp_path, k3s_version="v1.36.0+k3s1"), token="another-one-altogether")
    assert [fault.split(":")[0] for fault in found] == ["k3s_version", "k3s_token"]
