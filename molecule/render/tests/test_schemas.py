"""Every object of every customers' file, against Kubernetes' own schemas, and against what they all must have."""

from __future__ import annotations

import base64
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import utils

EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
INVENTORY = Path(__file__).parents[1] / "inventory"
RENDERINGS = sorted(yaml.safe_load((INVENTORY / "hosts.yml").read_text())["renderings"]["hosts"])
# The oldest Kubernetes that the project supports, and the newest that there are schemas of.
OLDEST, NEWEST = "1.27", utils.major_minor(utils.latest_version())
# A resource of Traefik's own, of which Kubernetes has no schema.
FOREIGN = {"Middleware"}

# The schemas of a version are 3 MB, read anew for each object.
utils.schema_contents = cache(utils.schema_contents)

Object = dict[str, Any]


def objects(rendering: str) -> list[Object]:
    """What the role would create, Secrets included."""
    secrets = (EPHEMERAL / f"{rendering}-secrets.yaml").read_text()
    found = json.loads((EPHEMERAL / f"{rendering}.json").read_text())
    return [*found, *filter(None, yaml.safe_load_all(secrets))]


def of_kind(rendering: str, kind: str) -> dict[str, Object]:
    """Namespace → the object of this kind in it."""
    return {
        found["metadata"].get("namespace", found["metadata"]["name"]): found
        for found in objects(rendering)
        if found["kind"] == kind
    }


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("rendering", RENDERINGS)
def test_every_object_is_valid(rendering: str, version: str) -> None:
    found = [each for each in objects(rendering) if each["kind"] not in FOREIGN]
    assert found
    for each in found:
        assert utils.validate(each, version, strict=True) == version


def test_a_misspelt_field_would_be_found() -> None:
    (deployment, *_) = of_kind("plain", "Deployment").values()
    deployment["spec"]["template"]["spec"]["tolerance"] = []
    with pytest.raises(utils.ValidationError, match="tolerance"):
        utils.validate(deployment, NEWEST, strict=True)


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_every_namespace_and_its_pods_are_restricted(rendering: str) -> None:
    """The controls of https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    for namespace in of_kind(rendering, "Namespace").values():
        for mode in ("enforce", "audit", "warn"):
            assert namespace["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"
    for deployment in of_kind(rendering, "Deployment").values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"volumes", "hostNetwork", "hostPID", "hostIPC"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] == "greeter"


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_every_object_says_whose_it_is(rendering: str) -> None:
    fleet = "another-fleet" if rendering == "defaults" else "greeter-fleet"
    for found in objects(rendering):
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == fleet
        namespace = found["metadata"].get("namespace", found["metadata"]["name"])
        assert namespace == f"customer-{labels['app.kubernetes.io/instance']}"


def test_nothing_goes_out_and_only_the_ingress_and_the_metrics_reader_come_in() -> None:
    policies = [each["spec"] for each in objects("plain") if each["kind"] == "NetworkPolicy"]
    assert len(policies) == 3
    policy = policies[0]
    # Of every pod of the namespace, both ways; egress without a rule lets nothing out.
    assert policy["podSelector"] == {}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy
    assert policy["ingress"] == [
        {
            "from": [
                {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "traefik"}},
                }
            ],
            "ports": [{"port": 8080, "protocol": "TCP"}],
        },
        {
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "ports": [{"port": 9090, "protocol": "TCP"}],
        },
    ]


def test_without_peers_nobody_comes_in() -> None:
    for policy in of_kind("defaults", "NetworkPolicy").values():
        assert policy["spec"]["ingress"] == []


def test_names_and_texts_stay_texts() -> None:
    deployments = of_kind("texts", "Deployment")
    assert {"customer-007", "customer-1e3", "customer-true", "customer-null"} < set(deployments)
    env = {
        namespace: {each["name"]: each["value"] for each in found["spec"]["template"]["spec"]["containers"][0]["env"]}
        for namespace, found in deployments.items()
    }
    assert env["customer-true"] == {"CUSTOMER_NAME": "true", "GREETING": "false"}
    assert env["customer-null"] == {"CUSTOMER_NAME": "null", "GREETING": "~"}
    # Kubernetes makes one dollar of two, and would else put the customer's name here.
    assert env["customer-dollars"]["GREETING"] == "$$5, $$$$6 and $$(CUSTOMER_NAME)"
    assert env["customer-quotes"]["GREETING"] == """say "hi", it's 100% \\n"""
    assert env["customer-world"]["GREETING"] == "Grüß Gott, 世界 👋"
    assert env["customer-yaml"]["GREETING"] == "no: #{comment} [x] - &a *b !c | > %d @e `f`"
    assert env["customer-jinja"]["GREETING"] == "{{ 7 * 7 }} {% raw %}"
    assert env["customer-lines"]["GREETING"] == "one\u2028two\u2029three\ufefffour\u00a0five"


