"""What one look at a cluster shows, and what the module reads off a host for it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.greeter.fleet.plugins.filter.k3s_report import report
from ansible_collections.greeter.fleet.plugins.modules import k3s_status
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
VERSION = "v1.35.6+k3s1"
IMAGE = "localhost/greeter:1234"
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(days: int, *, authority: bool = False) -> str:
    """A certificate that expires so many days from now."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "k3s")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=KEY.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - timedelta(days=4000),
        not_valid_after=NOW + timedelta(days=days),
    ).add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.PEM).decode()


CA = certificate(3650, authority=True)
LEAF = certificate(364)
CERTIFICATES = {"server/tls/client-admin.crt": LEAF + CA, "server/tls/server-ca.crt": CA}


def node(**changes: object) -> dict[str, Any]:
    """A node that is well, as the module gives it."""
    return {
        "version": VERSION,
        "unschedulable": False,
        "control_plane": False,
        "addresses": [],
        "conditions": {"Ready": {"status": "True", "message": "kubelet is posting ready status"}},
    } | changes


def condition(kind: str, status: str, message: str) -> dict[str, Any]:
    return {"conditions": node()["conditions"] | {kind: {"status": status, "message": message}}}


class Cluster:
    """Two servers and an agent that are well, until a test changes something."""

    def __init__(self, folder: Path) -> None:
        """Put the kubeconfig into the folder."""
        self.nodes = {
            "s1": node(control_plane=True),
            "s2": node(control_plane=True),
            "a1": node(),
        }
        self.hostvars = {name: self.host(name) for name in self.nodes}
        self.kubeconfig = folder / "kubeconfig.yaml"

    def host(self, name: str) -> dict[str, Any]:
        """The variables of a host."""
        return {
            "ansible_facts": {"service_mgr": "systemd"},
            "k3s_node": {"name": name, "version": VERSION},
            "_k3s_facts": {"failed": False},
            "k3s_info": {"version": VERSION, "active": True, "enabled": True, "not_run_from": []},
            "_k3s_status": {
                "certificates": dict(CERTIFICATES),
                "ready": name.startswith("s"),
                "message": "",
                "nodes": self.nodes if name.startswith("s") else {},
                "images": [IMAGE],
                "images_needed": [IMAGE] if name.startswith("s") else [],
            },
        }

    def looks(self, name: str, **changes: object) -> None:
        """Change what was seen of a host's K3s."""
        self.hostvars[name]["k3s_info"] |= changes

    def shows(self, name: str, **changes: object) -> None:
        """Change what a host's K3s says."""
        self.hostvars[name]["_k3s_status"] |= changes

    def report(self) -> list[str]:
        """The report's lines."""
        servers, agents = (
            [name for name in self.hostvars if name.startswith("s") is is_server] for is_server in (True, False)
        )
        return report(self.hostvars, servers, agents, str(self.kubeconfig), NOW.timestamp())["lines"]

    def faults(self) -> list[str]:
        """The faults, as the report lists them."""
        lines = self.report()
        found = lines[lines.index("") + 2 :]
        assert lines[-len(found) - 1] == (f"{len(found)} faults:" if len(found) > 1 else "1 fault:")
        return found

    def row(self, name: str) -> list[str]:
        """The cells of a node's row."""
        (line,) = [line for line in self.report() if line.startswith(f"{name} ")]
        return [cell.strip() for cell in line.split("  ") if cell]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_cluster_that_is_well_is_a_table_and_a_line(cluster: Cluster) -> None:
    assert cluster.report() == [
        "NODE  ROLE    K3S   VERSION       READY  CERTIFICATES",
        "s1    server  runs  v1.35.6+k3s1  yes    until 2027-11-21, 364 days",
        "s2    server  runs  v1.35.6+k3s1  yes    until 2027-11-21, 364 days",
        "a1    agent   runs  v1.35.6+k3s1  yes    until 2027-11-21, 364 days",
        "",
        "The cluster is well: 3 of 3 nodes are Ready.",
    ]


