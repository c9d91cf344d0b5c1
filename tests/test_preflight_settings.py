"""Faults of the cluster's settings: each by itself, those that need each other, and those that differ between hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import cluster as preflight_cluster
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import network as preflight_network
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import nodes as preflight
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import versions as preflight_versions
from hypothesis import given, settings
from hypothesis import strategies as st

from .test_customer_faults import FREE, VALUES, are_lines
from .test_preflight_hosts import OLDEST, asked
from .test_preflight_hosts import faults as host_faults

RANDOM = "3f6d0c9be27d41d8a58be5d0a3c1f7e2"
HASH = "b5b3a1c7d9e0f2a4b6c8d0e2f4a6b8c0d2e4f6a8b0c2d4e6f8a0b2c4d6e8f0a1"


CHECKED = list(preflight_cluster.SCHEMA.document["properties"])


def cluster(settings: dict[str, dict[str, Any]], agents: str = "x") -> dict[str, preflight.Node]:
    """Nodes with these settings (host → variables); those whose letter is among ``agents`` are agents."""
    return {
        name: preflight.read_node("agent" if name in agents else "server", given) for name, given in settings.items()
    }


def cluster_faults(nodes: dict[str, preflight.Node]) -> list[str]:
    """Faults of all settings."""
    return preflight.messages([*preflight_cluster.setting_faults(nodes)], nodes)


def faults(**settings: object) -> list[str]:
    """Faults of a cluster of one server with these settings."""
    return cluster_faults(cluster({"a": settings}))


GOOD: dict[str, list[Any]] = {
    "k3s_adopt": [True, False, "yes", "false"],
    "k3s_version": ["v1.35.6+k3s1", "v1.36.0-rc1+k3s1", "v1.20.2+testbed1"],
    "k3s_release_url": ["https://github.com/k3s-io/k3s/releases/download", "http://mirror.example.com/k3s"],
    "k3s_checksums": [{}, {"v1.35.6+k3s1": {"amd64": HASH, "arm64": HASH, "arm": HASH}}],
    "k3s_download_on": ["node", "controller"],
    "k3s_artifact_dir": ["", "/tmp"],
    "k3s_config": [
        {},
        {"disable": ["servicelb"], "node-label+": ["a=b"], "debug": True, "v": 2, "write-kubeconfig-mode": "0644"},
    ],
    "k3s_server_config": [{"cluster-init": True}, {"etcd-s3-secret-key": "x"}],
    "k3s_agent_config": [{"kubelet-arg": ["max-pods=200"]}],
    "k3s_node_config": [{"node-name": "one"}],
    "k3s_registries": [
        {},
        {
            "mirrors": {"docker.io": {"endpoint": ["https://mirror.example.com"], "rewrite": {"^a": "b"}}, "*": None},
            "configs": {"mirror.example.com": {"auth": {"username": "u", "password": "p"}}, "docker.io": None},
        },
    ],
    "k3s_environment": [{}, {"HTTPS_PROXY": "http://proxy.example.com:3128", "no_proxy": ""}],
    "k3s_manifests": [[], [__file__]],
    "k3s_token": [
        "",
        RANDOM,
        "correct-horse-battery-staple",
        "Zm9vYmFyYmF6cXV4Cg==/+1a",
        f"K10{HASH}::server:{RANDOM}",
    ],
    "k3s_datastore_endpoint": [
        "",
        "postgres://k3s:p%40ss@db.example.com:5432/k3s",
        "mysql://k3s:pass@tcp(db.example.com:3306)/k3s",
        "mysql://",
        "mysql://k3s:pass@/k3s",
        "mysql://k3s:p@ss@unix/k3s",
        "https://etcd1.example.com:2379,https://etcd2.example.com:2379",
        "nats://nats.example.com",
    ],
    "k3s_datastore_cafile": [""],
    "k3s_registration_address": ["", "192.0.2.1", "2001:db8::1", "k3s.example.com", "balancer"],
    "k3s_kube_vip_interface": [""],
    "k3s_kube_vip_image": ["ghcr.io/kube-vip/kube-vip:v1.0.0"],
    "k3s_cluster_name": ["greeter-fleet"],
    "k3s_kubeconfig": ["/home/me/fleet.yaml"],
    "k3s_api_url": ["https://192.0.2.10:6443"],
    "k3s_ready_timeout": [1, 300, "600"],
    "k3s_drain_timeout": [0, 300, "600"],
    "k3s_traefik_replicas": [0, 3, "2"],
}


def test_every_setting_has_good_values_here() -> None:
    assert set(GOOD) | {"k3s_datastore_certfile", "k3s_datastore_keyfile"} == set(CHECKED)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_a_good_setting_has_no_fault(name: str, value: object) -> None:
    assert faults(**{name: value}) == []


def test_no_setting_at_all_has_no_fault() -> None:
    assert faults() == []


NO_TOKEN = "write a random one (openssl rand -hex 32), or leave it empty: K3s then makes one"
SCHEMES = "begin it with one of postgres://, postgresql://, mysql://, http://, https://, nats://"
PINS = "write {v1.36.4+k3s1: {amd64: <sha256 of k3s>}}, for amd64, arm64, arm"
WRONG: list[tuple[str, Any, str]] = [
    ("k3s_adopt", "always", "k3s_adopt: is neither true nor false; write one of them"),
    ("k3s_version", "1.35", "k3s_version: '1.35' is no release; write one such as v1.36.4+k3s1"),
    ("k3s_version", 1.35, "k3s_version: is a number, not a text; put it in quotes"),
    (
        "k3s_release_url",
        "github.com/k3s-io",
        "k3s_release_url: is no URL; write one such as https://github.com/k3s-io/k3s/releases/download",
    ),
    ("k3s_checksums", [HASH], f"k3s_checksums: is a list; {PINS}"),
    ("k3s_checksums", {"v1.35.6+k3s1": HASH}, f"k3s_checksums.v1.35.6+k3s1: is a text; {PINS}"),
    (
        "k3s_checksums",
        {"1.35": {"amd64": HASH}},
        "k3s_checksums.1.35: '1.35' is no release; write one such as v1.36.4+k3s1",
    ),
    (
        "k3s_checksums",
        {"v1.35.6+k3s1": {"x86_64": HASH}},
        "k3s_checksums.v1.35.6+k3s1.x86_64: is no setting; use amd64, arm64, arm",
    ),
    (
        "k3s_checksums",
        {"v1.35.6+k3s1": {"amd64": HASH[1:]}},
        "k3s_checksums.v1.35.6+k3s1.amd64: is no sha256;"
        " write its 64 hexadecimal digits in small letters and in quotes",
    ),
    ("k3s_download_on", "laptop", "k3s_download_on: is not known; write node or controller"),
    (
        "k3s_artifact_dir",
        "/nowhere",
        "k3s_artifact_dir: /nowhere is no folder on the controller; name one, or leave it out",
    ),
    (
        "k3s_config",
        ["disable: traefik"],
        "k3s_config: is a list; write a mapping of K3s flags, such as {disable: [servicelb]}",
    ),
    (
        "k3s_config",
        {"--disable": "traefik"},
        "k3s_config.--disable: is no flag of K3s; write it in small letters, with '-' between words and none in front",
    ),
    (
        "k3s_config",
        {"node_label": "a=b"},
        "k3s_config.node_label: is no flag of K3s; write it in small letters, with '-' between words and none in front",
    ),
    (
        "k3s_config",
        {"disable": None},
        "k3s_config.disable: is empty; write a text, or a list of texts such as [max-pods=200]",
    ),
    (
        "k3s_config",
        {"kubelet-arg": {"max-pods": 200}},
        "k3s_config.kubelet-arg: is a mapping; write a text, or a list of texts such as [max-pods=200]",
    ),
    (
        "k3s_config",
        {"kubelet-arg": [{"max-pods": 200}]},
        "k3s_config.kubelet-arg[0]: is a mapping; write a text, such as max-pods=200",
    ),
    (
        "k3s_server_config",
        {"server": "https://192.0.2.1:6443"},
        "k3s_server_config.server: is set by the role itself; write k3s_registration_address, or leave it out",
    ),
    (
        "k3s_config",
        {"token": RANDOM},
        "k3s_config.token: is set by the role itself; write k3s_token, or leave it out",
    ),
    (
        "k3s_node_config",
        {"token-file": "/etc/token"},
        "k3s_node_config.token-file: is set by the role itself; write k3s_token, or leave it out",
    ),
    (
        "k3s_server_config",
        {"agent-token": RANDOM},
        "k3s_server_config.agent-token: is set by the role itself; leave it out: agents join with k3s_token",
    ),
    (
        "k3s_config",
        {"data-dir": "/data/k3s"},
        "k3s_config.data-dir: is set by the role itself; leave it out, and mount the disk you want at /var/lib/rancher",
    ),
    (
        "k3s_node_config",
        {"docker": True},
        "k3s_node_config.docker: has nodes run Docker's images, and the greeter's lies in K3s' containerd;"
        " leave it out",
    ),
    (
        "k3s_server_config",
        {"https-listen-port": 7443},
        "k3s_server_config.https-listen-port: is set by the role itself;"
        " leave it out: nodes look for servers at port 6443",
    ),
    (
        "k3s_server_config",
        {"datastore-endpoint": "mysql://"},
        "k3s_server_config.datastore-endpoint: is set by the role itself; write k3s_datastore_endpoint",
    ),
    (
        "k3s_node_config",
        {"datastore-keyfile+": "/key"},
        "k3s_node_config.datastore-keyfile+: is set by the role itself; write k3s_datastore_keyfile",
    ),
    (
        "k3s_config",
        {"cluster-init": True},
        "k3s_config.cluster-init: is set by the role itself;"
        " leave it out: several servers get it by themselves, a single one may have it in k3s_server_config",
    ),
    (
        "k3s_server_config",
        {"cluster-reset": True},
        "k3s_server_config.cluster-reset: is nothing to be done at every start;"
        " run k3s server --cluster-reset on the host itself",
    ),
    (
        "k3s_registries",
        ["docker.io"],
        "k3s_registries: is a list; write a mapping of mirrors and configs, as in K3s' registries.yaml",
    ),
    (
        "k3s_registries",
        {"mirror": {}},
        "k3s_registries.mirror: is no setting; use mirrors, configs",
    ),
    (
        "k3s_registries",
        {"mirrors": ["docker.io"]},
        "k3s_registries.mirrors: is a list; write a mapping of registries, such as {docker.io: {…}}",
    ),
    (
        "k3s_registries",
        {"mirrors": {"docker.io": {"endpoint": "https://mirror.example.com"}}},
        "k3s_registries.mirrors.docker.io.endpoint: is a text; write a list such as [https://mirror.example.com:5000]",
    ),
    (
        "k3s_registries",
        {"mirrors": {"docker.io": {"endpoint": ["https://mirror.example.com", "mirror.example.com"]}}},
        "k3s_registries.mirrors.docker.io.endpoint[1]: is no URL; write one such as https://mirror.example.com:5000",
    ),
    (
        "k3s_registries",
        {"configs": {"mirror.example.com": {"password": "p"}}},
        "k3s_registries.configs.mirror.example.com.password: is no setting; use auth, tls",
    ),
    (
        "k3s_registries",
        {"configs": {"mirror.example.com": {"auth": "u:p"}}},
        "k3s_registries.configs.mirror.example.com.auth: is a text; write a mapping",
    ),
    (
        "k3s_environment",
        ["A=b"],
        "k3s_environment: is a list; write a mapping such as {HTTPS_PROXY: http://proxy.example.com:3128}",
    ),
    ("k3s_environment", {"A": 1}, "k3s_environment.A: is a number, not a text; put it in quotes"),
    (
        "k3s_environment",
        {"A-B": "c"},
        "k3s_environment.A-B: is no name of a variable; use A-Z, a-z, 0-9 and '_', without a digit in front",
    ),
    (
        "k3s_environment",
        {"A": "b\nc"},
        "k3s_environment.A: holds a control character, such as a line break; write it on one line",
    ),
    (
        "k3s_environment",
        {"K3S_TOKEN": RANDOM},
        "k3s_environment.K3S_TOKEN: is set by the role itself; write k3s_token",
    ),
    ("k3s_manifests", "a.yaml", "k3s_manifests: is a text; write a list of files"),
    (
        "k3s_manifests",
        ["/nowhere.yaml"],
        "k3s_manifests[0]: /nowhere.yaml is no file on the controller; name one, or leave it out",
    ),
    ("k3s_manifests", ["README.md"], "k3s_manifests[0]: README.md is a relative path; write it from / on"),
    (
        "k3s_artifact_dir",
        "roles",
        "k3s_artifact_dir: roles is a relative path; write it from / on",
    ),
    ("k3s_token", 12345678901234567890, "k3s_token: is a number, not a text; put it in quotes"),
    ("k3s_token", "Xo7q9Kp2", f"k3s_token: has fewer than 16 characters; {NO_TOKEN}"),
    ("k3s_token", f"{RANDOM}\n", f"k3s_token: holds white space or a control character; {NO_TOKEN}"),
    ("k3s_token", f"{RANDOM[:16]} {RANDOM[16:]}", f"k3s_token: holds white space or a control character; {NO_TOKEN}"),
    (
        "k3s_token",
        f"K10{HASH}::{RANDOM}",
        "k3s_token: begins as a whole token of K3s and is none;"
        " write all of a server's /var/lib/rancher/k3s/server/token",
    ),
    (
        "k3s_token",
        "fx954u.gilr93estsa067vz",
        f"k3s_token: is a bootstrap token, which only agents can join with; {NO_TOKEN}",
    ),
    ("k3s_datastore_endpoint", "db.example.com", f"k3s_datastore_endpoint: names no datastore of K3s; {SCHEMES}"),
    ("k3s_datastore_endpoint", "redis://db", f"k3s_datastore_endpoint: names no datastore of K3s; {SCHEMES}"),
    (
        "k3s_datastore_endpoint",
        "mysql://k3s:pass@db.example.com:3306/k3s",
        "k3s_datastore_endpoint: has a host that MySQL's driver does not read;"
        " write mysql://user:password@tcp(host:3306)/database",
    ),
    (
        "k3s_datastore_endpoint",
        "https://etcd1.example.com:2379,etcd2.example.com:2379",
        "k3s_datastore_endpoint: has members of etcd without http:// or https://;"
        " write each as https://etcd1.example.com:2379",
    ),
    (
        "k3s_datastore_endpoint",
        "postgres://k3s:a b@db/k3s",
        "k3s_datastore_endpoint: holds white space; write it without, or as %20",
    ),
    ("k3s_datastore_endpoint", ["mysql://"], "k3s_datastore_endpoint: is a list, not a text; put it in quotes"),
    (
        "k3s_registration_address",
        "https://192.0.2.1:6443",
        "k3s_registration_address: 'https://192.0.2.1:6443' is no address;"
        " write a host name or an IP alone, without scheme, port and brackets",
    ),
    (
        "k3s_registration_address",
        "192.0.2.1:6443",
        "k3s_registration_address: '192.0.2.1:6443' is no address;"
        " write a host name or an IP alone, without scheme, port and brackets",
    ),
    (
        "k3s_registration_address",
        "[2001:db8::1]",
        "k3s_registration_address: '[2001:db8::1]' is no address;"
        " write a host name or an IP alone, without scheme, port and brackets",
    ),
    (
        "k3s_kube_vip_interface",
        "eth0",
        "k3s_kube_vip_interface: needs k3s_registration_address to be an IP; write one there that no host has",
    ),
    (
        "k3s_kube_vip_image",
        "",
        "k3s_kube_vip_image: is no image; write one such as ghcr.io/kube-vip/kube-vip:v1.0.0",
    ),
    ("k3s_cluster_name", "a/b", "k3s_cluster_name: is empty, or holds a space or '/'; write one such as greeter-fleet"),
    ("k3s_kubeconfig", "", "k3s_kubeconfig: is no path; write one such as ~/fleet.yaml"),
    (
        "k3s_api_url",
        "192.0.2.10:6443",
        "k3s_api_url: is no URL of an API server; write one such as https://192.0.2.10:6443",
    ),
    ("k3s_ready_timeout", 0, "k3s_ready_timeout: is not a number of seconds; write 1 or more"),
    ("k3s_ready_timeout", "0", "k3s_ready_timeout: is not a number of seconds; write 1 or more"),
    ("k3s_drain_timeout", -1, "k3s_drain_timeout: is not a number of seconds; write 0 or more"),
    ("k3s_drain_timeout", True, "k3s_drain_timeout: is not a number of seconds; write 0 or more"),
    ("k3s_traefik_replicas", -1, "k3s_traefik_replicas: is not a number of pods; write 0, or up to 99"),
    ("k3s_traefik_replicas", "two", "k3s_traefik_replicas: is not a number of pods; write 0, or up to 99"),
    ("k3s_ready_timeout", "5m", "k3s_ready_timeout: is not a number of seconds; write 1 or more"),
]


@pytest.mark.parametrize(("setting", "value", "fault"), WRONG)
def test_a_faulty_setting_is_named_with_what_to_write(setting: str, value: object, fault: str) -> None:
    assert faults(**{setting: value}) == [fault]


def test_manifests_of_one_name_are_told(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one/app.yaml", "two/app.yaml", "one/kube-vip.yaml", "one/traefik.yaml")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    one, two, vip, traefik = map(str, paths)
    assert faults(k3s_manifests=[one, vip]) == []
    assert faults(k3s_manifests=[one, two, traefik]) == [
        f"k3s_manifests[1]: {two} is called as one that k3s_manifests[0] is; give it another name",
        f"k3s_manifests[2]: {traefik} is called as one that K3s itself writes; give it another name",
    ]
    assert faults(k3s_manifests=[vip], k3s_kube_vip_interface="eth0", k3s_registration_address="192.0.2.9") == [
        f"k3s_manifests[0]: {vip} is called as one that k3s_kube_vip_interface writes; give it another name"
    ]


@pytest.mark.parametrize(
    "token",
    [
        "changeme",
        "changeme!changeme!",
        "token",
        "secret-secret-secret",
        "Password123456789",
        "my-secret-token-please-change",
        "some-SUPER-DEDEUPER-secret-password",
        "<put the token here>".replace(" ", "-"),
        "<3f6d0c9be27d41d8a58be5d0a3c1f7e2>",
        "{{vault_k3s_token}}",
        "${K3S_TOKEN:-3f6d0c9be27d41}",
        "xxxxxxxxxxxxxxxxxxxxxxxx",
        "0000000000000000",
        "1234567890123456",
        "your_k3s_cluster_token_here",
        f"K10{HASH}::server:mysecretclustertoken",
    ],
)
def test_a_placeholder_is_no_token(token: str) -> None:
    (fault,) = faults(k3s_token=token)
    assert fault == f"k3s_token: is a placeholder that anybody can guess; {NO_TOKEN}"


SECRET = "hunter2-Xo7q9Kp2Lm4w"


@pytest.mark.parametrize(
    "settings",
    [
        {"k3s_token": f"{SECRET}\n"},
        {"k3s_token": [SECRET]},
        {"k3s_token": {SECRET: SECRET}},
        {"k3s_token": f"K10::{SECRET}"},
        {"k3s_datastore_endpoint": f"redis://k3s:{SECRET}@db"},
        {"k3s_datastore_endpoint": f"mysql://k3s:{SECRET}@db:3306/k3s"},
        {"k3s_datastore_endpoint": f"k3s:{SECRET}@db"},
        {"k3s_datastore_endpoint": [SECRET]},
        {"k3s_config": {"token": SECRET, "agent-token": SECRET, "etcd-s3-secret-key": {"a": SECRET}}},
        {"k3s_environment": {"HTTPS_PROXY": f"http://{SECRET}\n", "K3S_TOKEN": SECRET, "A": [SECRET]}},
        {"k3s_registries": {"configs": {"a": {"auth": SECRET}, "b": SECRET}, "mirrors": {"a": {"endpoint": SECRET}}}},
        {"k3s_release_url": f"me:{SECRET}@mirror.example.com"},
    ],
)
def test_no_fault_holds_a_secret(settings: dict[str, Any]) -> None:
    lines = faults(**settings)
    assert lines
    assert "hunter2" not in "".join(lines)
    assert SECRET[8:] not in "".join(lines)


def test_what_cannot_be_worked_out_is_told_by_its_name() -> None:
    class Undefined:
        """Behaves as Ansible's own undefined values do."""

        def __str__(self) -> str:
            """Refuse."""
            raise ValueError("'vault_token' is undefined")

    assert faults(k3s_token=Undefined(), k3s_config={"node-label": [Undefined()]}) == [
        "k3s_config: cannot be worked out: 'vault_token' is undefined",
        "k3s_token: cannot be worked out: 'vault_token' is undefined",
    ]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("certfile", "k3s_datastore_keyfile: is missing; certificate and key need each other"),
        ("keyfile", "k3s_datastore_certfile: is missing; certificate and key need each other"),
    ],
)
def test_certificate_and_key_of_the_datastore_need_each_other(given: str, fault: str) -> None:
    settings = {f"k3s_datastore_{given}": __file__, "k3s_datastore_endpoint": "https://etcd:2379"}
    assert faults(**settings) == [fault]


