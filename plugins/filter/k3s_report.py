"""What one look at a cluster has shown: a line for each node, and each fault with what to do about it."""

from __future__ import annotations

import base64
import binascii
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

# K3s itself renews certificates at a start within 120 days of their end (90 before May 2025), so a host that is started
# anew now and then never comes this near: https://docs.k3s.io/cli/certificate
SOON = timedelta(days=30)
HEADINGS = ("NODE", "ROLE", "K3S", "VERSION", "READY", "CERTIFICATES")
BINARY = "/usr/local/bin/k3s"
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
# What status.yml registers on each host, in its order.
STEPS = ("_k3s_facts", "_k3s_info", "_k3s_status")

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Host:
    """A host of the inventory, and what was seen of it.

    Attributes:
        name: Its name in the inventory.
        is_server: Whether it is to be a server.
        node: The name its node has, as far as is known.
        wanted: The K3s it is to run.
        asked: Whether this run was for it.
        unreached: Why it could not be reached or looked at; empty if it was.
        systemd: Whether systemd runs its services.
        look: What the module k3s_info has returned.
        status: What the module k3s_status has returned.
    """

    name: str
    is_server: bool
    node: str
    wanted: str
    asked: bool
    unreached: str
    systemd: bool
    address: str
    look: Mapping[str, Any] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seen(self) -> bool:
        """Whether anything is known of it."""
        return self.asked and not self.unreached

    @property
    def service(self) -> str:
        """The name of K3s' service there."""
        return "k3s" if self.is_server else "k3s-agent"

    @property
    def log(self) -> str:
        """What shows the service's log."""
        return f"journalctl -u {self.service}" if self.systemd else f"tail /var/log/{self.service}.log"

    def command(self, verb: str) -> str:
        """What starts, restarts or enables the service."""
        if self.systemd:
            return f"systemctl {verb} {self.service}"
        return f"rc-update add {self.service} default" if verb == "enable" else f"rc-service {self.service} {verb}"


def _one_line(text: object) -> str:
    """A message, without the words that Ansible begins all of them with."""
    return " ".join(str(text).split()).removeprefix("Task failed: ")


def _unreached(step: Mapping[str, Any]) -> str:
    """Why a step has seen nothing of its host; empty if it has."""
    said = _one_line(step.get("msg", ""))
    if step.get("unreachable"):
        return f"cannot be reached ({said}); see that it runs, and that Ansible gets there"
    return f"cannot be looked at ({said}); preflight.yml tells what is missing" if step.get("failed") else ""


def _host(name: str, variables: Mapping[str, Any], is_server: bool) -> Host:
    """Gather what is known of a host from its variables."""
    steps = {step: variables.get(step) or {} for step in STEPS}
    unreached = next(filter(None, map(_unreached, steps.values())), "")
    node, wanted = variables.get("_k3s_expected") or (name.lower(), "")
    return Host(
        name=name,
        is_server=is_server,
        node=node,
        wanted=wanted,
        asked=bool(steps["_k3s_facts"]),
        unreached=unreached,
        systemd=(variables.get("ansible_facts") or {}).get("service_mgr", "systemd") == "systemd",
        address=str(variables.get("ansible_host", "")),
        look={} if unreached else steps["_k3s_info"],
        status={} if unreached else steps["_k3s_status"],
    )


def _node_name(host: Host, nodes: Mapping[str, Node]) -> str:
    """The name of a host's node; of one that says nothing of itself, its short name or its address may tell."""
    if host.seen or host.node in nodes:
        return host.node
    short = host.node.partition(".")[0]
    by_address = (name for name, node in nodes.items() if host.address and host.address in node["addresses"])
    return short if short in nodes else next(by_address, host.node)


def _loaded(pem: str) -> list[x509.Certificate]:
    """The certificates of a PEM text; none if it holds none that can be read."""
    with warnings.catch_warnings():
        # The serial number of K3s' own CAs is 0, which no standard allows.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        try:
            return x509.load_pem_x509_certificates(pem.encode())
        except ValueError:
            return []


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (ValueError, x509.ExtensionNotFound):
        return False


def _certificates(files: Mapping[str, str]) -> dict[x509.Certificate, str]:
    """Each certificate and the file that is its own: files hold their authorities' too, after theirs."""
    found: dict[x509.Certificate, str] = {}
    for path, pem in files.items():
        for place, certificate in enumerate(_loaded(pem)):
            if place == 0 or certificate not in found:
                found[certificate] = path
    return found


