"""The running service against openapi.yaml: schemathesis makes the requests, and judges the answers."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .server import SERVICE, Server, running


def judge(server: Server, document: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Let schemathesis ask the server, with requests that keep to the document and with such that do not."""
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"), "run", str(document),
            "--url", f"http://127.0.0.1:{server.port}", "--checks", "all", "--phases", "coverage,fuzzing",
            "--mode", "all", "--max-examples", "30", "--seed", "1", "--generation-database", "none", "--no-color",
        ],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_service_keeps_to_its_document(tmp_path: Path) -> None:
    with running({"GREETING": "Grüß Gott, 世界 👋"}) as server:
        done = judge(server, SERVICE / "openapi.yaml", tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("response", {"type": "integer"}), ("status", {"const": "fine"})], ids=["greeting", "probes"]
)
def test_a_service_that_does_not_would_be_found_out(tmp_path: Path, name: str, value: dict[str, str]) -> None:
    document = yaml.safe_load((SERVICE / "openapi.yaml").read_text())
    for path in document["paths"].values():
        properties = path["get"]["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
        if name in properties:
            properties[name] = value
    changed = tmp_path / "openapi.yaml"
    changed.write_text(yaml.safe_dump(document))
    with running() as server:
        assert judge(server, changed, tmp_path).returncode == 1
