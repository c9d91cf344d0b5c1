"""Which K3s is left to whoever has put it there, and which changes no cluster and no node lives through."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.filter.k3s_refusals import refusals

from .test_preflight_hosts import asked, faults

VERSION = "v1.36.4+k3s1"
NOTHING: dict[str, Any] = {"foreign": [], "settings": {}, "state": "", "node_name": ""}
FOREIGN = ["/etc/systemd/system/k3s.service", "/etc/rancher/k3s/config.yaml"]


def refused(found: dict[str, Any], role: str = "server", **variables: object) -> list[str]:
    """What the role says, which is what preflight says."""
    variables = {"k3s_version": VERSION} | variables
    found = NOTHING | found
    said = refusals(variables, role, {"found": found, "version": VERSION}, "web-1")
    host = asked({"k3s": found, "version": VERSION}, {"nodename": "web-1"}, **variables)
    assert faults({"a": host}, agents="a" if role == "agent" else "x") == [f"host a: {fault}" for fault in said]
    return said


def test_a_k3s_of_somebody_else_is_named_with_its_files() -> None:
    assert refused({"foreign": FOREIGN}) == [
        f"has a K3s that this project has not put there ({', '.join(FOREIGN)}); take the host out of the inventory,"
        " or set k3s_adopt: true, which keeps a copy of its files on the host and takes it over"
    ]
    for no in (False, "false", "no", ""):
        assert refused({"foreign": FOREIGN}, k3s_adopt=no)
    for yes in (True, "true", "yes"):
        assert refused({"foreign": FOREIGN}, k3s_adopt=yes) == []


def test_a_binary_alone_is_nobodys_k3s_if_it_is_the_wanted_one() -> None:
    binary = {"foreign": ["/usr/local/bin/k3s"]}
    assert refused(binary) == []
    assert refused(binary, k3s_version="v1.36.5+k3s1")


def cluster(state: str = "sqlite", **settings: object) -> dict[str, Any]:
    """A server of a cluster that runs with these flags."""
    return {"state": state, "settings": {name.replace("_", "-"): value for name, value in settings.items()}}


@pytest.mark.parametrize(
    ("found", "flags"),
    [
        (cluster(secrets_encryption=True), {}),
        (cluster(), {}),
        (cluster(secrets_encryption=False), {"secrets-encryption": False}),
        (cluster(secrets_encryption=True), {"secrets-encryption": "true"}),
        (cluster(), {"cluster-cidr": "10.42.0.0/16", "cluster-domain": "cluster.local", "flannel-backend": "vxlan"}),
        (cluster(cluster_cidr="fd00:42::/56"), {}),
        (cluster(cluster_cidr=["10.1.0.0/16", "fd01::/56"]), {"cluster-cidr": "10.1.0.0/16, fd01:0::/56"}),
        (cluster(), {"cluster-dns": "10.43.0.10"}),
        (cluster(cluster_dns="10.9.0.10", service_cidr="10.9.0.0/16"), {"service-cidr": ["10.9.0.0/16"]}),
        # What a cluster lives through.
        (cluster(disable=["traefik"]), {"disable": ["servicelb"], "kubelet-arg": ["max-pods=90"]}),
        (cluster("etcd", node_ip="192.0.2.1"), {"node-ip": "192.0.2.1,2001:db8::1"}),
        (cluster(node_ip="192.0.2.1"), {"node-ip": "192.0.2.2"}),
        # No cluster is here yet.
        ({"settings": {"cluster-cidr": "10.1.0.0/16"}}, {}),
    ],
)
def test_what_stays_as_it_is_is_no_change(found: dict[str, Any], flags: dict[str, Any]) -> None:
    assert refused(found, k3s_server_config=flags) == []


LIES = "and the state of the cluster that runs here lies in"
NEVER = "which K3s cannot change later; write"
NEW = "or uninstall it, and make a new cluster"


@pytest.mark.parametrize(
    ("found", "flags", "fault"),
    [
        (
            cluster(secrets_encryption=True),
            {"secrets-encryption": False},
            "k3s_server_config.secrets-encryption: is false, and the cluster that runs here has true,"
            f" {NEVER} true, or do by hand what https://docs.k3s.io/cli/secrets-encrypt says",
        ),
        (
            cluster(),
            {"secrets-encryption": True},
            "k3s_server_config.secrets-encryption: is true, and the cluster that runs here has false,"
            f" {NEVER} false, or do by hand what https://docs.k3s.io/cli/secrets-encrypt says",
        ),
        (
            cluster(),
            {"cluster-cidr": "10.1.0.0/16"},
            "k3s_server_config.cluster-cidr: is 10.1.0.0/16, and the cluster that runs here has 10.42.0.0/16,"
            f" {NEVER} 10.42.0.0/16, {NEW}",
        ),
        (
            cluster(cluster_cidr="10.42.0.0/16"),
            {"cluster-cidr": "10.42.0.0/16,fd42::/56"},
            "k3s_server_config.cluster-cidr: is 10.42.0.0/16,fd42::/56, and the cluster that runs here has"
            f" 10.42.0.0/16, {NEVER} 10.42.0.0/16, {NEW}",
        ),
        (
            cluster(cluster_domain="fleet.example"),
            {},
            "k3s_server_config.cluster-domain: is not set, and the cluster that runs here has fleet.example,"
            f" {NEVER} fleet.example, {NEW}",
        ),
        (
            cluster(),
            {"cluster-dns": "10.43.0.53"},
            "k3s_server_config.cluster-dns: is 10.43.0.53, and the cluster that runs here has 10.43.0.10,"
            f" {NEVER} 10.43.0.10, {NEW}",
        ),
        (
            cluster(flannel_backend="vxlan"),
            {"flannel-backend": "wireguard-native"},
            "k3s_server_config.flannel-backend: is wireguard-native, and the cluster that runs here has vxlan,"
            f" {NEVER} vxlan, or change it on all servers by hand and boot every node again:"
            " https://docs.k3s.io/networking/basic-network-options",
        ),
        (
            cluster("etcd", node_ip="192.0.2.1"),
            {"node-ip": "192.0.2.2"},
            "k3s_node_config.node-ip: is 192.0.2.2, and etcd knows this server by 192.0.2.1; write that, or take"
            " the server off the cluster first (playbooks/uninstall.yml with --limit), to join it anew",
        ),
        (
            {"settings": {"data-dir": "/srv/k3s"}},
            {},
            "has a K3s with data-dir /srv/k3s, and this project runs it with /var/lib/rancher/k3s; move it there first,"
            " or take the host out of the inventory",
        ),
    ],
)
def test_a_change_that_a_cluster_cannot_live_through_is_named(
    found: dict[str, Any], flags: dict[str, Any], fault: str
) -> None:
    assert refused(found, k3s_server_config=flags) == [fault]
    # What a restore puts in its place is another cluster.
    assert refused(found, k3s_server_config=flags, k3s_restore_from="/backup.tar.gz") == []


def test_a_service_cidr_takes_dns_with_it() -> None:
    assert len(refused(cluster(), k3s_config={"service-cidr": "10.9.0.0/16"})) == 2
    (fault,) = refused(cluster(), k3s_config={"service-cidr": "10.9.0.0/16", "cluster-dns": "10.43.0.10"})
    assert fault.startswith("k3s_config.service-cidr: is 10.9.0.0/16")


@pytest.mark.parametrize("role", ["server", "agent"])
def test_a_node_keeps_its_name(role: str) -> None:
    node = {"node_name": "web-9"}
    (fault,) = refused(node, role)
    assert fault == (
        "is the node web-9 of its cluster, and would be web-1; write node-name: web-9 into its k3s_node_config,"
        " or take it off the cluster first (playbooks/uninstall.yml with --limit), to join it anew"
    )
    assert refused(node, role, k3s_node_config={"node-name": "Web-9"}) == []
    assert refused({"node_name": "web-1"}, role) == []
    assert refused({"node_name": "web-1"}, role, k3s_node_config={"node-name": "other"})
    assert refused({"node_name": "web-1-1a2b3c4d"}, role, k3s_node_config={"with-node-id": True}) == []


@pytest.mark.parametrize(
    ("found", "endpoint", "fault"),
    [
        (cluster("elsewhere", datastore="postgres db/k3s"), "postgres://new:login@db/k3s?sslmode=require", None),
        (cluster("elsewhere", datastore="etcd a:2379,b:2379"), "https://b:2379,https://c:2379", None),
        (cluster("elsewhere"), "postgres://u:p@db/k3s", None),
        (cluster("etcd"), "", None),
        (cluster("sqlite"), "postgres://u:hunter2@db/k3s", f"leads to postgres db/k3s, {LIES} SQLite"),
        (cluster("etcd"), "postgres://u:hunter2@db/k3s", f"leads to postgres db/k3s, {LIES} embedded etcd"),
        (cluster("elsewhere", datastore="postgres db/k3s"), "", f"leads to no datastore, {LIES} postgres db/k3s"),
        (
            cluster("elsewhere", datastore="postgres db/k3s"),
            "postgres://u:hunter2@db2/k3s",
            "leads to postgres db2/k3s, and",
        ),
        (cluster("elsewhere", datastore="etcd a:2379"), "https://b:2379", "leads to etcd b:2379, and"),
    ],
)
def test_a_cluster_stays_at_its_datastore(found: dict[str, Any], endpoint: str, fault: str | None) -> None:
    said = refused(found, k3s_datastore_endpoint=endpoint)
    assert len(said) == (fault is not None)
    assert fault is None or said[0].startswith(f"k3s_datastore_endpoint: {fault}")
    assert "hunter2" not in str(said)
