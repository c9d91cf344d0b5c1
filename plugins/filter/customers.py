"""The declared customers, with every setting filled in: the one place that knows the defaults."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

NAMESPACE_PREFIX = "customer-"

BUILT_IN: dict[str, Any] = {
    "replicas": 1,
    "resources": {
        "requests": {"cpu": "10m", "memory": "48Mi"},
        "limits": {"cpu": "500m", "memory": "64Mi"},
    },
    "labels": {},
    "annotations": {},
    "node_selector": {},
    "tolerations": [],
    "env": {},
    "disruption_budget": True,
    "tls": {},
}
# Of these a customer's own keys join those of all; every other setting is replaced as a whole.
MERGED = ("annotations", "env", "labels", "node_selector", "resources")
# Who says the one takes back what a lower layer says of the other.
EITHER = ({"replicas", "autoscaling"}, {"host", "hosts"})

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:(m|k|[KMGTPE]i|[MGTPE])|[eE]([+-]?\d{1,2}))?")
SUFFIXES = {"m": Decimal("0.001"), "k": Decimal(1000)}
SUFFIXES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate("MGTPE", 2)}
SUFFIXES |= {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)}
MEBI = 1024**2
# Pods beyond the declared ones that the quota leaves room for: those of a rollout, and cert-manager's solver.
SPARE_PODS = 2


def quantity(text: object) -> Decimal | None:
    """Read a Kubernetes quantity such as ``500m`` or ``64Mi``; None if it is none."""
    found = QUANTITY.fullmatch(str(text))
    if not found:
        return None
    number, suffix, exponent = found.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else SUFFIXES.get(suffix, Decimal(1)))


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for pair in EITHER:
        if pair & high.keys():
            merged = {key: value for key, value in merged.items() if key not in pair}
    for key, value in high.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = _join(merged[key], value) if both and key in MERGED else value
    return merged


def _join(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(low)
    for key, value in high.items():
        both = isinstance(joined.get(key), Mapping) and isinstance(value, Mapping)
        joined[key] = _join(joined[key], value) if both else value
    return joined


def _present(customers: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in sorted(customers, key=str):
        customer = customers[name]
        if isinstance(customer, Mapping) and customer.get("state") != "absent":
            yield name, customer


def settings(customers: object, domain: object, defaults: object) -> dict[str, dict[str, Any]]:
    """Fill in what a customer does not say.

    Args:
        customers: Name → what the customer says. What is no mapping is left out: preflight tells of it.
        domain: The domain of customers without a host of their own.
        defaults: Settings for all customers, between the built-in ones and the customer's own.

    Returns:
        Name → every setting, without the absent customers, in the order of the names. ``hosts`` is always a list.
    """
    every = _merge(BUILT_IN, defaults if isinstance(defaults, Mapping) else {})
    full = {}
    for name, customer in _present(customers if isinstance(customers, Mapping) else {}):
        merged = _merge(every, customer)
        hosts = merged.pop("hosts", None) or [merged.pop("host", None) or f"{NAMESPACE_PREFIX}{name}.{domain}"]
        full[name] = merged | {"hosts": hosts}
    return full


def absent(customers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the customers that are declared absent."""
    return sorted(name for name, customer in customers.items() if customer.get("state") == "absent")


def most_pods(customer: Mapping[str, Any]) -> int:
    """How many pods a customer with full settings has at most."""
    return int(customer["autoscaling"]["max"] if "autoscaling" in customer else customer["replicas"])


def fewest_pods(customer: Mapping[str, Any]) -> int:
    """How many pods a customer with full settings has at least."""
    return int(customer["autoscaling"]["min"] if "autoscaling" in customer else customer["replicas"])


def quota(customer: Mapping[str, Any]) -> dict[str, str]:
    """What a customer's namespace may hold, as ``spec.hard`` of a ResourceQuota.

    A pod on its way out counts until it is gone: during a rollout every declared pod may stand there twice.
    """
    pods = 2 * most_pods(customer) + SPARE_PODS
    hard = {"pods": str(pods)}
    for kind in ("requests", "limits"):
        for resource, each in customer["resources"][kind].items():
            hard[f"{kind}.{resource}"] = _times(pods, each, resource)
    # The ingress is the only way in.
    return hard | {"services.loadbalancers": "0", "services.nodeports": "0"}


def _times(pods: int, each: object, resource: str) -> str:
    total = pods * (quantity(each) or Decimal(0))
    if resource == "cpu":
        return f"{math.ceil(total * 1000)}m"
    whole = math.ceil(total)
    return f"{whole // MEBI}Mi" if whole % MEBI == 0 else str(whole)


def ingress_annotations(customer: Mapping[str, Any], namespace: str, ingress_class: str) -> dict[str, str]:
    """What cert-manager and the ingress controller read from the Ingress of a customer with full settings."""
    tls = customer["tls"]
    ways = {"issuer": "cert-manager.io/issuer", "cluster_issuer": "cert-manager.io/cluster-issuer"}
    found = {annotation: tls[way] for way, annotation in ways.items() if way in tls}
    if tls.get("redirect") and ingress_class == "traefik":
        found["traefik.ingress.kubernetes.io/router.middlewares"] = f"{namespace}-redirect@kubernetescrd"
    elif tls.get("redirect"):
        found["nginx.ingress.kubernetes.io/force-ssl-redirect"] = "true"
    return found


def tolerations(customer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A customer's tolerations with the keys that Kubernetes uses."""
    keys = {"toleration_seconds": "tolerationSeconds"}
    return [{keys.get(key, key): value for key, value in each.items()} for each in customer["tolerations"]]


def flow(value: object) -> str:
    """``value`` as YAML on one line, in plain ASCII: no character of a customer's text can be taken for YAML's own."""
    # JSON writes a character beyond U+FFFF as two halves, which YAML does not know.
    return re.sub(
        r"\\u(d[89ab]..)\\u(d[c-f]..)",
        lambda pair: f"\\U{0x10000 + (int(pair[1], 16) - 0xD800) * 0x400 + int(pair[2], 16) - 0xDC00:08x}",
        json.dumps(value),
    )


def pem(text_or_path: str) -> str:
    """Text of a certificate or key that is given as text or as the path of a file on the controller."""
    return (
        text_or_path if text_or_path.lstrip().startswith("-----BEGIN ") else Path(text_or_path).expanduser().read_text()
    )


class FilterModule:
    """The filters under the names that playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {
            "customers_settings": settings,
            "customers_absent": absent,
            "customers_fewest_pods": fewest_pods,
            "customers_quota": quota,
            "customers_ingress_annotations": ingress_annotations,
            "customers_tolerations": tolerations,
            "customers_yaml": flow,
            "customers_pem": pem,
        }
