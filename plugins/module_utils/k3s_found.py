"""What of K3s is on a host, whether this project has put it there, and with which settings it runs."""

from __future__ import annotations

import base64
import binascii
import json
import re
import shlex
from pathlib import Path
from typing import Any, Iterator

# The services of this project write to it before they start K3s, and no others do.
STARTED_FROM = "/run/k3s-started-from"
SERVICES = ("k3s", "k3s-agent")
# The first that is there counts.
UNITS = (
    "/etc/systemd/system/{}.service",
    "/run/systemd/system/{}.service",
    "/usr/lib/systemd/system/{}.service",
    "/lib/systemd/system/{}.service",
    "/etc/init.d/{}",
)
# Read by the services of K3s' own installer and of distributions.
ENVIRONMENTS = ("/etc/systemd/system/{}.service.env", "/etc/default/{}", "/etc/sysconfig/{}", "/etc/conf.d/{}")
BINARY = "/usr/local/bin/k3s"
CONFIG = "/etc/rancher/k3s"
DATA = "/var/lib/rancher/k3s"
# Its state: a server's token, and the certificate by which a node calls its API server.
TOKEN, CERTIFICATE = f"{DATA}/server/token", f"{DATA}/agent/client-kubelet.crt"
# Flags that a cluster or a node has for good. Only these are ever told of: others may be secret.
LASTING = (
    "cluster-cidr", "cluster-dns", "cluster-domain", "data-dir", "flannel-backend", "https-listen-port", "node-ip",
    "node-name", "secrets-encryption", "service-cidr", "with-node-id",
)  # fmt: skip
ENDPOINT = "datastore-endpoint"
# Those of them that K3s takes from its environment too: https://docs.k3s.io/reference/env-variables
FROM_ENVIRONMENT = {
    "K3S_DATASTORE_ENDPOINT": ENDPOINT,
    "K3S_DATA_DIR": "data-dir",
    "K3S_NODE_NAME": "node-name",
}


def datastore(endpoint: str) -> str:
    """Name a datastore by what makes it this one: its kind, hosts and database, without login and options."""
    kind, _, rest = endpoint.partition("://")
    if not rest or kind == "sqlite":
        return ""
    if kind in ("http", "https"):
        hosts = (re.sub(r"^https?://", "", each.strip()).rpartition("@")[2] for each in endpoint.split(","))
        return "etcd " + ",".join(sorted(host.rstrip("/") for host in hosts))
    kind = "postgres" if kind == "postgresql" else kind
    return f"{kind} {rest.rpartition('@')[2].partition('?')[0]}"