def _validity(files: Mapping[str, str], now: datetime) -> str:
    """Until when the first of a host's certificates to expire is valid."""
    first = min((each.not_valid_after_utc for each in _certificates(files)), default=None)
    if first is None:
        return "none"
    if first <= now:
        return f"expired {first:%Y-%m-%d}"
    days = (first - now).days
    return f"until {first:%Y-%m-%d}, {days} {'day' if days == 1 else 'days'}"


def _certificate_faults(host: Host, now: datetime) -> Iterator[str]:
    files = host.status["certificates"]
    for path, pem in files.items():
        if not _loaded(pem):
            yield f"{path} holds no certificate that can be read; see what is in it"
    ends: dict[tuple[bool, bool], list[tuple[datetime, str]]] = {}
    for certificate, path in _certificates(files).items():
        end = certificate.not_valid_after_utc
        if end < now + SOON:
            ends.setdefault((_is_authority(certificate), end <= now), []).append((end, path))
    for (is_authority, is_over), found in sorted(ends.items()):
        end, path = min(found)
        one = len(found) == 1
        count = f"{len(found)} {'certificate' if one else 'certificates'}"
        when = "expired" if is_over else f"to expire within {SOON.days} days"
        what = f"has {count} {when}, {path} {'on' if one else 'first, on'} {end:%Y-%m-%d}"
        if is_authority:
            yield f"{what}; a restart does not renew a CA's: https://docs.k3s.io/cli/certificate"
        else:
            yield f"{what}; K3s renews {'it' if one else 'them'} when it starts: {host.command('restart')}"


def _node_faults(host: Host, name: str, node: Node) -> Iterator[str]:
    """What is wrong with a host's node, as the API tells it."""
    conditions = node["conditions"]
    ready = conditions.get("Ready", {"status": "Unknown", "message": "its kubelet has not said why"})
    # Of a service that stands still, that is said already.
    if ready["status"] != "True" and host.look.get("active", True):
        yield f"its node is not Ready ({_one_line(ready['message'])}); look at {host.log}"
    for kind in PRESSURES:
        if conditions.get(kind, {}).get("status") == "True":
            yield f"its node has {kind} ({_one_line(conditions[kind]['message'])}); new pods stay off until that ends"
    voter = conditions.get("EtcdIsVoter", {"status": "True"})
    if voter["status"] != "True":
        yield f"is no voting member of etcd ({_one_line(voter['message'])}); look at {host.log}"
    if node["unschedulable"]:
        yield f"is cordoned, no new pods go there; when they may: kubectl uncordon {name}"


def _service_faults(host: Host) -> Iterator[str]:
    """What is wrong with a host's service."""
    look = host.look
    if not look["active"]:
        yield f"the service {host.service} does not run; look at {host.log}, then {host.command('start')}"
    if not look["enabled"]:
        yield f"the service {host.service} does not start with the host; {host.command('enable')}"
    if look["active"] and look["not_run_from"]:
        changed = ", ".join(look["not_run_from"])
        yield f"has not started K3s anew since a change of {changed}; run playbooks/k3s.yml"


def _host_faults(host: Host, name: str, nodes: Mapping[str, Node], now: datetime) -> Iterator[str]:
    """Everything that is wrong with a host; what follows from a fault that is named already is left out."""
    if host.unreached:
        yield host.unreached
    elif host.seen and not host.look["version"]:
        yield "has no K3s; run playbooks/site.yml"
    elif host.seen:
        yield from _service_faults(host)
        if host.look["active"] and nodes and name not in nodes:
            yield f"is no node of the cluster, none is called {name}; look at {host.log}"
        if host.look["active"] and host.is_server and not host.status["ready"]:
            yield f"its API server is not ready ({_one_line(host.status['said'])}); look at {host.log}"
        yield from _certificate_faults(host, now)
    version = nodes.get(name, host.look).get("version")
    due = host.look.get("active") and BINARY in host.look["not_run_from"]
    if version and host.wanted and version != host.wanted and not due:
        yield f"is at {version}, k3s_version is {host.wanted}; run playbooks/site.yml"
    if name in nodes:
        yield from _node_faults(host, name, nodes[name])


