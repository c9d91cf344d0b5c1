"""What each node of a cluster is and runs with, and what the cluster says of its nodes.

The arguments and results of each filter are described in the file of its name beside this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.greeter.fleet.plugins.plugin_utils.k3s_settings import Config, flag_values, merge, node_config

CONFIG_FILE = "/etc/rancher/k3s/config.yaml"
TOKEN_FILE = "/etc/rancher/k3s/token"
# The annotation by which the role marks a node that it has cordoned.
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


def url(address: str) -> str:
    """The URL of the API server at a host name or an address of either family."""
    return f"https://[{address}]:6443" if ":" in address else f"https://{address}:6443"


def membership(
    hostvars: Mapping[str, Mapping[str, Any]], host: str, servers: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Work out what a host is in the cluster, and by what it joins it.

    The initial server is the first of ``servers`` that holds a cluster already, or the first of all if none does: a
    server that was replaced joins the others, wherever it stands. A server that has joined keeps what it has joined by,
    and an agent does as long as that is an address of the cluster: so a replaced server restarts nobody else.
    """
    results = {each: hostvars[each].get("k3s_info", {}) for each in [*servers, host]}
    results |= {result["item"]: result for result in settings["left_out"]}
    infos = {each: result for each, result in results.items() if "has_cluster" in result}
    holders = [server for server in servers if server in infos and infos[server]["has_cluster"]]
    initial = holders[0] if holders else servers[0]
    addresses = {
        server: flag_values(node_config(hostvars[server], "server").get("node-ip"))
        + infos.get(server, {}).get("addresses", [])
        for server in servers
    }
    datastore = settings["datastore_endpoint"]
    address = settings["registration_address"] or next(iter(addresses[initial]), "")
    info, is_server = infos[host], host in servers
    joined_by = urlsplit(info["server_url"]).hostname
    server_url = url(address)
    if is_server and not info["has_cluster"]:
        if host == initial or datastore:
            server_url = ""
    elif is_server or (not settings["registration_address"] and any(joined_by in each for each in addresses.values())):
        server_url = info["server_url"]
    fault = ""
    unknown = [server for server in servers if server not in infos]
    if not holders and unknown:
        fault = (
            f"{', '.join(unknown)} cannot be asked whether there is a cluster already, and no other server has one; "
            "mend that first, or take it out of k3s_servers"
        )
    elif not holders and initial not in settings["running"]:
        fault = f"{initial} is the first server and has no K3s yet; run this for {initial} too"
    elif (server_url or not is_server) and not address:
        fault = (
            f"{initial} has no address that others could reach; "
            "set k3s_registration_address, or node-ip in its k3s_node_config"
        )
    # A cluster that is there goes on as it is; a new one has its Secrets encrypted.
    first = infos.get(initial, {})
    goes_on = holders or (settings["restores"] and CONFIG_FILE in first.get("present", []))
    encrypts = bool(first["found"]["settings"].get("secrets-encryption")) if goes_on else True
    shares_datastore = datastore and (TOKEN_FILE in info["present"] or not (info["has_cluster"] or host == initial))
    started = {*holders, *settings["running"]}
    return {
        "role": "server" if is_server else "agent",
        "initial_server": initial,
        "kubeconfig_server": next((server for server in servers if server in started), initial),
        "has_cluster": bool(holders),
        "server_url": server_url,
        "cluster_init": is_server and len(servers) > 1 and not datastore and not server_url,
        "secrets_encryption": encrypts,
        "needs_token": bool(settings["token"] or server_url or shares_datastore),
        "fault": fault,
    }