def test_tls_files_need_a_datastore_and_must_be_there() -> None:
    assert faults(k3s_datastore_cafile=__file__) == [
        "k3s_datastore_cafile: is for k3s_datastore_endpoint, which is empty; set that, or leave this out"
    ]
    assert faults(k3s_datastore_cafile="/nowhere.pem", k3s_datastore_endpoint="https://etcd:2379") == [
        "k3s_datastore_cafile: /nowhere.pem is no file on the controller; name one, or leave it out"
    ]


def test_kube_vip_needs_an_ip_to_announce() -> None:
    assert faults(k3s_kube_vip_interface="eth0", k3s_registration_address="192.0.2.1") == []
    assert len(faults(k3s_kube_vip_interface="eth0", k3s_registration_address="vip.example.com")) == 1


def test_a_fault_of_all_hosts_is_told_once_and_one_of_some_with_their_names() -> None:
    bad = {"k3s_version": "1.35"}
    fault = "k3s_version: '1.35' is no release; write one such as v1.36.4+k3s1"
    assert cluster_faults(cluster({"a": bad, "b": bad, "x": bad})) == [fault]
    assert cluster_faults(cluster({"a": bad, "b": {}, "x": bad})) == [f"hosts a, x: {fault}"]
    assert cluster_faults(cluster({"a": {}, "b": {}, "x": bad})) == [f"host x: {fault}"]


