"""What can be wrong with K3s' settings: each of a host alone, some that need each other, and those of several hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..k3s_versions import parse
from ..schema import HAS_JSONSCHEMA, Schema
from .network import parse_address
from .nodes import Fault, Node, servers_of
from .words import shown, texts

HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*", re.IGNORECASE
)
# What stands before the secret in what K3s itself writes into its token file: https://docs.k3s.io/cli/token
TOKEN_PREFIX = r"^K10[0-9a-f]{64}::[^:]+:"
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
# Flags that must be the same on all servers: https://docs.k3s.io/cli/server#critical-configuration-values
CRITICAL_FLAGS = (
    "cluster-cidr", "cluster-dns", "cluster-domain", "disable-cloud-controller", "disable-helm-controller",
    "disable-network-policy", "egress-selector-mode", "embedded-registry", "flannel-backend", "flannel-external-ip",
    "flannel-ipv6-masq", "secrets-encryption", "secrets-encryption-provider", "service-cidr",
)  # fmt: skip

# What K3s writes into the folder of manifests at every start: https://docs.k3s.io/installation/packaged-components
OWN_MANIFESTS = {
    "ccm.yaml", "coredns.yaml", "gateway-api-crd.yaml", "local-storage.yaml", "rolebindings.yaml", "runtimes.yaml",
    "traefik.yaml",
}  # fmt: skip


# The keywords of the schema: what is wrong with a value, or None. A value of the wrong type has a fault already.


def _release(value: object, _rule: object) -> str | None:
    known = not isinstance(value, str) or parse(value)
    return None if known else f"{value!r} is no release; write one such as v1.36.4+k3s1"


def _address(value: object, _rule: object) -> str | None:
    if not isinstance(value, str) or not value or parse_address(value) or HOST.fullmatch(value):
        return None
    return f"{value!r} is no address; write a host name or an IP alone, without scheme, port and brackets"


def _path(value: object, kind: str) -> str | None:
    """Say what keeps a path from being that of a file or a folder on the controller, or empty."""
    if not isinstance(value, str) or not value:
        return None
    # Ansible looks for it in the playbook's folder or in the one it was started from, depending on the task.
    if not value.startswith(("/", "~")):
        return f"{shown(value)} is a relative path; write it from / on"
    try:
        path = Path(value).expanduser()
        found = path.is_dir() if kind == "folder" else path.is_file()
    except (OSError, ValueError, RuntimeError):
        found = False
    return None if found else f"{shown(value)} is no {kind} on the controller; name one, or leave it out"


def _placeholder(value: object, fault: str) -> str | None:
    """Say whether a token is made of words that only stand for one."""
    secret = re.sub(TOKEN_PREFIX, "", value) if isinstance(value, str) else ""
    left = len(FILLER.sub("", re.sub(r"[^a-z0-9]", "", secret.lower())))
    # What is short and no word of the list is only short.
    is_filler = left < LEAST_LEFT and left < len(secret) / 2
    is_template = re.fullmatch(r"<.*>|.*(\{\{|\$\{).*", secret)
    return fault if secret and (is_filler or is_template or len(set(secret)) < LEAST_DIFFERENT) else None


SCHEMA = Schema(
    "k3s",
    {
        "x-address": _address,
        "x-path": _path,
        "x-placeholder": _placeholder,
        # A flag with + at its end adds to another layer.
        "x-refused": lambda key, refused: refused.get(str(key).removesuffix("+")),
        "x-release": _release,
    },
)


def setting_faults(nodes: Mapping[str, Node]) -> Iterator[Fault]:
    """Faults of all hosts' settings, and of those that must be the same on several."""
    for name, node in nodes.items():
        broken = [setting for setting in SCHEMA.document["properties"] if setting in node.broken]
        faults = [f"{setting}: cannot be worked out: {node.broken[setting]}" for setting in broken]
        faults += SCHEMA.faults(node.settings) if HAS_JSONSCHEMA else []
        yield from ((name, fault) for fault in [*faults, *_joint_faults(node)])
    servers = servers_of(nodes)
    for flag in CRITICAL_FLAGS:
        variable = next((node.origin[flag] for node in servers.values() if flag in node.origin), "")
        values = {name: node.config.get(flag) for name, node in servers.items()}
        yield from _different(f"{variable}.{flag}", values, "servers")
    tokens = {name: token for name, node in nodes.items() if (token := node.settings.get("k3s_token"))}
    yield from _different("k3s_token", tokens, "hosts")
    endpoints = {name: node.settings.get("k3s_datastore_endpoint") or "" for name, node in servers.items()}
    yield from _different("k3s_datastore_endpoint", endpoints, "servers")
    for name, node in nodes.items():
        origin = node.origin.get("cluster-init")
        if origin and (origin != "k3s_server_config" or len(servers) > 1):
            fault = "is set by the role itself; leave it out: several servers get it by themselves, a single one may"
            yield name, f"{origin}.cluster-init: {fault} have it in k3s_server_config"


def _joint_faults(node: Node) -> Iterator[str]:
    """Faults of one host's settings that need each other."""
    settings = node.settings
    certificate, key = (settings.get(f"k3s_datastore_{name}file") for name in ("cert", "key"))
    if bool(certificate) != bool(key):
        missing = "key" if certificate else "cert"
        yield f"k3s_datastore_{missing}file: is missing; certificate and key need each other"
    tls = [name for name in ("cafile", "certfile", "keyfile") if settings.get(f"k3s_datastore_{name}")]
    if tls and not settings.get("k3s_datastore_endpoint"):
        yield f"k3s_datastore_{tls[0]}: is for k3s_datastore_endpoint, which is empty; set that, or leave this out"
    if settings.get("k3s_kube_vip_interface") and not parse_address(str(settings.get("k3s_registration_address"))):
        yield "k3s_kube_vip_interface: needs k3s_registration_address to be an IP; write one there that no host has"
    yield from _manifest_faults(settings)
    if node.origin.get("cluster-init") == "k3s_server_config" and settings.get("k3s_datastore_endpoint"):
        yield "k3s_server_config.cluster-init: cannot go with k3s_datastore_endpoint; write only one of them"


def _manifest_faults(settings: Mapping[str, object]) -> Iterator[str]:
    """Faults of manifests that would take each other's place: all of them go into one folder by their names alone."""
    taken = dict.fromkeys(OWN_MANIFESTS, "K3s itself writes")
    if settings.get("k3s_kube_vip_interface"):
        taken["kube-vip.yaml"] = "k3s_kube_vip_interface writes"
    for index, path in enumerate(texts(settings.get("k3s_manifests"))):
        name = Path(path).name
        if name in taken:
            yield f"k3s_manifests[{index}]: {shown(path)} is called as one that {taken[name]}; give it another name"
        taken.setdefault(name, f"k3s_manifests[{index}] is")


def _different(where: str, values: Mapping[str, object], whose: str) -> Iterator[Fault]:
    """The fault of a setting that has more than one value, from host → value."""
    first = next(iter(values), "")
    if other := next((name for name, value in values.items() if value != values[first]), None):
        yield "", f"{where}: differs between {first} and {other}; write the same for all {whose}"