def test_a_host_that_is_not_reached_is_a_line_and_the_others_are_told_of(cluster: Cluster) -> None:
    unreached = {"unreachable": True, "msg": "Task failed: ssh: connect to host a1\n  port 22: timed out"}
    cluster.hostvars["a1"] |= {
        "_k3s_facts": unreached,
        "k3s_info": {"skipped": True},
        "_k3s_status": {"skipped": True},
    }
    assert cluster.report() == [
        "NODE  ROLE    K3S          VERSION       READY  CERTIFICATES",
        "s1    server  runs         v1.35.6+k3s1  yes    until 2027-11-21, 364 days",
        "s2    server  runs         v1.35.6+k3s1  yes    until 2027-11-21, 364 days",
        "a1    agent   not reached  v1.35.6+k3s1  yes    ?",
        "",
        "1 fault:",
        "a1: cannot be reached (ssh: connect to host a1 port 22: timed out); see that it runs, and that Ansible gets "
        "there",
    ]


@pytest.mark.parametrize(
    ("known", "address"), [("a1.example.com", ""), ("web-9", "192.0.2.9")], ids=["by short name", "by address"]
)
def test_the_node_of_a_host_that_is_not_reached_is_found(cluster: Cluster, known: str, address: str) -> None:
    cluster.nodes["a1"]["addresses"] = ["192.0.2.9"]
    cluster.hostvars["a1"] |= {
        "_k3s_facts": {"unreachable": True, "msg": "gone"},
        "k3s_node": {"name": known, "version": VERSION},
        "ansible_host": address,
    }
    assert cluster.faults() == ["a1: cannot be reached (gone); see that it runs, and that Ansible gets there"]


def test_a_host_that_lets_nobody_look_is_a_line(cluster: Cluster) -> None:
    cluster.hostvars["a1"] |= {"_k3s_facts": {"failed": True, "msg": "Missing sudo password"}, "k3s_info": None}
    assert cluster.faults() == ["a1: cannot be looked at (Missing sudo password); preflight.yml tells what is missing"]


def test_a_node_without_an_image_that_no_registry_has_is_named(cluster: Cluster) -> None:
    cluster.shows("a1", images=["localhost/greeter:old"])
    assert cluster.faults() == [
        "a1: has no image localhost/greeter:1234, so that no pod of it can start there; run playbooks/site.yml"
    ]
    # Of one that stands still nobody can tell.
    cluster.looks("a1", active=False)
    assert [fault for fault in cluster.faults() if "image" in fault] == []


def test_a_host_that_the_run_leaves_out_is_no_fault(cluster: Cluster) -> None:
    cluster.hostvars["a1"] = {}
    assert cluster.row("a1") == ["a1", "agent", "not asked", VERSION, "yes", "?"]
    assert cluster.report()[-1] == "The cluster is well: 3 of 3 nodes are Ready."


def test_a_service_that_stands_still_is_told_once(cluster: Cluster) -> None:
    cluster.looks("a1", active=False, not_run_from=["/usr/local/bin/k3s"])
    cluster.nodes["a1"] |= condition("Ready", "Unknown", "Kubelet stopped posting node status.")
    assert cluster.row("a1") == ["a1", "agent", "stopped", VERSION, "no", "until 2027-11-21, 364 days"]
    assert cluster.faults() == [
        "a1: the service k3s-agent does not run; look at journalctl -u k3s-agent, then systemctl start k3s-agent"
    ]


def test_the_commands_are_those_of_the_hosts_service_manager(cluster: Cluster) -> None:
    cluster.hostvars["s2"]["ansible_facts"]["service_mgr"] = "openrc"
    cluster.looks("s2", active=False, enabled=False)
    cluster.shows("s2", ready=False, message="refused", certificates={"agent/client-kubelet.crt": certificate(9)})
    assert cluster.faults() == [
        "s2: the service k3s does not run; look at tail /var/log/k3s.log, then rc-service k3s start",
        "s2: the service k3s does not start with the host; rc-update add k3s default",
        "s2: has 1 certificate to expire within 30 days, agent/client-kubelet.crt on 2026-12-01; K3s renews it when "
        "it starts: rc-service k3s restart",
    ]