def _kubeconfig_faults(path: Path, now: datetime) -> Iterator[str]:
    """Whether the controller's kubeconfig is about to be refused. One that is not there has not been asked for."""
    try:
        user = yaml.safe_load(path.read_text())["users"][0]["user"]
        (certificate, *_) = _loaded(base64.b64decode(user["client-certificate-data"]).decode())
    except (OSError, ValueError, TypeError, LookupError, yaml.YAMLError, binascii.Error):
        return
    end = certificate.not_valid_after_utc
    if end < now + SOON:
        verb = "expired" if end <= now else "expires"
        yield f"{path}: its certificate {verb} on {end:%Y-%m-%d}; once K3s has renewed it, run playbooks/kubeconfig.yml"


def _is_ready(node: Node) -> bool:
    return bool(node["conditions"].get("Ready", {}).get("status") == "True")


def _ready(node: Node | None, known: bool) -> str:
    if node is None:
        return "no node" if known else "?"
    return ("yes" if _is_ready(node) else "no") + (", cordoned" if node["unschedulable"] else "")


def _service(host: Host) -> str:
    if not host.asked:
        return "not asked"
    if host.unreached:
        return "not reached"
    if not host.look["version"]:
        return "none"
    return "runs" if host.look["active"] else "stopped"


def _row(host: Host, name: str, nodes: Mapping[str, Node], now: datetime) -> tuple[str, ...]:
    node = nodes.get(name)
    return (
        name if name in (host.name, host.name.lower()) else f"{name} ({host.name})",
        "server" if host.is_server else "agent",
        _service(host),
        (node or {}).get("version") or host.look.get("version") or "?",
        _ready(node, known=bool(nodes)),
        _validity(host.status["certificates"], now) if host.seen else "?",
    )


def _foreign_row(name: str, node: Node) -> tuple[str, ...]:
    role = "server" if node["control_plane"] else "agent"
    return name, role, "?", node["version"], _ready(node, known=True), "?"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def report(
    hostvars: Mapping[str, Mapping[str, Any]],
    servers: Sequence[str],
    agents: Sequence[str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Tell how a cluster is.

    Args:
        hostvars: Host → its variables, among them what `STEPS` names, and ``_k3s_expected`` (its node and version).
        servers: Hosts that are to be servers, in the inventory's order.
        agents: Hosts that are to be agents.
        settings: ``now`` (seconds since 1970) and ``kubeconfig`` (its path on the controller).

    Returns:
        ``lines``, the table and then either that all is well or each fault in one line, and ``faults``, those lines.
    """
    now = datetime.fromtimestamp(settings["now"], UTC)
    found = [_host(name, hostvars[name], name in servers) for name in [*servers, *agents]]
    seen = [host for host in found if host.seen]
    if not found or (seen and len(seen) == len(found) and not any(host.look["version"] for host in found)):
        fault = "No host has K3s; run playbooks/site.yml." if found else "k3s_servers and k3s_agents have no host."
        return {"lines": [fault], "faults": [fault]}

    answers = (host.status["nodes"] for host in seen if host.is_server and host.status["nodes"])
    nodes: Mapping[str, Node] = next(answers, {})
    names = {host.name: _node_name(host, nodes) for host in found}
    foreign = [name for name in nodes if name not in names.values()]
    faults = [f"{host.name}: {fault}" for host in found for fault in _host_faults(host, names[host.name], nodes, now)]
    faults += [
        f"{name}: is a node of the cluster, but no host of the inventory; add it there, "
        f"or kubectl drain {name} and kubectl delete node {name}"
        for name in foreign
    ]
    faults += [] if nodes else ["No server tells of the nodes, so whether they are Ready is not known."]
    faults += _kubeconfig_faults(Path(settings["kubeconfig"]), now)
    lines = _aligned(
        [
            HEADINGS,
            *(_row(host, names[host.name], nodes, now) for host in found),
            *(_foreign_row(name, nodes[name]) for name in foreign),
        ]
    )
    ready = f"{sum(map(_is_ready, nodes.values()))} of {len(nodes)} nodes are Ready"
    counted = f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}:"
    verdict = [counted, *faults] if faults else [f"The cluster is well: {ready}."]
    return {"lines": [*lines, "", *verdict], "faults": faults}


class FilterModule:
    """The filter under the name that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"k3s_report": report}
