"""Pack the files of a release in the shape of K3s': k3s, the images tar and the checksums.

pack.py FOLDER VERSION OUTPUT     FOLDER holds what compile.sh leaves: kubernetes, pause, version, go
"""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

LAUNCHER = Path(__file__).parent / "launcher"


def relabel(binary: bytes, compiled: str, wanted: str) -> bytes:
    """Change the version inside the binary.

    The linker stores it as text without an end mark, so that a version of the same length can take its
    place: a second version, for upgrades, costs no compilation.
    """
    if len(compiled) != len(wanted):
        raise SystemExit(f"{wanted}: the version must be as long as {compiled}")
    return binary.replace(compiled.encode(), wanted.encode())


def k3s(output: Path, binary: bytes, version: str, go: str) -> None:
    """Write the executable: the launcher as a zip archive Python runs, with the binary inside."""
    facts = {"version": version, "go": go, "payload": hashlib.sha256(binary).hexdigest()}
    with output.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("__main__.py", "import sys\nfrom launcher.main import main\nsys.exit(main())\n")
            archive.writestr("build.json", json.dumps(facts))
            for source in sorted([*LAUNCHER.glob("*.py"), *LAUNCHER.glob("files/*.*")]):
                archive.write(source, source.relative_to(LAUNCHER.parent))
            archive.writestr("kubernetes", binary)
    output.chmod(0o755)


def images(output: Path, pause: bytes, name: str, architecture: str) -> None:
    """Write a compressed image archive (in the form of `docker save`) with the pause image."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(pause), 0o755
        tar.addfile(entry, io.BytesIO(pause))
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {
        "layer.tar": layer.getvalue(),
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(output, "w:gz") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def main() -> None:
    """Read the arguments, write the three files."""
    folder, version, output = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    debian = ["dpkg", "--print-architecture"]
    architecture = subprocess.run(debian, check=True, capture_output=True, text=True).stdout.strip()
    compiled, go = (folder / "version").read_text().strip(), (folder / "go").read_text().strip()
    binary = relabel((folder / "kubernetes").read_bytes(), compiled, version)
    airgap = output / f"k3s-airgap-images-{architecture}.tar.gz"
    k3s(output / "k3s", binary, version, go)
    images(airgap, (folder / "pause").read_bytes(), "localhost/testbed/pause:1", architecture)
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in (output / "k3s", airgap)]
    (output / f"sha256sum-{architecture}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
