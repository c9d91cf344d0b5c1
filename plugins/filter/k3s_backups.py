"""Whether a file is a backup of a cluster, and one that can be restored here."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

About = dict[str, str]

FORMAT = 1
SAID = ("k3s_version", "kind", "node", "time")
STATES = ("state.db", "snapshot", "snapshot.zip")
RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)(-[^+]+)?\+\S*?(\d+)")
BLOCK = 1 << 20
# A description or a token that is longer is none.
LONGEST = 1 << 16


class BackupError(Exception):
    """What is wrong with an archive, as the end of a sentence about it."""


def read(path: Path) -> tuple[About, str]:
    """Read an archive from its first to its last byte; give what it says of itself, and its token.

    Raises:
        BackupError: when it is none, or not whole.
    """
    sums: dict[str, str] = {}
    short: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for entry in tar:
                content = tar.extractfile(entry)
                if content is None:
                    raise BackupError("is no backup of backup.yml: it holds more than files")
                if entry.name in ("about.json", "token"):
                    short[entry.name] = content.read(LONGEST)
                    sums[entry.name] = hashlib.sha256(short[entry.name]).hexdigest()
                    continue
                sums[entry.name] = _sha256(content)
    except FileNotFoundError as error:
        raise BackupError("is not there; write the path of an archive that backup.yml has made") from error
    except (EOFError, zlib.error, tarfile.ReadError, OSError) as error:
        begins = path.read_bytes()[:2] if path.is_file() else b""
        if begins == b"\x1f\x8b":
            raise BackupError(f"is damaged or cut off ({error}); take another backup") from error
        raise BackupError("is no backup of backup.yml, or cannot be read; write the path of one") from error
    return _described(sums, short)


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _described(sums: Mapping[str, str], short: Mapping[str, bytes]) -> tuple[About, str]:
    """Compare an archive's parts with its own description."""
    try:
        about = json.loads(short["about.json"])
        listed = {name: each["sha256"] for name, each in about["files"].items()}
        known = {name: str(about[name]) for name in SAID}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BackupError("is no backup of backup.yml: it holds no about.json of one") from error
    if about.get("format") != FORMAT:
        raise BackupError(f"has the format {about.get('format')!r}, which this version of the project does not read")
    found = {name: digest for name, digest in sums.items() if name != "about.json"}
    if listed != found or "token" not in listed or not any(state in listed for state in STATES):
        raise BackupError("is damaged: its parts are not those that its about.json lists; take another backup")
    return known, short["token"].decode(errors="replace").strip()


def seen(path: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Look at an archive, whole.

    Args:
        path: The file, relative to where the playbook was started.
        wanted: ``version`` (of K3s, that is to run from it), ``token`` (may be empty; never shown).

    Returns:
        ``path`` (absolute), ``size`` in bytes, ``about`` (empty if it is none) and ``faults``, in words.
    """
    file = Path(path).expanduser().absolute()
    result: dict[str, Any] = {"path": str(file), "size": 0, "about": {}, "faults": []}
    try:
        about, token = read(file)
    except BackupError as error:
        return result | {"faults": [f"k3s_restore_from: {file} {error}"]}
    faults = list(filter(None, [_version_fault(about["k3s_version"], wanted["version"])]))
    if wanted["token"] and not _same(wanted["token"], token):
        faults.append(
            "k3s_token: is not the token of the backup, by which its secrets are encrypted; write that one, or leave "
            "it empty"
        )
    return result | {"size": file.stat().st_size, "about": about, "faults": faults}


def _version_fault(taken: str, target: str) -> str:
    old, new = RELEASE.fullmatch(taken), RELEASE.fullmatch(target)
    if not old or not new:
        return f"k3s_version: {target} cannot be compared with {taken} of the backup; write {taken}"
    before, after = ([int(number) for number in found.group(1, 2, 3, 5)] for found in (old, new))
    if before > after:
        return f"k3s_version: {target} is older than {taken} of the backup; write {taken}"
    if before[0] != after[0] or after[1] - before[1] > 1:
        return (
            f"k3s_version: {target} is more than one minor version newer than {taken} of the backup; write {taken}, "
            "and upgrade step by step afterwards"
        )
    return ""


def _same(given: str, kept: str) -> bool:
    """Whether two tokens are the same; a secret alone is compared with the other's secret."""
    if given.startswith("K10") and kept.startswith("K10"):
        return given.strip() == kept
    return given.strip().rsplit(":", 1)[-1] == kept.rsplit(":", 1)[-1]


def readable(size: int) -> str:
    """A number of bytes as people read it, such as ``1.2 MB``."""
    return f"{max(size / 1e6, 0.1):.1f} MB"


def strangers(answer: str, names: Sequence[str]) -> list[str]:
    """Nodes of a NodeList, as JSON text, that are none of ``names``."""
    return sorted({node["metadata"]["name"] for node in json.loads(answer)["items"]} - set(names))


def unavailable(answer: str) -> list[str]:
    """Deployments of a DeploymentList, as JSON text, of which pods are missing, as namespace/name."""
    return sorted(
        f"{each['metadata']['namespace']}/{each['metadata']['name']}"
        for each in json.loads(answer)["items"]
        if each["status"].get("availableReplicas", 0) < each["spec"]["replicas"]
    )


class FilterModule:
    """The filters under the names that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {
            "k3s_backup_seen": seen,
            "k3s_readable": readable,
            "k3s_strangers": strangers,
            "k3s_unavailable": unavailable,
        }
