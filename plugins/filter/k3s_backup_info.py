"""What a backup of a cluster says of itself, and whether it can be restored here."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.greeter.fleet.plugins.module_utils.k3s_archive import ABOUT, FORMAT, STATES, TOKEN
from ansible_collections.greeter.fleet.plugins.plugin_utils import k3s_versions

DESCRIBED = ("k3s_version", "kind", "node", "time")
# A description or a token that is longer is none.
LONGEST = 1 << 16


class BackupError(Exception):
    """What is wrong with an archive, as the end of a sentence about it."""


def read(path: Path) -> tuple[dict[str, str], str]:
    """Read an archive from its first to its last byte; return its description and its token.

    Raises:
        BackupError: when it is none, or not whole.
    """
    sums: dict[str, str] = {}
    short: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for entry in tar:
                content: Any = tar.extractfile(entry)
                if content is None:
                    raise BackupError("is no backup of backup.yml: it holds more than files")
                if entry.name in (ABOUT, TOKEN):
                    short[entry.name] = content.read(LONGEST)
                    content = io.BytesIO(short[entry.name])
                sums[entry.name] = hashlib.file_digest(content, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise BackupError("is not there; write the path of an archive that backup.yml has made") from error
    except (EOFError, zlib.error, tarfile.ReadError, OSError) as error:
        if path.is_file() and path.read_bytes()[:2] == b"\x1f\x8b":  # gzip
            raise BackupError(f"is damaged or cut off ({error}); take another backup") from error
        raise BackupError("is no backup of backup.yml, or cannot be read; write the path of one") from error
    return _description(sums, short), short[TOKEN].decode(errors="replace").strip()


def _description(sums: Mapping[str, str], short: Mapping[str, bytes]) -> dict[str, str]:
    """The description of an archive, whose members are those that it lists."""
    try:
        about = json.loads(short[ABOUT])
        listed = {name: member["sha256"] for name, member in about["files"].items()}
        described = {name: str(about[name]) for name in DESCRIBED}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BackupError(f"is no backup of backup.yml: it holds no {ABOUT} of one") from error
    if about.get("format") != FORMAT:
        raise BackupError(f"has the format {about.get('format')!r}, which this version of the project does not read")
    found = {name: digest for name, digest in sums.items() if name != ABOUT}
    if listed != found or TOKEN not in listed or not STATES.keys() & listed:
        raise BackupError(f"is damaged: its parts are not those that its {ABOUT} lists; take another backup")
    return described


def _version_faults(taken: str, target: str) -> Iterator[str]:
    """Whether K3s can go on from a state of another release."""
    old, new = k3s_versions.parse(taken), k3s_versions.parse(target)
    if not old or not new:
        yield f"k3s_version: {target} cannot be compared with {taken} of the backup; write {taken}"
    elif k3s_versions.is_newer(old, new):
        yield f"k3s_version: {target} is older than {taken} of the backup; write {taken}"
    elif new.minor - old.minor > 1:
        yield (
            f"k3s_version: {target} is more than one minor version newer than {taken} of the backup; write {taken}, "
            "and upgrade step by step afterwards"
        )


def _is_same_token(given: str, kept: str) -> bool:
    """Whether two tokens are the same; one that is a secret alone is compared with the other's secret."""
    if given.startswith("K10") and kept.startswith("K10"):
        return given.strip() == kept
    return given.strip().rpartition(":")[2] == kept.rpartition(":")[2]


def backup_info(path: str, version: str = "", token: str = "") -> dict[str, Any]:
    """Read a backup, and compare it with the K3s that is to start from it, as described in k3s_backup_info.yml."""
    file = Path(path).expanduser().absolute()
    result: dict[str, Any] = {"path": str(file), "size": 0, "about": {}, "faults": []}
    try:
        about, kept = read(file)
    except BackupError as error:
        return result | {"faults": [f"k3s_restore_from: {file} {error}"]}
    faults = list(_version_faults(about["k3s_version"], version)) if version else []
    if token and not _is_same_token(token, kept):
        faults.append(
            "k3s_token: is not the token of the backup, by which its secrets are encrypted; write that one, or leave "
            "it empty"
        )
    return result | {"size": file.stat().st_size, "about": about, "faults": faults}


class FilterModule:
    """The filter under the name that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"k3s_backup_info": backup_info}