def test_what_k3s_does_not_run_from_yet_is_named(cluster: Cluster) -> None:
    cluster.looks("s1", not_run_from=["/etc/rancher/k3s/config.yaml", "/usr/local/bin/k3s"])
    cluster.nodes["s1"]["version"] = "v1.34.1+k3s1"
    assert cluster.faults() == [
        "s1: has not started K3s anew since a change of /etc/rancher/k3s/config.yaml, /usr/local/bin/k3s; "
        "run playbooks/k3s.yml"
    ]


def test_another_version_than_the_wanted_one_is_a_fault(cluster: Cluster) -> None:
    cluster.looks("a1", version="v1.34.1+k3s1")
    cluster.nodes["a1"]["version"] = "v1.34.1+k3s1"
    assert cluster.row("a1")[3] == "v1.34.1+k3s1"
    assert cluster.faults() == ["a1: is at v1.34.1+k3s1, k3s_version is v1.35.6+k3s1; run playbooks/site.yml"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            condition("Ready", "False", "container runtime network not ready:\ncni config uninitialized"),
            "a1: its node is not Ready (container runtime network not ready: cni config uninitialized); look at "
            "journalctl -u k3s-agent",
        ),
        (
            {"conditions": {}},
            "a1: its node is not Ready (its kubelet has not said why); look at journalctl -u k3s-agent",
        ),
        (
            condition("DiskPressure", "True", "kubelet has disk pressure"),
            "a1: its node has DiskPressure (kubelet has disk pressure); new pods stay off until that ends",
        ),
        (
            condition("EtcdIsVoter", "False", "Node is a learner"),
            "a1: is no voting member of etcd (Node is a learner); look at journalctl -u k3s-agent",
        ),
        ({"unschedulable": True}, "a1: is cordoned, no new pods go there; when they may: kubectl uncordon a1"),
    ],
    ids=["not ready", "silent", "pressure", "etcd", "cordoned"],
)
def test_what_the_api_says_of_a_node_is_told(cluster: Cluster, changes: dict[str, Any], fault: str) -> None:
    cluster.nodes["a1"] |= changes
    assert cluster.faults() == [fault]


def test_a_cordoned_node_shows_in_the_table(cluster: Cluster) -> None:
    cluster.nodes["a1"]["unschedulable"] = True
    assert cluster.row("a1")[4] == "yes, cordoned"


def test_a_node_that_is_no_host_and_a_host_that_is_no_node_are_told_apart(cluster: Cluster) -> None:
    cluster.nodes["old"] = cluster.nodes.pop("a1")
    assert cluster.row("a1") == ["a1", "agent", "runs", VERSION, "no node", "until 2027-11-21, 364 days"]
    assert cluster.row("old") == ["old", "agent", "?", VERSION, "yes", "?"]
    assert cluster.faults() == [
        "a1: is no node of the cluster, none is called a1; look at journalctl -u k3s-agent",
        "old: is a node of the cluster, but no host of the inventory; add it there, or kubectl drain old and kubectl "
        "delete node old",
    ]


def test_a_node_of_another_name_than_its_host_is_shown_with_both(cluster: Cluster) -> None:
    cluster.nodes["worker"] = cluster.nodes.pop("a1")
    cluster.hostvars["a1"]["k3s_node"]["name"] = "worker"
    assert cluster.report()[3].startswith("worker (a1)  agent ")
    assert cluster.report()[-1] == "The cluster is well: 3 of 3 nodes are Ready."


def test_any_server_that_answers_tells_of_the_nodes(cluster: Cluster) -> None:
    cluster.shows("s1", ready=False, message="failed checks: etcd", nodes={})
    assert cluster.row("a1")[4] == "yes"
    assert cluster.faults() == ["s1: its API server is not ready (failed checks: etcd); look at journalctl -u k3s"]


