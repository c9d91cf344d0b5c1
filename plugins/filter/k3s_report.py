"""How a cluster is: a line for each node, and each fault with what to do about it."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

# Imported where it is used: it takes a while, and every task that uses one filter loads them all.
if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# K3s itself renews certificates at a start within 120 days of their end (90 before May 2025), so a host that is started
# anew now and then never comes this near: https://docs.k3s.io/cli/certificate
SOON = timedelta(days=30)
HEADINGS = ("NODE", "ROLE", "K3S", "VERSION", "READY", "CERTIFICATES")
BINARY = "/usr/local/bin/k3s"
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
# What status.yml registers on each host, in its order.
STEPS = ("_k3s_facts", "k3s_info", "_k3s_status")

# What `_host` returns, and a node as the module k3s_status returns it.
Host = Mapping[str, Any]
Node = Mapping[str, Any]


def _one_line(text: object) -> str:
    """A message, without the words that Ansible begins all of them with."""
    return " ".join(str(text).split()).removeprefix("Task failed: ")


def _host(name: str, variables: Mapping[str, Any], role: str) -> Host:
    """What is known of a host of the inventory.

    The key ``state`` says how much that is: of ``runs``, ``stopped`` and ``none`` (no K3s) it is all that the modules
    k3s_info and k3s_status return, of ``not asked`` and ``not reached`` (why is in ``fault``) nothing of that.
    """
    steps = [variables.get(step) or {} for step in STEPS]
    node = variables.get("k3s_node") or {"name": name.lower(), "version": ""}
    host = {"name": name, "role": role, "node": node["name"], "wanted": node["version"], "fault": ""}
    host["address"] = str(variables.get("ansible_host", ""))
    host["service"] = "k3s" if role == "server" else "k3s-agent"
    host["service_mgr"] = (variables.get("ansible_facts") or {}).get("service_mgr", "systemd")
    for step in steps:
        message = _one_line(step.get("msg", ""))
        if step.get("unreachable"):
            host["fault"] = f"cannot be reached ({message}); see that it runs, and that Ansible gets there"
        elif step.get("failed"):
            host["fault"] = f"cannot be looked at ({message}); preflight.yml tells what is missing"
        if host["fault"]:
            return host | {"state": "not reached"}
    if not steps[0]:
        return host | {"state": "not asked"}
    _, info, status = steps
    state = ("runs" if info["active"] else "stopped") if info["version"] else "none"
    return {**info, **status, **host, "state": state}


def _command(host: Host, verb: str) -> str:
    """What starts, restarts or enables a host's service, or shows its log."""
    service = host["service"]
    if host["service_mgr"] == "systemd":
        return f"journalctl -u {service}" if verb == "log" else f"systemctl {verb} {service}"
    others = {"log": f"tail /var/log/{service}.log", "enable": f"rc-update add {service} default"}
    return others.get(verb, f"rc-service {service} {verb}")


def _node_name(host: Host, nodes: Mapping[str, Node]) -> str:
    """The name of a host's node; of one that says nothing of itself, its short name or its address may tell."""
    name: str = host["node"]
    if "version" in host or name in nodes:
        return name
    short = name.partition(".")[0]
    by_address = (known for known, node in nodes.items() if host["address"] in node["addresses"])
    return short if short in nodes else next(by_address, name)


def _loaded(pem: str) -> list[Certificate]:
    """The certificates of a PEM text; none if it holds none that can be read."""
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.utils import CryptographyDeprecationWarning  # noqa: PLC0415

    with warnings.catch_warnings():
        # The serial number of K3s' own CAs is 0, which no standard allows.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        try:
            return x509.load_pem_x509_certificates(pem.encode())
        except ValueError:
            return []


def _ends(files: Mapping[str, str]) -> list[tuple[datetime, str]]:
    """When each certificate expires, and the file that is its own, in the order of time."""
    own: dict[Certificate, str] = {}
    for path, pem in files.items():
        for place, certificate in enumerate(_loaded(pem)):
            if place == 0 or certificate not in own:  # files hold their authorities' after theirs
                own[certificate] = path
    return sorted((certificate.not_valid_after_utc, path) for certificate, path in own.items())


