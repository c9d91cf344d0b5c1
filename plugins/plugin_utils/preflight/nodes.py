"""What is known of every node, and what can be wrong with the inventory and with the controller."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..k3s_settings import layers, merge
from .words import resolved

# A host, or an empty text for the whole cluster, and what is wrong with it.
Fault = tuple[str, str]

ROLES = {"k3s_servers": "server", "k3s_agents": "agent"}
BUILDERS = ("podman", "docker")


@dataclass(frozen=True)
class Node:
    """A host of the cluster.

    Attributes:
        role: ``server`` or ``agent``; empty for a host that is in neither group.
        variables: All of the host's variables. One that cannot be templated raises when it is read.
        settings: Those of them that begin with ``k3s_`` and could be templated.
        broken: The other ones that begin with ``k3s_``: name → why they could not be templated.
        config: The flags that K3s gets of the settings.
        origin: The variable that each of the flags is from.
        answer: What gathering the facts returned; None if this run does not ask the host.
        facts: The facts that were gathered.
        host_facts: Those of the module host_facts among them.
    """

    role: str
    variables: Mapping[str, Any]
    settings: Mapping[str, Any]
    broken: Mapping[str, str]
    config: Mapping[str, Any]
    origin: Mapping[str, str]
    answer: Mapping[str, Any] | None
    facts: Mapping[str, Any]
    host_facts: Mapping[str, Any]


def read_node(role: str, variables: Mapping[str, Any]) -> Node:
    """What is known of one host, from all of its ``variables``."""
    settings: dict[str, Any] = {}
    broken: dict[str, str] = {}
    for name in [name for name in variables if name.startswith("k3s_")]:
        faults: dict[str, str] = {}
        value = resolved(variables, name, name, faults)
        if faults:
            broken[name] = next(iter(faults.values()))
        else:
            settings[name] = value
    flags = layers(settings, role)
    answer = variables.get("_preflight_facts")
    facts = {} if answer is None else variables.get("ansible_facts", {})
    return Node(
        role=role,
        variables=variables,
        settings=settings,
        broken=broken,
        config=merge(flags.values()),
        origin={str(key).removesuffix("+"): name for name, layer in flags.items() for key in layer},
        answer=answer,
        facts=facts,
        host_facts=facts.get("host_facts", {}),
    )


def read_nodes(groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Node]:
    """Every host of the cluster → what is known of it. A host of both groups counts as a server."""
    roles = dict.fromkeys(groups.get("k3s_cluster", []), "")
    for group, role in reversed(ROLES.items()):
        roles |= dict.fromkeys(groups.get(group, []), role)
    return {name: read_node(role, hostvars[name]) for name, role in roles.items()}


def servers_of(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Those of the nodes that are servers."""
    return {name: node for name, node in nodes.items() if node.role == "server"}


def messages(faults: Sequence[Fault], all_hosts: Sequence[str] | Mapping[str, Node] = ()) -> list[str]:
    """Make one line of what several hosts share.

    Args:
        faults: What the checks return.
        all_hosts: Whose common faults need no names of hosts in front; those of settings, not those of machines.
    """
    hosts: dict[str, list[str]] = {}
    for host, fault in faults:
        hosts.setdefault(fault, []).append(host)
    return [
        fault
        if not names[0] or len(names) == len(all_hosts)
        else f"host{'s' * (len(names) > 1)} {', '.join(names)}: {fault}"
        for fault, names in hosts.items()
    ]


def inventory_faults(groups: Mapping[str, Sequence[str]], nodes: Mapping[str, Node]) -> Iterator[str]:
    """Faults of the inventory's ``groups`` (name → hosts): which hosts become which kind of node."""
    servers, agents = (groups.get(group, []) for group in ROLES)
    cluster, existing = (groups.get(group, []) for group in ("k3s_cluster", "kubernetes"))
    if existing and cluster:
        yield (
            "inventory: has hosts in kubernetes and in k3s_cluster; a cluster is the one or the other,"
            " use an inventory for each"
        )
    if len(existing) > 1:
        yield (
            f"inventory: the group kubernetes has {len(existing)} hosts; one host stands for the cluster,"
            " leave the others out"
        )
    if not servers and not existing:
        yield "inventory: the group k3s_servers has no host; put the host that is to run K3s there"
    # Two members of etcd outlive no more failures than one, four no more than three: https://etcd.io/docs/v3.5/faq/
    external = any(nodes[name].settings.get("k3s_datastore_endpoint") for name in servers)
    count = len(servers)
    if count and count % 2 == 0 and not external:
        yield (
            f"inventory: the group k3s_servers has {count} hosts; embedded etcd wants an odd number: use {count - 1}"
            f" or {count + 1}, or set k3s_datastore_endpoint to a datastore outside the cluster"
        )
    for name in sorted(set(servers) & set(agents)):
        yield f"inventory: {name} lies in k3s_servers and in k3s_agents; use only one (a server runs pods too)"
    stray = sorted(set(cluster) - set(servers) - set(agents))
    if stray:
        yield f"inventory: {', '.join(stray)} lie(s) in k3s_cluster itself; use its group k3s_servers or k3s_agents"
    for group in ROLES:
        if set(groups.get(group, [])) - set(cluster):
            yield f"inventory: {group} is not a child of k3s_cluster; see inventory/local/hosts.yml"


def builder_faults(builder: object) -> Iterator[str]:
    """Faults of ``greeter_builder``."""
    if builder not in BUILDERS:
        yield f"greeter_builder: {builder!r} is unknown; write {' or '.join(BUILDERS)}"
    elif shutil.which(str(builder)) is None:
        yield f"greeter_builder: {builder} is not installed on the controller; install it, or set the other one"
