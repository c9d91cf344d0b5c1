"""Whose a node's name is: the machine's whose password the cluster keeps, as a hash, in a secret of that name."""

import base64
import hashlib
import http
import secrets
from typing import Any

from launcher import paths
from launcher.api import Api, ApiError

SECRETS = "/api/v1/namespaces/kube-system/secrets"


def claim(api: Api, name: str) -> None:
    """Take a node's name for this machine, or see that it is this machine's already.

    Raises:
        ApiError: when it is another machine's.
    """
    path, password = f"{SECRETS}/{name}.node-password.k3s", paths.node_password()
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


def bind_to_node(api: Api, node: dict[str, Any]) -> None:
    """Let the password go when the node is deleted: then another machine may have its name.

    Raises:
        ApiError: when the name is another machine's by now.
    """
    name = node["metadata"]["name"]
    claim(api, name)
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
    api.patch(f"{SECRETS}/{name}.node-password.k3s", {"metadata": {"ownerReferences": [owner]}})
