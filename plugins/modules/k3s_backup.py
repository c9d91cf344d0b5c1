#!/usr/bin/python
"""A cluster's state on the server that holds it: into an archive while K3s runs, and back onto a host that has none."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Iterator
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import sqlite3

    HAS_SQLITE = True
except ImportError:  # a Python that was built without it
    HAS_SQLITE = False

DOCUMENTATION = r"""
module: k3s_backup
short_description: Archive a K3s server's state, or put an archived one in place
description:
  - I(action=take) writes an archive into a folder of its own that only I(owner) may enter; whoever calls it fetches the
    archive and removes the folder. Folders that an earlier run was not let to remove are removed.
  - SQLite is copied by its online backup, embedded etcd by a snapshot of K3s; K3s goes on running.
  - I(action=put) unpacks an archive onto a server that has no cluster. K3s must not run.
options:
  action: {type: str, required: true, choices: [take, put], description: What to do.}
  owner: {type: str, default: root, description: "With I(action=take), the user who fetches the archive."}
  archive: {type: path, description: "With I(action=put), the archive on this host."}
  timeout: {type: int, default: 300, description: The most seconds that a command of K3s may take.}
"""
RETURN = r"""
archive: {type: str, returned: "action=take, not in check mode", description: Where the archive lies.}
folder: {type: str, returned: "action=take, not in check mode", description: The folder to remove afterwards.}
kind: {type: str, returned: always, description: "What holds the state, C(sqlite) or C(etcd)."}
"""

SERVER = Path("/var/lib/rancher/k3s/server")
BINARY = Path("/usr/local/bin/k3s")
TEMPORARY = Path("/var/tmp")
PREFIX = "k3s-backup-"
# A folder this old belongs to no run that is still at work.
LEFT_SECONDS = 3600
# Of the archive; k3s_backups.py reads it.
FORMAT = 1
# The members that are put on a host, and no others.
STATES = {"state.db": "sqlite", "snapshot": "etcd", "snapshot.zip": "etcd"}
BLOCK = 1 << 20


class BackupError(Exception):
    """What cannot be backed up or restored, in words that help."""


class Hashed:
    """A file that is read once, with its checksum."""

    def __init__(self, file: IO[bytes]) -> None:
        """Take an open file."""
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        block = self._file.read(size)
        self._digest.update(block)
        return block

    def sha256(self) -> str:
        """The checksum of what was read, as hexadecimal digits."""
        return self._digest.hexdigest()


def kind_of(server: Path) -> str:
    """What holds the cluster's state on this server.

    Raises:
        BackupError: when nothing here does.
    """
    if (server / "db/etcd/member").is_dir():
        return "etcd"
    if (server / "db/state.db").is_file():
        return "sqlite"
    raise BackupError(
        f"{server}/db holds neither SQLite nor embedded etcd: the cluster's state lies elsewhere; back it up there, "
        f"and keep {server}/token with it"
    )


def save_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite database as of one moment, whoever writes to it meanwhile.

    Raises:
        BackupError: when it cannot be read, or is damaged.
    """
    try:
        # Not read-only: the index of the write-ahead log may have to be made.
        address = f"file:{quote(str(source))}?mode=rw"
        with closing(sqlite3.connect(address, uri=True)) as database, closing(sqlite3.connect(str(target))) as copy:
            database.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{source} cannot be copied: {error}") from error
    if found != "ok":
        raise BackupError(f"{source} is damaged: {found}")


