"""The ingress controller: Ingress, Service, Endpoints and Secret objects become a configuration of haproxy."""

import base64
import hashlib
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from launcher import paths, payload
from launcher.api import Api, Key, Object, internal_ip

log = logging.getLogger(__name__)

CLASS = "traefik"
FOLDER = paths.RUN / "ingress"
CERTIFICATES = FOLDER / "certificates"
POD_PORT = 8000
DEFAULT_CERTIFICATE = FOLDER / "default.pem"
INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
SOURCES = {
    "ingresses": INGRESSES,
    "services": "/api/v1/services",
    "endpoints": "/api/v1/endpoints",
    "secrets": "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Ftls",
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/namespaces/kube-system/pods?labelSelector=app.kubernetes.io%2Fname%3Dtraefik",
}


@dataclass
class State:
    """The objects the configuration is made from, by namespace and name."""

    ingresses: Mapping[Key, Object] = field(default_factory=dict)
    services: Mapping[Key, Object] = field(default_factory=dict)
    endpoints: Mapping[Key, Object] = field(default_factory=dict)
    secrets: Mapping[Key, Object] = field(default_factory=dict)
    nodes: Mapping[Key, Object] = field(default_factory=dict)
    pods: Mapping[Key, Object] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One host and path of an Ingress, and the backend it leads to."""

    host: str
    path: str
    exact: bool
    backend: str

    @property
    def rank(self) -> tuple[bool, bool, bool, int]:
        """Order rules so that the most specific one comes first."""
        return not self.host, self.host.startswith("*"), not self.exact, -len(self.path)

    @property
    def condition(self) -> str:
        """Give the condition in haproxy's words."""
        words = []
        if self.host.startswith("*"):
            words.append(f"{{ var(txn.host) -m end {self.host[1:]} }}")
        elif self.host:
            words.append(f"{{ var(txn.host) -m str {self.host} }}")
        if self.exact:
            words.append(f"{{ path {self.path} }}")
        elif self.path.rstrip("/"):
            words.append(f"{{ var(txn.path) -m beg {self.path.rstrip('/')}/ }}")
        return f" if {' '.join(words)}" if words else ""


def render(state: State) -> str:
    """Give haproxy's configuration for the objects."""
    rules: list[Rule] = []
    servers: dict[str, list[str]] = {}
    for (namespace, _), ingress in state.ingresses.items():
        if _is_ours(ingress):
            for host, path, kind, backend in _paths(ingress["spec"]):
                service, port = backend["service"]["name"], backend["service"]["port"]
                name = f"{namespace}_{service}_{port.get('number') or port.get('name')}"
                servers[name] = _servers(state, (namespace, service), port)
                rules.append(Rule(host, path, kind == "Exact", name))
    rules.sort(key=lambda rule: rule.rank)
    lines = [f"  use_backend {rule.backend}{rule.condition}" for rule in rules]
    lines += ["  default_backend none", "", "backend traefik"]
    lines += [f"  server t{number} {address}:{POD_PORT}" for number, address in enumerate(_serving_nodes(state))]
    for name, addresses in sorted(servers.items()):
        lines += ["", f"backend {name}"]
        lines += [f"  server s{number} {address}" for number, address in enumerate(addresses)]
    return "\n".join(lines) + "\n"


def certificates(state: State) -> dict[str, str]:
    """Give the certificates that the Ingresses name: file name → chain and key in one PEM text.

    A Secret that is missing or holds no certificate with its key is left out: haproxy refuses a configuration
    for a single bad file. As with Traefik the names inside a certificate decide for which hosts it is served.
    """
    found = {}
    for (namespace, _), ingress in state.ingresses.items():
        for entry in ingress["spec"].get("tls") or [] if _is_ours(ingress) else []:
            name = entry.get("secretName")
            pem = _pem(state.secrets.get((namespace, name), {}))
            if pem and _loads(f"{namespace}/{name}", pem):
                found[f"{namespace}_{name}.pem"] = pem
    return found


def _pem(secret: Object) -> str:
    data = secret.get("data") or {}
    try:
        return "\n".join(base64.b64decode(data[key]).decode("ascii") for key in ("tls.crt", "tls.key"))
    except (KeyError, ValueError):
        return ""


@lru_cache(maxsize=10_000)
def _loads(secret: str, pem: str) -> bool:
    """Say whether a certificate and its key can be loaded; one that cannot is logged once."""
    # OpenSSL reads only files; this one never lies on a disk. A key with a passphrase would make it ask for one.
    with os.fdopen(os.memfd_create("pem"), "w") as file:
        file.write(pem)
        file.flush()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")
        except (ssl.SSLError, ValueError) as error:
            log.warning("the certificate of the Secret %s is not served: %s", secret, error)
            return False
    return True


