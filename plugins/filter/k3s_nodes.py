"""What each node of a cluster is to run with: its part in the cluster, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

Config = dict[str, Any]

PORT = 6443
TOKEN_FILE = "/etc/rancher/k3s/token"
# How the role marks a node that it has cordoned.
CORDONED = "greeter-fleet/cordoned"
# Kept out of config.yaml, so that changes of everything else can be shown.
SECRET = (
    "agent-token",
    "datastore-endpoint",
    "etcd-s3-access-key",
    "etcd-s3-secret-key",
    "etcd-s3-session-token",
    "token",
    "vpn-auth",
)


def merged(layers: Sequence[Mapping[str, Any]]) -> Config:
    """Join layers of K3s' settings: a later value replaces an earlier one, ``key+`` adds to it.

    Source: https://docs.k3s.io/installation/configuration#value-merge-behavior
    """
    result: Config = {}
    for layer in layers:
        for written, value in layer.items():
            key = written.removesuffix("+")
            result[key] = _listed(result.get(key)) + _listed(value) if written.endswith("+") else value
    return result


def _listed(value: object) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def url(address: str) -> str:
    """The URL of the API server at a host name or an address of either family."""
    return f"https://[{address}]:{PORT}" if ":" in address else f"https://{address}:{PORT}"


def own_settings(hostvars: Mapping[str, Any], is_server: bool) -> Config:
    """A node's own settings: those of all, of its kind and of the host itself."""
    names = ("k3s_config", "k3s_server_config" if is_server else "k3s_agent_config", "k3s_node_config")
    return merged([hostvars.get(name) or {} for name in names])


