"""What is wrong with the customers' certificates. No message holds a part of a key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .words import as_mapping, layers, shown, texts

# Whose annotations for it are known.
REDIRECTING = ("traefik", "nginx")
# A path on one line; a key in base64 has no dot and does not begin so.
PATH = re.compile(r"[~/.][^\n]{0,1000}|[^\n]{0,1000}\.[^\n]{1,10}")
PEM = "-----BEGIN "
FIRST_LINE = re.compile(rf"^{PEM}[A-Z0-9 ]+-----\s*$", re.MULTILINE)
VAULT = "$ANSIBLE_VAULT"

# The host names that a certificate covers, None if it cannot be read; and the faults of it and of its key.
Pair = tuple[tuple[str, ...] | None, list[str]]


class UnusableError(Exception):
    """What keeps a certificate or a key from being used."""


def tls_faults(
    full: Mapping[str, Mapping[str, Any]], customers: object, defaults: object, ingress_class: object
) -> Iterator[str]:
    """Faults of every ``tls`` that do not show in it alone.

    Args:
        full: Name → every setting of the customer. Certificates of absent customers may be gone.
        customers: Name → the customer's own settings.
        defaults: ``customers_defaults``.
        ingress_class: ``customers_ingress_class``.
    """
    own = {where: as_mapping(given["tls"]) for where, given in layers(customers, defaults) if "tls" in given}
    for where, tls in own.items():
        if tls.get("redirect") is True and ingress_class not in REDIRECTING:
            yield (
                f"{where}.tls.redirect: is not known for the ingress class {shown(ingress_class)};"
                " put your controller's own annotations under annotations"
            )
    checked: dict[tuple[str, ...], Pair] = {}
    for name, customer in full.items():
        tls = as_mapping(customer["tls"])
        pair = tuple(text for text in texts([tls.get("certificate"), tls.get("key")]) if text.strip())
        if len(pair) != len(("certificate", "key")):
            continue
        if pair not in checked:
            checked[pair] = check_pair(*pair)
        covered, faults = checked[pair]
        where = f"customers.{shown(name)}"
        where = where if where in own else "customers_defaults"
        yield from (f"{where}.tls.{fault}" for fault in faults)
        for host in texts(customer["hosts"]) if covered is not None else ():
            if not any(_matches(each, host) for each in covered or ()):
                yield (
                    f"{where}.tls.certificate: does not cover {shown(host)} of customer {shown(name)},"
                    f" but {', '.join(map(shown, covered or ())) or 'no host'};"
                    " use one whose subject alternative names hold it"
                )


def check_pair(certificate: str, key: str) -> Pair:
    """Look at a certificate and its key, each given as text or as the path of a file."""
    faults: list[str] = []
    found = private = None
    try:
        found = _load_certificate(_read(certificate))
        faults += _validity_faults(found)
    except UnusableError as error:
        faults.append(f"certificate: {error}")
    try:
        private = _load_key(_read(key))
    except UnusableError as error:
        faults.append(f"key: {error}")
    if found and private and not _belongs(found, private):
        faults.append("key: does not belong to the certificate; write the one that it was made with")
    return (_covered(found) if found else None), faults


def _read(text_or_path: str) -> str:
    """Text of a certificate or key, read as the filter customers_pem does."""
    if text_or_path.lstrip().startswith(PEM):
        if not FIRST_LINE.search(text_or_path):
            raise UnusableError("has its lines joined; write the PEM text as a block, after a |")
        return text_or_path
    path = shown(text_or_path)
    try:
        text = Path(text_or_path).expanduser().read_text()
    except (OSError, ValueError, RuntimeError) as error:
        fault = f"{path} cannot be read ({getattr(error, 'strerror', None) or 'no text'})"
        fault += "; name a file on the controller, or write the PEM text"
        # What does not look like a path may be a key without its first line.
        if "-----" in text_or_path or not PATH.fullmatch(text_or_path):
            fault = f"is neither PEM nor the path of a file; write the path, or the text from {PEM}… on"
        raise UnusableError(fault) from None
    if text.startswith(VAULT):
        raise UnusableError(f"{path} is encrypted by ansible-vault; put the PEM text into a vaulted variable")
    return text


def _load_certificate(text: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(text.encode())[0]
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise UnusableError(f"holds no certificate; write it in PEM, from {PEM}CERTIFICATE----- on") from None


def _load_key(text: str) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(text.encode(), password=None)
    except TypeError:
        fault = "is encrypted with a passphrase; write it without one, and keep it in ansible-vault"
    except (ValueError, UnsupportedAlgorithm):
        fault = f"holds no private key; write it in PEM, from {PEM}PRIVATE KEY----- on"
    raise UnusableError(fault)


def _validity_faults(certificate: x509.Certificate) -> Iterator[str]:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end < datetime.now(UTC):
        yield f"certificate: expired on {end:%Y-%m-%d}; renew it"
    elif begin > datetime.now(UTC):
        yield f"certificate: is not valid before {begin:%Y-%m-%d}; use one that is, or set the controller's clock"


def _belongs(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False


def _covered(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names that a certificate covers, as browsers see it: its common name does not count."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _matches(name: str, host: str) -> bool:
    # A wildcard stands for one label: https://www.rfc-editor.org/rfc/rfc6125#section-6.4.3
    return name == host or (name.startswith("*.") and name[1:] == host[host.find(".") :])
