"""Filters of the role prepare: the networks of a cluster, and what its nodes' firewalls must let in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

# K3s' defaults: https://docs.k3s.io/cli/server#networking
PODS = {4: "10.42.0.0/16", 6: "fd00:42::/56"}
SERVICES = {4: "10.43.0.0/16", 6: "fd00:43::/112"}


def networks(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Networks of a cluster with these ``settings`` of K3s.

    Returns:
        ``pods`` and ``services``, lists of CIDRs, and ``ipv6``, whether there is one of IPv6 among them.
    """
    pods = _words(settings.get("cluster-cidr")) or [PODS[family] for family in _families(settings.get("node-ip"))]
    services = _words(settings.get("service-cidr")) or [SERVICES[family] for family in _families(pods)]
    return {"pods": pods, "services": services, "ipv6": _families(pods + services) != [4]}


def firewall_rules(
    node: str,
    hostvars: Mapping[str, Any],
    groups: Mapping[str, list[str]],
    settings: Mapping[str, Any],
    public: list[str],
) -> list[dict[str, str]]:
    """What must come in to a node: https://docs.k3s.io/installation/requirements#inbound-rules-for-k3s-nodes.

    Args:
        node: The node's name in the inventory.
        hostvars: Variables of all hosts; what k3s_requirements saw of a node is in ``_prepare_seen``.
        groups: The inventory's groups.
        settings: K3s' settings that hold for the whole cluster, and ``external`` if its datastore is.
        public: Ports such as ``80/tcp`` that everybody may call.

    Returns:
        Rules of ``source``, ``port`` and ``protocol``. An empty source is anywhere, an empty port all of them.
    """
    servers = groups.get("k3s_servers", [])
    flannel = settings.get("flannel-backend", "vxlan")
    among_nodes = ["10250/tcp"]
    if flannel == "vxlan":
        among_nodes.append("8472/udp")
    if flannel == "wireguard-native":
        among_nodes += ["51820/udp", "51821/udp"]
    if settings.get("embedded-registry"):
        among_nodes += ["5001/tcp", "6443/tcp"]
    etcd = ["2379-2380/tcp"] if len(servers) > 1 and not settings.get("external") else []

    found = [("", port) for port in public]
    if node in servers:
        found.append(("", "6443/tcp"))
    inside = networks(settings)
    # As firewalls write them: a network with host bits would be seen as missing for ever.
    found += [(str(ip_network(network, strict=False)), "") for network in inside["pods"] + inside["services"]]
    for other in groups.get("k3s_cluster", []):
        if other == node:
            continue
        ports = among_nodes + (etcd if node in servers and other in servers else [])
        addresses = [word for word in node_addresses(hostvars[other]) if inside["ipv6"] or ":" not in word]
        found += [(address, port) for address in addresses for port in ports]
    rules = []
    for source, wanted in dict.fromkeys(found):
        port, _, protocol = wanted.partition("/")
        rules.append({"source": source, "port": port, "protocol": protocol})
    return rules


def node_addresses(variables: Mapping[str, Any]) -> list[str]:
    """Addresses a node calls others from: its node-ip, else those seen there, else the one it is logged in to by."""
    given = _words(variables.get("k3s_node_config", {}).get("node-ip"))
    seen = variables.get("_prepare_seen", {}).get("addresses", [])
    return given or list(seen) or [word for word in [str(variables.get("ansible_host", ""))] if _is_address(word)]


def lacking(rules: Iterable[Mapping[str, str]], present: Iterable[str]) -> list[Mapping[str, str]]:
    """Those of the ``rules`` that are not among the ``present`` ones, which k3s_requirements gives as texts."""
    there = set(present)
    return [rule for rule in rules if f"{rule['source']} {_port(rule)}" not in there]


def _port(rule: Mapping[str, str]) -> str:
    return f"{rule['port']}/{rule['protocol']}" if rule["port"] else ""


def _words(value: object) -> list[str]:
    """Words of a list, or of a text with commas; K3s takes both."""
    texts = value if isinstance(value, list) else [value or ""]
    return [word.strip() for text in texts for word in str(text).split(",") if word.strip()]


def _families(value: object) -> list[int]:
    """IP versions of these addresses or networks, in their order; version 4 if there are none."""
    return list(dict.fromkeys(6 if ":" in word else 4 for word in _words(value))) or [4]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Names of the filters in playbooks."""
        return {
            "prepare_networks": networks,
            "prepare_firewall_rules": firewall_rules,
            "prepare_lacking": lacking,
        }
