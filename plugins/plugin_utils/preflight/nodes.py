"""What is known of every node, and what can be wrong with the inventory and with the controller.

A node is what ``nodes`` gives of a host: its ``role`` (server, agent, or nothing), its ``settings`` (the k3s_ variables
that somebody has set for it), those of them that are ``broken`` (name → why), the ``config`` that K3s gets of them and
``origin`` (key of the config → variable it is from), and the ``limits`` that somebody has set for it. A host that this
run has asked also has Ansible's ``answer``, the ``facts`` that came of it, and ``look``, what host_facts answered.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Node = Mapping[str, Any]
# A host, or none, and a fault of it.
Told = tuple[str, str]

ROLES = {"k3s_servers": "server", "k3s_agents": "agent"}
LIMITS = ("preflight_server_memory", "preflight_agent_memory", "preflight_disk", "preflight_clock")
BUILDERS = ("podman", "docker")


def plain(value: object) -> object:
    """Give a variable's value with everything in it worked out.

    Raises:
        Exception: whatever Ansible raises of a value that cannot be worked out.
    """
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(inner) for inner in value]
    # What stands for a value that cannot be worked out says so as soon as it is used.
    str(value)
    return value


def as_list(value: object) -> list[Any]:
    """The parts of a flag that may be given several times: K3s takes a list, or one text with commas."""
    if isinstance(value, str):
        return value.split(",")
    return value if isinstance(value, list) else [] if value is None else [value]


def merged(settings: Mapping[str, Any], role: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The config that K3s gets of a host's settings, and the variable each of its keys is from.

    A later file wins over an earlier one, and a key that ends in ``+`` appends:
    https://docs.k3s.io/installation/configuration#multiple-config-files
    """
    config: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for variable in ("k3s_config", f"k3s_{role}_config", "k3s_node_config"):
        given = settings.get(variable)
        for key, value in given.items() if isinstance(given, Mapping) else ():
            name = str(key).removesuffix("+")
            config[name] = as_list(config.get(name)) + as_list(value) if str(key).endswith("+") else value
            origin[name] = variable
    return config, origin


def node(role: str, variables: Mapping[str, Any]) -> Node:
    """What is known of one host, from all of its ``variables``."""
    settings: dict[str, Any] = {}
    broken: dict[str, str] = {}
    for name in [name for name in variables if name.startswith("k3s_")]:
        try:
            settings[name] = plain(variables[name])
        except Exception as error:  # of any plugin that the value may call
            broken[name] = " ".join(str(error).split())
    config, origin = merged(settings, role)
    limits = {name: variables[name] for name in LIMITS if name in variables}
    known: dict[str, Any] = {
        "role": role,
        "settings": settings,
        "broken": broken,
        "config": config,
        "origin": origin,
        "limits": limits,
    }
    if (answer := variables.get("_preflight_facts")) is not None:
        known["answer"] = answer
        known["facts"] = variables.get("ansible_facts", {})
        known["look"] = known["facts"].get("host_facts")
    return known


def nodes(groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Node]:
    """Every host of the cluster → what is known of it."""
    roles = dict.fromkeys(groups.get("k3s_cluster", []), "")
    for group, role in reversed(ROLES.items()):
        roles |= dict.fromkeys(groups.get(group, []), role)
    return {name: node(role, hostvars[name]) for name, role in roles.items()}


def setting_faults(
    nodes: Mapping[str, Node], checks: Mapping[str, Callable[[str, Any], Iterator[str]]]
) -> Iterator[Told]:
    """Faults of every setting that is set for a host and has a check of its own."""
    for name, node in nodes.items():
        for setting, check in checks.items():
            if setting in node["broken"]:
                yield name, f"{setting}: cannot be worked out: {node['broken'][setting]}"
            elif setting in node["settings"]:
                yield from ((name, fault) for fault in check(setting, node["settings"][setting]))


def told(faults: Sequence[Sequence[str]], all_hosts: Sequence[str] | Mapping[str, Node] = ()) -> list[str]:
    """Make one line of what several hosts share.

    Args:
        faults: Pairs of a host, or none, and a fault.
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


def inventory_faults(groups: Mapping[str, Sequence[str]], known: Mapping[str, Node]) -> list[str]:
    """Faults of the inventory's ``groups`` (name → hosts): which hosts become which kind of node."""
    return list(_inventory(groups, known))


def _inventory(groups: Mapping[str, Sequence[str]], known: Mapping[str, Node]) -> Iterator[str]:
    servers, agents = (groups.get(group, []) for group in ROLES)
    cluster = groups.get("k3s_cluster", [])
    if not servers:
        yield "inventory: the group k3s_servers has no host; put the host that is to run K3s there"
    # Two members of etcd outlive no more failures than one, four no more than three: https://etcd.io/docs/v3.5/faq/
    external = any(known[name]["settings"].get("k3s_datastore_endpoint") for name in servers)
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


def image_faults(builder: object) -> list[str]:
    """Faults of ``greeter_builder``."""
    if builder not in BUILDERS:
        return [f"greeter_builder: {builder!r} is unknown; write {' or '.join(BUILDERS)}"]
    if shutil.which(str(builder)) is None:
        return [f"greeter_builder: {builder} is not installed on the controller; install it, or set the other one"]
    return []
