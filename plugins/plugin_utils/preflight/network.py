"""What can be wrong with the cluster's networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ..k3s_settings import flag_values
from ..schema import is_cidr
from .nodes import Fault, Node, servers_of
from .words import shown

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

# What K3s takes by itself: https://docs.k3s.io/cli/server#networking
DEFAULTS = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
# The API server keeps a bit for every address of the services, for at most so many bits:
# https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver (service-cluster-ip-range)
SERVICE_BITS = 20


def parse_address(text: str) -> Address | None:
    """Read an IP address; None if it is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _families(members: Sequence[Network | Address]) -> str:
    return " and ".join(f"IPv{version}" for version in dict.fromkeys(member.version for member in members))


def _where(node: Node, flag: str) -> str:
    return f"{node.origin.get(flag, 'k3s_server_config')}.{flag}"


def _networks(node: Node, flag: str) -> tuple[list[Network], list[str]]:
    """The networks of a flag, and the faults of what is none."""
    written = flag_values(node.config.get(flag, DEFAULTS[flag]))
    good = [ip_network(text, strict=False) for text in written if is_cidr(text)]
    faults = [
        f"{_where(node, flag)}: {shown(text)} is no network; write one such as {DEFAULTS[flag]}"
        for text in written
        if not is_cidr(text)
    ]
    if len({network.version for network in good}) < len(good):
        faults.append(f"{_where(node, flag)}: has two networks of one family; write one of IPv4, of IPv6, or of each")
    return good, faults


def _server_faults(node: Node) -> Iterator[str]:
    """Faults of a server's networks for pods and services."""
    (pods, pod_faults), (services, service_faults) = (_networks(node, flag) for flag in DEFAULTS)
    if faults := pod_faults + service_faults:
        yield from faults
        return
    where = _where(node, "service-cidr")
    if _families(pods) != _families(services):
        yield (
            f"{where}: is {_families(services)}, and cluster-cidr is {_families(pods)};"
            " write networks of the same families in both, in the same order"
        )
    for service in services:
        for pod in pods:
            if service.version == pod.version and service.overlaps(pod):
                yield f"{where}: {service} overlaps {pod} of cluster-cidr; write networks that share no address"
        if service.max_prefixlen - service.prefixlen > SERVICE_BITS:
            yield f"{where}: {service} is too large; use at most a /{service.max_prefixlen - SERVICE_BITS}"
    for text in flag_values(node.config.get("cluster-dns")):
        dns = parse_address(text)
        if not dns or not any(dns in service for service in services):
            yield (
                f"{_where(node, 'cluster-dns')}: {shown(text)} is no address of service-cidr;"
                f" write one of {', '.join(map(str, services))}"
            )


def _node_faults(node: Node, server: Node) -> Iterator[str]:
    """Faults of a node's own addresses, for the networks that ``server`` has."""
    pods, services = (_networks(server, flag)[0] for flag in DEFAULTS)
    if "node-ip" not in node.config:
        # https://docs.k3s.io/networking/basic-network-options#dual-stack-ipv4--ipv6-networking
        if _families(pods).startswith("IPv6"):
            yield "k3s_node_config.node-ip: is missing; with IPv6 first in cluster-cidr every node needs it written"
        return
    where = _where(node, "node-ip")
    written = flag_values(node.config["node-ip"])
    found = [address for text in written if (address := parse_address(text))]
    for text in written:
        if not parse_address(text):
            yield f"{where}: {shown(text)} is no address; write one such as 192.0.2.10"
    missing = {network.version for network in pods} - {address.version for address in found}
    if missing and len(found) == len(written):
        yield (
            f"{where}: is {_families(found)}, and cluster-cidr is {_families(pods)};"
            " write an address of each of its families"
        )
    for address in found:
        for network in pods + services:
            if address in network:
                yield f"{where}: {address} lies in {network}, which the cluster takes; write another network"


def network_faults(nodes: Mapping[str, Node]) -> Iterator[Fault]:
    """Faults of all nodes' networks and addresses."""
    servers = list(servers_of(nodes).values())
    yield from dict.fromkeys(("", fault) for server in servers for fault in _server_faults(server))
    for name, node in nodes.items() if servers else ():
        yield from ((name, fault) for fault in _node_faults(node, servers[0]))