def test_what_must_be_the_same_on_all_is_told_without_its_value() -> None:
    nodes = cluster(
        {
            "a": {"k3s_token": RANDOM, "k3s_datastore_endpoint": "mysql://one", "k3s_node_config": {"debug": True}},
            "b": {"k3s_token": RANDOM, "k3s_node_config": {"cluster-domain": "b.local"}},
            "x": {"k3s_token": RANDOM[::-1], "k3s_node_config": {"service-cidr": "of no meaning on an agent"}},
            "y": {},
        },
        agents="xy",
    )
    assert cluster_faults(nodes) == [
        "k3s_node_config.cluster-domain: differs between a and b; write the same for all servers",
        "k3s_token: differs between a and x; write the same for all hosts",
        "k3s_datastore_endpoint: differs between a and b; write the same for all servers",
    ]


def test_cluster_init_is_for_one_server_without_a_datastore() -> None:
    init = {"k3s_server_config": {"cluster-init": True}}
    assert cluster_faults(cluster({"a": init, "x": init})) == []
    assert cluster_faults(cluster({"a": init, "b": init, "c": init})) == [
        "k3s_server_config.cluster-init: is set by the role itself;"
        " leave it out: several servers get it by themselves, a single one may have it in k3s_server_config"
    ]
    assert cluster_faults(cluster({"a": init | {"k3s_datastore_endpoint": "mysql://"}})) == [
        "k3s_server_config.cluster-init: cannot go with k3s_datastore_endpoint; write only one of them"
    ]


