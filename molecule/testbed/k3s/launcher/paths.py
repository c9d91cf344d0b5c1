"""Where things lie: K3s' own places, which roles and people rely on."""

import secrets
from pathlib import Path

ETC = Path("/etc/rancher/k3s")
KUBECONFIG = ETC / "k3s.yaml"

DATA = Path("/var/lib/rancher/k3s")
SERVER = DATA / "server"
TLS = SERVER / "tls"
CREDENTIALS = SERVER / "cred"
MANIFESTS = SERVER / "manifests"
AGENT = DATA / "agent"
IMAGES = AGENT / "images"

RUN = Path("/run/k3s")
CONTAINERD_SOCKET = RUN / "containerd/containerd.sock"

NODE_PASSWORD = Path("/etc/rancher/node/password")


def write_private(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file that never is more readable than it should be."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(0o600)
    fresh.write_text(text)
    fresh.chmod(mode)
    return fresh.replace(path)


def node_password() -> str:
    """Give the password that shows a machine to be the one its name was first given to; make it at first."""
    if not NODE_PASSWORD.exists():
        NODE_PASSWORD.parent.mkdir(parents=True, exist_ok=True)
        write_private(NODE_PASSWORD, secrets.token_hex(16) + "\n")
    return NODE_PASSWORD.read_text().strip()
