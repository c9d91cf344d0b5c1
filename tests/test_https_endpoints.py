"""The module that calls the customers' hosts, and the role around it, against a real TLS server."""

from __future__ import annotations

import datetime
import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.modules import http_endpoints
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .conftest import Run

HI = '{"response":"Hi!"}'
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """The certificate as text."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def context(self, folder: Path) -> ssl.SSLContext:
        """Settings of a server that shows this certificate."""
        file = folder / f"{self.fingerprint}.pem"
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        file.write_text(self.pem + self.key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def pair(name: str, *hosts: str, issuer: Pair | None = None, begin: datetime.datetime = NOW - DAY) -> Pair:
    """A certificate for hosts that is valid for two days; without hosts one that may sign others."""
    key = ec.generate_private_key(ec.SECP256R1())
    organization = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Greeters")
    subject = x509.Name([organization, x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer = issuer.certificate.subject if issuer else subject
    builder = x509.CertificateBuilder(signer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(begin).not_valid_after(begin + 2 * DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
    if hosts:
        names = [*map(x509.DNSName, hosts), x509.IPAddress(ip_address("192.0.2.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Pair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


AUTHORITY, STRANGER = pair("authority"), pair("stranger")
OWN = pair("own", "own.example.com")
SERVED = {
    "own.example.com": OWN,
    "signed.example.com": pair("signed", "signed.example.com", issuer=AUTHORITY),
    "strange.example.com": pair("strange", "strange.example.com", issuer=STRANGER),
    "old.example.com": pair("old", "old.example.com", issuer=AUTHORITY, begin=NOW - 9 * DAY),
}
DEFAULT = pair("default", "default.example.com", "*.default.example.com", issuer=AUTHORITY)


class Ingress(BaseHTTPRequestHandler):
    """Answers every request for a known host with the same greeting, and counts them."""

    requests = 0

    def do_GET(self) -> None:
        """Answer one request."""
        Ingress.requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(HI)))
        self.end_headers()
        self.wfile.write(HI.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Shows the certificate of ``served`` for the name that the client asks for, or the default one."""

    request_queue_size = 128

    def __init__(self, folder: Path, address: str) -> None:
        """Listen on a free port."""
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 0), Ingress)
        self.address, self.port = address, int(self.server_address[1])
        self.served = {name: each.context(folder) for name, each in SERVED.items()}
        context = DEFAULT.context(folder)
        context.sni_callback = self._choose
        # The handshake is a matter of the connection's own thread.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self.served.get(name or "", connection.context)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that did not like the certificate."""

    @property
    def where(self) -> str:
        """Address and port in one word."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@pytest.fixture(scope="module", params=["127.0.0.1", "::1"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), request.param) as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the one CA to trust."""
    file = tmp_path_factory.mktemp("authority") / "ca.crt"
    file.write_text(AUTHORITY.pem)
    return str(file)


def watch(server: Server, host: str, certificate: str = "", ca_file: str = "", seconds: float = 0) -> dict[str, Any]:
    """What became of a call over https."""
    asked = {
        "host": host,
        "address": server.address,
        "port": server.port,
        "scheme": "https",
        "body": HI,
        "location": None,
        "certificate": certificate,
    }
    return http_endpoints.watch(http_endpoints.prepare(asked), time.monotonic() + seconds, ca_file)


def test_the_declared_certificate_needs_no_ca(server: Server) -> None:
    seen = watch(server, "own.example.com", OWN.pem)
    assert (seen["status"], seen["answer"], seen["error"]) == (200, HI, "")
    assert seen["fingerprint"] == OWN.fingerprint
    assert http_endpoints.as_expected(seen)


def test_of_a_declared_chain_the_first_certificate_is_the_one(server: Server) -> None:
    chain = ["Bag attributes\n", SERVED["signed.example.com"].pem, AUTHORITY.pem]
    assert http_endpoints.as_expected(watch(server, "signed.example.com", "".join(chain)))
    assert not http_endpoints.as_expected(watch(server, "signed.example.com", "".join(reversed(chain))))


def test_a_certificate_of_the_same_name_is_not_the_declared_one(server: Server) -> None:
    assert not http_endpoints.as_expected(watch(server, "own.example.com", pair("own", "own.example.com").pem))


def test_the_default_certificate_is_a_fault_that_names_it_and_nothing_is_sent(server: Server, ca_file: str) -> None:
    before = Ingress.requests
    seen = watch(server, "new.example.com", OWN.pem, ca_file)
    assert not http_endpoints.as_expected(seen)
    assert http_endpoints.fault(seen) == (
        f"- https://new.example.com through {server.where}: expected 200 {HI!r}, "
        f"got not the declared certificate (SHA-256 {OWN.fingerprint}): it is that of 'CN=default,O=Greeters' "
        f"for 'default.example.com, *.default.example.com, 192.0.2.1', SHA-256 {DEFAULT.fingerprint}"
    )
    assert Ingress.requests == before


def test_the_right_certificate_with_another_body_is_a_fault(server: Server) -> None:
    seen = watch(server, "own.example.com", OWN.pem) | {"body": "Hi!"}
    assert not http_endpoints.as_expected(seen)
    assert f"expected 200 'Hi!', got 200 {HI!r}" in http_endpoints.fault(seen)


def test_a_certificate_of_a_trusted_ca(server: Server, ca_file: str) -> None:
    assert http_endpoints.as_expected(watch(server, "signed.example.com", ca_file=ca_file))


