"""Kubernetes API servers on loopback ports, with nothing behind them: no node, no controller, no scheduler.

They are those of the test bed's Kubernetes, which is built when it is not there. Objects are stored and checked as in
any cluster, but no pod ever runs and no rollout completes.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[1]
TESTBED = PROJECT / "molecule/testbed"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "greeter-fleet"
# Fixed in the test bed's etcd.
ETCD_PORTS = (2379, 2380)
PARTS = ("etcd", "kube-apiserver", "kubectl")
SECONDS_TO_START = 60.0
# The newest that works here; apt checks it against Debian's signature.
KUBECTL_RELEASE, KUBECTL_VERSION = "trixie", "1.32.3+ds-2"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class ApiServer:
    """A running API server: its address, its certificate, a kubeconfig of its administrator and its own kubectl."""

    url: str
    certificate: Path
    token: str
    kubeconfig: Path
    kubectl: Path

    def read(self, path: str, accept: str = "application/json") -> str:
        """Read ``path``."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": accept}
        request = urllib.request.Request(self.url + path, headers=headers)
        trust = ssl.create_default_context(cafile=str(self.certificate))
        with urllib.request.urlopen(request, timeout=60, context=trust) as answer:
            return str(answer.read().decode())

    def names(self, api_version: str, kind: str) -> set[tuple[str, str]]:
        """Namespace (empty if it has none) and name of every object of a kind."""
        base = f"/{'apis' if '/' in api_version else 'api'}/{api_version}"
        plural = next(found["name"] for found in json.loads(self.read(base))["resources"] if found["kind"] == kind)
        items = json.loads(self.read(f"{base}/{plural}", METADATA_ONLY))["items"]
        return {(item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in items}


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[object], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in the background, and end it with all its children."""
    with log.open("wb") as output:
        words = [str(word) for word in command]
        # Ctrl-C reaches only this process, which then stops them in their order.
        server = subprocess.Popen(words, stdout=output, stderr=output, start_new_session=True)
        try:
            yield server
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@contextmanager
def api_servers(names: Sequence[str]) -> Iterator[dict[str, ApiServer]]:
    """Start empty API servers, one for each name, over one etcd; stop them and remove all they wrote at the end."""
    with tempfile.TemporaryDirectory(prefix="greeter-api-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        unpack(folder)
        for port in ETCD_PORTS:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    sys.exit(f"Port {port} is in use, and etcd needs it: is there another etcd?")
        stack.enter_context(running([folder / "etcd", folder / "data"], folder / "etcd.log"))
        subprocess.run(["openssl", "genrsa", "-out", folder / "tokens.key", "2048"], check=True, capture_output=True)
        yield {name: stack.enter_context(api_server(folder, name)) for name in names}


@contextmanager
def api_server(folder: Path, name: str) -> Iterator[ApiServer]:
    """Start one API server that has a part of etcd to itself."""
    own = folder / name
    own.mkdir()
    port, token = free_port(), secrets.token_hex(16)
    url = f"https://127.0.0.1:{port}"
    server = ApiServer(url, own / "apiserver.crt", token, own / "kubeconfig", folder / "kubectl")
    (own / "tokens").write_text(f"{token},admin,admin,system:masters\n")
    # An elliptic key, as K3s has; with the RSA key that the API server would make itself, every connection costs more.
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", own / "apiserver.key", "-out", server.certificate)
    subprocess.run(["openssl", "req", "-x509", *curve, *names, *files], check=True, capture_output=True)
    command = [
        folder / "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{ETCD_PORTS[0]}",
        f"--etcd-prefix=/{name}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        "--insecure-port=0",
        # Kubernetes takes no loopback address for an endpoint of its own service.
        "--endpoint-reconciler-type=none",
        "--anonymous-auth=false",
        "--authorization-mode=RBAC",
        f"--cert-dir={own}",
        f"--token-auth-file={own}/tokens",
        # A thousand services need more than the default 254 addresses.
        "--service-cluster-ip-range=10.43.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/tokens.key",
        f"--service-account-signing-key-file={folder}/tokens.key",
    ]
    with running(command, own / "log") as process:
        until = time.monotonic() + SECONDS_TO_START
        while not ready(server):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"The API server does not start:\n{(own / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        server.kubeconfig.write_text(yaml.safe_dump(kubeconfig(server)))
        yield server


def ready(server: ApiServer) -> bool:
    """Tell whether the API server has all it needs to answer."""
    try:
        return server.read("/readyz") == "ok"
    except OSError:
        return False


def kubeconfig(server: ApiServer) -> dict[str, Any]:
    """How clients reach the API server."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "bench", "cluster": {"server": server.url, "certificate-authority": str(server.certificate)}}
        ],
        "users": [{"name": "admin", "user": {"token": server.token}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "admin"}}],
        "current-context": "bench",
    }


def unpack(folder: Path) -> None:
    """Put the parts of the test bed's Kubernetes into ``folder``, under their names."""
    settings = yaml.safe_load((TESTBED / "vars/main.yml").read_text())
    build = [TESTBED / "k3s/build.sh", CACHE, settings["testbed_build_version"]]
    release = Path(subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    binary = folder / "kubernetes"
    with zipfile.ZipFile(release / "k3s") as archive, archive.open("kubernetes") as packed, binary.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    binary.chmod(0o755)
    for part in PARTS:
        (folder / part).symlink_to("kubernetes")


def newer_kubectl() -> Path | None:
    """Debian's newer kubectl, kept in the cache under its version; None where it cannot be had."""
    kept = CACHE / "kubectl" / KUBECTL_VERSION
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as temporary:
            try:
                fetch_kubectl(Path(temporary)).rename(kept)
            except (OSError, subprocess.SubprocessError) as error:
                why = getattr(error, "stderr", None) or error
                print(f"There is no kubectl {KUBECTL_VERSION} here, so the cluster's own it is: {why}", file=sys.stderr)
                return None
    return kept


def fetch_kubectl(folder: Path) -> Path:
    """Fetch kubectl from the mirror this machine uses, with package lists of its own: nothing is installed."""

    def output(*command: str) -> str:
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300).stdout

    targets = output("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian")
    mirrors = [mirror for mirror in targets.split() if "security" not in mirror]
    if not mirrors:
        raise FileNotFoundError("no mirror of Debian's")
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources").write_text(f"deb [signed-by={keys}] {mirrors[0]} {KUBECTL_RELEASE} main\n")
    settings = {
        "Dir::Etc::sourcelist": f"{folder}/sources",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": f"{folder}/lists",
        "Dir::Cache": f"{folder}/cache",
        # Else apt, run by root, would fetch as a user that may not enter the folder.
        "APT::Sandbox::User": "root",
    }
    for place in ("lists/partial", "cache/archives/partial"):
        (folder / place).mkdir(parents=True)
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    output("apt-get", *options, "update")
    output("apt-get", *options, "download", f"kubectl={KUBECTL_VERSION}")
    output("dpkg-deb", "--extract", *(str(package) for package in folder.glob("*.deb")), "unpacked")
    return folder / "unpacked/usr/bin/kubectl"
