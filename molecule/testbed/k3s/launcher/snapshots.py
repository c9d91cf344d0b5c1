"""`k3s etcd-snapshot`, and `k3s server --cluster-reset` to restore what it has saved.

K3s keeps the cluster's certificates in its datastore, encrypted by the token. Here a snapshot is an archive of etcd's
files and of the certificates beside them, and knows the token by its hash.
"""

import argparse
import hashlib
import io
import logging
import os
import shutil
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher import paths, shared, tokens
from launcher.config import Config, ConfigError
from launcher.tokens import Token

log = logging.getLogger(__name__)

DATA = paths.SERVER / "db/etcd"
FOLDER = paths.SERVER / "db/snapshots"
TOKEN = "token-hash"


def manage(config: Config, arguments: list[str]) -> None:
    """Save, list or delete snapshots.

    Raises:
        ConfigError: when no etcd runs here.
    """
    parser = argparse.ArgumentParser(prog="k3s etcd-snapshot")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("save").add_argument("--name", default="on-demand")
    commands.add_parser("ls")
    commands.add_parser("delete").add_argument("names", nargs="+")
    options = parser.parse_args(arguments)
    if options.command == "save":
        _save(f"{options.name}-{config.node_name}-{int(time.time())}")
    elif options.command == "ls":
        print("Name Location Size Created")
        for file in sorted(FOLDER.glob("*")):
            created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(file.stat().st_mtime))
            print(f"{file.name} file://{file} {file.stat().st_size} {created}")
    else:
        for name in options.names:
            found = (FOLDER / name).is_file()
            (FOLDER / name).unlink(missing_ok=True)
            log.info("Snapshot %s %s.", name, "deleted" if found else "not found")


def _save(name: str) -> None:
    token = tokens.Token.parse((paths.SERVER / "token").read_text())
    os.umask(0o077)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tarfile.open(FOLDER / name, "w") as archive:
        _add(archive, TOKEN, _hash(token))
        for file in shared.FILES:
            _add(archive, f"tls/{file}", (paths.TLS / file).read_bytes())
        with _still():
            # Space that etcd has set aside for later is left out.
            archive.add(DATA, "etcd", filter=lambda entry: None if entry.name.endswith(".tmp") else entry)
    log.info("Snapshot %s saved.", name)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


@contextmanager
def _still() -> Iterator[None]:
    """Have etcd stand still: its files are then those of a crash, which it recovers from."""
    running = [int(each.parent.name) for each in Path("/proc").glob("[0-9]*/cmdline") if _is_etcd(each)]
    if not running:
        raise ConfigError("etcd is not running")
    os.kill(running[0], signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(running[0], signal.SIGCONT)


def _is_etcd(cmdline: Path) -> bool:
    try:
        words = cmdline.read_text().rstrip("\0").split("\0")
    except OSError:  # it has ended meanwhile
        return False
    return words[0].endswith("/etcd") and words[-1] == str(DATA)


def _hash(token: Token) -> bytes:
    return hashlib.sha256(token.secret.encode()).hexdigest().encode()


def restore(config: Config, arguments: list[str]) -> None:
    """Put a snapshot in the place of etcd's files and the certificates; a start without options then runs from it.

    Raises:
        ConfigError: when the snapshot is not there, was taken with another token, or the server is to join others.
    """
    parser = argparse.ArgumentParser(prog="k3s server")
    parser.add_argument("--cluster-reset", action="store_true")
    parser.add_argument("--cluster-reset-restore-path", type=Path, required=True)
    parser.add_argument("--token-file")
    parser.add_argument("--etcd-s3", choices=["false"])
    options = parser.parse_args(arguments)
    if config.text("server"):
        raise ConfigError(
            "cannot perform cluster-reset while server URL is set - remove server from configuration before resetting"
        )
    given = {"token-file": options.token_file} if options.token_file else {}
    token = tokens.given(Config(given) if given else config)
    if token is None:
        raise ConfigError(f"{paths.SERVER / 'token'} does not exist, please pass --token to complete the restoration")
    if not options.cluster_reset_restore_path.is_file():
        raise ConfigError(f"etcd: snapshot path does not exist: {options.cluster_reset_restore_path}")
    os.umask(0o077)
    with tarfile.open(options.cluster_reset_restore_path) as archive:
        kept = archive.extractfile(TOKEN)
        if kept is None or kept.read() != _hash(token):
            raise ConfigError("bootstrap data already found and encrypted with different token")
        if DATA.exists():
            DATA.rename(DATA.with_name(f"etcd-old-{int(time.time())}"))
        for folder in (paths.TLS, paths.CREDENTIALS):
            shutil.rmtree(folder, ignore_errors=True)
        for entry in archive:
            _extract(archive, entry)
    log.info(
        "Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. "
        "Backup and delete ${datadir}/server/db on each peer etcd server and rejoin the nodes"
    )


def _extract(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
    kind, _, name = entry.name.partition("/")
    content = archive.extractfile(entry)
    if content is None or not name:
        return
    target = {"etcd": DATA, "tls": paths.TLS}[kind] / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)
