"""Whether a K3s that is on a host may be taken over, and whether it can live with the settings that are wanted now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.greeter.fleet.plugins.module_utils.k3s_found import BINARY, datastore

from .k3s_settings import flag_values, layers, merge

# Flags that a cluster has for good, and what K3s does where they are not set (one of several, by its addresses):
# https://docs.k3s.io/cli/server#critical-configuration-values
OF_CLUSTER: dict[str, Sequence[str]] = {
    "cluster-cidr": ("10.42.0.0/16", "fd00:42::/56", "10.42.0.0/16,fd00:42::/56", "fd00:42::/56,10.42.0.0/16"),
    "service-cidr": ("10.43.0.0/16", "fd00:43::/112", "10.43.0.0/16,fd00:43::/112", "fd00:43::/112,10.43.0.0/16"),
    "cluster-dns": (),
    "cluster-domain": ("cluster.local",),
    "flannel-backend": ("vxlan",),
    "secrets-encryption": ("false",),
}
# What this project leaves at K3s' default.
FIXED = {"data-dir": "/var/lib/rancher/k3s", "https-listen-port": "6443"}
NEW_CLUSTER = "or uninstall it, and make a new cluster"
REMEDIES = {
    "flannel-backend": (
        "or change it on all servers by hand and boot every node again: "
        "https://docs.k3s.io/networking/basic-network-options"
    ),
    "secrets-encryption": "or do by hand what https://docs.k3s.io/cli/secrets-encrypt says",
}
DNS_PLACE = 10


def takeover_faults(variables: Mapping[str, Any], found: Mapping[str, Any], version: str) -> Iterator[str]:
    """Say which files are those of somebody else's K3s, unless ``k3s_adopt`` takes it over.

    A binary alone is none, if it is of the release that is wanted.
    """
    foreign = list(found["foreign"])
    is_wanted = foreign == [BINARY] and version == variables.get("k3s_version")
    if foreign and not is_wanted and not boolean(variables.get("k3s_adopt", False), strict=False):
        yield (
            f"has a K3s that this project has not put there ({', '.join(foreign)}); take the host out of the inventory,"
            " or set k3s_adopt: true, which keeps a copy of its files on the host and takes it over"
        )


def change_faults(variables: Mapping[str, Any], role: str, found: Mapping[str, Any], nodename: str) -> Iterator[str]:
    """Say which settings the cluster, or the node, that is on a host cannot be changed to.

    Args:
        variables: The settings ``k3s_…`` of the host.
        role: ``server`` or ``agent``.
        found: What the host has, by `k3s_found` of the module utilities.
        nodename: The host's name.
    """
    # What a restore replaces needs not go on.
    if variables.get("k3s_restore_from"):
        return
    flags = layers(variables, role)
    wanted, has = merge(flags.values()), found["settings"]
    origin = {str(key).removesuffix("+"): name for name, layer in flags.items() for key in layer}
    for flag, default in FIXED.items():
        if str(has.get(flag, default)).rstrip("/") != default:
            yield (
                f"has a K3s with {flag} {has[flag]}, and this project runs it with {default}; move it there first,"
                " or take the host out of the inventory"
            )
    yield from _node_faults(wanted, has, found, nodename)
    if not found["state"]:
        return
    for flag, defaults in OF_CLUSTER.items():
        if flag == "secrets-encryption" and flag not in wanted:
            continue  # it then stays as it is
        now, then = _values(flag, has.get(flag)), _values(flag, wanted.get(flag))
        if flag == "cluster-dns":
            now, then = now or _default_dns(has), then or _default_dns(wanted)
        if now != then and not (not now and then in defaults) and not (not then and now in defaults):
            name = f"{origin.get(flag, f'k3s_{role}_config')}.{flag}"
            is_now = now or (defaults[0] if defaults else "K3s' default")
            yield (
                f"{name}: is {then or 'not set'}, and the cluster that runs here has {is_now}, which K3s cannot change"
                f" later; write {is_now}, {REMEDIES.get(flag, NEW_CLUSTER)}"
            )
    yield from _datastore_faults(str(variables.get("k3s_datastore_endpoint") or ""), found)


def _node_faults(
    wanted: Mapping[str, Any], has: Mapping[str, Any], found: Mapping[str, Any], nodename: str
) -> Iterator[str]:
    """Say whether the node would get another name, or a member of etcd another address."""
    name, now = str(wanted.get("node-name") or nodename).lower(), found["node_name"]
    if now and name and now != name and not wanted.get("with-node-id") and not has.get("with-node-id"):
        yield (
            f"is the node {now} of its cluster, and would be {name}; write node-name: {now} into its k3s_node_config,"
            " or take it off the cluster first (playbooks/uninstall.yml with --limit), to join it anew"
        )
    before, after = (flag_values(flags.get("node-ip"))[:1] for flags in (has, wanted))
    if found["state"] == "etcd" and before and after and before != after:
        yield (
            f"k3s_node_config.node-ip: is {after[0]}, and etcd knows this server by {before[0]}; write that, or take"
            " the server off the cluster first (playbooks/uninstall.yml with --limit), to join it anew"
        )


def _datastore_faults(endpoint: str, found: Mapping[str, Any]) -> Iterator[str]:
    """Say whether the cluster's state would be looked for elsewhere than it is."""
    embedded = {"etcd": "embedded etcd", "sqlite": "SQLite"}.get(found["state"], "")
    # A server whose database is not here must have one elsewhere, or nothing is known.
    now, then = found["settings"].get("datastore", ""), datastore(endpoint)
    if (not now and not embedded) or now == then:
        return
    if now.startswith("etcd ") and then.startswith("etcd ") and _hosts(now) & _hosts(then):
        return
    yield (
        f"k3s_datastore_endpoint: leads to {then or 'no datastore'}, and the state of the cluster that runs here lies"
        f" in {now or embedded}; K3s would start as an empty cluster: {'write that one' if now else 'leave it empty'},"
        " or move the state yourself first (docs/cluster.md)"
    )


def _hosts(datastore_name: str) -> set[str]:
    return set(datastore_name.partition(" ")[2].split(","))


def _values(flag: str, value: object) -> str:
    """The values of a flag in one text, so that two that mean the same are equal; nothing if it is not set."""
    if value is None or value == "":
        return ""
    values = flag_values(value)
    return ",".join(_network(each) if flag.endswith("-cidr") else each.lower().rstrip(".") for each in values)


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        return text


def _default_dns(flags: Mapping[str, Any]) -> str:
    """The address that K3s gives DNS by itself: the tenth of each of the networks for services."""
    networks = _values("service-cidr", flags.get("service-cidr")) or OF_CLUSTER["service-cidr"][0]
    try:
        return ",".join(str(ip_network(each)[DNS_PLACE]) for each in networks.split(","))
    except (ValueError, IndexError):
        return ""