def _certificate_faults(host: Host, now: datetime) -> Iterator[str]:
    for path, pem in host["certificates"].items():
        if not _loaded(pem):
            yield f"{path} holds no certificate that can be read; see what is in it"
    # K3s calls the files of all its authorities so.
    ending = sorted((path.endswith("ca.crt"), end <= now, end, path) for end, path in _ends(host["certificates"]))
    ending = [each for each in ending if each[2] < now + SOON]
    for (is_authority, is_over), group in groupby(ending, key=lambda each: each[:2]):
        found = list(group)
        _, _, end, path = found[0]
        certificates, first, them = ("certificates", "first, on", "them") if found[1:] else ("certificate", "on", "it")
        when = "expired" if is_over else f"to expire within {SOON.days} days"
        remedy = f"K3s renews {them} when it starts: {_command(host, 'restart')}"
        if is_authority:
            remedy = "a restart does not renew a CA's: https://docs.k3s.io/cli/certificate"
        yield f"has {len(found)} {certificates} {when}, {path} {first} {end:%Y-%m-%d}; {remedy}"


def _node_faults(host: Host, node: Node) -> Iterator[str]:
    """What is wrong with a host's node, as the API tells it."""
    conditions, log = node["conditions"], _command(host, "log")
    ready = conditions.get("Ready", {"status": "Unknown", "message": "its kubelet has not said why"})
    if ready["status"] != "True" and host["state"] != "stopped":  # of one that is, that is said already
        yield f"its node is not Ready ({_one_line(ready['message'])}); look at {log}"
    for kind in PRESSURES:
        if conditions.get(kind, {}).get("status") == "True":
            yield f"its node has {kind} ({_one_line(conditions[kind]['message'])}); new pods stay off until that ends"
    voter = conditions.get("EtcdIsVoter", {"status": "True"})
    if voter["status"] != "True":
        yield f"is no voting member of etcd ({_one_line(voter['message'])}); look at {log}"
    if node["unschedulable"]:
        yield f"is cordoned, no new pods go there; when they may: kubectl uncordon {host['node']}"


def _k3s_faults(host: Host, nodes: Mapping[str, Node]) -> Iterator[str]:
    """What is wrong with the K3s of a host that has one."""
    service, log = host["service"], _command(host, "log")
    if not host["active"]:
        yield f"the service {service} does not run; look at {log}, then {_command(host, 'start')}"
    if not host["enabled"]:
        yield f"the service {service} does not start with the host; {_command(host, 'enable')}"
    if host["active"] and host["not_run_from"]:
        yield f"has not started K3s anew since a change of {', '.join(host['not_run_from'])}; run playbooks/k3s.yml"
    if host["active"] and nodes and host["node"] not in nodes:
        yield f"is no node of the cluster, none is called {host['node']}; look at {log}"
    if host["active"] and host["role"] == "server" and not host["ready"]:
        yield f"its API server is not ready ({_one_line(host['message'])}); look at {log}"


def _image_faults(host: Host, needed: Sequence[str]) -> Iterator[str]:
    """Which of the customers' images a host lacks; of one that stands still nothing is known."""
    missing = sorted(set(needed) - set(host["images"])) if host["state"] == "runs" else []
    if missing:
        yield f"has no image {', '.join(missing)}, so that no pod of it can start there; run playbooks/site.yml"


def _host_faults(host: Host, nodes: Mapping[str, Node], needed: Sequence[str], now: datetime) -> Iterator[str]:
    """Everything that is wrong with a host; what follows from a fault that is named already is left out."""
    if host["fault"]:
        yield host["fault"]
    if host["state"] == "none":
        yield "has no K3s; run playbooks/site.yml"
    if host["state"] in ("runs", "stopped"):
        yield from _k3s_faults(host, nodes)
        yield from _image_faults(host, needed)
        yield from _certificate_faults(host, now)
    version = nodes.get(host["node"], host).get("version")
    restart_required = host["state"] == "runs" and BINARY in host["not_run_from"]
    if version and host["wanted"] not in ("", version) and not restart_required:
        yield f"is at {version}, k3s_version is {host['wanted']}; run playbooks/site.yml"
    if host["node"] in nodes:
        yield from _node_faults(host, nodes[host["node"]])


