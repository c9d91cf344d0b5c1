"""What can be wrong with the settings that become part of Kubernetes objects as they are written.

No value of ``env`` is ever shown: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .words import SUBDOMAIN, VARIABLE, kind, layers, shown, unknown_keys

Check = Callable[[str, Any], list[str]]

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
NAME_CHARACTERS = 63
PREFIX_CHARACTERS = 253
RESERVED = ("app.kubernetes.io", "pod-security.kubernetes.io", "kubernetes.io", "k8s.io", "kubectl.kubernetes.io")
ANNOTATIONS_BYTES = 256 * 1024

OWN_VARIABLES = {
    "GREETING": "is the customer's greeting; write it there",
    "CUSTOMER_NAME": "is the name; leave it out",
    "PORT": "is the port that probes and Service use; leave it out",
    "METRICS_PORT": "is the port that the network policy lets through; leave it out",
}

# https://github.com/distribution/reference/blob/main/reference.go
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\])(?::\d{{1,5}})?/)?{_PART}(?:/{_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z0-9+._-]+:[0-9a-fA-F]{32,})?"
)

TOLERATION_KEYS = ("key", "operator", "value", "effect", "toleration_seconds")
OPERATORS = ("Equal", "Exists")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def text_fault(value: object) -> str | None:
    """Say what keeps ``value`` from being a text that a Kubernetes object can hold."""
    if not isinstance(value, str):
        return f"is {kind(value)}, not a text; put it in quotes"
    if "\0" in value:
        return "holds a NUL character; leave it out"
    if any("\ud800" <= char <= "\udfff" for char in value):
        return "holds half of a character (a surrogate); write the whole character"
    return None


def name_fault(name: str) -> str | None:
    """Say what keeps ``name`` from being a label's value, or its key without the prefix."""
    if len(name) > NAME_CHARACTERS:
        return f"has {len(name)} characters; use at most {NAME_CHARACTERS}"
    if not NAME.fullmatch(name):
        return "use only A-Z, a-z, 0-9, '-', '_' and '.', with a letter or digit first and last"
    return None


def key_fault(key: object) -> str | None:
    """Say what keeps ``key`` from being the key of a label."""
    if not isinstance(key, str):
        return f"the key is {kind(key)}, not a text; put it in quotes"
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > PREFIX_CHARACTERS or not SUBDOMAIN.fullmatch(prefix)):
        return "has a prefix that is no DNS name; write one such as example.com/team"
    return f"is no key; {fault}" if (fault := name_fault(name)) else None


def value_fault(value: object) -> str | None:
    """Say what keeps ``value`` from being a label's value."""
    return text_fault(value) or (name_fault(str(value)) if value else None)


def reserved_fault(key: object) -> str | None:
    """Say whether ``key`` is not the customers' to write."""
    prefix = str(key).rpartition("/")[0]
    return f"{prefix}/ is reserved; use a prefix of your own, or none" if prefix in RESERVED else None


def variable_fault(name: object) -> str | None:
    """Say what keeps ``name`` from being an environment variable of the customer's own."""
    if not isinstance(name, str):
        return f"the name is {kind(name)}, not a text; put it in quotes"
    if not VARIABLE.fullmatch(name):
        return "is no name for a variable; use only A-Z, a-z, 0-9 and '_', with no digit first"
    return OWN_VARIABLES.get(name)


def pairs(example: str, value: Callable[[object], str | None], *keys: Callable[[object], str | None]) -> Check:
    """A check of a mapping: of every key by the first of ``keys`` that finds a fault, and of every value."""

    def check(where: str, given: object) -> list[str]:
        if not isinstance(given, Mapping):
            return [f"{where}: is {kind(given)}; write a mapping such as {example}"]
        found = [(key, next(filter(None, (look(key) for look in keys)), None)) for key in given]
        found += [(key, value(each)) for key, each in given.items()]
        return [f"{where}.{shown(key)}: {fault}" for key, fault in found if fault]

    return check


