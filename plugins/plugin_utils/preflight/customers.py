"""What can be wrong with who the customers are: names, hosts, greetings, keys.

What becomes part of Kubernetes objects as it is written is looked at in `objects`, number and size of the pods in
`pods`, certificates in `tls`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from .words import kind, shown, unknown_keys

Check = Callable[[str, Any], list[str]]

# RFC 1123, as Kubernetes reads it: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
NAMESPACE_PREFIX = "customer-"
LABEL_BYTES = 63
HOST_BYTES = 253
# The service refuses more, see service/README.md.
GREETING_BYTES = 1024

STATES = ("present", "absent")
DEFAULT_KEYS = (
    "replicas", "autoscaling", "resources", "labels", "annotations", "node_selector", "tolerations", "image", "env",
    "disruption_budget", "tls",
)  # fmt: skip
CUSTOMER_KEYS = ("greeting", "state", "host", "hosts", *DEFAULT_KEYS)


def label_fault(label: str, longest: int = LABEL_BYTES) -> str | None:
    """Say what keeps ``label`` from being one part of a host name of at most ``longest`` characters."""
    if not LABEL.fullmatch(label):
        return "use only a-z, 0-9 and '-', with a letter or digit first and last"
    if len(label) > longest:
        return f"has {len(label)} characters; use at most {longest}"
    return None


def host_fault(host: object) -> str | None:
    """Say what keeps ``host`` from being a fully qualified host name."""
    if not isinstance(host, str):
        return f"is {kind(host)}, not a host name; write a full name such as hello.example.com"
    if host.startswith("*"):
        return "is a wildcard; name one host"
    if len(host) > HOST_BYTES:
        return f"has {len(host)} characters; use at most {HOST_BYTES}"
    if "." not in host:
        return "has no domain; write a full name such as hello.example.com"
    # Kubernetes takes no address as the host of an ingress.
    if host.rpartition(".")[2].isdigit():
        return "ends in a number, as an address does; write a full name such as hello.example.com"
    return next((fault for part in host.split(".") if (fault := label_fault(part))), None)


def greeting_fault(greeting: object) -> str | None:
    """Say what keeps ``greeting`` from being served."""
    if not isinstance(greeting, str):
        return f"is {kind(greeting)}, not a text; put it in quotes"
    if not greeting.strip():
        return "is empty; write the text the host answers with"
    if any(unicodedata.category(char) == "Cc" for char in greeting):
        return "holds a control character, such as a line break; write it on one line"
    if any(unicodedata.category(char) == "Cs" for char in greeting):
        return "holds half of a character (a surrogate); write the whole character"
    if (size := len(greeting.encode())) > GREETING_BYTES:
        return f"has {size} bytes; use at most {GREETING_BYTES}"
    return None


def boolean_fault(value: object) -> str | None:
    """Say what keeps ``value`` from being a boolean."""
    return None if isinstance(value, bool) else f"is {kind(value)}; write true or false"


def state_fault(state: object) -> str | None:
    """Say what keeps ``state`` from being one."""
    return None if state in STATES else f"is no state; write {' or '.join(STATES)}"


def hosts_faults(where: str, hosts: object) -> list[str]:
    """Faults of a customer's list of ``hosts``."""
    if isinstance(hosts, str | bytes) or not isinstance(hosts, Sequence):
        return [f"{where}: is {kind(hosts)}; write a list such as [a.example.com, www.a.example.com]"]
    if not hosts:
        return [f"{where}: is an empty list; write at least one host, or leave it out"]
    faults = [f"{where}[{index}]: {fault}" for index, host in enumerate(hosts) if (fault := host_fault(host))]
    twice = [host for index, host in enumerate(hosts) if isinstance(host, str) and host in hosts[:index]]
    return faults + [f"{where}: has {shown(host)} more than once; write it once" for host in dict.fromkeys(twice)]


def plain(check: Callable[[Any], str | None]) -> Check:
    """Make a check of a value a check of a setting: one that knows where it stands."""
    return lambda where, value: [f"{where}: {fault}"] if (fault := check(value)) else []


CHECKS: dict[str, Check] = {
    "greeting": plain(greeting_fault),
    "state": plain(state_fault),
    "host": plain(host_fault),
    "hosts": hosts_faults,
    "disruption_budget": plain(boolean_fault),
}