def _default_certificate() -> str:
    """Give a self-signed certificate for hosts without one of their own; its name is that of Traefik's."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "-"]
    command = ["openssl", "req", "-x509", *key, "-days", "365", "-subj", "/CN=TRAEFIK DEFAULT CERT"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _is_ours(ingress: Object) -> bool:
    annotations = ingress["metadata"].get("annotations") or {}
    name = ingress["spec"].get("ingressClassName") or annotations.get("kubernetes.io/ingress.class")
    return name in (None, CLASS)


def _paths(spec: Object) -> Iterator[tuple[str, str, str, Object]]:
    """Give host, path, path type and backend of each rule."""
    for rule in spec.get("rules") or []:
        for path in (rule.get("http") or {}).get("paths") or []:
            yield rule.get("host") or "", path.get("path") or "/", path["pathType"], path["backend"]
    if "defaultBackend" in spec:
        yield "", "/", "Prefix", spec["defaultBackend"]


def _servers(state: State, service: Key, port: Object) -> list[str]:
    """Give the ready pods behind a service's port, as `address:port`."""
    ports = state.services.get(service, {}).get("spec", {}).get("ports") or []
    wanted = {port.get("number"), port.get("name")} - {None}
    names = {each.get("name", "") for each in ports if {each["port"], each.get("name")} & wanted}
    return sorted(
        f"{address['ip']}:{each['port']}"
        for subset in state.endpoints.get(service, {}).get("subsets") or []
        for each in subset.get("ports") or []
        if each.get("name", "") in names
        for address in subset.get("addresses") or []
    )


def _serving_nodes(state: State) -> list[str]:
    """Give the addresses of the nodes on which a pod of Traefik is ready."""
    return sorted(
        {
            pod["status"]["hostIP"]
            for pod in state.pods.values()
            for condition in pod["status"].get("conditions") or []
            if condition["type"] == "Ready" and condition["status"] == "True"
            if "deletionTimestamp" not in pod["metadata"]
        }
    )


def mark_of(text: str, certificates: Mapping[str, str]) -> str:
    """Give the mark of a configuration: another one as soon as a line or a certificate is another one."""
    return hashlib.sha256(json.dumps([text, certificates], sort_keys=True).encode()).hexdigest()


def write_certificates(folder: Path, certificates: Mapping[str, str]) -> None:
    """Make `folder`, which haproxy reads at each reload, hold these certificates and no others."""
    for file in folder.iterdir():
        if file.name not in certificates:
            file.unlink()
    for name, pem in certificates.items():
        file = folder / name
        if not (file.exists() and file.read_text() == pem):
            paths.write_private(file, pem)


def _serving() -> str:
    """Give the mark of the configuration that haproxy serves by."""
    try:
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(1)
            admin.connect(str(FOLDER / "admin.sock"))
            admin.sendall(b"show info\n")
            info = admin.makefile().read()
    except OSError:  # between two workers
        return ""
    return next((line.split()[1] for line in info.splitlines() if line.startswith("description:")), "")


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


class Ingress:
    """Keeps haproxy in step with the cluster; haproxy itself outlives the service, as pods do."""

    def __init__(self, api: Api) -> None:
        """Take the API."""
        self._api = api
        self._state = State()
        self._seen: set[str] = set()
        self._changed = threading.Event()
        self._written = ""

    def run(self) -> None:
        """Follow the cluster for ever."""
        CERTIFICATES.mkdir(parents=True, exist_ok=True)
        if not DEFAULT_CERTIFICATE.exists():
            paths.write_private(DEFAULT_CERTIFICATE, _default_certificate())
        for kind, path in SOURCES.items():
            work = partial(self._api.follow, path, partial(self._update, kind))
            threading.Thread(target=work, name=kind, daemon=True).start()
        while True:
            self._changed.wait()
            self._changed.clear()
            # Not before everything was listed once: haproxy may still be serving from before a restart.
            if self._seen == set(SOURCES):
                text = payload.render("haproxy.cfg", folder=FOLDER, pod_port=POD_PORT) + render(self._state)
                self._apply(text, certificates(self._state))
                self._publish()

    def _update(self, kind: str, items: dict[Key, Object]) -> None:
        setattr(self._state, kind, items)
        self._seen.add(kind)
        self._changed.set()

    def _apply(self, text: str, certificates: Mapping[str, str]) -> None:
        mark = mark_of(text, certificates)
        if mark == self._written:
            return
        write_certificates(CERTIFICATES, certificates)
        config, pid_file = FOLDER / "haproxy.cfg", FOLDER / "haproxy.pid"
        config.write_text(f"global\n  description {mark}\n{text}")
        master = pid_file.read_text().strip() if pid_file.exists() else "none"
        name = Path(f"/proc/{master}/comm")
        if not (name.exists() and name.read_text() == "haproxy\n"):
            subprocess.run(["haproxy", "-W", "-D", "-f", str(config), "-p", str(pid_file)], check=True)
        else:
            # The new workers take over the listening sockets. While it is at that, haproxy is deaf to the next signal:
            # a pod that comes and one that goes would leave it with the first of the two configurations.
            while _serving() != mark:
                os.kill(int(master), signal.SIGUSR2)
                _wait_for(lambda: _serving() == mark, seconds=0.2)
        self._written = mark

    def _publish(self) -> None:
        """Write every node's address into the Ingresses' status: each of them answers, and says the same."""
        addresses = sorted(filter(None, map(internal_ip, self._state.nodes.values())))
        status = {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}
        for (namespace, name), ingress in list(self._state.ingresses.items()):
            if _is_ours(ingress) and ingress.get("status") != status:
                path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/{name}/status"
                try:
                    self._api.patch(path, {"status": status})
                except OSError as error:  # gone meanwhile, or to be tried again at the next change
                    log.info("%s", error)
