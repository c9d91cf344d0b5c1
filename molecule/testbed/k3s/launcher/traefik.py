"""Traefik's Deployment, as K3s' Helm controller makes it of Traefik's chart and the HelmChartConfig `traefik`."""

import json
import logging
from typing import Any

import yaml

from launcher import payload
from launcher.api import Api, Key, Object
from launcher.manifests import Manifests
from launcher.node import PAUSE_IMAGE

log = logging.getLogger(__name__)

CONFIGS = "/apis/helm.cattle.io/v1/namespaces/kube-system/helmchartconfigs"


def follow(api: Api, manifests: Manifests) -> None:
    """Keep Traefik as it is configured, for ever."""

    def install(configs: dict[Key, Object]) -> None:
        manifests.apply_text(render(values(configs)))

    api.follow(CONFIGS, install)


def values(configs: dict[Key, Object]) -> dict[str, Any]:
    """Give the values that somebody has set for the chart; none if they are not YAML, as Helm would stop at them."""
    config = configs.get(("kube-system", "traefik"), {"spec": {}})
    try:
        found = yaml.safe_load(config["spec"].get("valuesContent") or "{}")
    except yaml.YAMLError as error:
        log.error("HelmChartConfig traefik: %s", error)
        return {}
    return found if isinstance(found, dict) else {}


def render(values: dict[str, Any]) -> str:
    """Give the manifest of Traefik for the chart's values."""
    replicas = int((values.get("deployment") or {}).get("replicas", 1))
    budget = values.get("podDisruptionBudget") or {}
    return payload.render(
        "traefik.yaml",
        replicas=replicas,
        spread=json.dumps(values.get("topologySpreadConstraints") or []),
        # One that lets all go is as good as none.
        unavailable=budget.get("maxUnavailable", 1) if budget.get("enabled") else replicas,
        image=PAUSE_IMAGE,
    )
