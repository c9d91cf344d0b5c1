"""What can be wrong with what K3s is and how it is set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .nodes import Node, Told, setting_faults
from .words import VARIABLE, is_list, kind, shown

Check = Callable[[str, Any], Iterator[str]]

VERSION = re.compile(r"v\d+\.\d+\.\d+\S*\+\S+")
FLAG = re.compile(r"[a-z][a-z0-9-]*\+?")
CONFIGS = ("k3s_config", "k3s_server_config", "k3s_agent_config", "k3s_node_config")
# Flags that the role k3s writes by itself, and what to say instead.
OWN_FLAGS = {
    **dict.fromkeys(("server", "s"), "write k3s_registration_address, or leave it out"),
    **dict.fromkeys(("token", "t", "token-file"), "write k3s_token, or leave it out"),
    "agent-token": "leave it out: agents join with k3s_token",
    "cluster-init": "leave it out: several servers get it by themselves, a single one may have it in k3s_server_config",
    "data-dir": "leave it out, and mount the disk you want at /var/lib/rancher",
    "https-listen-port": "leave it out: nodes look for servers at port 6443",
    "datastore-endpoint": "write k3s_datastore_endpoint",
    "datastore-cafile": "write k3s_datastore_cafile",
    "datastore-certfile": "write k3s_datastore_certfile",
    "datastore-keyfile": "write k3s_datastore_keyfile",
}
# The same in the environment: https://docs.k3s.io/reference/env-variables
OWN_VARIABLES = {
    "K3S_URL": "k3s_registration_address",
    **dict.fromkeys(("K3S_TOKEN", "K3S_TOKEN_FILE", "K3S_AGENT_TOKEN", "K3S_AGENT_TOKEN_FILE"), "k3s_token"),
    "K3S_DATASTORE_ENDPOINT": "k3s_datastore_endpoint",
    "K3S_DATASTORE_CAFILE": "k3s_datastore_cafile",
    "K3S_DATASTORE_CERTFILE": "k3s_datastore_certfile",
    "K3S_DATASTORE_KEYFILE": "k3s_datastore_keyfile",
    "K3S_CLUSTER_INIT": "cluster-init: true into k3s_server_config",
}
# Flags that must be the same on all servers: https://docs.k3s.io/cli/server#critical-configuration-values
CRITICAL_FLAGS = (
    "cluster-cidr", "cluster-dns", "cluster-domain", "disable-cloud-controller", "disable-helm-controller",
    "disable-network-policy", "egress-selector-mode", "embedded-registry", "flannel-backend", "flannel-external-ip",
    "flannel-ipv6-masq", "secrets-encryption", "secrets-encryption-provider", "service-cidr",
)  # fmt: skip

CHECKSUM = re.compile(r"[0-9a-f]{64}")
ARCHITECTURES = ("amd64", "arm64", "arm")
REGISTRY_KEYS = {"mirrors": ("endpoint", "rewrite"), "configs": ("auth", "tls")}
# A setting that the command line gives is a text: -e k3s_ready_timeout=600
SECONDS = re.compile(r"[0-9]{1,9}")


def release(where: str, version: object) -> Iterator[str]:
    """Faults of a release's name."""
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        yield f"{where}: {version!r} is no release; write one such as v1.35.6+k3s1"


def config(where: str, given: object) -> Iterator[str]:
    """Faults of a mapping of K3s' flags. K3s only warns of a flag it does not know, and runs without it."""
    if not isinstance(given, Mapping):
        yield f"{where}: is {kind(given)}; write a mapping of K3s flags, such as {{disable: [servicelb]}}"
        return
    for key, value in given.items():
        name = str(key).removesuffix("+")
        each = f"{where}.{shown(key)}"
        if not isinstance(key, str) or not FLAG.fullmatch(key):
            yield f"{each}: is no flag of K3s; write it in small letters, with '-' between words and none in front"
        elif name in OWN_FLAGS and (where, name) != ("k3s_server_config", "cluster-init"):
            yield f"{each}: is set by the role itself; {OWN_FLAGS[name]}"
        elif name == "cluster-reset":
            yield f"{each}: is nothing to be done at every start; run k3s server --cluster-reset on the host itself"
        elif value is None:
            yield f"{each}: is empty; write a value, or leave it out"
        elif wrong := [part for part in (as_list(value)) if part is None or isinstance(part, Mapping) or is_list(part)]:
            of = "" if isinstance(value, Mapping) else "a list of which one is "
            yield f"{each}: is {of}{kind(wrong[0])}; write a text, or a list of texts such as [max-pods=200]"


