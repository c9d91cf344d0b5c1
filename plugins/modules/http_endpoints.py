#!/usr/bin/python
"""Ansible module: call many virtual hosts and compare what they answer, and with which certificate."""

from __future__ import annotations

import functools
import hashlib
import http.client
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from cryptography import x509

DOCUMENTATION = r"""
module: http_endpoints
short_description: Call many virtual hosts and compare what they answer
description:
  - Sends C(GET /) to every endpoint, all side by side, until each has answered as expected or the time is over.
  - An endpoint that shows a wrong certificate is sent nothing.
  - Changes nothing, in check mode neither.
options:
  endpoints:
    description: What to call, and what must come back.
    type: list
    elements: dict
    required: true
    suboptions:
      host: {description: The host name to ask for., type: str, required: true}
      address: {description: The address to connect to., type: str, required: true}
      scheme: {description: How to call it., type: str, choices: [http, https], default: http}
      port: {description: The TCP port to connect to; 80 or 443 by default., type: int}
      body: {description: The exact body that must come back with status 200., type: str}
      location:
        description: Instead of a body - scheme and host of the URL that a redirect must lead to.
        type: str
      certificate:
        description:
          - The certificate that must be shown, as PEM text; of several the first. No CA need have signed it.
          - Without it the certificate must be valid for the host and lead to a trusted CA.
        type: str
  ca_file:
    description: A file with the certificates of the trusted CAs; those of the system by default.
    type: path
    default: ""
  timeout:
    description: Seconds until every endpoint must have answered as expected.
    type: int
    default: 60
  connections:
    description: How many endpoints are called at the same time.
    type: int
    default: 16
author: [the greeter fleet's maintainers]
"""

EXAMPLES = r"""
- name: Call the hello host through one node
  http_endpoints:
    endpoints:
      - {host: hello.example.com, address: 192.0.2.1, body: '{"response":"Hi!"}'}

- name: The same over TLS, with this very certificate, and plain HTTP leads there
  http_endpoints:
    endpoints:
      - host: hello.example.com
        address: 192.0.2.1
        scheme: https
        certificate: "{{ lookup('ansible.builtin.file', 'hello.crt') }}"
        body: '{"response":"Hi!"}'
      - {host: hello.example.com, address: 192.0.2.1, location: https://hello.example.com}
"""

RETURN = r"""
endpoints:
  description:
    - Every endpoint with what it answered last, in the order given.
    - The fingerprint is that of the certificate that must be shown, empty if none was given.
  type: list
  elements: dict
  returned: always
  sample: [{host: hello.example.com, address: 192.0.2.1, scheme: http, port: 80, fingerprint: "", status: 200,
            answer: '{"response":"Hi!"}', redirect: "", error: ""}]
"""

# One request may take this many seconds; an ingress that drops a connection must not use up the whole time.
REQUEST_SECONDS = 5.0
PAUSE_SECONDS = 0.5
PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 307, 308)

FIRST_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class WrongCertificateError(Exception):
    """Another certificate was shown than the one that should be."""


def prepare(endpoint: dict[str, Any]) -> dict[str, Any]:
    """Give an endpoint as it is called: with its port, and the certificate's fingerprint in place of its text.

    Raises:
        ValueError: when there is no certificate in the text.
    """
    ready = {key: value for key, value in endpoint.items() if key != "certificate"}
    ready["address"] = endpoint["address"].strip("[]")
    ready["port"] = endpoint["port"] or PORTS[endpoint["scheme"]]
    ready["fingerprint"] = ""
    if endpoint["certificate"]:
        first = FIRST_CERTIFICATE.search(endpoint["certificate"])
        if not first:
            raise ValueError(f"{endpoint['host']}: what was given as its certificate holds none in PEM form")
        ready["fingerprint"] = fingerprint(ssl.PEM_cert_to_DER_cert(first.group()))
    return ready


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate in DER form, as hexadecimal digits."""
    return hashlib.sha256(certificate).hexdigest()


@functools.cache
def verifying(ca_file: str) -> ssl.SSLContext:
    """Settings that trust the CAs of a file, or the system's. Loading them is slow: once for all endpoints."""
    context = ssl.create_default_context(cafile=ca_file or None)
    # Python 3.13 would refuse CAs that curl and the browsers accept.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@functools.cache
