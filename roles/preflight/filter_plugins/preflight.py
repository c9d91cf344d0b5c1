"""What can be wrong with the inventory, the settings, the hosts and the customers, in words that help.

Every filter returns a list of faults: one string each, ``where: what is wrong; what to write instead``. An empty list
means that nothing is wrong. No filter raises on bad input and none changes anything.
"""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# RFC 1123, as Kubernetes reads it: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
NAMESPACE_PREFIX = "customer-"
LABEL_BYTES = 63
HOST_BYTES = 253
# The service refuses more, see service/README.md.
GREETING_BYTES = 1024

CUSTOMER_KEYS = ("greeting", "host", "replicas")
DEFAULT_KEYS = ("replicas",)
BUILDERS = ("podman", "docker")
ARCHITECTURES = ("x86_64", "aarch64", "armv7l")
VERSION = re.compile(r"v\d+\.\d+\.\d+\S*\+\S+")


def kind(value: object) -> str:
    """Name a value's type as a person who writes YAML would."""
    names: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "a text"),
        (Mapping, "a mapping"),
        (Sequence, "a list"),
    ]
    return next((name for types, name in names if isinstance(value, types)), "empty")


def label_fault(label: str, longest: int = LABEL_BYTES) -> str | None:
    """Say what keeps ``label`` from being one part of a host name of at most ``longest`` characters."""
    if not LABEL.fullmatch(label):
        return "use only a-z, 0-9 and '-', with a letter or digit first and last"
    if len(label) > longest:
        return f"has {len(label)} characters; use at most {longest}"
    return None


def host_fault(host: str) -> str | None:
    """Say what keeps ``host`` from being a fully qualified host name."""
    if host.startswith("*"):
        return "is a wildcard; name one host"
    if len(host) > HOST_BYTES:
        return f"has {len(host)} characters; use at most {HOST_BYTES}"
    if "." not in host:
        return "has no domain; write a full name such as hello.example.com"
    return next((fault for part in host.split(".") if (fault := label_fault(part))), None)


def greeting_fault(greeting: object) -> str | None:
    """Say what keeps ``greeting`` from being served."""
    if not isinstance(greeting, str):
        return f"is {kind(greeting)}, not a text; put it in quotes"
    if not greeting.strip():
        return "is empty; write the text the host answers with"
    if any(unicodedata.category(char) == "Cc" for char in greeting):
        return "holds a control character, such as a line break; write it on one line"
    if any(unicodedata.category(char) == "Cs" for char in greeting):
        return "holds half of a character (a surrogate); write the whole character"
    if (size := len(greeting.encode())) > GREETING_BYTES:
        return f"has {size} bytes; use at most {GREETING_BYTES}"
    return None


def replicas_fault(replicas: object) -> str | None:
    """Say what keeps ``replicas`` from being a number of pods."""
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
        return "is not a number of pods; write 1 or more"
    return None


def unknown_keys(where: str, given: Mapping[str, object], known: Sequence[str]) -> list[str]:
    """One fault for each key of ``given`` that is not among ``known``."""
    return [f"{where}.{key}: is no setting; use {', '.join(known)}" for key in given if key not in known]


def _value_faults(where: str, given: Mapping[str, Any]) -> list[str]:
    checks: dict[str, Callable[[Any], str | None]] = {
        "greeting": greeting_fault,
        "replicas": replicas_fault,
        "host": lambda host: host_fault(host) if isinstance(host, str) else f"is {kind(host)}, not a host name",
    }
    return [f"{where}.{key}: {fault}" for key, check in checks.items() if key in given and (fault := check(given[key]))]


def _one_customer(key: object, customer: object) -> list[str]:
    where = f"customers.{key}"
    if not isinstance(key, str):
        return [f"{where}: the name is {kind(key)}, not a text; put it in quotes"]
    faults = []
    if fault := label_fault(key, LABEL_BYTES - len(NAMESPACE_PREFIX)):
        faults.append(f"{where}: is no name for a customer; {fault}")
    if not isinstance(customer, Mapping):
        return [*faults, f'{where}: is {kind(customer)}; write a mapping such as {{greeting: "Hi!"}}']
    if "greeting" not in customer:
        faults.append(f'{where}.greeting: is missing; write the text the host answers with, such as greeting: "Hi!"')
    return faults + _value_faults(where, customer) + unknown_keys(where, customer, CUSTOMER_KEYS)


def _shared_hosts(customers: Mapping[Any, Any], domain: object) -> list[str]:
    owners: dict[str, list[str]] = {}
    for key, customer in customers.items():
        if isinstance(customer, Mapping):
            host = customer.get("host", f"{NAMESPACE_PREFIX}{key}.{domain}")
            owners.setdefault(str(host), []).append(str(key))
    return [
        f"customers.{keys[-1]}.host: {host} belongs to customer {keys[0]} already; every host needs one owner"
        for host, keys in owners.items()
        if len(keys) > 1
    ]


