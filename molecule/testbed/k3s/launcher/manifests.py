"""Manifests in a folder become objects of the cluster, as with K3s."""

import hashlib
import json
import logging
import subprocess
import time
from pathlib import Path

log = logging.getLogger(__name__)

POLL_SECONDS = 2
RETRY_SECONDS = 15


class ManifestError(OSError):
    """kubectl has refused a manifest."""


class Manifests:
    """Applies manifests with kubectl."""

    def __init__(self, kubectl: Path, kubeconfig: Path) -> None:
        """Take the client and its credentials."""
        self._command = [str(kubectl), "--kubeconfig", str(kubeconfig)]

    def _kubectl(self, *arguments: object, text: str = "") -> str:
        command = [*self._command, *map(str, arguments)]
        done = subprocess.run(command, input=text, check=False, capture_output=True, text=True)
        if done.returncode:
            raise ManifestError((done.stdout + done.stderr).strip())
        return done.stdout

    def apply_text(self, text: str) -> None:
        """Apply manifests that must work; what this Kubernetes does not know of them yet is left out.

        Raises:
            ManifestError: when they do not.
        """
        self._kubectl("apply", "--validate=false", "--filename=-", text=text)

    def wait_for_kinds(self) -> None:
        """Wait until the API serves what the cluster's own definitions name.

        Raises:
            ManifestError: when it does not within half a minute.
        """
        self._kubectl("wait", "--for=condition=Established", "--timeout=30s", "customresourcedefinitions", "--all")

    def follow(self, folder: Path) -> None:
        """Apply every manifest in and below a folder now and whenever it changes, for ever; retry what fails."""
        applied: dict[Path, int] = {}
        retry_at: dict[Path, float] = {}
        is_start = True
        while True:
            # Hidden files are others on their way to their names.
            for file in sorted(folder.rglob("[!.]*")):
                try:
                    state = file.stat().st_mtime_ns
                except FileNotFoundError:
                    continue
                due = retry_at.get(file, 0) <= time.monotonic()
                if file.suffix not in {".yaml", ".yml", ".json"} or applied.get(file) == state or not due:
                    continue
                try:
                    self._apply_file(file, is_start)
                    applied[file] = state
                except OSError as error:
                    log.info("%s: %s", file.name, error)
                    retry_at[file] = time.monotonic() + RETRY_SECONDS
            is_start = False
            time.sleep(POLL_SECONDS)

    def _apply_file(self, file: Path, is_start: bool) -> None:
        """Apply a manifest; but for the start, only if its AddOn does not say that this was done already."""
        content = file.read_bytes()
        name, checksum = file.name.partition(".")[0], hashlib.sha256(content).hexdigest()
        addon = ["--namespace=kube-system", "addon.k3s.cattle.io", name, "--ignore-not-found"]
        if not is_start and self._kubectl("get", *addon, "--output=jsonpath={.spec.checksum}") == checksum:
            return
        log.info("%s: %s", file.name, self._kubectl("apply", f"--filename={file}").strip())
        metadata = {"name": name, "namespace": "kube-system"}
        spec = {"source": str(file), "checksum": checksum}
        item = {"apiVersion": "k3s.cattle.io/v1", "kind": "Addon", "metadata": metadata, "spec": spec}
        self._kubectl("apply", "--filename=-", text=json.dumps(item))