def as_list(value: object) -> Sequence[object]:
    """A list as it is, anything else as the only one of a list."""
    return value if isinstance(value, Sequence) and is_list(value) else [value]


def path_fault(path: object, test: Callable[[Path], bool], what: str) -> str | None:
    """Say what keeps ``path`` from being one on the controller that passes ``test``."""
    if not isinstance(path, str):
        return f"is {kind(path)}; write the path of a {what} on the controller"
    # Ansible looks for it in the playbook's folder or in the one it was started from, depending on the task.
    if not path.startswith(("/", "~")):
        return f"{shown(path)} is a relative path; write it from / on"
    try:
        good = test(Path(path).expanduser())
    except (OSError, ValueError, RuntimeError):
        good = False
    return None if good else f"{shown(path)} is no {what} on the controller; name one, or leave it out"


def file(where: str, path: object) -> Iterator[str]:
    """Faults of the path of a file on the controller, or of none."""
    if path != "" and (fault := path_fault(path, Path.is_file, "file")):
        yield f"{where}: {fault}"


def folder(where: str, path: object) -> Iterator[str]:
    """Faults of the folder with the artifacts, or of none."""
    if path and (fault := path_fault(path, Path.is_dir, "folder")):
        yield f"{where}: {fault}"


def files(where: str, paths: object) -> Iterator[str]:
    """Faults of a list of files on the controller."""
    if not isinstance(paths, Sequence) or not is_list(paths):
        yield f"{where}: is {kind(paths)}; write a list of files"
        return
    yield from (f"{where}: {fault}" for path in paths if (fault := path_fault(path, Path.is_file, "file")))


def checksums(where: str, given: object) -> Iterator[str]:
    """Faults of the pins: version → architecture → sha256 of the binary."""
    advice = f"write {{v1.35.6+k3s1: {{amd64: <sha256 of k3s>}}}}, for {', '.join(ARCHITECTURES)}"
    if not isinstance(given, Mapping):
        yield f"{where}: is {kind(given)}; {advice}"
        return
    for version, pins in given.items():
        each = f"{where}.{shown(version)}"
        yield from (fault.replace(where, each, 1) for fault in release(where, version))
        if not isinstance(pins, Mapping):
            yield f"{each}: is {kind(pins)}; {advice}"
            continue
        for name, pin in pins.items():
            if name not in ARCHITECTURES:
                yield f"{each}.{shown(name)}: is no architecture; use {', '.join(ARCHITECTURES)}"
            elif not isinstance(pin, str) or not CHECKSUM.fullmatch(pin):
                yield f"{each}.{name}: is no sha256; write its 64 hexadecimal digits in small letters and in quotes"


def choice(*words: str) -> Check:
    """Make a check of a word that is one of few."""

    def check(where: str, value: object) -> Iterator[str]:
        if value not in words:
            yield f"{where}: {value!r} is unknown; write {' or '.join(words)}"

    return check


def pattern(wanted: str, example: str) -> Check:
    """Make a check of a text of a certain form."""

    def check(where: str, value: object) -> Iterator[str]:
        if not isinstance(value, str) or not re.fullmatch(wanted, value):
            yield f"{where}: will not do; write one such as {example}"

    return check


def registries(where: str, given: object) -> Iterator[str]:
    """Faults of what becomes registries.yaml; the passwords in it never show."""
    if not isinstance(given, Mapping):
        yield f"{where}: is {kind(given)}; write a mapping of mirrors and configs, as in K3s' registries.yaml"
        return
    for part, entries in given.items():
        each = f"{where}.{shown(part)}"
        if part not in REGISTRY_KEYS:
            yield f"{each}: is no part of registries.yaml; use {', '.join(REGISTRY_KEYS)}"
        elif not isinstance(entries, Mapping):
            yield f"{each}: is {kind(entries)}; write a mapping of registries, such as {{docker.io: {{…}}}}"
        else:
            for name, entry in entries.items():
                yield from _registry(f"{each}.{shown(name)}", entry, REGISTRY_KEYS[part])


