"""Where the customers' hosts can be called: the nodes on which the ingress serves, or a load balancer's addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.greeter.fleet.plugins.plugin_utils.k3s_settings import flag_values, node_config

PORTS = {"http": 80, "https": 443}
# Host variable → scheme.
VARIABLES = {"endpoints_port": "http", "endpoints_tls_port": "https"}

Variables = Mapping[str, Any]
Resource = Mapping[str, Any]


def published(resources: Sequence[Resource]) -> list[str]:
    """The addresses that Services or Ingresses have got of a load balancer."""
    found = (((each.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [] for each in resources)
    return list(dict.fromkeys(one.get("ip") or one.get("hostname") for ingress in found for one in ingress))


def targets(
    hostvars: Mapping[str, Variables],
    hosts: Sequence[str],
    others: Sequence[str],
    cluster: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Tell where to call, as described in endpoints_targets.yml."""
    addresses = cluster["addresses"]
    serving = [node for node in cluster["nodes"] if set(addresses) & set(_addresses(node))]
    is_told = any("endpoints_address" in hostvars[name] for name in hosts)
    if addresses and not serving and not is_told:
        ports = hostvars[hosts[0]] if hosts else {}
        return [_target(address, ports) for address in addresses]
    known = [
        [name for name in names if any(_is(name, hostvars[name], node) for node in serving)]
        for names in (hosts, others)
    ]
    # Nobody's address is published where no load balancer is at work: what is left is each node's own port.
    ports = {} if addresses else _node_ports(cluster["services"])
    chosen = known[0] or known[1] or hosts
    return [_target(_address(name, hostvars[name]), hostvars[name], ports) for name in chosen]


def _addresses(node: Resource) -> list[str]:
    return [each["address"] for each in node.get("status", {}).get("addresses", [])]


def _address(name: str, variables: Variables) -> str:
    return str(variables.get("endpoints_address") or variables.get("ansible_host") or name)


def _is(name: str, variables: Variables, node: Resource) -> bool:
    """Whether a host of the inventory is that node."""
    config = node_config(variables, "server")
    names = {name.lower(), name.lower().partition(".")[0], str(variables.get("ansible_host", ""))}
    names |= {str((variables.get("k3s_node") or {}).get("name", "")), str(config.get("node-name", "")).lower()}
    names |= {address for flag in ("node-ip", "node-external-ip") for address in flag_values(config.get(flag))}
    return bool((names - {""}) & {node["metadata"]["name"], *_addresses(node)})


def _node_ports(services: Sequence[Resource]) -> dict[str, int]:
    """Scheme → the port of every node that leads to one of the Services."""
    ports = [port for service in services for port in service["spec"].get("ports", []) if "nodePort" in port]
    return {scheme: port["nodePort"] for scheme, number in PORTS.items() for port in ports if port["port"] == number}


def _target(address: str, variables: Variables, ports: Mapping[str, int] | None = None) -> dict[str, Any]:
    own = {scheme: int(variables[name]) for name, scheme in VARIABLES.items() if name in variables}
    return {"address": address, **PORTS, **(ports or {}), **own}


class FilterModule:
    """The filters under the names that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"endpoints_published": published, "endpoints_targets": targets}
