"""What a HelmChartConfig makes of Traefik's Deployment."""

import json
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from launcher import payload, traefik

FILES = Path(payload.__file__).parent / "files"


@pytest.fixture(autouse=True)
def _templates_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take templates from where they lie: there is no archive here that carries them."""

    def render(template: str, /, **values: object) -> str:
        return Template((FILES / template).read_text()).substitute(values)

    monkeypatch.setattr(payload, "render", render)


def installed(text: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give Deployment and PodDisruptionBudget for a HelmChartConfig with these values; for none if there are none."""
    config = {"spec": {"valuesContent": text}}
    configs = {} if text is None else {("kube-system", "traefik"): config}
    deployment, budget = yaml.safe_load_all(traefik.render(traefik.values(configs)))
    return deployment["spec"], budget["spec"]


@pytest.mark.parametrize("text", [None, "", "a: [", "- list"])
def test_traefik_is_one_pod_by_itself_and_may_be_moved(text: str | None) -> None:
    deployment, budget = installed(text)
    assert deployment["replicas"] == 1
    assert deployment["template"]["spec"]["topologySpreadConstraints"] == []
    assert budget["maxUnavailable"] == 1


def test_it_is_as_it_is_configured() -> None:
    spread = [{"maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}]
    values = {
        "deployment": {"replicas": 3},
        "podDisruptionBudget": {"enabled": True, "maxUnavailable": 2},
        "topologySpreadConstraints": spread,
    }
    deployment, budget = installed(json.dumps(values))
    assert deployment["replicas"] == 3
    assert deployment["template"]["spec"]["topologySpreadConstraints"] == spread
    assert budget["maxUnavailable"] == 2
