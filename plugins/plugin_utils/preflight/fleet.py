"""What can be wrong with the settings that all customers share."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from .words import SUBDOMAIN, SUBDOMAIN_CHARACTERS, is_list, kind, unknown_keys

Check = Callable[[str, Any], list[str]]
Network = IPv4Network | IPv6Network

LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
# A setting that the command line gives is a text: -e customers_rollout_timeout=600
SECONDS = re.compile(r"0*[1-9][0-9]{0,8}")

SELECTORS = ("podSelector", "namespaceSelector")
PEER_KEYS = (*SELECTORS, "ipBlock")
BLOCK_KEYS = ("cidr", "except")


def class_faults(where: str, name: object) -> list[str]:
    """Faults of the name of an ingress class."""
    if not isinstance(name, str):
        return [f"{where}: is {kind(name)}, not a text; put it in quotes"]
    if not SUBDOMAIN.fullmatch(name) or len(name) > SUBDOMAIN_CHARACTERS:
        return [f"{where}: is no name of an ingress class; write one such as traefik"]
    return []


def fleet_faults(where: str, fleet: object) -> list[str]:
    """Faults of the label's value that marks what belongs to the fleet."""
    if not isinstance(fleet, str):
        return [f"{where}: is {kind(fleet)}, not a text; put it in quotes"]
    if not LABEL_VALUE.fullmatch(fleet):
        return [
            f"{where}: is no value of a label; use 1 to 63 of A-Z, a-z, 0-9, '-', '_' and '.',"
            " with a letter or digit first and last"
        ]
    return []


def boolean_faults(where: str, value: object) -> list[str]:
    """Faults of what Ansible is to take for a boolean, wherever it is from."""
    try:
        boolean(value, strict=True)
    except (TypeError, ValueError):
        return [f"{where}: is {kind(value)} that means neither; write true or false"]
    return []


def seconds_faults(where: str, seconds: object) -> list[str]:
    """Faults of a number of seconds."""
    good = seconds >= 1 if isinstance(seconds, int) else isinstance(seconds, str) and SECONDS.fullmatch(seconds)
    if isinstance(seconds, bool) or not good:
        return [f"{where}: is not a number of seconds; write 1 or more"]
    return []


def peers_faults(where: str, peers: object) -> list[str]:
    """Faults of a list of NetworkPolicy peers."""
    if not isinstance(peers, Sequence) or not is_list(peers):
        return [f"{where}: is {kind(peers)}; write a list such as [{{ipBlock: {{cidr: 10.0.0.0/8}}}}]"]
    return [fault for index, peer in enumerate(peers) for fault in _peer(f"{where}[{index}]", peer)]


def _peer(where: str, peer: object) -> Iterator[str]:
    if not isinstance(peer, Mapping) or not peer:
        yield f"{where}: is {kind(peer) if peer else 'empty'}; write a mapping with {', '.join(PEER_KEYS)}"
        return
    yield from unknown_keys(where, peer, PEER_KEYS)
    for key in SELECTORS:
        if key in peer and not isinstance(peer[key], Mapping):
            yield f"{where}.{key}: is {kind(peer[key])}; write a mapping such as {{matchLabels: {{app: prometheus}}}}"
    if "ipBlock" in peer:
        yield from _block(f"{where}.ipBlock", peer["ipBlock"])
        if set(peer) & set(SELECTORS):
            yield f"{where}: has ipBlock and a selector; write two peers"


def _block(where: str, block: object) -> Iterator[str]:
    if not isinstance(block, Mapping):
        yield f"{where}: is {kind(block)}; write a mapping such as {{cidr: 10.0.0.0/8}}"
        return
    yield from unknown_keys(where, block, BLOCK_KEYS)
    whole = _network(block.get("cidr"))
    if "cidr" not in block:
        yield f"{where}.cidr: is missing; write one such as 10.0.0.0/8"
    elif not whole:
        yield f"{where}.cidr: is no network; write one such as 10.0.0.0/8"
    but = block.get("except", [])
    if not isinstance(but, Sequence) or not is_list(but):
        yield f"{where}.except: is {kind(but)}; write a list such as [10.1.0.0/16]"
        return
    for index, cidr in enumerate(but):
        part = _network(cidr)
        if not part:
            yield f"{where}.except[{index}]: is no network; write one such as 10.1.0.0/16"
        elif whole and not _is_part(part, whole):
            yield f"{where}.except[{index}]: is no part of {whole}; write one that is, or leave it out"


def _network(cidr: object) -> Network | None:
    # ip_network takes a number, a bare address and a netmask too, and Kubernetes does not.
    if not isinstance(cidr, str) or not cidr.rpartition("/")[2].isdecimal():
        return None
    try:
        return ip_network(cidr, strict=False)
    except ValueError:
        return None


def _is_part(part: Network, whole: Network) -> bool:
    return part.prefixlen > whole.prefixlen and part.supernet(new_prefix=whole.prefixlen) == whole


CHECKS: dict[str, Check] = {
    "customers_ingress_class": class_faults,
    "customers_ingress_from": peers_faults,
    "customers_metrics_from": peers_faults,
    "customers_fleet": fleet_faults,
    "customers_prune": boolean_faults,
    "customers_wait": boolean_faults,
    "customers_rollout_timeout": seconds_faults,
}


def shared_setting_faults(settings: Mapping[str, Any]) -> list[str]:
    """Faults of the ``settings`` (variable → value) that all customers share; one that is not given has none.

    Nor can any customer be looked after without the client of Kubernetes, which Ansible does not bring.
    """
    faults = [fault for name, check in CHECKS.items() if name in settings for fault in check(name, settings[name])]
    if find_spec("kubernetes") is None:
        faults.append(
            f"controller: {sys.executable} has no package kubernetes; install it with pip install -r requirements.txt"
        )
    return faults