def image_faults(where: str, image: object) -> list[str]:
    """Faults of an ``image``."""
    if not isinstance(image, str):
        return [f"{where}: is {kind(image)}, not a text; put it in quotes"]
    if not IMAGE.fullmatch(image):
        return [f"{where}: is no image; write one such as registry.example.com/greeter:2"]
    return []


def tolerations_faults(where: str, given: object) -> list[str]:
    """Faults of ``tolerations``."""
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        return [f"{where}: is {kind(given)}; write a list such as [{{key: gpu, operator: Exists}}]"]
    return [fault for index, each in enumerate(given) for fault in _toleration(f"{where}[{index}]", each)]


def _toleration(where: str, given: object) -> Iterator[str]:
    if not isinstance(given, Mapping):
        yield f"{where}: is {kind(given)}; write a mapping such as {{key: gpu, operator: Exists}}"
        return
    yield from unknown_keys(where, given, TOLERATION_KEYS)
    if given.get("operator", "Equal") not in OPERATORS:
        yield f"{where}.operator: is no operator; write {' or '.join(OPERATORS)}"
    if "effect" in given and given["effect"] not in EFFECTS:
        yield f"{where}.effect: is no effect; write {', '.join(EFFECTS[:-1])} or {EFFECTS[-1]}"
    exists = given.get("operator") == "Exists"
    if "key" in given and (fault := key_fault(given["key"])):
        yield f"{where}.key: {fault}"
    if "key" not in given and not exists:
        yield f"{where}.key: is missing; write the taint's key, or operator: Exists to tolerate every taint"
    if "value" in given and exists:
        yield f"{where}.value: goes with operator: Equal alone; leave it out"
    elif "value" in given and (fault := value_fault(given["value"])):
        yield f"{where}.value: {fault}"
    if "toleration_seconds" in given:
        yield from _seconds(f"{where}.toleration_seconds", given)


def _seconds(where: str, given: Mapping[Any, Any]) -> Iterator[str]:
    seconds = given["toleration_seconds"]
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        yield f"{where}: is not a number of seconds; write a whole number"
    if given.get("effect") != "NoExecute":
        yield f"{where}: goes with effect: NoExecute alone; leave it out, or write that effect"


CHECKS: dict[str, Check] = {
    "labels": pairs("{team: blue}", value_fault, key_fault, reserved_fault),
    "annotations": pairs("{note: a text}", text_fault, key_fault, reserved_fault),
    "node_selector": pairs("{disk: ssd}", value_fault, key_fault),
    "tolerations": tolerations_faults,
    "image": image_faults,
    "env": pairs("{LOG_LEVEL: info}", text_fault, variable_fault),
}


def object_faults(customers: object, defaults: object) -> list[str]:
    """Faults of what ``customers`` (name → settings) and ``customers_defaults`` say of their objects."""
    return [
        fault
        for where, said in layers(customers, defaults)
        for key, check in CHECKS.items()
        if key in said
        for fault in check(f"{where}.{key}", said[key])
    ]


def annotations_size(full: Mapping[str, Mapping[str, Any]], customers: object) -> list[str]:
    """Faults of annotations that are too long once the customers' own are joined with those of all.

    Args:
        full: What the filter customers_settings makes of ``customers``.
        customers: Name → what the customer says, to tell of a fault in customers_defaults there, and once.
    """
    faults = []
    for name, customer in full.items():
        said = customers.get(name) if isinstance(customers, Mapping) else None
        own = isinstance(said, Mapping) and "annotations" in said
        where = f"customers.{shown(name)}" if own else "customers_defaults"
        if (size := _bytes(customer.get("annotations"))) > ANNOTATIONS_BYTES:
            faults.append(f"{where}.annotations: have {size} bytes in all; use at most {ANNOTATIONS_BYTES}")
    return list(dict.fromkeys(faults))


def _bytes(annotations: object) -> int:
    pieces = [piece for pair in annotations.items() for piece in pair] if isinstance(annotations, Mapping) else []
    return sum(len(piece.encode(errors="surrogatepass")) for piece in pieces if isinstance(piece, str))
