"""The release has the shape of K3s'."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

import pack


def test_a_second_version_replaces_the_first_in_place() -> None:
    binary = b"\0v1.20.2+testbed0v1.20.2+testbed0\0"
    assert pack.relabel(binary, "v1.20.2+testbed0", "v1.20.2+testbed7") == binary.replace(b"d0", b"d7")


def test_a_version_of_another_length_is_refused() -> None:
    with pytest.raises(SystemExit, match="as long as"):
        pack.relabel(b"", "v1.20.2+testbed0", "v1.20.2+testbed10")


def test_the_image_archive_names_its_layer_by_its_content(tmp_path: Path) -> None:
    archive = tmp_path / "images.tar.gz"
    pack.images(archive, b"binary", "localhost/some/pause:1", "amd64")
    with tarfile.open(archive) as tar:
        files = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
    manifest, config = json.loads(files["manifest.json"])[0], json.loads(files["config.json"])
    assert manifest["RepoTags"] == ["localhost/some/pause:1"]
    layer = hashlib.sha256(files[manifest["Layers"][0]]).hexdigest()
    assert config["rootfs"]["diff_ids"] == [f"sha256:{layer}"]
