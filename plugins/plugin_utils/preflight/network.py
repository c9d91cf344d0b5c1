"""What can be wrong with the cluster's networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from .nodes import Node, Told
from .words import shown

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

# What K3s takes by itself: https://docs.k3s.io/cli/server#networking
DEFAULTS = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
# The API server keeps a bit for every address of the services, for at most so many bits:
# https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver (service-cluster-ip-range)
SERVICE_BITS = 20


def parts(value: object) -> list[str]:
    """The parts of a flag that may be given several times: K3s takes a list, or one text with commas."""
    given = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else str(value).split(",")
    return [str(part).strip() for part in given]


def network(text: str) -> Network | None:
    """The network that ``text`` names, if it names one."""
    try:
        return ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def address(text: str) -> Address | None:
    """The address that ``text`` is, if it is one."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def families(members: Sequence[Network | Address]) -> str:
    """The families of networks or addresses, in their order."""
    return " and ".join(f"IPv{version}" for version in dict.fromkeys(member.version for member in members))


def where(node: Node, flag: str) -> str:
    """Where a node's ``flag`` is written."""
    return f"{node['origin'].get(flag, 'k3s_server_config')}.{flag}"


def networks(node: Node, flag: str) -> tuple[list[Network], list[str]]:
    """The networks of a flag, and its own faults."""
    written = parts(node["config"].get(flag, DEFAULTS[flag]))
    found = [network(text) for text in written]
    good = [each for each in found if each]
    faults = [
        f"{where(node, flag)}: {shown(text)} is no network; write one such as {DEFAULTS[flag]}"
        for text, each in zip(written, found, strict=True)
        if not each
    ]
    if len({each.version for each in good}) < len(good):
        faults.append(f"{where(node, flag)}: has two networks of one family; write one of IPv4, of IPv6, or of each")
    return good, faults


def server_faults(node: Node) -> list[str]:
    """Faults of a server's networks for pods and services."""
    (pods, faults), (services, more) = (networks(node, flag) for flag in DEFAULTS)
    faults += more
    if faults:
        return faults
    if families(pods) != families(services):
        faults.append(
            f"{where(node, 'service-cidr')}: is {families(services)}, and cluster-cidr is {families(pods)};"
            " write networks of the same families in both, in the same order"
        )
    faults += [
        f"{where(node, 'service-cidr')}: {service} overlaps {pod} of cluster-cidr; write networks that share no address"
        for service in services
        for pod in pods
        if service.version == pod.version and service.overlaps(pod)
    ]
    faults += [
        f"{where(node, 'service-cidr')}: {service} is too large; use at most a /{service.max_prefixlen - SERVICE_BITS}"
        for service in services
        if service.max_prefixlen - service.prefixlen > SERVICE_BITS
    ]
    for text in parts(node["config"]["cluster-dns"]) if "cluster-dns" in node["config"] else ():
        dns = address(text)
        if not dns or not any(dns in service for service in services):
            faults.append(
                f"{where(node, 'cluster-dns')}: {shown(text)} is no address of service-cidr;"
                f" write one of {', '.join(map(str, services))}"
            )
    return faults


def node_faults(node: Node, server: Node) -> list[str]:
    """Faults of a node's own addresses, for the networks that ``server`` has."""
    cluster = [each for flag in DEFAULTS for each in networks(server, flag)[0]]
    pods = networks(server, "cluster-cidr")[0]
    if "node-ip" not in node["config"]:
        # https://docs.k3s.io/networking/basic-network-options#dual-stack-ipv4--ipv6-networking
        if pods and families(pods).startswith("IPv6"):
            return ["k3s_node_config.node-ip: is missing; with IPv6 first in cluster-cidr every node needs it written"]
        return []
    written = parts(node["config"]["node-ip"])
    found = [each for text in written if (each := address(text))]
    faults = [
        f"{where(node, 'node-ip')}: {shown(text)} is no address; write one such as 192.0.2.10"
        for text in written
        if not address(text)
    ]
    if not faults and not {each.version for each in pods} <= {each.version for each in found}:
        faults.append(
            f"{where(node, 'node-ip')}: is {families(found)}, and cluster-cidr is {families(pods)};"
            " write an address of each of its families"
        )
    faults += [
        f"{where(node, 'node-ip')}: {own} lies in {each}, which the cluster takes; write another network"
        for own in found
        for each in cluster
        if own in each
    ]
    return faults


def network_faults(nodes: Mapping[str, Node]) -> list[Told]:
    """Faults of all nodes' networks and addresses."""
    servers = [node for node in nodes.values() if node["role"] == "server"]
    faults = [("", fault) for server in servers for fault in server_faults(server)]
    return list(dict.fromkeys(faults)) + [
        (name, fault) for name, node in nodes.items() if servers for fault in node_faults(node, servers[0])
    ]
