"""Manifests in a folder become objects of the cluster, as with K3s."""

import logging
import subprocess
import time
from pathlib import Path

log = logging.getLogger(__name__)

POLL_SECONDS = 2
RETRY_SECONDS = 15


class Manifests:
    """Applies manifests with kubectl."""

    def __init__(self, kubectl: Path, kubeconfig: Path) -> None:
        """Take the client and its credentials."""
        self._command = [str(kubectl), "--kubeconfig", str(kubeconfig), "apply", "-f"]

    def apply_text(self, text: str) -> None:
        """Apply manifests that must work."""
        subprocess.run([*self._command, "-"], input=text.encode(), check=True, stdout=subprocess.DEVNULL)

    def follow(self, folder: Path) -> None:
        """Apply every manifest of a folder now and whenever it changes, for ever; retry what fails."""
        applied: dict[Path, int] = {}
        retry_at: dict[Path, float] = {}
        while True:
            # Hidden files are others on their way to their names.
            for file in sorted(folder.glob("[!.]*")):
                try:
                    state = file.stat().st_mtime_ns
                except FileNotFoundError:
                    continue
                due = retry_at.get(file, 0) <= time.monotonic()
                if file.suffix not in {".yaml", ".yml", ".json"} or applied.get(file) == state or not due:
                    continue
                command = [*self._command, str(file)]
                done = subprocess.run(command, check=False, capture_output=True, text=True)
                log.info("%s: %s", file.name, (done.stdout + done.stderr).strip())
                if done.returncode == 0:
                    applied[file] = state
                else:
                    retry_at[file] = time.monotonic() + RETRY_SECONDS
            time.sleep(POLL_SECONDS)
