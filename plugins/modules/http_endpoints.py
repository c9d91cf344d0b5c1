#!/usr/bin/python
"""Ansible module: call many virtual hosts and compare what they answer, and with which certificate."""

from __future__ import annotations

import functools
import hashlib
import http.client
import re
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, SSLError
from urllib3.util.ssl_ import create_urllib3_context

# One request may take this many seconds; an ingress that drops a connection must not use up the whole time.
REQUEST_SECONDS = 5.0
PAUSE_SECONDS = 0.5
CONNECTIONS = 16
PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 307, 308)

# For certificates that are compared, or only read.
ANY_CERTIFICATE = create_urllib3_context(cert_reqs=ssl.CERT_NONE)


@functools.cache
def trusted_cas(ca_file: str) -> ssl.SSLContext:
    """Settings that trust the CAs of a file, or the system's. Loading them is slow: once for all endpoints."""
    context = ssl.create_default_context(cafile=ca_file or None)
    # Python 3.13 would refuse CAs that curl and the browsers accept.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def prepare(endpoint: dict[str, Any]) -> dict[str, Any]:
    """Give an endpoint as it is called: with its port, and the certificate's fingerprint in place of its text."""
    ready = {key: value for key, value in endpoint.items() if key != "certificate"} | {"fingerprint": ""}
    ready["address"] = endpoint["address"].strip("[]")
    ready["port"] = endpoint["port"] or PORTS[endpoint["scheme"]]
    if endpoint["certificate"]:
        try:
            certificate = x509.load_pem_x509_certificate(endpoint["certificate"].encode())
        except ValueError as error:
            text = f"{endpoint['host']}: what was given as its certificate holds none in PEM form: {error}"
            raise ValueError(text) from error
        ready["fingerprint"] = certificate.fingerprint(SHA256()).hex()
    return ready


def https(endpoint: dict[str, Any], context: ssl.SSLContext, fingerprint: str = "") -> HTTPSConnection:
    """A connection to the endpoint's address that asks for its host's certificate, and fails if that is a wrong one."""
    address, port, host = endpoint["address"], endpoint["port"], endpoint["host"]
    options = {"server_hostname": host, "ssl_context": context, "assert_fingerprint": fingerprint}
    return HTTPSConnection(address, port, timeout=REQUEST_SECONDS, **options)


def call(endpoint: dict[str, Any], ca_file: str = "") -> dict[str, Any]:
    """Send one ``GET /``.

    Returns:
        ``status``, ``answer`` (its body), ``redirect`` (where it leads to) and ``error``, empty if there was an answer.
    """
    pinned = endpoint["fingerprint"]
    if endpoint["scheme"] == "http":
        connection = HTTPConnection(endpoint["address"], endpoint["port"], timeout=REQUEST_SECONDS)
    else:
        connection = https(endpoint, ANY_CERTIFICATE if pinned else trusted_cas(ca_file), pinned)
    with closing(connection):
        try:
            connection.request("GET", "/", headers={"Host": endpoint["host"]})
            response = connection.getresponse()
            status, answer = response.status, response.data.decode("utf-8", "replace")
            return {"status": status, "answer": answer, "redirect": response.headers.get("Location", ""), "error": ""}
        except ssl.SSLCertVerificationError as failure:
            error = f"{failure.verify_message.rstrip('.')}: {describe_shown(endpoint)}"
        except SSLError:  # urllib3's own: the fingerprint differs. All else that is wrong with TLS is an OSError.
            error = f"not the declared certificate (SHA-256 {pinned}): {describe_shown(endpoint)}"
        except (OSError, http.client.HTTPException, HTTPError) as failure:
            error = str(failure.__cause__ or failure) or type(failure).__name__
    return {"status": 0, "answer": "", "redirect": "", "error": error}


def describe_shown(endpoint: dict[str, Any]) -> str:
    """Say whose certificate an endpoint shows. Nothing is sent to it."""
    try:
        with closing(https(endpoint, ANY_CERTIFICATE)) as connection:
            connection.connect()
            secured: Any = connection.sock
            return describe(secured.getpeercert(binary_form=True) or b"")
    except (OSError, HTTPError) as error:
        return f"whose it is cannot be asked: {error.__cause__ or error}"


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
    return f"it is that of {whose}, SHA-256 {hashlib.sha256(certificate).hexdigest()}"


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
        called = endpoint | call(endpoint, ca_file)
        if as_expected(called) or time.monotonic() + PAUSE_SECONDS >= deadline:
            return called
        time.sleep(PAUSE_SECONDS)


def fault(endpoint: dict[str, Any]) -> str:
    """Say in one line what came back instead of the expected answer."""
    address = f"[{endpoint['address']}]" if ":" in endpoint["address"] else endpoint["address"]
    host = endpoint["host"] if endpoint["scheme"] == "http" else f"https://{endpoint['host']}"
    wanted = f"a redirect to {endpoint['location']}" if endpoint["location"] else f"200 {endpoint['body']!r}"
    leads = f"to {endpoint['redirect']!r}" if endpoint["redirect"] else repr(endpoint["answer"])
    got = endpoint["error"] or f"{endpoint['status']} {leads}"
    return f"- {host} through {address}:{endpoint['port']}: expected {wanted}, got {got}"


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
        },
        supports_check_mode=True,
    )
    ca_file, timeout = module.params["ca_file"], module.params["timeout"]
    try:
        wanted = [prepare(endpoint) for endpoint in module.params["endpoints"]]
        if any(endpoint["scheme"] == "https" and not endpoint["fingerprint"] for endpoint in wanted):
            trusted_cas(ca_file)
    except ValueError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"ca_file {ca_file}: {error}")
    deadline = time.monotonic() + timeout
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        called = list(pool.map(lambda endpoint: watch(endpoint, deadline, ca_file), wanted))
    faults = [fault(endpoint) for endpoint in called if not as_expected(endpoint)]
    if faults:
        count = f"{len(faults)} of {len(called)} endpoints did not answer as expected"
        module.fail_json(msg="\n".join([f"{count} within {timeout} s:", *faults]), endpoints=called)
    module.exit_json(changed=False, endpoints=called)


if __name__ == "__main__":
    main()