def k3s(arguments: list[str], timeout: int, folder: Path) -> str:
    """What a command of K3s says, run in a folder that may be thrown away.

    Raises:
        BackupError: when it fails; with its last lines.
    """
    try:
        done = subprocess.run(
            [str(BINARY), *arguments],
            cwd=str(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackupError(f"k3s {' '.join(arguments[:2])}: {error}") from error
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        last = " | ".join(said.strip().splitlines()[-5:])
        raise BackupError(f"k3s {' '.join(arguments[:2])} ended with status {done.returncode}: {last}")
    return said


@contextmanager
def snapshot(timeout: int, folder: Path) -> Iterator[Path]:
    """Have K3s save a snapshot of embedded etcd, give its file, and have K3s delete it afterwards.

    Raises:
        BackupError: when K3s does not do so.
    """
    prefix = f"backup-{secrets.token_hex(4)}"
    try:
        k3s(["etcd-snapshot", "save", "--name", prefix], timeout, folder)
        found = snapshots(prefix, timeout, folder)
        if not found:
            raise BackupError("K3s does not list the snapshot that it has saved (k3s etcd-snapshot ls)")
        yield Path(next(iter(found.values())))
    finally:
        names = sorted(snapshots(prefix, timeout, folder))
        if names:
            k3s(["etcd-snapshot", "delete", *names], timeout, folder)


def snapshots(prefix: str, timeout: int, folder: Path) -> dict[str, str]:
    """Name → file of the snapshots on this host whose names begin so."""
    listed = k3s(["etcd-snapshot", "ls"], timeout, folder)
    return dict(re.findall(rf"(?m)^({prefix}-\S+)\s+file://(\S+)", listed))


def write(archive: Path, about: dict[str, Any], parts: dict[str, Path]) -> None:
    """Write an archive: the parts under their names, and last what they are, with their checksums."""
    listed = {}
    with tarfile.open(str(archive), "w:gz", compresslevel=6) as tar:
        for name, source in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = source.stat().st_size, 0o600, int(time.time())
            with source.open("rb") as file:
                hashed = Hashed(file)
                tar.addfile(entry, hashed)
            listed[name] = {"sha256": hashed.sha256(), "size": entry.size}
        text = json.dumps({**about, "files": listed}, indent=2).encode() + b"\n"
        entry = tarfile.TarInfo("about.json")
        entry.size, entry.mode, entry.mtime = len(text), 0o600, int(time.time())
        with tempfile.TemporaryFile() as file:
            file.write(text)
            file.seek(0)
            tar.addfile(entry, file)


def take(owner: str, timeout: int) -> dict[str, Any]:
    """Archive this server's state; nothing is left if that fails.

    Raises:
        BackupError: when it cannot be had.
        OSError: when a file cannot be read or written.
    """
    kind = kind_of(SERVER)
    if kind == "sqlite" and not HAS_SQLITE:
        raise BackupError(missing_required_lib("sqlite3", reason="to copy K3s' database while K3s runs"))
    user = pwd.getpwnam(owner)
    for left in TEMPORARY.glob(f"{PREFIX}*"):
        if left.is_dir() and not left.is_symlink() and time.time() - left.stat().st_mtime > LEFT_SECONDS:
            shutil.rmtree(str(left), ignore_errors=True)
    version = re.search(r"^k3s version (\S+)", k3s(["--version"], timeout, TEMPORARY), re.MULTILINE)
    about = {
        "format": FORMAT,
        "kind": kind,
        "k3s_version": version.group(1) if version else "",
        "node": os.uname().nodename,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=str(TEMPORARY)))
    try:
        archive, token = folder / "archive", SERVER / "token"
        if kind == "etcd":
            with snapshot(timeout, folder) as saved:
                name = "snapshot.zip" if saved.suffix == ".zip" else "snapshot"
                write(archive, about, {"token": token, name: saved})
        else:
            copy = folder / "state.db"
            save_sqlite(SERVER / "db/state.db", copy)
            write(archive, about, {"token": token, "state.db": copy})
            copy.unlink()
        for path in (archive, folder):
            os.chown(str(path), user.pw_uid, user.pw_gid)
    except BaseException:
        shutil.rmtree(str(folder), ignore_errors=True)
        raise
    return {"archive": str(archive), "folder": str(folder), "kind": kind}


def unpack(archive: Path, folder: Path) -> dict[str, Path]:
    """Unpack the members that are known; give their places by name."""
    found = {}
    with tarfile.open(str(archive), "r:gz") as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.name in STATES or entry.name == "token" else None
            if content is not None:
                found[entry.name] = folder / entry.name
                with found[entry.name].open("wb") as file:
                    shutil.copyfileobj(content, file, BLOCK)
    return found


def put(archive: Path, timeout: int) -> dict[str, Any]:
    """Put an archive's state and token in place; the token last, for it is what makes the host one with a cluster.

    Raises:
        BackupError: when the host has a cluster, the archive is none, or K3s does not take the snapshot.
        OSError: when a file cannot be read or written.
    """
    if (SERVER / "token").exists():
        raise BackupError(f"{SERVER}/token: this host holds a cluster already")
    SERVER.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="restore-", dir=str(SERVER)) as name:
        folder = Path(name)
        parts = unpack(archive, folder)
        state = next((part for part in parts if part in STATES), "")
        if not state or "token" not in parts:
            raise BackupError(f"{archive} holds no token and no state")
        (SERVER / "db").mkdir(mode=0o700, exist_ok=True)
        if STATES[state] == "sqlite":
            parts[state].replace(SERVER / "db/state.db")
        else:
            restore = [f"--cluster-reset-restore-path={parts[state]}", f"--token-file={parts['token']}"]
            # The snapshot is here: settings for S3 would have K3s look there.
            k3s(["server", "--cluster-reset", *restore, "--etcd-s3=false"], timeout, folder)
        parts["token"].replace(SERVER / "token")
    return {"kind": STATES[state]}


def leave(_signal: int, _frame: object) -> None:
    """End by an exception, so that what is half done is cleared away."""
    raise BackupError("interrupted; nothing of it stays on this host")


def main() -> None:
    """Answer Ansible."""
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "required": True, "choices": ["take", "put"]},
            "owner": {"type": "str", "default": "root"},
            "archive": {"type": "path"},
            "timeout": {"type": "int", "default": 300},
        },
        required_if=[("action", "put", ["archive"])],
        supports_check_mode=True,
    )
    os.umask(0o077)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    given = module.params
    try:
        if given["action"] == "put":
            # In check mode the archive is not on the host.
            result = {} if module.check_mode else put(Path(given["archive"]), given["timeout"])
        elif module.check_mode:
            result = {"kind": kind_of(SERVER)}
        else:
            result = take(given["owner"], given["timeout"])
    except (BackupError, OSError, KeyError, tarfile.TarError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
