"""What is wrong with the customers and their settings.

What a setting looks like is in the schema ``customers``. Here is what spans settings: hosts with two owners, requests
above limits, sizes of joined annotations. Certificates are in `tls`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..customers import SCHEMA, full_settings, quantity
from ..schema import is_cidr
from .words import as_list, as_mapping, layers, resolved, shown, texts

Network = IPv4Network | IPv6Network

LABEL_CHARACTERS = 63
HOST_CHARACTERS = 253
ANNOTATIONS_BYTES = 256 * 1024
# An autoscaler adds pods when they use a tenth more than its target, and no pod uses more than its limit.
MOST_OF_LIMIT = Decimal("0.9")
# What the greeter holds without its workers, and for each of them: PSS of the image's processes after load was 34, 39,
# 47 and 68 MiB with 1, 2, 4 and 8 workers (Python 3.11). To be measured again when the service or its packages change.
MASTER_BYTES = 29 * 1024**2
WORKER_BYTES = 5 * 1024**2
# Ansible does not bring them.
PACKAGES = ("jsonschema", "kubernetes")


def customer_faults(
    variables: Mapping[str, Any], names: Sequence[str] = (), host: Mapping[str, Any] | None = None
) -> list[str]:
    """Every fault of the customers' ``variables``, sorted; what is not given has its default.

    Args:
        variables: Name → value.
        names: Of all that are set. One that is not in ``variables`` cannot be worked out.
        host: All variables of the host, to find the reason.
    """
    missing = [package for package in PACKAGES if find_spec(package) is None]
    faults = [
        f"controller: {sys.executable} has no package {package}; install it with pip install -r requirements.txt"
        for package in missing
    ]
    if "jsonschema" not in missing:
        faults += _setting_faults({**dict.fromkeys(names, host or {}), **dict.fromkeys(variables, variables)})
    return sorted(set(faults))


def _setting_faults(holders: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Every fault of the variables that are set: name → a mapping that holds it."""
    broken: dict[str, str] = {}
    known = {name: resolved(holder, name, name, broken) for name, holder in holders.items()}
    for where, why in broken.items():
        yield f"{where}: cannot be worked out ({why}); mend it, or write !unsafe before a text that is no template"
    found = list(_variable_faults({"customers": {}, **SCHEMA.defaults(), **known}))
    yield from (fault for fault in found if not fault.startswith(tuple(f"{where}:" for where in broken)))
    # By default the network policy lets in K3s' own ingress controller.
    ingress = known.get("customers_ingress_class", "traefik")
    is_known = not any(fault.startswith("customers_ingress_class:") for fault in [*found, *broken])
    if ingress != "traefik" and is_known and "customers_ingress_from" not in known:
        yield (
            f"customers_ingress_from: is missing; customers_ingress_class is {shown(ingress)}, and the network policy"
            " lets in nobody but K3s' Traefik; write the peers that requests come from, your ingress controller's pods"
        )


def _variable_faults(variables: Mapping[str, Any]) -> Iterator[str]:
    customers, defaults = variables["customers"], variables["customers_defaults"]
    nobody = not customers and (customers is None or isinstance(customers, Mapping))
    if nobody and boolean(variables["customers_prune"], strict=False):
        yield "customers: is empty; with customers_prune it would remove every customer; write at least one"
        variables = {name: value for name, value in variables.items() if name != "customers"}
    yield from SCHEMA.faults(variables)
    for name in ("customers_ingress_from", "customers_metrics_from"):
        yield from _exception_faults(name, variables[name])
    for where, given in layers(customers, defaults):
        yield from _autoscaling_faults(f"{where}.autoscaling", given.get("autoscaling"))
    full = full_settings(customers, variables["customers_domain"], defaults)
    yield from _joined_faults(full, customers)
    # Imported here: cryptography takes a while, and every task that uses one filter loads them all.
    from .tls import tls_faults  # noqa: PLC0415

    yield from tls_faults(full, customers, defaults, variables["customers_ingress_class"])


def _exception_faults(variable: str, peers: object) -> Iterator[str]:
    """Faults of a network's exceptions: each has to be a part of it."""
    for index, peer in enumerate(as_list(peers)):
        block = as_mapping(as_mapping(peer).get("ipBlock"))
        if not is_cidr(block.get("cidr")):
            continue
        network = ip_network(block["cidr"], strict=False)
        for number, each in enumerate(as_list(block.get("except"))):
            if is_cidr(each) and not _is_part(ip_network(each, strict=False), network):
                where = f"{variable}[{index}].ipBlock.except[{number}]"
                yield f"{where}: is no part of {network}; write one that is, or leave it out"


def _is_part(part: Network, whole: Network) -> bool:
    return part.prefixlen > whole.prefixlen and part.supernet(new_prefix=whole.prefixlen) == whole