def _registry(where: str, entry: object, known: Sequence[str]) -> Iterator[str]:
    if not isinstance(entry, Mapping | None):
        yield f"{where}: is {kind(entry)}; write a mapping of {' and '.join(known)}"
        return
    for key, value in (entry or {}).items():
        if key not in known:
            yield f"{where}.{shown(key)}: is no setting; use {', '.join(known)}"
        elif key == "endpoint":
            if not is_list(value) or not all(re.match(r"https?://\S+$", str(url)) for url in value):
                yield f"{where}.endpoint: is no list of URLs; write one such as [https://mirror.example.com:5000]"
        elif not isinstance(value, Mapping):
            yield f"{where}.{key}: is {kind(value)}; write a mapping"


def environment(where: str, given: object) -> Iterator[str]:
    """Faults of the service's environment; its values never show."""
    if not isinstance(given, Mapping):
        yield f"{where}: is {kind(given)}; write a mapping such as {{HTTPS_PROXY: http://proxy.example.com:3128}}"
        return
    for name, value in given.items():
        each = f"{where}.{shown(name)}"
        if not isinstance(name, str) or not VARIABLE.fullmatch(name):
            yield f"{each}: is no name of a variable; use A-Z, a-z, 0-9 and '_', without a digit in front"
        elif name in OWN_VARIABLES:
            yield f"{each}: is set by the role itself; write {OWN_VARIABLES[name]}"
        elif not isinstance(value, str):
            yield f"{each}: is {kind(value)}, not a text; put it in quotes"
        elif not value.isprintable():
            yield f"{each}: holds a control character, such as a line break; write it on one line"


def seconds(least: int) -> Check:
    """A check for a number of seconds."""

    def check(where: str, value: object) -> Iterator[str]:
        written = int(value) if isinstance(value, str) and SECONDS.fullmatch(value) else value
        if isinstance(written, bool) or not isinstance(written, int) or written < least:
            yield f"{where}: is not a number of seconds; write {least} or more"

    return check


CHECKS: dict[str, Check] = {
    "k3s_version": release,
    "k3s_release_url": pattern(r"https?://\S+", "https://github.com/k3s-io/k3s/releases/download"),
    "k3s_checksums": checksums,
    "k3s_download_on": choice("node", "controller"),
    "k3s_artifact_dir": folder,
    **dict.fromkeys(CONFIGS, config),
    "k3s_registries": registries,
    "k3s_environment": environment,
    "k3s_manifests": files,
    **dict.fromkeys(("k3s_datastore_cafile", "k3s_datastore_certfile", "k3s_datastore_keyfile"), file),
    "k3s_kube_vip_image": pattern(r"\S+", "ghcr.io/kube-vip/kube-vip:v1.0.0"),
    "k3s_cluster_name": pattern(r"[^\s/]+", "greeter-fleet"),
    "k3s_kubeconfig": pattern(r"[^\n]+", "~/fleet.yaml"),
    "k3s_api_url": pattern(r"https://\S+", "https://192.0.2.10:6443"),
    "k3s_ready_timeout": seconds(1),
    "k3s_drain_timeout": seconds(0),
}


def cluster_faults(nodes: Mapping[str, Node]) -> list[Told]:
    """Faults of all hosts' settings, and of flags that must be the same on several."""
    return [*setting_faults(nodes, CHECKS), *_different_flags(nodes), *_cluster_init(nodes)]


def _different_flags(nodes: Mapping[str, Node]) -> Iterator[Told]:
    servers = {name: node for name, node in nodes.items() if node["role"] == "server"}
    for flag in CRITICAL_FLAGS:
        values = {name: node["config"].get(flag) for name, node in servers.items()}
        first = next(iter(values), "")
        if other := next((name for name, value in values.items() if value != values[first]), None):
            origin = next(node["origin"][flag] for node in servers.values() if flag in node["origin"])
            yield "", f"{origin}.{flag}: differs between {first} and {other}; write the same for all servers"


def _cluster_init(nodes: Mapping[str, Node]) -> Iterator[Told]:
    servers = [node for node in nodes.values() if node["role"] == "server"]
    if any(node["origin"].get("cluster-init") == "k3s_server_config" for node in servers):
        if len(servers) > 1:
            yield "", f"k3s_server_config.cluster-init: is set by the role itself; {OWN_FLAGS['cluster-init']}"
        elif servers[0]["settings"].get("k3s_datastore_endpoint"):
            yield "", "k3s_server_config.cluster-init: cannot go with k3s_datastore_endpoint; write only one of them"
