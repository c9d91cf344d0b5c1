"""`k3s agent`: this machine as a node of a cluster whose servers are elsewhere."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from launcher import cgroups, names, paths, payload, tokens
from launcher.api import Api, ApiError, trusting
from launcher.config import Config, ConfigError
from launcher.ingress import Ingress
from launcher.node import Credentials, Node
from launcher.paths import write_private
from launcher.supervise import Supervisor, notify
from launcher.tokens import Token

AUTHORITY = paths.AGENT / "server-ca.crt"
BOOTSTRAP = paths.AGENT / "bootstrap.kubeconfig"
KUBECONFIG = paths.AGENT / "kubelet.kubeconfig"
KUBELET_PKI = Path("/var/lib/kubelet/pki")
PUBLISHED = "/api/v1/namespaces/kube-system/configmaps/testbed-cluster"


def work(config: Config) -> None:
    """Run until told to stop; wait for a server that is not there, or does not let this node in, as K3s does.

    Raises:
        ConfigError: when no server or no token is given.
        ChildError: when any part ends; systemd then starts the service anew, as with K3s.
    """
    server, token = urlsplit(config.text("server")), tokens.given(config)
    if not server.netloc:
        raise ConfigError("--server is required")
    if token is None:
        raise ConfigError("--token is required")
    bin_dir = payload.unpack()
    cgroups.isolate()
    for folder in (paths.RUN, paths.AGENT):
        folder.mkdir(parents=True, exist_ok=True)
    with Supervisor() as supervisor:
        published = supervisor.insist("find the cluster", lambda: _find(server.netloc, token))
        authority = published["ca.crt"]
        config = config.with_defaults(json.loads(published["config"]))
        _forget_other_cluster(authority)
        AUTHORITY.write_text(authority)
        write_private(BOOTSTRAP, _kubeconfig(server.geturl(), authority, token))
        _turn_to(server.geturl())
        joining = Api(server.netloc, trusting(AUTHORITY), _bearer(token))
        name = config.node_name

        node = Node(config, supervisor, bin_dir, Credentials(AUTHORITY, KUBECONFIG, BOOTSTRAP))
        node.start(lambda: supervisor.insist("register the node's name", lambda: names.claim(joining, name)))
        supervisor.wait_until("the kubelet has its certificate", KUBECONFIG.exists, seconds=float("inf"))
        own = KUBELET_PKI / "kubelet-client-current.pem"
        api = Api(server.netloc, trusting(AUTHORITY, own))
        supervisor.wait_until("the node is registered", lambda: api.get(f"/api/v1/nodes/{name}"), seconds=float("inf"))
        supervisor.insist("keep the node's name", lambda: names.bind_to_node(joining, api.get(f"/api/v1/nodes/{name}")))
        node.start_network(api)
        if "traefik" not in config.items("disable"):
            supervisor.thread("ingress", Ingress(api).run)
        notify("READY=1")
        supervisor.run()


def _bearer(token: Token) -> str:
    return f"{token.bootstrap_id}.{token.bootstrap_secret}"


def _find(host: str, token: Token) -> dict[str, str]:
    """Give what the servers publish for nodes, once the server has proved to be of the token's cluster."""
    found: dict[str, str] = Api(host, trusting(None), _bearer(token)).get(PUBLISHED)["data"]
    if not token.fits(found["ca.crt"]):
        raise ApiError("token CA hash does not match the Cluster CA certificate hash")
    return found


def _forget_other_cluster(authority: str) -> None:
    if AUTHORITY.exists() and AUTHORITY.read_text() != authority:
        KUBECONFIG.unlink(missing_ok=True)
        shutil.rmtree(KUBELET_PKI, ignore_errors=True)


def _turn_to(server: str) -> None:
    """Have a kubelet that has its certificate call this server, whichever it has joined by."""
    if KUBECONFIG.exists():
        kubeconfig: dict[str, Any] = yaml.safe_load(KUBECONFIG.read_text())
        kubeconfig["clusters"][0]["cluster"]["server"] = server
        write_private(KUBECONFIG, yaml.safe_dump(kubeconfig))


def _kubeconfig(server: str, authority: str, token: Token) -> str:
    """Give the kubeconfig by which the kubelet asks for its certificate."""
    data = base64.b64encode(authority.encode()).decode()
    settings: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "default", "cluster": {"server": server, "certificate-authority-data": data}}],
        "users": [{"name": "default", "user": {"token": _bearer(token)}}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
        "current-context": "default",
    }
    return yaml.safe_dump(settings)