def accepting() -> ssl.SSLContext:
    """Settings that accept any certificate, for those that are compared afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shown(endpoint: dict[str, Any], seconds: float) -> bytes:
    """Certificate that an endpoint shows, in DER form, whatever it is worth."""
    with _secured(endpoint, accepting(), seconds) as stream:
        return stream.getpeercert(binary_form=True) or b""


def _secured(endpoint: dict[str, Any], context: ssl.SSLContext, seconds: float) -> ssl.SSLSocket:
    plain = socket.create_connection((endpoint["address"], endpoint["port"]), timeout=seconds)
    try:
        return context.wrap_socket(plain, server_hostname=endpoint["host"])
    except BaseException:
        plain.close()
        raise


def _connect(endpoint: dict[str, Any], seconds: float, ca_file: str) -> ssl.SSLSocket:
    """Connect to an endpoint that shows the right certificate.

    Raises:
        WrongCertificateError: when it shows another one.
    """
    if not endpoint["fingerprint"]:
        try:
            return _secured(endpoint, verifying(ca_file), seconds)
        except ssl.SSLCertVerificationError as error:
            reason = error.verify_message.rstrip(".")
            raise WrongCertificateError(f"{reason}: {describe(shown(endpoint, seconds))}") from error
    stream = _secured(endpoint, accepting(), seconds)
    certificate = stream.getpeercert(binary_form=True) or b""
    if fingerprint(certificate) == endpoint["fingerprint"]:
        return stream
    stream.close()
    raise WrongCertificateError(
        f"not the declared certificate (SHA-256 {endpoint['fingerprint']}): {describe(certificate)}"
    )


def call(endpoint: dict[str, Any], seconds: float, ca_file: str = "") -> dict[str, Any]:
    """Send one ``GET /``.

    Returns:
        ``status``, ``answer`` (its body), ``redirect`` (where it leads to) and ``error``, empty if there was an answer.
    """
    seen = {"status": 0, "answer": "", "redirect": "", "error": ""}
    connection = http.client.HTTPConnection(endpoint["address"], endpoint["port"], timeout=seconds)
    try:
        if endpoint["scheme"] == "https":
            connection.sock = _connect(endpoint, seconds, ca_file)
        connection.request("GET", "/", headers={"Host": endpoint["host"]})
        response = connection.getresponse()
        answer = response.read().decode("utf-8", "replace")
        return seen | {"status": response.status, "answer": answer, "redirect": response.getheader("Location", "")}
    except (OSError, http.client.HTTPException, WrongCertificateError) as error:
        return seen | {"error": str(error) or type(error).__name__}
    finally:
        connection.close()


def as_expected(endpoint: dict[str, Any]) -> bool:
    """Whether the endpoint's last answer is the one it must give."""
    if endpoint["location"]:
        # The name must end there: a redirect to https://a.example.com.example.net is none to a.example.com.
        leads = re.match(re.escape(endpoint["location"]) + r"([:/?#]|$)", endpoint["redirect"], re.IGNORECASE)
        return endpoint["status"] in REDIRECTS and leads is not None
    return bool(endpoint["status"] == http.HTTPStatus.OK and endpoint["answer"] == endpoint["body"])


def watch(endpoint: dict[str, Any], deadline: float, ca_file: str = "") -> dict[str, Any]:
    """Call ``endpoint`` until it answers as expected or the monotonic clock has passed ``deadline``; at least once."""
    while True:
        seen = endpoint | call(endpoint, REQUEST_SECONDS, ca_file)
        if as_expected(seen) or time.monotonic() + PAUSE_SECONDS >= deadline:
            return seen
        time.sleep(PAUSE_SECONDS)


def fault(endpoint: dict[str, Any]) -> str:
    """Say in one line what came back instead of the expected answer."""
    address = f"[{endpoint['address']}]" if ":" in endpoint["address"] else endpoint["address"]
    host = endpoint["host"] if endpoint["scheme"] == "http" else f"https://{endpoint['host']}"
    wanted = f"a redirect to {endpoint['location']}" if endpoint["location"] else f"200 {endpoint['body']!r}"
    leads = f"to {endpoint['redirect']!r}" if endpoint["redirect"] else repr(endpoint["answer"])
    got = endpoint["error"] or f"{endpoint['status']} {leads}"
    return f"- {host} through {address}:{endpoint['port']}: expected {wanted}, got {got}"


def describe(certificate: bytes) -> str:
    """Say whose certificate this is, given in DER form."""
    try:
        found = x509.load_der_x509_certificate(certificate)
        whose = repr(found.subject.rfc4514_string())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        whose += f" for {', '.join(str(name.value) for name in names)!r}"
    except x509.ExtensionNotFound:  # an old one, with no name but the subject's
        pass
    except ValueError:
        whose = "somebody whose name cannot be read"
    return f"it is that of {whose}, SHA-256 {fingerprint(certificate)}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "host": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "scheme": {"type": "str", "choices": list(PORTS), "default": "http"},
                    "port": {"type": "int"},
                    "body": {"type": "str"},
                    "location": {"type": "str"},
                    "certificate": {"type": "str"},
                },
                "mutually_exclusive": [("body", "location")],
                "required_one_of": [("body", "location")],
            },
            "ca_file": {"type": "path", "default": ""},
            "timeout": {"type": "int", "default": 60},
            "connections": {"type": "int", "default": 16},
        },
        supports_check_mode=True,
    )
    ca_file, timeout = module.params["ca_file"], module.params["timeout"]
    try:
        wanted = [prepare(endpoint) for endpoint in module.params["endpoints"]]
        if any(endpoint["scheme"] == "https" and not endpoint["fingerprint"] for endpoint in wanted):
            verifying(ca_file)
    except ValueError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"ca_file {ca_file}: {error}")
    deadline = time.monotonic() + timeout
    with ThreadPoolExecutor(module.params["connections"]) as pool:
        seen = list(pool.map(lambda endpoint: watch(endpoint, deadline, ca_file), wanted))
    faults = [fault(endpoint) for endpoint in seen if not as_expected(endpoint)]
    if faults:
        count = f"{len(faults)} of {len(seen)} endpoints did not answer as expected"
        module.fail_json(msg="\n".join([f"{count} within {timeout} s:", *faults]), endpoints=seen)
    module.exit_json(changed=False, endpoints=seen)


if __name__ == "__main__":
    main()