def customer_faults(customers: object, domain: object, defaults: object) -> list[str]:
    """Faults of ``customers`` (name → settings), ``customers_domain`` and ``customers_defaults``."""
    faults = []
    if not isinstance(domain, str) or (fault := host_fault(domain)):
        why = fault if isinstance(domain, str) else f"is {kind(domain)}, not a domain such as example.com"
        faults.append(f"customers_domain: {why}")
    if isinstance(defaults, Mapping):
        faults += _value_faults("customers_defaults", defaults)
        faults += unknown_keys("customers_defaults", defaults, DEFAULT_KEYS)
    else:
        faults.append(f"customers_defaults: is {kind(defaults)}; write a mapping such as {{replicas: 1}}")
    if not isinstance(customers, Mapping):
        return [
            *faults,
            f'customers: is {kind(customers)}; write a mapping such as {{a: {{greeting: "Hi!"}}}}',
        ]
    if not customers:
        faults.append('customers: is empty; write at least one, such as {a: {greeting: "Hi!"}}')
    for key, customer in customers.items():
        faults += _one_customer(key, customer)
    return faults + _shared_hosts(customers, domain)


def inventory_faults(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Faults of the inventory's ``groups`` (name → hosts): which hosts become which kind of node."""
    servers = groups.get("k3s_servers", [])
    agents = groups.get("k3s_agents", [])
    faults = []
    if not servers:
        faults.append("inventory: the group k3s_servers has no host; put the host that is to run K3s there")
    if len(servers) > 1:
        faults.append(f"inventory: the group k3s_servers has {len(servers)} hosts; this release runs one server")
    if agents:
        faults.append("inventory: the group k3s_agents has hosts; this release runs one server and no agents")
    stray = sorted(set(groups.get("k3s_cluster", [])) - set(servers) - set(agents))
    if stray:
        faults.append(f"inventory: {', '.join(stray)} lie(s) in k3s_cluster itself; use its group k3s_servers")
    if set(servers) - set(groups.get("k3s_cluster", [])):
        faults.append("inventory: k3s_servers is not a child of k3s_cluster; see inventory/local/hosts.yml")
    return faults


def setting_faults(settings: Mapping[str, Any]) -> list[str]:
    """Faults of the cluster's and the image's settings (variable → value)."""
    faults = []
    version = settings["k3s_version"]
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        faults.append(f"k3s_version: {version!r} is no release; write one such as v1.35.6+k3s1")
    config = settings["k3s_config"]
    if not isinstance(config, Mapping):
        faults.append(f"k3s_config: is {kind(config)}; write a mapping of K3s flags, such as {{disable: [servicelb]}}")
    folder = settings["k3s_artifact_dir"]
    if folder and not Path(str(folder)).is_dir():
        faults.append(
            f"k3s_artifact_dir: {folder} is no folder on the controller; name one, or leave it empty to download"
        )
    manifests = settings["k3s_manifests"]
    if isinstance(manifests, str) or not isinstance(manifests, Sequence):
        faults.append(f"k3s_manifests: is {kind(manifests)}; write a list of files")
    else:
        faults += [
            f"k3s_manifests: {path} is no file on the controller" for path in manifests if not Path(str(path)).is_file()
        ]
    builder = settings["greeter_builder"]
    if builder not in BUILDERS:
        faults.append(f"greeter_builder: {builder!r} is unknown; write {' or '.join(BUILDERS)}")
    elif shutil.which(builder) is None:
        faults.append(
            f"greeter_builder: {builder} is not installed on the controller; install it, or set the other one"
        )
    return faults


def host_faults(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Faults of those of the ``hosts`` that were asked for their facts, from what Ansible knows of each."""
    faults = []
    for name in hosts:
        answer = hostvars[name].get("_preflight_facts")
        if answer is None:
            continue
        if answer.get("unreachable") or answer.get("failed"):
            # What the host itself said stands in the part's own result, and says more than the summary.
            parts = answer.get("failed_modules", {}).values()
            said = [part.get("module_stderr", "").strip() or part.get("msg", "") for part in parts]
            faults.append(f"host {name}: cannot be used; {'; '.join(said) or answer['msg']}")
            continue
        facts = hostvars[name]["ansible_facts"]
        if facts.get("service_mgr") != "systemd":
            faults.append(f"host {name}: runs {facts.get('service_mgr')}; use a host whose services systemd runs")
        if facts.get("architecture") not in ARCHITECTURES:
            machines = ", ".join(ARCHITECTURES)
            faults.append(f"host {name}: K3s has no release for {facts.get('architecture')}; use one of {machines}")
    return faults


class FilterModule:
    """The filters under the names that playbooks use."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Name → filter."""
        return {
            "preflight_customer_faults": customer_faults,
            "preflight_inventory_faults": inventory_faults,
            "preflight_setting_faults": setting_faults,
            "preflight_host_faults": host_faults,
        }