def network_faults(server: dict[str, Any], **hosts: dict[str, Any]) -> list[str]:
    """Faults of the networks of a cluster whose hosts have these configs."""
    configs = {"a": {"k3s_server_config": server}} | {name: {"k3s_node_config": host} for name, host in hosts.items()}
    return preflight.messages([*preflight_network.network_faults(cluster(configs))])


IPV6 = {"cluster-cidr": "2001:db8:42::/56", "service-cidr": "2001:db8:43::/112"}
BOTH = {
    "cluster-cidr": "10.42.0.0/16,2001:db8:42::/56",
    "service-cidr": ["10.43.0.0/16", "2001:db8:43::/112"],
    "node-ip": "192.0.2.10,2001:db8::10",
}


@pytest.mark.parametrize(
    "server",
    [
        {},
        {"cluster-cidr": "10.0.0.0/12"},
        {"service-cidr": "172.16.0.0/12", "cluster-dns": "172.16.0.10"},
        {"node-ip": "192.0.2.10"},
        {"node-ip": "192.0.2.10,2001:db8::10"},
        IPV6 | {"node-ip": "2001:db8::10"},
        BOTH,
    ],
)
def test_good_networks_have_no_fault(server: dict[str, Any]) -> None:
    assert network_faults(server) == []


@pytest.mark.parametrize(
    ("server", "fault"),
    [
        (
            {"cluster-cidr": "10.42.0.0"},
            "k3s_server_config.cluster-cidr: 10.42.0.0 is no network; write one such as 10.42.0.0/16",
        ),
        (
            {"service-cidr": ["10.43.0.0/16", "10.44.0.0/33"]},
            "k3s_server_config.service-cidr: 10.44.0.0/33 is no network; write one such as 10.43.0.0/16",
        ),
        (
            {"cluster-cidr": "10.42.0.0/16,10.44.0.0/16"},
            "k3s_server_config.cluster-cidr: has two networks of one family; write one of IPv4, of IPv6, or of each",
        ),
        (
            {"cluster-cidr": "10.42.0.0/16,2001:db8:42::/56", "node-ip": "192.0.2.10,2001:db8::10"},
            "k3s_server_config.service-cidr: is IPv4, and cluster-cidr is IPv4 and IPv6;"
            " write networks of the same families in both, in the same order",
        ),
        (
            BOTH | {"service-cidr": "2001:db8:43::/112,10.43.0.0/16"},
            "k3s_server_config.service-cidr: is IPv6 and IPv4, and cluster-cidr is IPv4 and IPv6;"
            " write networks of the same families in both, in the same order",
        ),
        (
            {"cluster-cidr": "10.40.0.0/14"},
            "k3s_server_config.service-cidr: 10.43.0.0/16 overlaps 10.40.0.0/14 of cluster-cidr;"
            " write networks that share no address",
        ),
        (
            {"service-cidr": "172.0.0.0/8"},
            "k3s_server_config.service-cidr: 172.0.0.0/8 is too large; use at most a /12",
        ),
        (
            {"cluster-dns": "10.96.0.10"},
            "k3s_server_config.cluster-dns: 10.96.0.10 is no address of service-cidr; write one of 10.43.0.0/16",
        ),
        (
            {"node-ip": "node1"},
            "host a: k3s_server_config.node-ip: node1 is no address; write one such as 192.0.2.10",
        ),
        (
            BOTH | {"node-ip": "192.0.2.10"},
            "host a: k3s_server_config.node-ip: is IPv4, and cluster-cidr is IPv4 and IPv6;"
            " write an address of each of its families",
        ),
        (
            IPV6,
            "host a: k3s_node_config.node-ip: is missing; with IPv6 first in cluster-cidr every node needs it written",
        ),
        (
            {"node-ip": "10.42.0.5"},
            "host a: k3s_server_config.node-ip: 10.42.0.5 lies in 10.42.0.0/16, which the cluster takes;"
            " write another network",
        ),
    ],
)
def test_faulty_networks_are_told(server: dict[str, Any], fault: str) -> None:
    assert network_faults(server) == [fault]