class Found:
    """K3s on the host whose files are under ``root``."""

    def __init__(self, root: str = "/") -> None:
        """Look at the units of its services."""
        self._root = Path(root)
        units = [self._first(service) for service in SERVICES]
        self._units = [unit for unit in units if unit]
        self._is_ours = any(STARTED_FROM in self._read(unit) for unit in self._units)

    def _path(self, name: str) -> Path:
        return self._root / name.lstrip("/")

    def _read(self, name: str) -> str:
        try:
            return self._path(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _first(self, service: str) -> str:
        """The unit or script by which a service is started, nothing if there is none."""
        return next((unit.format(service) for unit in UNITS if self._path(unit.format(service)).exists()), "")

    def _files(self, pattern: str) -> list[str]:
        found = self._path(CONFIG).glob(pattern)
        return sorted(f"{CONFIG}/{path.relative_to(self._path(CONFIG))}" for path in found if path.is_file())

    def _configs(self) -> list[str]:
        """The files that K3s reads its flags from, the strongest last."""
        return [*self._files("config.yaml"), *self._files("config.yaml.d/*.yaml")]

    def _environments(self) -> list[str]:
        names = [name.format(service) for service in SERVICES for name in ENVIRONMENTS]
        return [name for name in [*names, f"{CONFIG}/k3s.env"] if self._path(name).is_file()]

    def foreign(self) -> list[str]:
        """Files of a K3s that this project has not put there; none if it has."""
        if self._is_ours:
            return []
        named = ("config.yaml", "config.yaml.d/secrets.yaml", "registries.yaml", "token")
        set_up = [*self._units, *(each for name in named for each in self._files(name))]
        set_up += [each for each in (TOKEN, CERTIFICATE) if self._path(each).exists()]
        # What this project does not write may have been put there for it.
        set_up += [each for each in self._files("config.yaml.d/*.yaml") if set_up and each not in set_up]
        # Others have files of these names too.
        environments = self._environments() if self._units else []
        return [*set_up, *environments, *([BINARY] if self._path(BINARY).exists() else [])]

    def settings(self) -> dict[str, Any]:
        """Those flags of `LASTING` that are set, and the datastore: what K3s would be started with."""
        layers: list[dict[str, Any]] = [_environment_flags(self._read(name)) for name in self._environments()]
        layers += [_yaml_flags(self._read(name)) for name in self._configs()]
        layers += [_command_flags(self._read(unit)) for unit in self._units]
        flags = {name: value for layer in layers for name, value in layer.items()}
        found = {name: value for name, value in flags.items() if name in LASTING}
        if datastore(str(flags.get(ENDPOINT, ""))):
            found["datastore"] = datastore(str(flags[ENDPOINT]))
        return found

    def state(self) -> str:
        """What holds the cluster's state here: etcd, sqlite, elsewhere, or nothing if this is no server with one."""
        if not self._path(TOKEN).exists():
            return ""
        db = self._path(f"{DATA}/server/db")
        if (db / "etcd/member").is_dir():
            return "etcd"
        return "sqlite" if (db / "state.db").is_file() else "elsewhere"

    def node_name(self) -> str:
        """The name of the host's node, by the certificate with which it calls its API server."""
        body = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END", self._read(CERTIFICATE), re.DOTALL)
        try:
            certificate = base64.b64decode(body.group(1)) if body else b""
        except binascii.Error:
            return ""
        # A text stands behind its length, one byte for so short a one.
        found = re.search(rb"(.)system:node:", certificate, re.DOTALL)
        return certificate[found.start() + 1 :][: found.group(1)[0]].decode("ascii", "replace")[12:] if found else ""


def k3s_found(root: str = "/") -> dict[str, Any]:
    """All that is known of the host's K3s without asking it; no secret is in it."""
    found = Found(root)
    return {
        "foreign": found.foreign(),
        "settings": found.settings(),
        "state": found.state(),
        "node_name": found.node_name(),
    }


def _environment_flags(text: str) -> dict[str, Any]:
    lines = re.findall(r"^\s*(?:export\s+)?(\w+)=(.*?)\s*$", text, re.MULTILINE)
    return {FROM_ENVIRONMENT[name]: value.strip("'\"") for name, value in lines if name in FROM_ENVIRONMENT}


def _command_flags(text: str) -> dict[str, Any]:
    """The flags in the command line of a unit or script, which K3s' installer spreads over several lines."""
    command = re.search(r'^(?:ExecStart=|command_args=")((?:.|\\\n)*?(?<!\\))$', text, re.MULTILINE)
    try:
        words = shlex.split(command.group(1).replace("\\\n", " ").rstrip('"')) if command else []
    except ValueError:
        words = []
    flags: dict[str, Any] = {}
    for word, following in zip(words, [*words[1:], ""]):
        name, has_value, value = word.lstrip("-").partition("=")
        if word.startswith("--"):
            flags[name] = value if has_value else True if not following or following.startswith("-") else following
    return flags


def _yaml_flags(text: str) -> dict[str, Any]:
    """The flags of a config.yaml: texts, switches and lists of texts, as K3s takes them; hosts may have no YAML."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return dict(_yaml_lines(text))
    return parsed if isinstance(parsed, dict) else {}


def _yaml_lines(text: str) -> Iterator[tuple[str, Any]]:
    text = re.sub(r"^\s*(#.*)?\n", "", text, flags=re.MULTILINE)
    found = re.finditer(r"""^ *["']?([a-z][a-z0-9-]*)\+?["']?:[ \t]*(.*)((?:\n[ \t]*-[ \t].*)*)""", text, re.MULTILINE)
    for name, value, items in (each.groups() for each in found):
        if value.startswith("["):
            yield name, [_scalar(each) for each in value.partition("]")[0][1:].split(",")]
        elif items and not _scalar(value):
            yield name, [_scalar(each.strip()[1:]) for each in items.strip().split("\n")]
        else:
            yield name, _scalar(value)


def _scalar(text: str) -> Any:  # noqa: ANN401
    quoted = re.match(r"""\s*(["'])(.*?)\1""", text)
    plain = re.sub(r"(^|\s)#.*", "", text).strip()
    if quoted:
        return quoted.group(2)
    return {"true": True, "false": False}.get(plain.lower(), plain)
