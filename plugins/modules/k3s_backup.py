#!/usr/bin/python
"""A cluster's state on the server that holds it: into an archive while K3s runs, and back onto a host that has none."""

from __future__ import annotations

import hashlib
import json
import os
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
from typing import Any, Iterator
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.greeter.fleet.plugins.module_utils.k3s_archive import ABOUT, FORMAT, STATES, TOKEN

try:
    import sqlite3

    HAS_SQLITE = True
except ImportError:  # a Python that was built without it
    HAS_SQLITE = False

SERVER = Path("/var/lib/rancher/k3s/server")
BINARY = Path("/usr/local/bin/k3s")
TEMPORARY = Path("/var/tmp")
PREFIX = "k3s-backup-"
# A folder this old belongs to no run that is still at work.
LEFT_SECONDS = 3600
BLOCK = 1 << 20


class BackupError(Exception):
    """What cannot be backed up or restored, in words that help."""


def kind_of_state() -> str:
    """What holds the cluster's state on this server.

    Raises:
        BackupError: when nothing here does.
    """
    if (SERVER / "db/etcd/member").is_dir():
        return "etcd"
    if (SERVER / "db/state.db").is_file():
        return "sqlite"
    raise BackupError(
        f"{SERVER}/db holds neither SQLite nor embedded etcd: the cluster's state lies elsewhere; back it up there, "
        f"and keep {SERVER}/token with it"
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
        return subprocess.run(
            [str(BINARY), *arguments],
            cwd=str(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=True,
            errors="replace",
        ).stdout
    except subprocess.CalledProcessError as error:
        last = " | ".join(error.stdout.strip().splitlines()[-5:])
        reason = f" ended with status {error.returncode}: {last}"
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f": {error}"
    raise BackupError(f"k3s {' '.join(arguments[:2])}{reason}")


@contextmanager
def snapshot(timeout: int, folder: Path) -> Iterator[Path]:
    """Have K3s save a snapshot of embedded etcd, give its file, and have K3s delete it afterwards.

    Raises:
        BackupError: when K3s does not do so.
    """
    prefix = f"backup-{secrets.token_hex(4)}"

    def saved() -> dict[str, str]:
        """Name → file of the snapshots on this host whose names begin so."""
        listed = k3s(["etcd-snapshot", "ls"], timeout, folder)
        return dict(re.findall(rf"(?m)^({prefix}-\S+)\s+file://(\S+)", listed))

    try:
        k3s(["etcd-snapshot", "save", "--name", prefix], timeout, folder)
        files = list(saved().values())
        if not files:
            raise BackupError("K3s does not list the snapshot that it has saved (k3s etcd-snapshot ls)")
        yield Path(files[0])
    finally:
        names = sorted(saved())
        if names:
            k3s(["etcd-snapshot", "delete", *names], timeout, folder)


def sha256(path: Path) -> str:
    """The checksum of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def write(archive: Path, about: dict[str, Any], members: dict[str, Path]) -> None:
    """Write an archive: the members under their names, and last what they are, with their checksums."""
    listed = {name: {"sha256": sha256(path), "size": path.stat().st_size} for name, path in members.items()}
    with tempfile.TemporaryDirectory() as folder, tarfile.open(str(archive), "w:gz", compresslevel=6) as tar:
        description = Path(folder) / ABOUT
        description.write_text(json.dumps({**about, "files": listed}, indent=2) + "\n")
        for name, path in {**members, ABOUT: description}.items():
            with path.open("rb") as file:
                entry = tar.gettarinfo(arcname=name, fileobj=file)
                entry.mode = 0o600
                tar.addfile(entry, file)


def take(owner: str, timeout: int) -> dict[str, Any]:
    """Archive this server's state; nothing is left if that fails.

    Raises:
        BackupError: when it cannot be had.
        OSError: when a file cannot be read or written.
    """
    kind = kind_of_state()
    if kind == "sqlite" and not HAS_SQLITE:
        raise BackupError(missing_required_lib("sqlite3", reason="to copy K3s' database while K3s runs"))
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
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=str(TEMPORARY)) as name:
        work, done = Path(name), Path(name) / "done"
        done.mkdir()
        archive, token = done / "archive", SERVER / "token"
        if kind == "etcd":
            with snapshot(timeout, work) as saved:
                member = "snapshot.zip" if saved.suffix == ".zip" else "snapshot"
                write(archive, about, {TOKEN: token, member: saved})
        else:
            save_sqlite(SERVER / "db/state.db", work / "state.db")
            write(archive, about, {TOKEN: token, "state.db": work / "state.db"})
        for path in (archive, done):
            shutil.chown(str(path), owner)
        folder = done.rename(TEMPORARY / f"{PREFIX}{secrets.token_hex(8)}")
    return {"archive": str(folder / "archive"), "folder": str(folder), "kind": kind}


def unpack(archive: Path, folder: Path) -> dict[str, Path]:
    """Unpack the members that are known; give their places by name."""
    found = {}
    with tarfile.open(str(archive), "r:gz") as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.name in (TOKEN, *STATES) else None
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
        members = unpack(archive, Path(name))
        state = next((member for member in members if member in STATES), "")
        if not state or TOKEN not in members:
            raise BackupError(f"{archive} holds no token and no state")
        (SERVER / "db").mkdir(mode=0o700, exist_ok=True)
        if STATES[state] == "sqlite":
            members[state].replace(SERVER / "db/state.db")
        else:
            restore = [f"--cluster-reset-restore-path={members[state]}", f"--token-file={members[TOKEN]}"]
            # The snapshot is here: settings for S3 would have K3s look there.
            k3s(["server", "--cluster-reset", *restore, "--etcd-s3=false"], timeout, Path(name))
        members[TOKEN].replace(SERVER / "token")
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
            result = {"kind": kind_of_state()}
        else:
            result = take(given["owner"], given["timeout"])
    except (BackupError, OSError, LookupError, tarfile.TarError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
