"""What K3s sets up in a host's network. Other Kubernetes use the same names: call these only where K3s has run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_network
from pathlib import Path

from .host import POD_NETWORK, Host, Leftover, inode, output_lines, read, run
from .mounts import unmount
from .processes import own_processes, running_processes

INTERFACES = ("cni0", "flannel.1", "flannel-v6.1", "flannel-wg", "flannel-wg-v6", "kube-ipvs0")

# The network for whose pod a rule is, in its comment: https://www.cni.dev/plugins/current/meta/portmap/
CNI_NETWORK = re.compile(r'name: "([^"]+)')


def network_namespaces(host: Host) -> Iterator[Leftover]:
    """Network namespaces of pods; those in which somebody else's processes are stay."""
    running = running_processes(host)
    others = set(running) - own_processes(running, host.has_run_k3s)
    used = {inode(host.path(f"/proc/{number}/ns/net")) for number in others}
    for file in sorted(host.path("/run/netns").glob("cni-*")):
        if inode(file) not in used:
            yield Leftover(f"network namespace {file.name}", partial(_remove_namespace, file))


def _remove_namespace(file: Path) -> None:
    unmount(str(file))
    file.unlink()


def interfaces(host: Host) -> Iterator[Leftover]:
    """The interfaces of the pod network, the bridge's ends of pods first."""
    folder = host.path("/sys/class/net")
    ends = sorted(each.parent.name for each in folder.glob("veth*/master") if each.resolve().name == "cni0")
    for name in [*ends, *(name for name in INTERFACES if (folder / name).exists())]:
        yield Leftover(f"interface {name}", partial(run, "ip", "link", "delete", name))


def addresses(host: Host) -> Iterator[Leftover]:
    """The address that kube-vip keeps on one of the servers: by itself, without a network around it."""
    address = host.kube_vip_address
    if not address:
        return
    family, length = ("-6", 128) if ":" in address else ("-4", 32)
    for words in map(str.split, output_lines("ip", family, "-oneline", "address", "show", "to", address)):
        interface, with_length = words[1], words[3]
        if with_length.endswith(f"/{length}"):
            command = ("ip", family, "address", "delete", with_length, "dev", interface)
            yield Leftover(f"address {address} of {interface}", partial(run, *command))


def packet_filters(host: Host) -> Iterator[Leftover]:
    """Rules, chains and sets of kube-proxy, the network policies, flannel and the CNI plugins."""
    asked = set()
    for family in ("ip", "ip6"):
        for kind in ("", "-nft", "-legacy"):
            tool = f"{family}tables{kind}"
            program = (family, os.path.realpath(shutil.which(f"{tool}-save") or ""))
            # Where nothing is legacy, asking would load its modules.
            if program in asked or (kind == "-legacy" and not read(host.path(f"/proc/net/{family}_tables_names"))):
                continue
            asked.add(program)
            rest = without_own_rules("\n".join(output_lines(f"{tool}-save", "-c")))
            for table in re.findall(r"^\*(\S+)", rest, re.MULTILINE):
                yield Leftover(f"rules of {tool} in {table}", partial(_remove_rules, tool))
    for line in output_lines("nft", "list", "tables"):
        words = line.split()
        if words[-1:] == ["kube-proxy"]:
            yield Leftover(f"{line} of nft", partial(run, "nft", "delete", *words))
    for name in output_lines("ipset", "list", "-n"):
        if name.startswith(("KUBE-", "inet6:KUBE-")):
            yield Leftover(f"ipset {name}", partial(run, "ipset", "destroy", name))


def _remove_rules(tool: str) -> None:
    """Put back the tables that hold rules of K3s without these; other tables are not touched."""
    rest = without_own_rules(run(f"{tool}-save", "-c"))
    if rest:
        run(f"{tool}-restore", "--counters", "--wait=10", text=rest)


def without_own_rules(saved: str) -> str:
    """What ``iptables-save`` gives, without K3s' chains and rules; only the tables that had any.

    Rules of others stay, also if their comment only mentions K3s' words. Chains of the CNI plugins are shared: where a
    rule names another network than K3s', only the rules that name K3s', and the chains of single pods that they lead
    to, go.
    """
    kept = []
    for table in re.findall(r"^\*.*?^COMMIT$", saved, re.MULTILINE | re.DOTALL):
        rules = [(line, *_chains_and_comment(line)) for line in table.splitlines()]
        pods = [chains[-1] for _, chains, comment in rules if POD_NETWORK in CNI_NETWORK.findall(comment)]
        is_shared = any(set(CNI_NETWORK.findall(comment)) - {POD_NETWORK} for _, _, comment in rules)
        own = ("KUBE-", "FLANNEL-", *((chain for chain in pods if chain.startswith("CNI-")) if is_shared else ["CNI-"]))
        rest = [
            line
            for line, chains, comment in rules
            if not comment.startswith(("KUBE-ROUTER rule ", "flanneld "))
            and not any(chain.startswith(own) for chain in chains)
        ]
        if len(rest) < len(rules):
            kept += rest
    return "".join(f"{line}\n" for line in kept)


def _chains_and_comment(line: str) -> tuple[list[str], str]:
    """The chain that a line makes, or the one a rule is in and the one it leads to; and its comment."""
    try:
        words = shlex.split(line)
    except ValueError:
        # Text of others with a quote in it: K3s' own rules have none.
        return [], ""
    if line.startswith(":"):
        return [words[0][1:]], ""
    value = dict(zip(words, words[1:]))
    return [value[option] for option in ("-A", "-j", "-g") if option in value], value.get("--comment", "")


def routes(host: Host) -> Iterator[Leftover]:
    """Routes to other nodes' pods: by way of a node, to a part of one of the networks."""
    pods = [ip_network(network, strict=False) for network in host.networks]
    for family in ("-4", "-6"):
        for words in map(str.split, output_lines("ip", family, "route", "show")):
            if "via" in words and re.match(r"[0-9a-f.:]+/\d+$", words[0]):
                to = ip_network(words[0])
                if any(to.version == each.version and to != each and to.subnet_of(each) for each in pods):  # type: ignore[arg-type]
                    yield Leftover(f"route {to}", partial(run, "ip", family, "route", "delete", str(to)))
