"""The ingress controller: Ingress, Service and Endpoints objects become a configuration of haproxy."""

import hashlib
import logging
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from os import kill
from pathlib import Path

from launcher import paths, payload
from launcher.api import Api, Key, Object

log = logging.getLogger(__name__)

CLASS = "traefik"
FOLDER = paths.RUN / "ingress"
INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
SOURCES = {"ingresses": INGRESSES, "services": "/api/v1/services", "endpoints": "/api/v1/endpoints"}


@dataclass
class State:
    """The objects the configuration is made from, by namespace and name."""

    ingresses: Mapping[Key, Object] = field(default_factory=dict)
    services: Mapping[Key, Object] = field(default_factory=dict)
    endpoints: Mapping[Key, Object] = field(default_factory=dict)


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
    lines.append("  default_backend none")
    for name, addresses in sorted(servers.items()):
        lines += ["", f"backend {name}"]
        lines += [f"  server s{number} {address}" for number, address in enumerate(addresses)]
    return "\n".join(lines) + "\n"


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

    def __init__(self, api: Api, address: str) -> None:
        """Take the API and the address that is published in the Ingresses' status."""
        self._api = api
        self._status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
        self._state = State()
        self._seen: set[str] = set()
        self._changed = threading.Event()
        self._written = ""

    def run(self) -> None:
        """Follow the cluster for ever."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        for kind, path in SOURCES.items():
            work = partial(self._api.follow, path, partial(self._update, kind))
            threading.Thread(target=work, name=kind, daemon=True).start()
        while True:
            self._changed.wait()
            self._changed.clear()
            # Not before everything was listed once: haproxy may still be serving from before a restart.
            if self._seen == set(SOURCES):
                self._apply(payload.render("haproxy.cfg", folder=FOLDER) + render(self._state))
                self._publish()

    def _update(self, kind: str, items: dict[Key, Object]) -> None:
        setattr(self._state, kind, items)
        self._seen.add(kind)
        self._changed.set()

    def _apply(self, text: str) -> None:
        if text == self._written:
            return
        mark = hashlib.sha256(text.encode()).hexdigest()
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
                kill(int(master), signal.SIGUSR2)
                _wait_for(lambda: _serving() == mark, seconds=0.2)
        self._written = text

    def _publish(self) -> None:
        for (namespace, name), ingress in list(self._state.ingresses.items()):
            if _is_ours(ingress) and ingress.get("status") != self._status["status"]:
                path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/{name}/status"
                try:
                    self._api.patch(path, self._status)
                except OSError as error:  # gone meanwhile, or to be tried again at the next change
                    log.info("%s", error)
