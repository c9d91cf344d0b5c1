"""What can be wrong with how nodes find each other: token, datastore, address."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from .nodes import Node, Told, setting_faults
from .words import kind

Check = Callable[[str, Any], Iterator[str]]

TOKEN_CHARACTERS = 16
TOKEN_ADVICE = "write a random one (openssl rand -hex 32), or leave it empty: K3s then makes one"
# What K3s itself writes into its token file, and what `k3s token` makes for agents alone: https://docs.k3s.io/cli/token
WHOLE_TOKEN = re.compile(r"K10[0-9a-f]{64}::[^:]+:(?P<secret>.+)")
BOOTSTRAP_TOKEN = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
# Words that examples are made of, longer ones first: a shorter one would leave the rest of them.
FILLER = re.compile(
    r"placeholder|0123456789|1234567890|kubernetes|123456789|something|12345678|dedeuper|password|"
    r"1234567|another|cluster|default|example|rancher|replace|123456|better|change|insert|passwd|"
    r"phrase|please|qwerty|random|sample|secret|secure|server|shared|string|strong|12345|admin|"
    r"agent|dummy|super|token|value|1234|demo|fill|here|join|long|node|pass|real|root|safe|"
    r"some|test|text|that|this|todo|very|with|word|your|123|abc|bar|baz|big|foo|k3s|k8s|key|"
    r"new|set|the|use|xyz|you|me|my|of|to"
)
# What must be left of a token without them, and how many different characters.
LEAST_LEFT = 8
LEAST_DIFFERENT = 6

# The datastores of K3s: https://docs.k3s.io/datastore
SCHEMES = ("postgres", "postgresql", "mysql", "http", "https", "nats")
HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*", re.IGNORECASE
)
INTERFACE = re.compile(r"[^\s/]{1,15}")


def token(where: str, value: object) -> Iterator[str]:
    """Faults of the secret that nodes join with; what it is never shows."""
    if not isinstance(value, str):
        yield f"{where}: is {kind(value)}, not a text; put it in quotes"
    elif value:
        whole = WHOLE_TOKEN.fullmatch(value)
        if fault := _token_fault(value, whole["secret"] if whole else value):
            yield f"{where}: {fault}"


def _token_fault(value: str, secret: str) -> str | None:
    if not secret.isprintable() or any(char.isspace() for char in value):
        return f"holds white space or a control character; {TOKEN_ADVICE}"
    if value.startswith("K10") and secret == value:
        return "begins as a whole token of K3s and is none; write all of a server's /var/lib/rancher/k3s/server/token"
    if BOOTSTRAP_TOKEN.fullmatch(value):
        return f"is a bootstrap token, which only agents can join with; {TOKEN_ADVICE}"
    if is_placeholder(secret):
        return f"is a placeholder that anybody can guess; {TOKEN_ADVICE}"
    if len(secret) < TOKEN_CHARACTERS:
        return f"has fewer than {TOKEN_CHARACTERS} characters; {TOKEN_ADVICE}"
    return None


def is_placeholder(secret: str) -> bool:
    """Whether a secret is made of words that only stand for one."""
    left = len(FILLER.sub("", re.sub(r"[^a-z0-9]", "", secret.lower())))
    if re.fullmatch(r"<.*>|.*(\{\{|\$\{).*", secret) or len(set(secret)) < LEAST_DIFFERENT:
        return True
    # What is short and no word of the list is only short.
    return left < LEAST_LEFT and left < len(secret) / 2


def datastore(where: str, value: object) -> Iterator[str]:
    """Faults of a datastore's address; the password in it never shows."""
    if not isinstance(value, str):
        yield f"{where}: is {kind(value)}, not a text; put it in quotes"
        return
    schemes = {part.partition("://")[0] if "://" in part else "" for part in value.split(",")}
    if value.startswith(("http://", "https://")) and not schemes <= {"http", "https"}:
        yield f"{where}: has members of etcd without http:// or https://; write each as https://etcd1.example.com:2379"
    elif value and value.partition("://")[0] not in SCHEMES:
        yield f"{where}: names no datastore of K3s; begin it with one of {', '.join(f'{name}://' for name in SCHEMES)}"
    elif any(char.isspace() for char in value):
        yield f"{where}: holds white space; write it without, or as %20"
    elif value.startswith("mysql://") and "@" in value and not re.search(r"@(tcp|tcp6|unix)?\(", value):
        yield f"{where}: has a host that MySQL's driver does not read; write mysql://user:password@tcp(host:3306)/database"


def address(where: str, value: object) -> Iterator[str]:
    """Faults of a host name or address without anything around it, or of none."""
    if not isinstance(value, str) or (value and not is_ip(value) and not HOST.fullmatch(value)):
        yield f"{where}: {value!r} is no address; write a host name or an IP alone, without scheme, port and brackets"


def is_ip(value: object) -> bool:
    """Whether ``value`` is an IP address."""
    try:
        return isinstance(value, str) and bool(ip_address(value))
    except ValueError:
        return False


def interface(where: str, value: object) -> Iterator[str]:
    """Faults of the name of a network interface, or of none."""
    if not isinstance(value, str) or (value and not INTERFACE.fullmatch(value)):
        yield f"{where}: {value!r} is no network interface; write a name such as eth0"


CHECKS: dict[str, Check] = {
    "k3s_token": token,
    "k3s_datastore_endpoint": datastore,
    "k3s_registration_address": address,
    "k3s_kube_vip_interface": interface,
}


def together(settings: Mapping[str, Any]) -> Iterator[str]:
    """Faults of one host's settings (variable → value) that need each other."""
    certificate, key = (settings.get(f"k3s_datastore_{name}file") for name in ("cert", "key"))
    if bool(certificate) != bool(key):
        missing = "key" if certificate else "cert"
        yield f"k3s_datastore_{missing}file: is missing; certificate and key need each other"
    tls = [name for name in ("cafile", "certfile", "keyfile") if settings.get(f"k3s_datastore_{name}")]
    if tls and not settings.get("k3s_datastore_endpoint"):
        yield f"k3s_datastore_{tls[0]}: is for k3s_datastore_endpoint, which is empty; set that, or leave this out"
    if settings.get("k3s_kube_vip_interface") and not is_ip(settings.get("k3s_registration_address")):
        yield "k3s_kube_vip_interface: needs k3s_registration_address to be an IP; write one there that no host has"


def joining_faults(nodes: Mapping[str, Node]) -> list[Told]:
    """Faults of all hosts' settings, and of those that must be the same on several."""
    joint = [(name, fault) for name, node in nodes.items() for fault in together(node["settings"])]
    return [*setting_faults(nodes, CHECKS), *joint, *_different(nodes)]


def _different(nodes: Mapping[str, Node]) -> Iterator[Told]:
    servers = {name: node["settings"] for name, node in nodes.items() if node["role"] == "server"}
    given = {name: value for name, node in nodes.items() if (value := node["settings"].get("k3s_token"))}
    endpoints = {name: settings.get("k3s_datastore_endpoint") or "" for name, settings in servers.items()}
    for setting, values, whose in (
        ("k3s_token", given, "hosts"),
        ("k3s_datastore_endpoint", endpoints, "servers"),
    ):
        first = next(iter(values), "")
        if other := next((name for name, value in values.items() if value != values[first]), None):
            yield "", f"{setting}: differs between {first} and {other}; write the same for all {whose}"
