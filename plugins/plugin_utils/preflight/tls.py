"""What can be wrong with the customers' certificates.

No message holds a part of a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from .words import SUBDOMAIN, SUBDOMAIN_CHARACTERS, kind, layers, shown, unknown_keys

PAIR = ("certificate", "key")
NAMES = ("secret", "issuer", "cluster_issuer")
TLS_KEYS = (*PAIR, *NAMES, "redirect")
# Whose annotations for it are known.
REDIRECTING = ("traefik", "nginx")
# A path on one line; a key in base64 has no dot and does not begin so.
PATH = re.compile(r"[~/.][^\n]{0,1000}|[^\n]{0,1000}\.[^\n]{1,10}")
PEM = "-----BEGIN "
FIRST_LINE = re.compile(rf"^{PEM}[A-Z0-9 ]+-----\s*$", re.MULTILINE)
VAULT = "$ANSIBLE_VAULT"

# What a certificate covers; what keeps it or its key from being used.
Hosts = tuple[str, ...]
Pair = tuple[Hosts | None, list[str]]


def name_fault(name: object) -> str | None:
    """Say what keeps ``name`` from being the name of an object."""
    if not isinstance(name, str):
        return f"is {kind(name)}, not a text; put it in quotes"
    if len(name) > SUBDOMAIN_CHARACTERS:
        return f"has {len(name)} characters; use at most {SUBDOMAIN_CHARACTERS}"
    if not SUBDOMAIN.fullmatch(name):
        return "is no name; use only a-z, 0-9, '-' and '.', with a letter or digit first and last"
    return None


def pem_fault(text: object) -> str | None:
    """Say what keeps ``text`` from being a certificate or key, or the path of one."""
    if not isinstance(text, str):
        return f"is {kind(text)}, not a text; put it in quotes"
    return None if text.strip() else "is empty; write the path of a file on the controller, or the PEM text"


def _redirect(where: str, redirect: object, ingress_class: object) -> Iterator[str]:
    if not isinstance(redirect, bool):
        yield f"{where}: is {kind(redirect)}; write true or false"
    elif redirect and ingress_class not in REDIRECTING:
        yield (
            f"{where}: is not known for the ingress class {shown(ingress_class)};"
            " put your controller's own annotations under annotations"
        )


def shape_faults(where: str, tls: object, ingress_class: object) -> Iterator[str]:
    """Faults of a ``tls`` that show without a look into any file."""
    if not isinstance(tls, Mapping):
        yield f"{where}: is {kind(tls)}; write a mapping such as {{secret: my-tls}}, or {{}} for none"
        return
    yield from unknown_keys(where, tls, TLS_KEYS)
    for key, check in {**dict.fromkeys(PAIR, pem_fault), **dict.fromkeys(NAMES, name_fault)}.items():
        if key in tls and (fault := check(tls[key])):
            yield f"{where}.{key}: {fault}"
    for given, missing in (PAIR, PAIR[::-1]):
        if given in tls and missing not in tls:
            yield f"{where}.{missing}: is missing; {given} needs it"
    ways = [way for way in ("certificate and key", *NAMES) if set(way.split(" and ")) & set(tls)]
    if len(ways) > 1:
        yield f"{where}: has {', '.join(ways)}; write only one of them"
    if tls and not ways:
        yield f"{where}: has no certificate; write one of certificate and key, {', '.join(NAMES)}, or {{}} for none"
    if "redirect" in tls:
        yield from _redirect(f"{where}.redirect", tls["redirect"], ingress_class)


def _read(text_or_path: str) -> tuple[str, str | None]:
    """Text of a certificate or key, read as the filter customers_pem does, and what keeps it from being read."""
    if text_or_path.lstrip().startswith(PEM):
        joined = not FIRST_LINE.search(text_or_path)
        return text_or_path, "has its lines joined; write the PEM text as a block, after a |" if joined else None
    try:
        text = Path(text_or_path).expanduser().read_text()
    except (OSError, ValueError, RuntimeError) as error:
        # What does not look like a path may be a key without its first line.
        if "-----" in text_or_path or not PATH.fullmatch(text_or_path):
            return "", f"is neither PEM nor the path of a file; write the path, or the text from {PEM}… on"
        why = error.strerror if isinstance(error, OSError) else "no text"
        return "", f"{shown(text_or_path)} cannot be read ({why}); name a file on the controller, or write the PEM text"
    if text.startswith(VAULT):
        return "", f"{shown(text_or_path)} is encrypted by ansible-vault; put the PEM text into a vaulted variable"
    return text, None


def _certificate(text: str) -> tuple[x509.Certificate | None, str | None]:
    try:
        certificate = x509.load_pem_x509_certificates(text.encode())[0]
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None, f"holds no certificate; write it in PEM, from {PEM}CERTIFICATE----- on"
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        return certificate, f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}; renew it"
    if certificate.not_valid_before_utc > now:
        begin = f"{certificate.not_valid_before_utc:%Y-%m-%d}"
        return certificate, f"is not valid before {begin}; use one that is, or set the controller's clock"
    return certificate, None


def _public_key(text: str) -> tuple[bytes | None, str | None]:
    try:
        key = load_pem_private_key(text.encode(), password=None)
        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), None
    except TypeError:
        return None, "is encrypted with a passphrase; write it without one, and keep it in ansible-vault"
    except (ValueError, UnsupportedAlgorithm):
        return None, f"holds no private key; write it in PEM, from {PEM}PRIVATE KEY----- on"


def covered(certificate: x509.Certificate) -> Hosts:
    """The host names a certificate covers, as browsers see it: its common name does not count."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))


