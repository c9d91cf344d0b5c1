"""What the customers' templates need of their settings."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from ansible_collections.greeter.fleet.plugins.plugin_utils.customers import full_settings, quantity

MEBI = 1024**2
# Pods beyond the declared ones that the quota leaves room for: those of a rollout, and cert-manager's solver.
SPARE_PODS = 2


def quota(customer: Mapping[str, Any]) -> dict[str, str]:
    """What a customer's namespace may hold, as ``spec.hard`` of a ResourceQuota.

    A pod on its way out counts until it is gone: during a rollout every declared pod may stand there twice.
    """
    most = customer["autoscaling"]["max"] if "autoscaling" in customer else customer["replicas"]
    pods = 2 * int(most) + SPARE_PODS
    hard = {"pods": str(pods)}
    for kind in ("requests", "limits"):
        for resource, each in customer["resources"][kind].items():
            hard[f"{kind}.{resource}"] = _times(pods, each, resource)
    # The ingress is the only way in.
    return hard | {"services.loadbalancers": "0", "services.nodeports": "0"}


def cpu_target(customer: Mapping[str, Any]) -> str:
    """The CPU that an autoscaled customer's pods are to use on average, as a quantity in the server's own words.

    A percentage is one of the limit: what a pod requests is what it needs at rest, and says nothing of what it can do.
    """
    target = customer["autoscaling"]["cpu"]
    if isinstance(target, str):
        amount = quantity(target) or Decimal(0)
    else:
        amount = (quantity(customer["resources"]["limits"]["cpu"]) or Decimal(0)) * int(target) / 100
    milli = max(1, int(amount * 1000))
    return f"{milli}m" if milli % 1000 else str(milli // 1000)


def _times(pods: int, each: object, resource: str) -> str:
    total = pods * (quantity(each) or Decimal(0))
    if resource == "cpu":
        return f"{math.ceil(total * 1000)}m"
    whole = math.ceil(total)
    return f"{whole // MEBI}Mi" if whole % MEBI == 0 else str(whole)


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
            "customers_settings": full_settings,
            "customers_quota": quota,
            "customers_cpu_target": cpu_target,
            "customers_yaml": flow,
            "customers_pem": pem,
        }
