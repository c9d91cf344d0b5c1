"""What the servers of one datastore share: the cluster's certificates, which each finds or leaves there at first."""

import base64
import http.client

from launcher import paths
from launcher.api import Api, ApiError
from launcher.config import ConfigError
from launcher.tokens import Token

SECRETS = "/api/v1/namespaces/kube-system/secrets"
NAME = "testbed-servers"
FILES = ("ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub")
DONE = paths.SERVER / "shared"


def share(api: Api, token: Token) -> None:
    """Leave this server's certificates to those that come later, or take over what an earlier one has left.

    Raises:
        ConfigError: when the earlier servers have another token.
    """
    data = {name: base64.b64encode((paths.TLS / name).read_bytes()).decode() for name in FILES}
    data["token"] = base64.b64encode(token.secret.encode()).decode()
    try:
        api.create(SECRETS, {"metadata": {"name": NAME}, "data": data})
    except ApiError as error:
        if error.status != http.HTTPStatus.CONFLICT:
            raise
        _take_over(api.get(f"{SECRETS}/{NAME}")["data"], token)
    DONE.touch()


def _take_over(data: dict[str, str], token: Token) -> None:
    if base64.b64decode(data["token"]).decode() != token.secret:
        raise ConfigError("bootstrap data already found and encrypted with different token")
    for made in [*paths.TLS.iterdir(), *paths.CREDENTIALS.iterdir()]:
        made.unlink()
    for name in FILES:
        paths.write_private(paths.TLS / name, base64.b64decode(data[name]).decode())