def test_without_any_server_that_answers_nothing_is_said_of_the_nodes(cluster: Cluster) -> None:
    for name in ("s1", "s2"):
        cluster.looks(name, active=False)
        cluster.shows(name, ready=False, message="refused", nodes={})
    assert [cluster.row(name)[2:5] for name in ("s1", "a1")] == [["stopped", VERSION, "?"], ["runs", VERSION, "?"]]
    assert cluster.faults() == [
        "s1: the service k3s does not run; look at journalctl -u k3s, then systemctl start k3s",
        "s2: the service k3s does not run; look at journalctl -u k3s, then systemctl start k3s",
        "No server tells of the nodes, so whether they are Ready is not known.",
    ]


@pytest.mark.parametrize(
    ("days", "cell"), [(30, "until 2026-12-22, 30 days"), (1, "until 2026-11-23, 1 day"), (0, "expired 2026-11-22")]
)
def test_the_first_certificate_to_expire_is_shown(cluster: Cluster, days: int, cell: str) -> None:
    cluster.shows("a1", certificates={"agent/server-ca.crt": CA, "agent/client-kubelet.crt": certificate(days)})
    assert cluster.row("a1")[5] == cell


def test_certificates_are_told_of_from_thirty_days_before_they_expire(cluster: Cluster) -> None:
    cluster.shows("s1", certificates={"server/tls/client-admin.crt": certificate(30)})
    assert cluster.report()[-1] == "The cluster is well: 3 of 3 nodes are Ready."
    authority = certificate(29, authority=True)
    cluster.shows(
        "s1",
        certificates={
            "server/tls/client-admin.crt": certificate(20) + authority,
            "server/tls/etcd/client.crt": certificate(-3),
            "server/tls/server-ca.crt": authority,
            "server/tls/serving-kube-apiserver.crt": certificate(19) + authority,
        },
    )
    assert cluster.row("s1")[5] == "expired 2026-11-19"
    assert cluster.faults() == [
        "s1: has 2 certificates to expire within 30 days, server/tls/serving-kube-apiserver.crt first, on 2026-12-11; "
        "K3s renews them when it starts: systemctl restart k3s",
        "s1: has 1 certificate expired, server/tls/etcd/client.crt on 2026-11-19; K3s renews it when it starts: "
        "systemctl restart k3s",
        "s1: has 1 certificate to expire within 30 days, server/tls/server-ca.crt on 2026-12-21; a restart does not "
        "renew a CA's: https://docs.k3s.io/cli/certificate",
    ]


@pytest.mark.parametrize("text", ["", LEAF[:200] + LEAF[300:]], ids=["nothing", "damaged"])
def test_a_certificate_that_cannot_be_read_is_named(cluster: Cluster, text: str) -> None:
    cluster.shows("a1", certificates={"agent/client-kubelet.crt": text})
    assert cluster.row("a1")[5] == "none"
    assert cluster.faults() == ["a1: agent/client-kubelet.crt holds no certificate that can be read; see what is in it"]


def test_the_controllers_kubeconfig_counts_too(cluster: Cluster) -> None:
    def write(days: int) -> None:
        data = base64.b64encode(certificate(days).encode()).decode()
        cluster.kubeconfig.write_text(yaml.safe_dump({"users": [{"user": {"client-certificate-data": data}}]}))

    for days, verb, day in ((-1, "expired", "2026-11-21"), (9, "expires", "2026-12-01")):
        write(days)
        assert cluster.faults() == [
            f"{cluster.kubeconfig}: its certificate {verb} on {day}; once K3s has renewed it, run "
            "playbooks/kubeconfig.yml"
        ]
    for text in ("users: 3\n", "", "users: [{user: {client-certificate-data: '%'}}]\n", "\t"):
        cluster.kubeconfig.write_text(text)
        assert cluster.report()[-1] == "The cluster is well: 3 of 3 nodes are Ready."


def test_hosts_without_k3s_are_one_line_and_one_of_them_is_a_fault_of_its_own(cluster: Cluster) -> None:
    bare = {"version": "", "active": False, "enabled": False, "not_run_from": []}
    cluster.looks("a1", **bare)
    cluster.shows("a1", certificates={})
    assert cluster.row("a1")[2:] == ["none", VERSION, "yes", "none"]
    assert cluster.faults() == ["a1: has no K3s; run playbooks/site.yml"]
    for name in ("s1", "s2"):
        cluster.looks(name, **bare)
    assert cluster.report() == ["No host has K3s; run playbooks/site.yml."]
    cluster.hostvars.clear()
    assert cluster.report() == ["k3s_servers and k3s_agents have no host."]


