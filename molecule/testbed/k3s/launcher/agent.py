"""`k3s agent`: this machine as a node of a cluster whose servers are elsewhere."""

import base64
import hashlib
import http.client
import json
import logging
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml

from launcher import cgroups, paths, payload, tokens
from launcher.api import Api, ApiError, trusting
from launcher.config import Config, ConfigError
from launcher.ingress import Ingress
from launcher.node import Credentials, Node
from launcher.paths import write_private
from launcher.supervise import Supervisor, notify
from launcher.tokens import Token

log = logging.getLogger(__name__)

Result = TypeVar("Result")

AUTHORITY = paths.AGENT / "server-ca.crt"
BOOTSTRAP = paths.AGENT / "bootstrap.kubeconfig"
KUBECONFIG = paths.AGENT / "kubelet.kubeconfig"
KUBELET_PKI = Path("/var/lib/kubelet/pki")
PUBLISHED = "/api/v1/namespaces/kube-system/configmaps/testbed-cluster"
SECRETS = "/api/v1/namespaces/kube-system/secrets"


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
        published = _insist("find the cluster", lambda: _find(server.netloc, token))
        authority = published["ca.crt"]
        config = config.with_defaults(json.loads(published["config"]))
        _forget_other_cluster(authority)
        AUTHORITY.write_text(authority)
        write_private(BOOTSTRAP, _kubeconfig(server.geturl(), authority, token))
        _turn_to(server.geturl())
        joining = Api(server.netloc, trusting(AUTHORITY), _bearer(token))
        name, password = config.node_name, paths.node_password()
        _insist("register the node's name", lambda: _claim(joining, name, password))

        node = Node(config, supervisor, bin_dir, Credentials(AUTHORITY, KUBECONFIG, BOOTSTRAP))
        node.start()
        supervisor.wait_until("the kubelet has its certificate", KUBECONFIG.exists, seconds=float("inf"))
        own = KUBELET_PKI / "kubelet-client-current.pem"
        api = Api(server.netloc, trusting(AUTHORITY, own))
        supervisor.wait_until("the node is registered", lambda: api.get(f"/api/v1/nodes/{name}"), seconds=float("inf"))
        _bind_to_node(joining, api.get(f"/api/v1/nodes/{name}"))
        node.start_network(api)
        if "traefik" not in config.items("disable"):
            supervisor.thread("ingress", Ingress(api).run)
        notify("READY=1")
        supervisor.run()


def _insist(what: str, step: Callable[[], Result]) -> Result:
    """Try a step until it works, and say each time why it does not."""
    while True:
        try:
            return step()
        except (OSError, http.client.HTTPException) as error:
            log.error("cannot %s yet: %s", what, error)
            time.sleep(1)


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


def _claim(api: Api, name: str, password: str) -> None:
    """Take the node's name for the machine with this password, or see that it is this machine's already."""
    path = f"{SECRETS}/{name}.node-password.k3s"
    try:
        salt, _, known = base64.b64decode(api.get(path)["data"]["hash"]).decode().partition(":")
    except ApiError as error:
        if error.status != http.HTTPStatus.NOT_FOUND:
            raise
        salt = secrets.token_hex(8)
        data = {"hash": base64.b64encode(f"{salt}:{_hash(salt, password)}".encode()).decode()}
        api.create(SECRETS, {"metadata": {"name": f"{name}.node-password.k3s"}, "data": data})
        return
    if _hash(salt, password) != known:
        raise ApiError(f"Node password rejected, duplicate hostname or {paths.NODE_PASSWORD} is not that of this name")


def _hash(salt: str, password: str) -> str:
    return hashlib.scrypt(password.encode(), salt=salt.encode(), n=1 << 14, r=8, p=1).hex()


def _bind_to_node(api: Api, node: dict[str, Any]) -> None:
    """Let the password go when the node is deleted: then another machine may have its name."""
    name = node["metadata"]["name"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
    api.patch(f"{SECRETS}/{name}.node-password.k3s", {"metadata": {"ownerReferences": [owner]}})
