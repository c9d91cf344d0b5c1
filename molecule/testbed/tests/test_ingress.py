"""Ingress, Service, Endpoints and Secret objects become the configuration they should."""

import base64
import datetime
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from launcher.ingress import POD_PORT, State, certificates, mark_of, render, write_certificates

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


def traefik(ready: str, ip: str, **metadata: str) -> Object:
    """Give a pod of Traefik on the node with this address."""
    return {"metadata": metadata, "status": {"hostIP": ip, "conditions": [{"type": "Ready", "status": ready}]}}


def test_every_node_leads_to_the_nodes_with_a_ready_pod_of_traefik() -> None:
    pods = [
        traefik("True", "192.0.2.2"),
        traefik("True", "192.0.2.1"),
        traefik("True", "192.0.2.1"),
        traefik("False", "192.0.2.3"),
        traefik("True", "192.0.2.4", deletionTimestamp="2026-11-22T12:00:00Z"),
        {"metadata": {}, "status": {"phase": "Pending"}},
    ]
    text = render(State(pods={("kube-system", str(number)): pod for number, pod in enumerate(pods)}))
    assert lines(text, "server") == [f"server t0 192.0.2.1:{POD_PORT}", f"server t1 192.0.2.2:{POD_PORT}"]


def test_nobody_answers_while_traefik_has_no_pod() -> None:
    text = render(state(ingress("a", ("a.example.org", "/", "Prefix"))))
    section = text.partition("backend traefik\n")[2].partition("\nbackend")[0]
    assert lines(section, "server") == []


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


def key_and_certificate(host: str, passphrase: bytes = b"") -> tuple[str, str]:
    """Give a new key and a certificate of it, both as PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(pem, pkcs8, encryption).decode(), certificate.public_bytes(pem).decode()


KEY, CERTIFICATE = key_and_certificate("a.example.org")


def secret(key: str = KEY, certificate: str = CERTIFICATE, namespace: str = "ns") -> dict[tuple[str, str], Object]:
    """Give the Secret `web` as it is stored."""
    data = {"tls.key": key, "tls.crt": certificate}
    return {(namespace, "web"): {"data": {name: base64.b64encode(text.encode()) for name, text in data.items()}}}


def with_tls(secrets: dict[tuple[str, str], Object], **spec: object) -> State:
    """Give a state with one Ingress that names the Secret `web`."""
    tls = [{"hosts": ["a.example.org"], "secretName": "web"}]
    return State(dict([ingress("a", ("a.example.org", "/", "Prefix"), **{"tls": tls, **spec})]), secrets=secrets)


def test_a_certificate_is_served_with_its_key() -> None:
    (served,) = certificates(with_tls(secret())).items()
    assert served == ("ns_web.pem", f"{CERTIFICATE}\n{KEY}")


def test_a_certificate_without_a_line_end_is_served_too() -> None:
    assert certificates(with_tls(secret(certificate=CERTIFICATE.rstrip())))


@pytest.mark.parametrize(
    "state",
    [
        with_tls({}),
        with_tls(secret(namespace="other")),
        with_tls({("ns", "web"): {}}),
        with_tls({("ns", "web"): {"data": {"tls.crt": base64.b64encode(CERTIFICATE.encode())}}}),
        with_tls({("ns", "web"): {"data": {"tls.crt": "A", "tls.key": "A"}}}),
        with_tls(secret(certificate="")),
        with_tls(secret(key="none")),
        with_tls(secret(key=key_and_certificate("a.example.org")[0])),
        with_tls(secret(*key_and_certificate("a.example.org", b"word"))),
        with_tls(secret(), tls=[{"hosts": ["a.example.org"]}]),
        with_tls(secret(), tls=[{"secretName": "missing"}]),
        with_tls(secret(), ingressClassName="nginx"),
    ],
    ids=[
        "no Secret", "in another namespace", "without data", "without a key", "no base64", "empty", "no key",
        "the key of another certificate", "a key with a passphrase", "none named", "another one named",
        "of an Ingress that is not ours",
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_left_out(state: State) -> None:
    good = ingress("b", ("b.example.org", "/", "Prefix"), tls=[{"secretName": "good"}])
    state.ingresses = {**state.ingresses, good[0]: good[1]}
    state.secrets = {**state.secrets, ("ns", "good"): secret()["ns", "web"]}
    assert list(certificates(state)) == ["ns_good.pem"]


def test_another_line_or_certificate_is_another_mark() -> None:
    marks = {
        mark_of("a", {}),
        mark_of("b", {}),
        mark_of("a", {"ns_web.pem": "one"}),
        mark_of("a", {"ns_web.pem": "two"}),
        mark_of("a", {"ns_other.pem": "one"}),
    }
    assert len(marks) == 5
    assert mark_of("a", {"1": "x", "2": "y"}) == mark_of("a", {"2": "y", "1": "x"})


def test_the_folder_holds_the_current_certificates_for_nobody_else_to_read(tmp_path: Path) -> None:
    write_certificates(tmp_path, {"a.pem": "one", "b.pem": "one"})
    write_certificates(tmp_path, {"a.pem": "two"})
    (file,) = tmp_path.iterdir()
    assert (file.name, file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("a.pem", "two", 0o600)