def test_every_option_reaches_its_object() -> None:
    (deployment,) = of_kind("options", "Deployment").values()
    assert deployment["spec"]["replicas"] == 4
    pod = deployment["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"disk": "true", "size": "10"}
    assert pod["tolerations"] == [
        {"key": "dedicated", "operator": "Equal", "value": "greeters", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30},
    ]
    (container,) = pod["containers"]
    assert container["image"].startswith("registry.example.com:5000/team/greeter@sha256:")
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"cpu": "2", "memory": "0.5Gi"},
    }
    assert {"name": "COLOUR", "value": "$$blue"} in container["env"]
    for metadata in (deployment["metadata"], deployment["spec"]["template"]["metadata"]):
        assert metadata["labels"]["team"] == "blue"
        assert metadata["labels"]["yes"] == "no"
        assert metadata["annotations"]["note"] == "a: b # c"
    (quota,) = of_kind("options", "ResourceQuota").values()
    # Twice four pods and two to spare: 10 x 100m, 10 x 64Mi, 10 x 2, 10 x half a GiB.
    assert quota["spec"]["hard"] == {
        "pods": "10",
        "requests.cpu": "1000m",
        "requests.memory": "640Mi",
        "limits.cpu": "20000m",
        "limits.memory": "5120Mi",
        "services.loadbalancers": "0",
        "services.nodeports": "0",
    }
    (budget,) = of_kind("options", "PodDisruptionBudget").values()
    assert budget["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": {"app.kubernetes.io/name": "greeter"}},
    }
    (ingress,) = of_kind("options", "Ingress").values()
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["one.example.com", "two.example.com"]


def test_an_autoscaled_deployment_leaves_the_number_of_pods_to_the_autoscaler() -> None:
    deployments = of_kind("autoscaled", "Deployment")
    scalers = of_kind("autoscaled", "HorizontalPodAutoscaler")
    assert "replicas" not in deployments["customer-always-two"]["spec"]
    assert deployments["customer-not-at-all"]["spec"]["replicas"] == 3
    spec = scalers["customer-always-two"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)
    targets = {name: scaler["spec"]["metrics"][0]["resource"] for name, scaler in scalers.items()}
    # Of the limit, and in the server's own words: it makes 1 of 1000m.
    assert targets == {
        f"customer-{name}": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": amount}}
        for name, amount in {
            "always-two": "400m",
            "down-to-one": "250m",
            "by-an-amount": "1800m",
            "by-a-core": "1",
            "by-next-to-nothing": "1m",
        }.items()
    }
    # Room for a rollout of all that there may be at once.
    assert of_kind("autoscaled", "ResourceQuota")["customer-always-two"]["spec"]["hard"]["pods"] == "12"
    # A single pod with a budget of one unavailable is no budget, and one of none would stop every drain.
    assert "customer-down-to-one" not in of_kind("autoscaled", "PodDisruptionBudget")
    assert {"customer-always-two", "customer-not-at-all"} <= set(of_kind("autoscaled", "PodDisruptionBudget"))


def test_a_customer_overrules_what_holds_for_all() -> None:
    deployments = of_kind("defaults", "Deployment")
    assert set(deployments) == {"customer-usual", "customer-unusual"}
    usual, unusual = (deployments[f"customer-{name}"]["spec"] for name in ("usual", "unusual"))
    assert "replicas" not in usual
    assert unusual["replicas"] == 2
    assert set(of_kind("defaults", "HorizontalPodAutoscaler")) == {"customer-usual"}
    assert set(of_kind("defaults", "PodDisruptionBudget")) == {"customer-unusual"}
    assert unusual["template"]["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": 0.05, "memory": "48Mi", "ephemeral-storage": "1Mi"},
        "limits": {"cpu": 1, "memory": "256Mi", "ephemeral-storage": "1Gi"},
    }
    assert unusual["template"]["metadata"]["labels"]["tier"] == "gold"
    ingresses = of_kind("defaults", "Ingress")
    assert ingresses["customer-unusual"]["spec"]["tls"] == []
    assert ingresses["customer-usual"]["spec"]["tls"] == [
        {"hosts": ["customer-usual.greeters.example.org"], "secretName": "greeter-tls"}
    ]


def test_tls_in_each_of_its_ways() -> None:
    ingresses = of_kind("tls", "Ingress")
    names = {namespace: [tls["secretName"] for tls in found["spec"]["tls"]] for namespace, found in ingresses.items()}
    assert names == {
        "customer-bought": ["greeter-tls"],
        "customer-own-secret": ["12345"],
        "customer-issuer": ["greeter-tls"],
        "customer-cluster-issuer": ["greeter-tls"],
        "customer-none": [],
    }
    notes = {namespace: found["metadata"]["annotations"] for namespace, found in ingresses.items()}
    assert notes["customer-issuer"]["cert-manager.io/issuer"] == "own"
    assert notes["customer-cluster-issuer"]["cert-manager.io/cluster-issuer"] == "letsencrypt"
    middleware = "traefik.ingress.kubernetes.io/router.middlewares"
    assert notes["customer-own-secret"][middleware] == "customer-own-secret-redirect@kubernetescrd"
    assert middleware not in notes["customer-bought"]
    middlewares = of_kind("tls", "Middleware")
    assert set(middlewares) == {"customer-own-secret", "customer-cluster-issuer"}
    assert middlewares["customer-own-secret"]["spec"] == {"redirectScheme": {"scheme": "https", "permanent": True}}
    (secret,) = of_kind("tls", "Secret").values()
    assert secret["type"] == "kubernetes.io/tls"
    assert base64.b64decode(secret["data"]["tls.crt"]) == (EPHEMERAL / "tls.crt").read_bytes()
    assert base64.b64decode(secret["data"]["tls.key"]) == (EPHEMERAL / "tls.key").read_bytes()


def test_ingress_nginx_is_told_in_its_own_words() -> None:
    ingresses = of_kind("nginx", "Ingress")
    assert {found["spec"]["ingressClassName"] for found in ingresses.values()} == {"nginx"}
    notes = ingresses["customer-a"]["metadata"]["annotations"]
    assert notes["nginx.ingress.kubernetes.io/force-ssl-redirect"] == "true"
    assert not of_kind("nginx", "Middleware")
    solver = [each for each in objects("nginx") if each["metadata"]["name"] == "acme-solver"]
    assert [each["metadata"]["namespace"] for each in solver] == ["customer-a"]