def configuration(
    settings: Mapping[str, Any],
    membership: Mapping[str, Any],
    tls_san: Sequence[str],
    datastore: Mapping[str, str],
    selinux: bool,
) -> dict[str, Config]:
    """Complete the settings of a node by what its membership asks for: ``plain`` and ``secret`` ones, for two files."""
    is_server = membership["role"] == "server"
    labelled = {"selinux": True} if selinux else {}
    hardened = (
        {"secrets-encryption": membership["secrets_encryption"], "write-kubeconfig-mode": "0600"} if is_server else {}
    )
    config = merge([labelled, hardened, settings])
    if is_server:
        names = merge([config, {"tls-san+": [name for name in tls_san if name]}])["tls-san"]
        config["tls-san"] = list(dict.fromkeys(names))
        if membership["cluster_init"]:
            config["cluster-init"] = True
        if datastore["endpoint"]:
            files = {name: f"/etc/rancher/k3s/datastore-{name}.pem" for name in datastore if name != "endpoint"}
            config |= {f"datastore-{name}": files.get(name, value) for name, value in datastore.items() if value}
    if membership["server_url"]:
        config["server"] = membership["server_url"]
    if membership["needs_token"]:
        config["token-file"] = TOKEN_FILE
    return {
        "plain": {key: value for key, value in config.items() if key not in SECRET},
        "secret": {key: value for key, value in config.items() if key in SECRET},
    }


def node_faults(answer: str, expected: Mapping[str, str], started: float | None = None) -> list[str]:
    """Tell what is wrong with the nodes of ``expected`` (name → version), from a List of Nodes as JSON text.

    Of a node that has ``started`` a moment ago (seconds since 1970, by its own clock) more is asked. It must be a full
    member of etcd, if it is one at all, and its Lease, which is in the List too, must have been renewed since: what the
    API says of a node that has just stopped stays true for a while.
    """
    objects = {(each["kind"], each["metadata"]["name"]): each for each in json.loads(answer)["items"]}
    faults = []
    for name, version in expected.items():
        node = objects.get(("Node", name))
        if node is None:
            faults.append(f"{name} is no node of the cluster")
            continue
        runs = node["status"]["nodeInfo"]["kubeletVersion"]
        conditions = _conditions(node)
        ready = conditions.get("Ready", {"status": "Unknown"})
        if runs != version:
            faults.append(f"{name} runs {runs}, wanted is {version}")
        if ready["status"] != "True":
            faults.append(f"{name} is not Ready: {ready.get('message', 'its kubelet has not said why')}")
        if started is not None:
            renewed = objects["Lease", name]["spec"].get("renewTime")
            if not renewed or datetime.fromisoformat(renewed).timestamp() <= started:
                faults.append(f"{name} has not been heard of since K3s started there")
            if conditions.get("EtcdIsVoter", {"status": "True"})["status"] != "True":
                faults.append(f"{name} is no voting member of etcd")
    return faults


def cordoned(answer: str, by_upgrade: bool) -> list[str]:
    """Name the nodes of a List, as JSON text, that an upgrade has cordoned and not let go yet, or that others have."""
    nodes = _nodes(answer)
    marked = [name for name, node in nodes.items() if CORDONED in node["metadata"].get("annotations", {})]
    if by_upgrade:
        return marked
    return [name for name, node in nodes.items() if node["spec"].get("unschedulable") and name not in marked]


def can_drain(answer: str, name: str) -> bool:
    """Say whether a node's pods can be moved: its kubelet is there to stop them, and another node takes any pod."""
    ready = {each: node for each, node in _nodes(answer).items() if _is_ready(node)}
    return name in ready and any(_takes_pods(node) for each, node in ready.items() if each != name)


def _nodes(answer: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in json.loads(answer)["items"] if each["kind"] == "Node"}


def _conditions(node: Mapping[str, Any]) -> dict[str, Any]:
    return {each["type"]: each for each in node["status"].get("conditions", [])}


def _is_ready(node: Mapping[str, Any]) -> bool:
    return bool(_conditions(node).get("Ready", {}).get("status") == "True")


def _takes_pods(node: Mapping[str, Any]) -> bool:
    # Kubernetes' own taints lag behind what they are for: a node that was let go a moment ago still has one.
    repelled = any(
        taint["effect"] in ("NoSchedule", "NoExecute") and not taint["key"].startswith("node.kubernetes.io/")
        for taint in node["spec"].get("taints", [])
    )
    return not node["spec"].get("unschedulable") and not repelled


class FilterModule:
    """The filters under the names that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {
            "k3s_settings": node_config,
            "k3s_membership": membership,
            "k3s_configuration": configuration,
            "k3s_url": url,
            "k3s_node_faults": node_faults,
            "k3s_cordoned": cordoned,
            "k3s_can_drain": can_drain,
        }
