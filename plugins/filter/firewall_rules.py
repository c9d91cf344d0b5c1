"""The networks of a cluster, and what its nodes' firewalls must let in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from ansible_collections.greeter.fleet.plugins.plugin_utils.k3s_settings import flag_values, merge, node_config

# K3s' defaults: https://docs.k3s.io/cli/server#networking
PODS = {4: "10.42.0.0/16", 6: "fd00:42::/56"}
SERVICES = {4: "10.43.0.0/16", 6: "fd00:43::/112"}


def cluster_networks(server: Mapping[str, Any]) -> dict[str, Any]:
    """Networks of the cluster of a server with these variables.

    Returns:
        ``pods`` and ``services``, lists of CIDRs, and ``ipv6``, whether there is one of IPv6 among them.
    """
    config = node_config(server, "server")
    pods = _values(config, "cluster-cidr") or [PODS[each] for each in _families(_values(config, "node-ip"))]
    services = _values(config, "service-cidr") or [SERVICES[each] for each in _families(pods)]
    return {"pods": pods, "services": services, "ipv6": _families(pods + services) != [4]}


def firewall_rules(
    node: str, hostvars: Mapping[str, Any], groups: Mapping[str, list[str]], public: list[str]
) -> list[dict[str, str]]:
    """What must come in to a node: https://docs.k3s.io/installation/requirements#inbound-rules-for-k3s-nodes.

    Args:
        node: The node's name in the inventory.
        hostvars: Variables of all hosts; what k3s_requirements has found on a node is in ``_prepare_host``.
        groups: The inventory's groups.
        public: Ports such as ``80/tcp`` that everybody may call.

    Returns:
        Rules of ``source``, ``port`` and ``protocol``, and how ``ufw`` and ``firewalld`` list them. An empty source is
        anywhere, an empty port all of them.
    """
    servers = groups["k3s_servers"]
    first = hostvars[servers[0]]
    config, networks = node_config(first, "server"), cluster_networks(first)
    flannel = {"vxlan": ["8472/udp"], "wireguard-native": ["51820/udp", "51821/udp"]}
    among_nodes = ["10250/tcp", *flannel.get(config.get("flannel-backend", "vxlan"), [])]
    if config.get("embedded-registry"):
        among_nodes += ["5001/tcp", "6443/tcp"]
    etcd = ["2379-2380/tcp"] if not first.get("k3s_datastore_endpoint") else []

    found = [("", port) for port in [*public, *(["6443/tcp"] if node in servers else [])]]
    # As firewalls write them: a network with host bits would be missing for ever.
    found += [(str(ip_network(network, strict=False)), "") for network in networks["pods"] + networks["services"]]
    for other in groups["k3s_cluster"]:
        if other != node:
            ports = among_nodes + (etcd if node in servers and other in servers else [])
            addresses = [each for each in node_addresses(hostvars[other]) if networks["ipv6"] or ":" not in each]
            found += [(address, port) for address in addresses for port in ports]
    return [_rule(source, port) for source, port in dict.fromkeys(found)]


def _rule(source: str, wanted: str) -> dict[str, str]:
    port, _, protocol = wanted.partition("/")
    ufw, firewalld = f"ufw allow from {source}", source
    if not source:
        ufw, firewalld = f"ufw allow {wanted.replace('-', ':')}", wanted
    elif port:
        family = "ipv6" if ":" in source else "ipv4"
        ufw += f" to any port {port.replace('-', ':')} proto {protocol}"
        firewalld = f'rule family="{family}" source address="{source}" port port="{port}" protocol="{protocol}" accept'
    return {"source": source, "port": port, "protocol": protocol, "ufw": ufw, "firewalld": firewalld}


def node_addresses(variables: Mapping[str, Any]) -> list[str]:
    """Addresses a node calls others from: its node-ip, else those found there, else the one it is logged in to by."""
    given = _values(merge([variables.get("k3s_node_config") or {}]), "node-ip")
    found = given or variables.get("_prepare_host", {}).get("addresses")
    if found:
        return list(found)
    try:
        return [str(ip_address(variables.get("ansible_host", "")))]
    except ValueError:
        return []


def _values(config: Mapping[str, Any], flag: str) -> list[str]:
    return [each for each in flag_values(config.get(flag)) if each]


def _families(addresses: Iterable[str]) -> list[int]:
    """IP versions of these addresses or networks, in their order; version 4 if there are none."""
    return list(dict.fromkeys(6 if ":" in each else 4 for each in addresses)) or [4]


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"cluster_networks": cluster_networks, "firewall_rules": firewall_rules}