def part(
    hostvars: Mapping[str, Mapping[str, Any]], host: str, servers: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Say which part a host has in the cluster.

    The initial server is the first of ``servers`` that holds a cluster already, or the first of all if none does: a
    server that was replaced joins the others, wherever it stands. A server that has joined keeps what it has joined by,
    and an agent does as long as that is an address of the cluster: so a replaced server restarts nobody else.

    Args:
        hostvars: Host → its variables, among them ``_k3s_info``, what the module has returned there.
        host: The host in question, which must have been looked at.
        servers: All servers, in the inventory's order.
        settings: ``registration_address``, ``datastore_endpoint``, ``token`` (texts, may be empty), ``others`` (host →
            what the module has returned on servers that this run leaves out), ``running`` (the hosts of this run).

    Returns:
        ``initial`` (a host), ``first`` (the first server there will be when all of this run have started),
        ``has_cluster`` (whether there is one already), ``server_url`` (empty for who starts a cluster or has its state
        elsewhere), ``cluster_init``, ``needs_token`` (whether it takes the token from a file), ``fault`` (empty, or why
        this run cannot go on).
    """
    looks = {each: hostvars[each].get("_k3s_info") or settings["others"].get(each) or {} for each in [*servers, host]}
    unseen = [server for server in servers if "present" not in looks[server]]
    holders = [server for server in servers if looks[server].get("has_cluster")]
    initial = holders[0] if holders else servers[0]
    addresses = {
        server: _listed(own_settings(hostvars[server], is_server=True).get("node-ip"))
        + looks[server].get("addresses", [])
        for server in servers
    }
    registration, datastore = settings["registration_address"], settings["datastore_endpoint"]
    address = registration or next((str(each).split(",")[0] for each in addresses[initial]), "")
    look = looks[host]
    new = host != initial and not look["has_cluster"]
    if host not in servers:
        kept = not registration and any(urlsplit(look["server_url"]).hostname in each for each in addresses.values())
        server_url = look["server_url"] if kept else url(address)
    elif look["has_cluster"]:
        server_url = look["server_url"]
    else:
        server_url = "" if datastore or not new else url(address)
    fault = ""
    if not holders and unseen:
        fault = (
            f"{', '.join(unseen)} cannot be asked whether there is a cluster already, and no other server has one; "
            "mend that first, or take it out of k3s_servers"
        )
    elif not holders and initial not in settings["running"]:
        fault = f"{initial} is the first server and has no K3s yet; run this for {initial} too"
    elif (server_url or host not in servers) and not address:
        fault = (
            f"{initial} has no address that others could reach; "
            "set k3s_registration_address, or node-ip in its k3s_node_config"
        )
    return {
        "initial": initial,
        "first": next((each for each in servers if each in holders or each in settings["running"]), initial),
        "has_cluster": bool(holders),
        "server_url": server_url,
        "cluster_init": host in servers and len(servers) > 1 and not datastore and not server_url,
        "needs_token": bool(settings["token"] or server_url or (datastore and (new or TOKEN_FILE in look["present"]))),
        "fault": fault,
    }


def configuration(
    own: Mapping[str, Any], part: Mapping[str, Any], is_server: bool, names: Sequence[str], datastore: Mapping[str, str]
) -> dict[str, Config]:
    """Complete a node's own settings by what its part in the cluster asks for.

    Args:
        own: What `own_settings` gives.
        part: What `part` gives.
        is_server: Whether the node is one.
        names: Host names and addresses that a server's certificate has to name too; empty ones do not count.
        datastore: ``endpoint``, ``cafile``, ``certfile`` and ``keyfile`` of a datastore outside the cluster; empty for
            none. The files lie beside the configuration.

    Returns:
        ``plain`` for config.yaml, and ``secret`` for a file beside it.
    """
    result = merged([{"secrets-encryption": True, "write-kubeconfig-mode": "0600"} if is_server else {}, own])
    if is_server:
        result["tls-san"] = list(dict.fromkeys([*_listed(result.get("tls-san")), *filter(None, names)]))
        if part["cluster_init"]:
            result["cluster-init"] = True
        if datastore["endpoint"]:
            files = {name: f"/etc/rancher/k3s/datastore-{name}.pem" for name in datastore if name != "endpoint"}
            result |= {f"datastore-{name}": files.get(name, value) for name, value in datastore.items() if value}
    if part["server_url"]:
        result["server"] = part["server_url"]
    if part["needs_token"]:
        result["token-file"] = TOKEN_FILE
    return {
        "plain": {key: value for key, value in result.items() if key not in SECRET},
        "secret": {key: value for key, value in result.items() if key in SECRET},
    }


def _conditions(node: Mapping[str, Any]) -> dict[str, Any]:
    return {each["type"]: each for each in node["status"].get("conditions", [])}


def _is_ready(node: Mapping[str, Any]) -> bool:
    return bool(_conditions(node).get("Ready", {}).get("status") == "True")


def is_ready(node: str) -> bool:
    """Say whether a Node, as JSON text, is Ready; a node that is not there (no text) is not."""
    return bool(node.strip()) and _is_ready(json.loads(node))


def is_back(answer: str, version: str, started: float) -> bool:
    """Say whether a node has started anew, from a List of it and its Lease as JSON text.

    It is Ready at ``version``, a full member of etcd if it is one at all, and its kubelet has renewed its Lease since
    K3s ``started`` (seconds since 1970, by the node's own clock, as is the Lease): what the API says of a node that has
    just stopped stays true for a while.
    """
    objects = {each["kind"]: each for each in json.loads(answer)["items"]}
    conditions = _conditions(objects["Node"])
    renewed = objects["Lease"]["spec"].get("renewTime")
    return bool(
        objects["Node"]["status"]["nodeInfo"]["kubeletVersion"] == version
        and conditions.get("Ready", {}).get("status") == "True"
        and conditions.get("EtcdIsVoter", {}).get("status", "True") == "True"
        and renewed
        and datetime.fromisoformat(renewed).timestamp() > started
    )


def not_ready(answer: str, expected: Mapping[str, str]) -> list[str]:
    """Tell what is wrong with the nodes of ``expected`` (name → version), from a NodeList as JSON text."""
    nodes = {node["metadata"]["name"]: node for node in json.loads(answer)["items"]}
    faults = []
    for name, version in expected.items():
        if name not in nodes:
            faults.append(f"{name} is no node of the cluster")
            continue
        runs = nodes[name]["status"]["nodeInfo"]["kubeletVersion"]
        ready = _conditions(nodes[name]).get("Ready", {"status": "Unknown"})
        if runs != version:
            faults.append(f"{name} runs {runs}, wanted is {version}")
        if ready["status"] != "True":
            faults.append(f"{name} is not Ready: {ready.get('message', 'its kubelet has not said why')}")
    return faults


def _nodes(answer: str) -> dict[str, dict[str, Any]]:
    items = json.loads(answer)["items"]
    return {each["metadata"]["name"]: each for each in items if each.get("kind", "Node") == "Node"}


def is_kept_cordoned(answer: str, name: str) -> bool:
    """Say whether the operator has cordoned a node, from a NodeList as JSON text; an upgrade's own mark tells."""
    return bool(_nodes(answer)[name]["spec"].get("unschedulable")) and name not in cordoned_for_upgrade(answer)


def cordoned_for_upgrade(answer: str) -> list[str]:
    """Name the nodes of a List, as JSON text, that an upgrade has cordoned and not let go yet."""
    return [name for name, node in _nodes(answer).items() if CORDONED in node["metadata"].get("annotations", {})]


def can_drain(answer: str, name: str) -> bool:
    """Say whether a node's pods can be moved, from a NodeList as JSON text.

    They can if its kubelet is there to stop them, and another node takes pods of every kind.
    """
    nodes = _nodes(answer)
    others = [node for other, node in nodes.items() if other != name and _takes_pods(node)]
    return bool(name in nodes and _is_ready(nodes[name]) and others)


def _takes_pods(node: Mapping[str, Any]) -> bool:
    # Kubernetes' own taints lag behind what they are for: a node that was let go a moment ago still has one.
    repelled = any(
        taint["effect"] in ("NoSchedule", "NoExecute") and not taint["key"].startswith("node.kubernetes.io/")
        for taint in node["spec"].get("taints", [])
    )
    return _is_ready(node) and not node["spec"].get("unschedulable") and not repelled


class FilterModule:
    """The filters under the names that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {
            "k3s_own_settings": own_settings,
            "k3s_part": part,
            "k3s_configuration": configuration,
            "k3s_url": url,
            "k3s_is_ready": is_ready,
            "k3s_is_back": is_back,
            "k3s_not_ready": not_ready,
            "k3s_is_kept_cordoned": is_kept_cordoned,
            "k3s_cordoned_for_upgrade": cordoned_for_upgrade,
            "k3s_can_drain": can_drain,
        }