def _autoscaling_faults(where: str, given: object) -> Iterator[str]:
    least, most = (as_mapping(given).get(key) for key in ("min", "max"))
    if isinstance(least, int) and isinstance(most, int) and most is not True and least > most >= 1:
        yield f"{where}.min: {least} is more than max, {most}; lower it or raise max"


def _joined_faults(full: Mapping[str, Mapping[str, Any]], customers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Faults that show once the customers' settings are joined with those of all: ``full``, name → every setting."""
    owners: dict[str, str] = {}
    for name, customer in full.items():
        own, where = customers[name], f"customers.{shown(name)}"
        key = "hosts" if "hosts" in own else "host"
        for host in texts(customer["hosts"]):
            if (owner := owners.setdefault(host, shown(name))) != shown(name):
                yield f"{where}.{key}: {shown(host)} belongs to customer {owner} already; every host needs one owner"
            if key not in own and _is_too_long(host):
                yield f"{where}.host: the default, {host}, has more than {HOST_CHARACTERS} characters; shorten it"
        # What no customer says is wrong in the settings of all.
        annotations, resources = (
            f"{where if key in own else 'customers_defaults'}.{key}" for key in ("annotations", "resources")
        )
        yield from _annotation_faults(annotations, as_mapping(customer["annotations"]))
        yield from _limit_faults(resources, as_mapping(customer["resources"]))
        if "image" not in customer:
            yield from _worker_faults(where, own, customer)
        scaled = as_mapping(customer.get("autoscaling")).get("cpu")
        autoscaling = where if "autoscaling" in own else "customers_defaults"
        yield from _target_faults(f"{autoscaling}.autoscaling.cpu", scaled, as_mapping(customer["resources"]))


def _is_too_long(host: str) -> bool:
    """Whether a host is too long of which the name and the domain are not: those have faults of their own."""
    label, _, domain = host.partition(".")
    return len(label) <= LABEL_CHARACTERS and len(domain) <= HOST_CHARACTERS < len(host)


def _annotation_faults(where: str, annotations: Mapping[Any, Any]) -> Iterator[str]:
    size = sum(len(text.encode(errors="surrogatepass")) for pair in annotations.items() for text in texts(pair))
    if size > ANNOTATIONS_BYTES:
        yield f"{where}: have {size} bytes in all; use at most {ANNOTATIONS_BYTES}"


def _worker_faults(where: str, own: Mapping[str, Any], customer: Mapping[str, Any]) -> Iterator[str]:
    """Faults of more processes than the memory takes: the kernel would end them, one after the other.

    Another image may need less, and what is no number is the service's to refuse.
    """
    workers = as_mapping(customer["env"]).get("WORKERS")
    limits = as_mapping(as_mapping(customer["resources"]).get("limits"))
    limit = quantity(limits.get("memory"))
    if limit is None or limit <= 0 or not isinstance(workers, str) or not re.fullmatch("[0-9]{1,6}", workers):
        return
    # One is what there is without the setting: to leave it out would change nothing.
    most = max(1, (int(limit) - MASTER_BYTES) // WORKER_BYTES)
    if int(workers) > most:
        own_limits = as_mapping(as_mapping(own.get("resources")).get("limits"))
        is_own = "WORKERS" in as_mapping(own.get("env")) or "memory" in own_limits
        holder = where if is_own else "customers_defaults"
        needed = (MASTER_BYTES + int(workers) * WORKER_BYTES) // 1024**2
        yield (
            f"{holder}.env.WORKERS: {int(workers)} need more than the memory limit of {limits['memory']};"
            f" write at most {most}, or raise resources.limits.memory to {needed}Mi"
        )


def _target_faults(where: str, target: object, resources: Mapping[Any, Any]) -> Iterator[str]:
    """Faults of an amount that no pod can exceed by as much as an autoscaler asks for."""
    given = as_mapping(resources.get("limits")).get("cpu")
    amount = quantity(target) if isinstance(target, str) and target.endswith("m") else None
    limit = quantity(given)
    if amount is not None and limit is not None and amount > limit * MOST_OF_LIMIT > 0:
        yield f"{where}: {target} is more than 90 % of the limit of {given}; lower it, or raise resources.limits.cpu"


def _limit_faults(where: str, resources: Mapping[Any, Any]) -> Iterator[str]:
    requests, limits = (as_mapping(resources.get(kind)) for kind in ("requests", "limits"))
    for name in requests.keys() & limits.keys():
        request, limit = quantity(requests[name]), quantity(limits[name])
        if request is not None and limit is not None and request > limit > 0:
            yield (
                f"{where}.requests.{name}: {requests[name]} is more than the limit of {limits[name]};"
                f" lower it, or raise limits.{name}"
            )