def _kubeconfig_faults(path: Path, now: datetime) -> Iterator[str]:
    """Whether the controller's kubeconfig is about to be refused. One that is not there has not been asked for."""
    try:
        user = yaml.safe_load(path.read_text())["users"][0]["user"]
        (certificate, *_) = _loaded(base64.b64decode(user["client-certificate-data"]).decode())
    except (OSError, ValueError, TypeError, LookupError, yaml.YAMLError):
        return
    end = certificate.not_valid_after_utc
    if end < now + SOON:
        verb = "expired" if end <= now else "expires"
        yield f"{path}: its certificate {verb} on {end:%Y-%m-%d}; once K3s has renewed it, run playbooks/kubeconfig.yml"


def _is_ready(node: Node) -> bool:
    return bool(node["conditions"].get("Ready", {}).get("status") == "True")


def _validity(host: Host, now: datetime) -> str:
    """Until when the first of a host's certificates to expire is valid."""
    ends = _ends(host["certificates"])
    if not ends:
        return "none"
    end = ends[0][0]
    days = (end - now).days
    return f"until {end:%Y-%m-%d}, {days} {'day' if days == 1 else 'days'}" if end > now else f"expired {end:%Y-%m-%d}"


def _row(host: Host, nodes: Mapping[str, Node], now: datetime) -> Sequence[str]:
    """The cells of a host's line."""
    name, node = host["node"], nodes.get(host["node"])
    ready = "no node" if nodes else "?"
    if node:
        ready = ("yes" if _is_ready(node) else "no") + (", cordoned" if node["unschedulable"] else "")
    return (
        name if name in (host["name"], host["name"].lower()) else f"{name} ({host['name']})",
        host["role"],
        host["state"],
        (node or host).get("version") or "?",
        ready,
        _validity(host, now) if "certificates" in host else "?",
    )


def report(
    hostvars: Mapping[str, Any], servers: Sequence[str], agents: Sequence[str], kubeconfig: str, time: float
) -> dict[str, list[str]]:
    """Tell how a cluster is. What this takes and returns is described in k3s_report.yml.

    Of a host's variables it needs those that `STEPS` names, and ``k3s_node``, its node's name and version.
    """
    now = datetime.fromtimestamp(time, UTC)
    hosts = [_host(name, hostvars[name], "server" if name in servers else "agent") for name in [*servers, *agents]]
    if all(host["state"] == "none" for host in hosts):
        fault = "No host has K3s; run playbooks/site.yml." if hosts else "k3s_servers and k3s_agents have no host."
        return {"lines": [fault], "faults": [fault]}

    nodes: Mapping[str, Node] = next((host["nodes"] for host in hosts if host.get("nodes")), {})
    needed: Sequence[str] = next((host["images_needed"] for host in hosts if host.get("nodes")), [])
    hosts = [{**host, "node": _node_name(host, nodes)} for host in hosts]
    faults = [f"{host['name']}: {fault}" for host in hosts for fault in _host_faults(host, nodes, needed, now)]
    for name in sorted(nodes.keys() - {host["node"] for host in hosts}):
        remove = f"kubectl drain {name} and kubectl delete node {name}"
        faults.append(f"{name}: is a node of the cluster, but no host of the inventory; add it there, or {remove}")
        role = "server" if nodes[name]["control_plane"] else "agent"
        hosts.append({"name": name, "node": name, "role": role, "state": "?"})
    faults += [] if nodes else ["No server tells of the nodes, so whether they are Ready is not known."]
    faults += _kubeconfig_faults(Path(kubeconfig), now)

    rows = [HEADINGS, *(_row(host, nodes, now) for host in hosts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    ready = sum(map(_is_ready, nodes.values()))
    verdict = f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}:"
    verdict = verdict if faults else f"The cluster is well: {ready} of {len(nodes)} nodes are Ready."
    return {"lines": [*lines, "", verdict, *faults], "faults": faults}


class FilterModule:
    """The filter under the name that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"k3s_report": report}