def test_agents_are_held_against_the_networks_of_the_servers() -> None:
    assert network_faults(BOTH, x={"node-ip": "192.0.2.11"}) == [
        "host x: k3s_node_config.node-ip: is IPv4, and cluster-cidr is IPv4 and IPv6;"
        " write an address of each of its families"
    ]


@pytest.mark.parametrize("path", ["/" + "x" * 5000, "/a\0b", "~nobody-of-that-name/a", "a"])
def test_a_path_that_no_system_takes_is_no_file(path: str) -> None:
    for setting, value in ("k3s_manifests", [path]), ("k3s_artifact_dir", path), ("k3s_datastore_cafile", path):
        assert len(faults(**{setting: value}, k3s_datastore_endpoint="mysql://")) == 1


FLAGS = st.sampled_from(["cluster-cidr", "service-cidr", "cluster-dns", "node-ip", "disable+", "cluster-init", "token"])
SETTINGS = st.dictionaries(
    st.sampled_from(CHECKED),
    st.dictionaries(FLAGS | st.text(), VALUES) | VALUES,
    max_size=6,
)


@settings(FREE, max_examples=50)
@given(SETTINGS, SETTINGS)
def test_nothing_that_yaml_can_say_breaks_preflight_of_the_cluster(one: dict[str, Any], other: dict[str, Any]) -> None:
    nodes = cluster({"a": one, "b": other, "x": other})
    assert are_lines(cluster_faults(nodes))
    assert are_lines(preflight.messages([*preflight_network.network_faults(nodes)], nodes))
    assert are_lines(preflight.messages([*preflight_versions.version_faults(nodes, OLDEST)]))
    assert are_lines([*preflight.inventory_faults({"k3s_servers": ["a", "b"]}, nodes)])


@settings(FREE, max_examples=50)
@given(SETTINGS)
def test_nothing_that_yaml_can_say_breaks_preflight_of_the_hosts(said: dict[str, Any]) -> None:
    assert are_lines(host_faults({"a": asked(**said), "x": asked(**said)}))


@FREE
@given(VALUES)
def test_no_setting_breaks_its_check(value: object) -> None:
    for name in CHECKED:
        assert are_lines(faults(**{name: value}))
