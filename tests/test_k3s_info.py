"""What the module k3s_info reads off a host."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.greeter.fleet.plugins.modules import k3s_info


def noted(*files: Path) -> str:
    """What ``sha256sum`` prints of the files."""
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}\n" for file in files)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A binary and a configuration that a service has started from, and where it has noted so."""
    binary, config, started_from = tmp_path / "k3s", tmp_path / "config.yaml", tmp_path / "started-from"
    binary.write_bytes(b"\x7fELF")
    config.write_text("debug: true\n")
    started_from.write_text(noted(binary, config))
    return binary, config, started_from


def not_run_from(started_from: Path, *files: Path) -> list[str]:
    checksums = {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return k3s_info.not_run_from(checksums, started_from)


def test_files_as_they_were_at_the_start_are_what_the_service_runs_from(files: tuple[Path, Path, Path]) -> None:
    binary, config, started_from = files
    config.touch()
    assert not_run_from(started_from, binary, config) == []


def test_a_file_changed_added_or_removed_since_the_start_is_named(files: tuple[Path, Path, Path]) -> None:
    binary, config, started_from = files
    added = config.with_name("registries.yaml")
    added.write_text("mirrors: {}\n")
    config.write_text("debug: false\n")
    assert not_run_from(started_from, config, added) == [str(config), str(binary), str(added)]


def test_of_a_service_that_has_noted_nothing_every_file_is_named(files: tuple[Path, Path, Path]) -> None:
    binary, config, started_from = files
    started_from.unlink()
    assert not_run_from(started_from, binary, config) == [str(config), str(binary)]


def test_only_what_is_there_has_a_checksum(
    files: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary, config, started_from = files
    monkeypatch.setattr(k3s_info, "BINARY", str(binary))
    monkeypatch.setattr(k3s_info, "IMAGES", f"{tmp_path}/")
    (tmp_path / "images.tar").write_text("images")
    named = {
        "service": "k3s",
        "files": [str(binary), str(config), str(config.with_name("not-there.yaml"))],
        "images": ["images.tar", "not-there.tar"],
        "started_from": str(started_from),
    }
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (binary, tmp_path / "images.tar")}
    info = k3s_info.info(SimpleNamespace(params=named, sha256=lambda path: digests.get(Path(path), "of the rest")))
    assert (info["sha256"], info["images"]) == (digests[binary], {"images.tar": digests[tmp_path / "images.tar"]})
    assert info["present"] == [str(binary), str(config)]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("debug: true\nserver: https://192.0.2.1:6443\n", "https://192.0.2.1:6443"),
        ('server: "https://[2001:db8::1]:6443"\n', "https://[2001:db8::1]:6443"),
        ("tls-san:\n- server: none\n", ""),
    ],
)
def test_the_server_is_read_from_the_configuration(tmp_path: Path, text: str, url: str) -> None:
    config = tmp_path / "config.yaml"
    assert k3s_info.server_url(config) == ""
    config.write_text(text)
    assert k3s_info.server_url(config) == url
