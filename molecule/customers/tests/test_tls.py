"""A customer's own certificate: served, renewed, taken back, and its key never shown."""

from __future__ import annotations

import base64
import datetime
import json
import socket
import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet import changed, wait_until

from .conftest import STANDING, Story, plan_lines

HOST = "customer-a.parcellab.com"
TLS_PORT = 8443


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


def pair(host: str = HOST) -> Pair:
    """A self-signed certificate of one day for the host."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode(),
    )


def served(story: Story) -> str:
    """The certificate that the ingress shows for the host, as PEM."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((story.fleet.address, TLS_PORT), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as encrypted,
    ):
        certificate = encrypted.getpeercert(binary_form=True)
    assert certificate is not None
    return ssl.DER_cert_to_PEM_cert(certificate)


def wait_for_certificate(story: Story, wanted: Pair) -> None:
    """Wait until the certificate is served: the ingress may need a moment."""
    wait_until(lambda: served(story) == wanted.certificate, "the certificate is not served")


def test_a_certificate_is_served_renewed_and_taken_back(story: Story) -> None:
    first, second = pair(), pair()
    pods = story.pods()
    story.declare(**STANDING | {"a": STANDING["a"] | {"tls": {"certificate": first.certificate, "key": first.key}}})
    assert story.plan() == ["~ changed     a: TLS, TLS certificate", "= unchanged   2 of 3"]
    story.converge()
    wait_for_certificate(story, first)
    # The endpoints are called over HTTPS, and the very certificate must come back.
    verified = story.fleet.play("verify.yml", *story.arguments())
    assert verified.returncode == 0, verified.stdout

    story.declare(**STANDING | {"a": STANDING["a"] | {"tls": {"certificate": second.certificate, "key": second.key}}})
    assert story.plan() == ["~ changed     a: TLS certificate", "= unchanged   2 of 3"]
    story.converge()
    wait_for_certificate(story, second)

    story.declare(**STANDING)
    story.converge()
    assert (
        story.fleet.objects("secrets", "--namespace=customer-a", "--selector=app.kubernetes.io/name=greeter")["items"]
        == []
    )
    assert story.pods() == pods


def test_a_key_is_in_no_output_and_no_annotation(story: Story) -> None:
    own = pair()
    story.declare(**STANDING | {"a": STANDING["a"] | {"tls": {"certificate": own.certificate, "key": own.key}}})
    loud = ["-vvv", "--diff"]
    said = [
        story.fleet.play("customers.yml", *story.arguments(), *loud, "--check"),
        story.fleet.play("customers.yml", *story.arguments(), *loud),
    ]
    # The plan in check mode; the Ingress and the Secret.
    assert [changed(done.stdout) for done in said] == [[1], [2]]
    body = "".join(own.key.splitlines()[1:-1])
    for done in said:
        output = "".join(done.stdout.split())
        assert plan_lines(done.stdout)
        assert body not in output
        assert body[:40] not in output
        assert base64.b64encode(own.key.encode()).decode()[:200] not in output
    secret = story.fleet.objects("secret/greeter-tls", "--namespace=customer-a")
    assert base64.b64decode(secret["data"]["tls.key"]).decode() == own.key
    assert body[:40] not in json.dumps(secret["metadata"])
    assert base64.b64encode(own.key.encode()).decode()[:200] not in json.dumps(secret["metadata"])
