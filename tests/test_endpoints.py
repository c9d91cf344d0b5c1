"""Where the customers' hosts are called: asked of the cluster, here of one that only answers what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from ansible_collections.greeter.fleet.plugins.filter.endpoints import published, targets

from .conftest import Run

Resource = dict[str, Any]


def node(name: str, *addresses: str) -> Resource:
    return {"metadata": {"name": name}, "status": {"addresses": [{"address": each} for each in (*addresses, name)]}}


def balanced(*addresses: str, **spec: Any) -> Resource:  # noqa: ANN401
    """A Service or an Ingress that has got these addresses."""
    ingress = [{"ip" if each[0].isdecimal() else "hostname": each} for each in addresses]
    return {"spec": spec, "status": {"loadBalancer": {"ingress": ingress} if ingress else {}}}


NODES = [node("one", "10.0.0.1", "192.0.2.1"), node("two", "10.0.0.2"), node("three.example.com", "10.0.0.3")]
HOSTS: dict[str, dict[str, Any]] = {
    "one": {"ansible_host": "192.0.2.1"},
    "second": {"ansible_host": "second.example.com", "k3s_node_config": {"node-name": "two"}},
    "three": {"ansible_host": "10.0.0.3", "endpoints_address": "127.0.0.3", "endpoints_port": "8080"},
}
ONE = {"address": "192.0.2.1", "http": 80, "https": 443}
TWO = {"address": "second.example.com", "http": 80, "https": 443}
THREE = {"address": "127.0.0.3", "http": 8080, "https": 443}
PORTS = [{"port": 80, "nodePort": 30080}, {"port": 443, "nodePort": 30443}, {"port": 9100}]


def cluster_of(addresses: list[str], *services: Resource) -> Resource:
    """What a cluster of these nodes has answered."""
    return {"addresses": addresses, "nodes": NODES, "services": list(services)}


def test_addresses_are_read_from_services_and_ingresses() -> None:
    assert published([balanced("10.0.0.1", "lb.example.com"), balanced(), balanced("10.0.0.1"), {}]) == [
        "10.0.0.1", "lb.example.com",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("run", "addresses", "called"),
    [
        # Where ServiceLB serves, by each of the ways in which a host is known to be a node.
        (["one", "second", "three"], ["10.0.0.1", "10.0.0.2", "10.0.0.3"], [ONE, TWO, THREE]),
        (["one", "second", "three"], ["192.0.2.1"], [ONE]),
        (["one", "second", "three"], ["10.0.0.2", "10.0.0.3"], [TWO, THREE]),
        # --limit leaves hosts out, dead ones perhaps.
        (["one"], ["10.0.0.1", "10.0.0.2"], [ONE]),
        # The one host of the run repels the ingress.
        (["one"], ["10.0.0.2", "10.0.0.3"], [TWO, THREE]),
        (["one", "second"], [], [ONE, TWO]),
        # A load balancer's own.
        (["one", "second"], ["198.51.100.7"], [{"address": "198.51.100.7", "http": 80, "https": 443}]),
        # Somebody has said how nodes are reached.
        (["three"], ["198.51.100.7"], [THREE]),
    ],
)
def test_the_nodes_that_serve_are_called(run: list[str], addresses: list[str], called: list[Resource]) -> None:
    assert targets(HOSTS, run, list(HOSTS), cluster_of(addresses)) == called


def test_a_host_that_is_no_known_node_hides_nobody() -> None:
    assert targets({"x": {}, "y": {}}, ["x", "y"], ["x", "y"], cluster_of(["10.0.0.1"])) == [
        {"address": "x", "http": 80, "https": 443}, {"address": "y", "http": 80, "https": 443},
    ]  # fmt: skip


def test_without_a_load_balancer_the_services_own_ports_on_nodes_are_called() -> None:
    assert targets(HOSTS, ["one", "three"], [], cluster_of([], balanced(ports=PORTS))) == [
        {"address": "192.0.2.1", "http": 30080, "https": 30443},
        {"address": "127.0.0.3", "http": 8080, "https": 30443},
    ]


# What follows is the role itself, against an API server and an ingress of one small HTTP server.
KINDS = {
    "/api/v1": [("services", "Service", True), ("nodes", "Node", False)],
    "/apis/helm.cattle.io/v1": [("helmcharts", "HelmChart", True)],
    "/apis/networking.k8s.io/v1": [("ingresses", "Ingress", True)],
}
GROUPS = [path.split("/")[2] for path in KINDS if path.startswith("/apis/")]
SERVICES = "/api/v1/services"
CHART = "/apis/helm.cattle.io/v1/namespaces/kube-system/helmcharts/traefik"
INGRESS = "/apis/networking.k8s.io/v1/namespaces/customer-a/ingresses/greeter"
BODY = b'{"response":"Hi!"}'


@dataclass
class Cluster:
    """Path → the answers to give one after the other, the last one ever after. The ingress serves on one address."""

    answers: dict[str, list[Resource]] = field(default_factory=dict)
    port: int = 0
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> Resource | None:
        """What the API says to a GET; None for 404."""
        self.asked.append(path)
        if path == "/version":
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = [{"name": name, "versions": [{"groupVersion": f"{name}/v1", "version": "v1"}]} for name in GROUPS]
            return {
                "kind": "APIGroupList",
                "groups": [{**each, "preferredVersion": each["versions"][0]} for each in groups],
            }
        if path in KINDS:
            return {
                "kind": "APIResourceList",
                "groupVersion": path.removeprefix("/apis/").removeprefix("/api/"),
                "resources": [
                    {
                        "name": name,
                        "kind": kind,
                        "singularName": kind.lower(),
                        "namespaced": spaced,
                        "verbs": ["get", "list"],
                    }
                    for name, kind, spaced in KINDS[path]
                ],
            }
        given = self.answers.get(path)
        return (given.pop(0) if len(given) > 1 else given[0]) if given else None


def listed(kind: str, *items: Resource) -> Resource:
    return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": list(items)}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = BODY if self.path == "/" else None
            if body is None and (answer := found.answer(self.path.split("?")[0])):
                body = json.dumps(answer).encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def verify(
    ansible: Run, folder: Path, cluster: Cluster, groups: Resource, timeout: int = 60, **settings: object
) -> CompletedProcess[str]:
    """Run verify.yml for one customer."""
    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{cluster.port}"}}],
        "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    variables = {
        "customers": {"a": {"greeting": "Hi!"}},
        "customers_kubeconfig": str(folder / "kubeconfig"),
        "endpoints_timeout": timeout,
        "endpoints_report": str(folder / "report"),
        **settings,
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({**groups, "all": {"vars": variables}}))
    return ansible("ansible-playbook", "playbooks/verify.yml", "-i", str(folder / "hosts.yml"))


def k3s(**servers: Resource) -> Resource:
    """The groups of a cluster of K3s."""
    return {"k3s_cluster": {"children": {"k3s_servers": {"hosts": servers}, "k3s_agents": None}}}


def called(folder: Path) -> list[str]:
    """What the report says can be called."""
    return [line for line in (folder / "report").read_text().splitlines() if line.startswith("curl")]


def test_a_node_that_repels_the_ingress_is_not_called(ansible: Run, tmp_path: Path, cluster: Cluster) -> None:
    # A cluster so new that its ingress controller's Service is still on its way.
    ports = [{"port": 80, "nodePort": 30080}]
    cluster.answers = {
        CHART: [{"kind": "HelmChart", "apiVersion": "helm.cattle.io/v1", "metadata": {"name": "traefik"}}],
        SERVICES: [
            listed("Service"),
            listed("Service", balanced(type="LoadBalancer", ports=ports)),
            listed("Service", balanced("10.0.0.1", type="LoadBalancer", ports=ports)),
        ],
        "/api/v1/nodes": [listed("Node", node("one", "10.0.0.1"), node("two", "10.0.0.2"))],
    }
    hosts = k3s(
        one={"ansible_host": "127.0.0.1", "endpoints_port": cluster.port},
        two={"ansible_host": "127.0.0.2", "endpoints_port": cluster.port},
    )
    done = verify(ansible, tmp_path, cluster, hosts)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = called(tmp_path)
    assert f":{cluster.port}:127.0.0.1 " in line
    assert cluster.asked.count(SERVICES) == 3


def test_without_servicelb_the_ingress_is_called_at_its_own_port(
    ansible: Run, tmp_path: Path, cluster: Cluster
) -> None:
    service = balanced(type="LoadBalancer", ports=[{"port": 80, "nodePort": cluster.port}])
    cluster.answers = {
        CHART: [{"kind": "HelmChart", "apiVersion": "helm.cattle.io/v1", "metadata": {"name": "traefik"}}],
        SERVICES: [listed("Service", service)],
    }
    config = {"disable": ["servicelb"]}
    done = verify(ansible, tmp_path, cluster, k3s(one={"ansible_host": "127.0.0.1"}), k3s_server_config=config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(called(tmp_path)) == 1


def test_an_ingress_that_serves_nowhere_is_told(ansible: Run, tmp_path: Path, cluster: Cluster) -> None:
    cluster.answers = {
        CHART: [{"kind": "HelmChart", "apiVersion": "helm.cattle.io/v1", "metadata": {"name": "traefik"}}],
        SERVICES: [listed("Service", balanced(type="LoadBalancer"))],
    }
    done = verify(ansible, tmp_path, cluster, k3s(one={}, two={}), timeout=2)
    assert done.returncode != 0
    assert "The ingress serves on no node: within 2 s its Service has got no address." in done.stdout


EXISTING = {"kubernetes": {"hosts": {"mine": {"customers_ingress_class": "nginx", "customers_ingress_from": []}}}}


def test_a_kubernetes_that_is_there_is_called_where_its_ingresses_say(
    ansible: Run, tmp_path: Path, cluster: Cluster
) -> None:
    ingress = {"kind": "Ingress", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": "greeter"}}
    cluster.answers = {INGRESS: [ingress, ingress | balanced("127.0.0.1")]}
    done = verify(ansible, tmp_path, cluster, EXISTING, endpoints_port=cluster.port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(called(tmp_path)) == 1


def test_where_it_says_nothing_the_address_is_asked_for_and_taken(
    ansible: Run, tmp_path: Path, cluster: Cluster
) -> None:
    ingress = {"kind": "Ingress", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": "greeter"}}
    cluster.answers = {INGRESS: [ingress]}
    done = verify(ansible, tmp_path, cluster, EXISTING, timeout=2, endpoints_port=cluster.port)
    assert done.returncode != 0
    assert (
        "Where the ingress serves is not known: the Ingress of customer a has got no address within 2 s." in done.stdout
    )
    assert "ingress class nginx, or set endpoints_address, and endpoints_port if it is not 80, for mine." in " ".join(
        done.stdout.split()
    )
    address = {"endpoints_port": cluster.port, "endpoints_address": "127.0.0.1"}
    done = verify(ansible, tmp_path, cluster, EXISTING, timeout=2, **address)
    assert done.returncode == 0, done.stdout + done.stderr
