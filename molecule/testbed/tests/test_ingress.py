"""Ingress, Service and Endpoints objects become the configuration they should."""

from typing import Any

from launcher.ingress import State, render

Object = dict[str, Any]


def ingress(name: str, *rules: tuple[str, str, str], **spec: object) -> tuple[tuple[str, str], Object]:
    """Give an Ingress with rules of host, path and path type, all to the service of the same name."""
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    hosts = [
        {"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}
        for host, path, kind in rules
    ]
    return ("ns", name), {"metadata": {"name": name}, "spec": {"rules": hosts, **spec}}


def state(*ingresses: tuple[tuple[str, str], Object], ready: tuple[str, ...] = ("10.42.0.7",)) -> State:
    """Give a state in which the service `a` has a port 80 that leads to 8080, and a metrics port."""
    ports = [{"name": "http", "port": 80}, {"name": "metrics", "port": 9090}]
    subset = {
        "addresses": [{"ip": ip} for ip in ready],
        "notReadyAddresses": [{"ip": "10.42.0.99"}],
        "ports": [{"name": "http", "port": 8080}, {"name": "metrics", "port": 9090}],
    }
    endpoints = {"subsets": [subset] if ready else None}
    return State(dict(ingresses), {("ns", "a"): {"spec": {"ports": ports}}}, {("ns", "a"): endpoints})


def lines(text: str, word: str) -> list[str]:
    """Give the lines that begin with a word."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith(word)]


def test_a_host_leads_to_the_ready_pods_of_the_named_port() -> None:
    text = render(state(ingress("a", ("a.example.org", "/", "Prefix")), ready=("10.42.0.8", "10.42.0.7")))
    assert lines(text, "use_backend") == ["use_backend ns_a_http if { var(txn.host) -m str a.example.org }"]
    assert lines(text, "server") == ["server s0 10.42.0.7:8080", "server s1 10.42.0.8:8080"]


def test_the_most_specific_rule_comes_first() -> None:
    rules = [
        ("", "/", "Prefix"),
        ("*.example.org", "/", "Prefix"),
        ("a.example.org", "/", "Prefix"),
        ("a.example.org", "/deep/", "Prefix"),
        ("a.example.org", "/", "Exact"),
    ]
    conditions = [line.partition(" if ")[2] for line in lines(render(state(ingress("a", *rules))), "use_backend")]
    assert conditions == [
        "{ var(txn.host) -m str a.example.org } { path / }",
        "{ var(txn.host) -m str a.example.org } { var(txn.path) -m beg /deep/ }",
        "{ var(txn.host) -m str a.example.org }",
        "{ var(txn.host) -m end .example.org }",
        "",
    ]


def test_ingresses_of_another_class_are_left_alone() -> None:
    rule = ("a.example.org", "/", "Prefix")
    other = ingress("a", rule, ingressClassName="nginx")
    annotated = ingress("a", rule)
    annotated[1]["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "nginx"}
    ours = ingress("a", rule, ingressClassName="traefik")
    assert not lines(render(state(other)), "use_backend")
    assert not lines(render(state(annotated)), "use_backend")
    assert lines(render(state(ours)), "use_backend")


def test_without_ready_pods_the_backend_is_there_and_empty() -> None:
    text = render(state(ingress("a", ("a.example.org", "/", "Prefix")), ready=()))
    assert "backend ns_a_http" in text
    assert not lines(text, "server")