@pytest.mark.parametrize(
    ("host", "reason", "subject"),
    [
        ("strange.example.com", "unable to get local issuer certificate", "CN=strange"),
        ("own.example.com", "self-signed certificate", "CN=own"),
        ("old.example.com", "certificate has expired", "CN=old"),
        ("new.example.com", "Hostname mismatch, certificate is not valid for 'new.example.com'", "CN=default"),
    ],
)
def test_a_certificate_that_cannot_be_trusted_is_a_fault_that_names_it(
    server: Server, ca_file: str, host: str, reason: str, subject: str
) -> None:
    before = Ingress.requests
    seen = watch(server, host, ca_file=ca_file)
    assert not http_endpoints.as_expected(seen)
    assert f"got {reason}: it is that of '{subject},O=Greeters' for '" in http_endpoints.fault(seen)
    assert Ingress.requests == before


def test_the_systems_cas_are_trusted_and_no_others(
    server: Server, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    http_endpoints.trusted_cas.cache_clear()
    assert not http_endpoints.as_expected(watch(server, "signed.example.com"))
    http_endpoints.trusted_cas.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    assert http_endpoints.as_expected(watch(server, "signed.example.com"))
    http_endpoints.trusted_cas.cache_clear()


def test_a_certificate_that_comes_later_is_waited_for(server: Server, tmp_path: Path) -> None:
    later = pair("later", "later.example.com").context(tmp_path)
    threading.Timer(1, lambda: server.served.update({"late.example.com": OWN.context(tmp_path)})).start()
    server.served["late.example.com"] = later
    assert http_endpoints.as_expected(watch(server, "late.example.com", OWN.pem, seconds=20))


def test_plain_http_on_the_other_side_is_a_fault(ca_file: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Ingress) as plain:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        asked = {"host": "a", "address": "127.0.0.1", "port": plain.server_address[1], "scheme": "https", "body": HI}
        wanted = http_endpoints.prepare(asked | {"location": None, "certificate": OWN.pem})
        seen = http_endpoints.watch(wanted, time.monotonic(), ca_file)
        plain.shutdown()
    assert not http_endpoints.as_expected(seen)
    assert "SSL" in http_endpoints.fault(seen)


@pytest.mark.parametrize("certificate", [b"", b"0", b"0\x03abc", b"0\x82\xff"])
def test_a_certificate_without_a_readable_name_is_told_by_its_fingerprint(certificate: bytes) -> None:
    said = f"it is that of somebody whose name cannot be read, SHA-256 {hashlib.sha256(certificate).hexdigest()}"
    assert http_endpoints.describe(certificate) == said


def verify(ansible: Run, server: Server, folder: Path, **settings: object) -> tuple[str, list[str]]:
    """Run playbooks/verify.yml; what it said, and the lines of the report."""
    node = {"endpoints_address": server.address, "endpoints_tls_port": server.port, "endpoints_port": 1}
    inventory = folder / "hosts.yml"
    inventory.write_text(json.dumps({"k3s_cluster": {"hosts": {"node": node}}}))
    report = folder / "report.txt"
    extra = {"endpoints_report": str(report), "endpoints_timeout": 0, "customers_domain": "example.com"} | settings
    done = ansible("ansible-playbook", "-i", str(inventory), "playbooks/verify.yml", "-e", json.dumps(extra))
    return done.stdout + done.stderr, report.read_text().splitlines() if report.exists() else []


def test_the_role_asks_for_each_customers_certificate(
    ansible: Run, server: Server, ca_file: str, tmp_path: Path
) -> None:
    certificate = tmp_path / "own.crt"
    certificate.write_text(OWN.pem)
    customers = {
        "file": {"greeting": "Hi!", "host": "own.example.com", "tls": {"certificate": str(certificate), "key": "k"}},
        "issued": {"greeting": "Hi!", "host": "signed.example.com", "tls": {"cluster_issuer": "any"}},
        "gone": {"state": "absent"},
    }
    said, report = verify(ansible, server, tmp_path, customers=customers, endpoints_ca_file=ca_file)
    assert "failed=0" in said, said
    table, commands = report[1 : report.index("")], report[report.index("Try them:") + 1 :]
    port, address = server.port, server.where.rpartition(":")[0]
    urls = [f"https://own.example.com:{port}/", f"https://signed.example.com:{port}/"]
    assert [line.split(maxsplit=1) for line in table] == [[url, f"200 {HI}"] for url in urls]
    assert commands == [
        f"curl --insecure --resolve own.example.com:{port}:{address} {urls[0]}",
        f"curl --cacert {ca_file} --resolve signed.example.com:{port}:{address} {urls[1]}",
    ]


def test_the_role_tells_of_wrong_certificates_and_missing_redirects(
    ansible: Run, server: Server, tmp_path: Path
) -> None:
    tls = {"certificate": OWN.pem, "key": "a secret key", "redirect": True}
    customers = {"a": {"greeting": "Hi!", "hosts": ["own.example.com", "new.example.com"], "tls": tls}}
    said, _ = verify(ansible, server, tmp_path, customers=customers)
    assert "3 of 4 endpoints did not answer as expected" in said
    assert f"https://new.example.com through {server.where}: expected 200" in said
    assert "expected a redirect to https://own.example.com, got " in said
    assert "expected a redirect to https://new.example.com, got " in said
    assert "a secret key" not in said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"tls": {"certificate": "-----BEGIN NOTHING", "key": "k"}},
            "a.example.com: what was given as its certificate",
        ),
        ({"tls": {"secret": "x"}}, "ca_file /does/not/exist: "),
    ],
)
def test_settings_that_cannot_be_used_are_told(
    ansible: Run, server: Server, tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    customers = {"a": {"greeting": "Hi!", "host": "a.example.com"} | settings}
    told, _ = verify(ansible, server, tmp_path, customers=customers, endpoints_ca_file="/does/not/exist")
    assert f"Module failed: {said}" in told