def _layer(where: str, given: Mapping[Any, Any], known: Sequence[str]) -> Iterator[str]:
    for key, check in CHECKS.items():
        if key in given and key in known:
            yield from check(f"{where}.{key}", given[key])
    if "host" in given and "hosts" in given:
        yield f"{where}: has both host and hosts; write only one of them"
    yield from unknown_keys(where, given, known)


def _customer(name: object, customer: object) -> Iterator[str]:
    where = f"customers.{shown(name)}"
    if not isinstance(name, str):
        yield f"{where}: the name is {kind(name)}, not a text; put it in quotes"
    elif fault := label_fault(name, LABEL_BYTES - len(NAMESPACE_PREFIX)):
        yield f"{where}: is no name for a customer; {fault}"
    if not isinstance(customer, Mapping):
        yield f'{where}: is {kind(customer)}; write a mapping such as {{greeting: "Hi!"}}'
        return
    if "greeting" not in customer and customer.get("state") != "absent":
        yield f'{where}.greeting: is missing; write the text the host answers with, such as greeting: "Hi!"'
    yield from _layer(where, customer, CUSTOMER_KEYS)


def _is_true(value: object) -> bool:
    try:
        return bool(boolean(value, strict=True))
    except (TypeError, ValueError):
        return False


def _nobody(customers: object, prune: object) -> str | None:
    if not customers and _is_true(prune) and (customers is None or isinstance(customers, Mapping)):
        return "is empty; with customers_prune it would remove every customer; write at least one"
    if not isinstance(customers, Mapping):
        return f'is {kind(customers)}; write a mapping such as {{a: {{greeting: "Hi!"}}}}'
    return None if customers else 'is empty; write at least one, such as {a: {greeting: "Hi!"}}'


def customer_faults(customers: object, defaults: object, prune: object = False) -> list[str]:
    """Faults of ``customers`` (name → settings) and ``customers_defaults``; ``prune`` is ``customers_prune``."""
    faults: list[str] = []
    if isinstance(defaults, Mapping):
        faults += _layer("customers_defaults", defaults, DEFAULT_KEYS)
    else:
        faults.append(f"customers_defaults: is {kind(defaults)}; write a mapping such as {{replicas: 1}}")
    if fault := _nobody(customers, prune):
        faults.append(f"customers: {fault}")
    for name, customer in customers.items() if isinstance(customers, Mapping) else ():
        faults += _customer(name, customer)
    return faults


def domain_faults(domain: object) -> list[str]:
    """Faults of ``customers_domain``."""
    if not isinstance(domain, str):
        return [f"customers_domain: is {kind(domain)}, not a domain such as example.com"]
    return [f"customers_domain: {fault}"] if (fault := host_fault(domain)) else []


def shared_hosts(full: Mapping[str, Mapping[str, Any]], customers: object) -> list[str]:
    """Faults of the hosts of all: one with two owners, and a default one that is no host name.

    Args:
        full: What the filter customers_settings makes of ``customers``.
        customers: Name → what the customer says, to tell the setting that a host is from.
    """
    owners: dict[str, str] = {}
    faults: list[str] = []
    for name, customer in full.items():
        said = customers.get(name) if isinstance(customers, Mapping) else None
        keys = said.keys() if isinstance(said, Mapping) else set()
        where = f"customers.{shown(name)}.{'hosts' if 'hosts' in keys else 'host'}"
        hosts = _texts(customer.get("hosts"))
        for host in hosts:
            if (owner := owners.setdefault(host, shown(name))) != shown(name):
                faults.append(f"{where}: {shown(host)} belongs to customer {owner} already; every host needs one owner")
        # Only where the name and the domain are right each: of those is told where they stand.
        if not {"host", "hosts"} & keys and hosts and _too_long_together(*hosts[0].split(".", 1)):
            faults.append(
                f"{where}: the default, {hosts[0]}, has more than {HOST_BYTES} characters; write a shorter one"
            )
    return faults


def _too_long_together(label: str, domain: str = "") -> bool:
    return len(label) <= LABEL_BYTES and len(domain) <= HOST_BYTES < len(f"{label}.{domain}")


def _texts(hosts: object) -> list[str]:
    if isinstance(hosts, str | bytes) or not isinstance(hosts, Sequence):
        return []
    return list(dict.fromkeys(host for host in hosts if isinstance(host, str)))