def look_at(certificate: str, key: str) -> Pair:
    """Hosts that a certificate covers (None if it cannot be read), and the faults of it and of its key."""
    text, fault = _read(certificate)
    found, fault = (None, fault) if fault else _certificate(text)
    faults = [f"certificate: {fault}"] if fault else []
    text, fault = _read(key)
    public, fault = (None, fault) if fault else _public_key(text)
    faults += [f"key: {fault}"] if fault else []
    if found and public:
        try:
            own = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except (ValueError, UnsupportedAlgorithm):
            own = b""
        if own != public:
            faults.append("key: does not belong to the certificate; write the one that it was made with")
    return (covered(found) if found else None), faults


def _matches(name: str, host: str) -> bool:
    # A wildcard stands for one label: https://www.rfc-editor.org/rfc/rfc6125#section-6.4.3
    return name == host or (name.startswith("*.") and name[1:] == host[host.find(".") :])


def _has_pair(tls: object) -> bool:
    return isinstance(tls, Mapping) and all(isinstance(tls.get(key), str) and tls[key].strip() for key in PAIR)


def tls_faults(
    customers: object, defaults: object, full: Mapping[str, Mapping[str, Any]], ingress_class: object
) -> list[str]:
    """Faults of every ``tls``.

    Args:
        customers: Name → what the customer says.
        defaults: ``customers_defaults``.
        full: What the filter customers_settings makes of the two. Only its certificates are read: those of absent
            customers may be gone.
        ingress_class: ``customers_ingress_class``.
    """
    faults = [
        fault
        for where, said in layers(customers, defaults)
        if "tls" in said
        for fault in shape_faults(f"{where}.tls", said["tls"], ingress_class)
    ]
    seen: dict[tuple[str, str], Pair] = {}
    for name, customer in full.items():
        tls = customer.get("tls")
        if not isinstance(tls, Mapping) or not _has_pair(tls):
            continue
        said = customers.get(name) if isinstance(customers, Mapping) else None
        own = isinstance(said, Mapping) and "tls" in said
        where = f"customers.{shown(name)}.tls" if own else "customers_defaults.tls"
        pair = tls["certificate"], tls["key"]
        if pair not in seen:
            seen[pair] = look_at(*pair)
        hosts, wrong = seen[pair]
        faults += [f"{where}.{fault}" for fault in wrong]
        wanted = customer.get("hosts")
        if hosts is not None and isinstance(wanted, list):
            names = ", ".join(map(shown, hosts)) or "no host"
            faults += [
                f"{where}.certificate: does not cover {shown(host)} of customer {shown(name)}, but {names};"
                " use one whose subject alternative names hold it"
                for host in wanted
                if isinstance(host, str) and not any(_matches(covers, host) for covers in hosts)
            ]
    return list(dict.fromkeys(faults))