def test_the_module_reads_the_certificates_and_nothing_else(tmp_path: Path) -> None:
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    files = {
        "server/tls/client-admin.crt": f"K3s\n{LEAF}{CA}{key}",
        "server/tls/client-admin.key": key,
        "server/tls/etcd/client.crt": LEAF,
        "server/tls/temporary-certs/apiserver-loopback-client__.crt": "",
        "agent/client-kubelet.crt": LEAF,
        "agent/client-kubelet.key": key,
        "agent/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/etc/ssl/certs/ca.crt": CA,
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert k3s_status.certificates(tmp_path) == {
        "agent/client-kubelet.crt": LEAF,
        "server/tls/client-admin.crt": LEAF + CA,
        "server/tls/etcd/client.crt": LEAF,
        "server/tls/temporary-certs/apiserver-loopback-client__.crt": "",
    }
    assert k3s_status.certificates(tmp_path / "none") == {}


K3S = """#!/bin/sh
if [ "$*" = "ctr images list --quiet" ]; then
  printf "localhost/greeter:1\\ndocker.io/rancher/pause:3\\nsha256:12ab\\n"; exit
fi
[ "$1 $2 $3" = "kubectl --request-timeout=10s get" ] || exit 9
{answers}
"""
NODES = {
    "items": [
        {
            "metadata": {"name": "s1", "labels": {"node-role.kubernetes.io/control-plane": "true"}},
            "spec": {"unschedulable": True},
            "status": {
                "nodeInfo": {"kubeletVersion": VERSION},
                "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                "images": [{"names": ["greeter"]}],
            },
        }
    ]
}
KNOWN = {
    "s1": {
        "version": VERSION,
        "unschedulable": True,
        "control_plane": True,
        "addresses": ["192.0.2.1"],
        "conditions": {"Ready": {"status": "True", "message": ""}},
    }
}
LOCAL = ["localhost/greeter:1"]
NOTHING = {"certificates": {}, "ready": False, "message": "", "nodes": {}, "images": LOCAL, "images_needed": []}
FAILED = 'Error from server (InternalError): an error on the server ("[+]ping ok\n[-]etcd failed: reason withheld") has'
REFUSED = "warning: none\nThe connection to the server 127.0.0.1:6443 was refused"


@pytest.mark.parametrize(
    ("readyz", "said", "expected"),
    [
        ("echo ok", "", {"ready": True, "message": "", "nodes": KNOWN, "images_needed": LOCAL}),
        ("fail", FAILED, {"ready": False, "message": "failed checks: etcd", "nodes": KNOWN, "images_needed": LOCAL}),
        (
            "fail",
            REFUSED,
            {"ready": False, "message": "The connection to the server 127.0.0.1:6443 was refused", "nodes": {}},
        ),
    ],
    ids=["ready", "not ready", "refused"],
)
def test_the_module_asks_the_servers_own_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readyz: str, said: str, expected: dict[str, Any]
) -> None:
    (tmp_path / "nodes").write_text(json.dumps(NODES))
    (tmp_path / "said").write_text(said)
    answers = f"""fail() {{ cat {tmp_path}/said >&2; exit 1; }}
case "$4" in
--raw=/readyz?verbose) {readyz};;
--raw=/api/v1/nodes) cat {tmp_path}/nodes;;
deployments)
  [ "$6" = --selector=app.kubernetes.io/name=greeter ] && echo localhost/greeter:1 r.io/g:2 localhost/greeter:1;;
esac"""
    binary = tmp_path / "k3s"
    binary.write_text(K3S.format(answers=answers))
    binary.chmod(0o700)
    monkeypatch.setattr(k3s_status, "BINARY", binary)
    monkeypatch.setattr(k3s_status, "FOLDER", tmp_path)
    assert k3s_status.status(server=True) == NOTHING | expected
    assert k3s_status.status(server=False) == NOTHING
