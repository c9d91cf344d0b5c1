"""Where things lie: K3s' own places, which roles and people rely on."""

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
