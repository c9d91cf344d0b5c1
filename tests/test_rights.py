"""The documented ClusterRole, against the kinds that customers have. The scenario customers tries it."""

from __future__ import annotations

import yaml
from ansible_collections.greeter.fleet.plugins.module_utils.plan import FOREIGN, KINDS

from .conftest import PROJECT

# Why a rollout does not complete.
EXPLAINING = {"pods", "pods/log", "events"}


def test_every_kind_that_a_customer_may_have_can_be_listed_and_nothing_else() -> None:
    granted = {
        f"{resource}.{group}".rstrip(".")
        for rule in yaml.safe_load((PROJECT / "docs/rights.yaml").read_text())["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    asked = set()
    for api_version, kind, *_ in (*KINDS, *FOREIGN):
        group = api_version.rpartition("/")[0]
        name = kind.lower()
        plural = f"{name}es" if name.endswith("s") else f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"
        asked.add(f"{plural}.{group}".rstrip("."))
    assert granted == asked | EXPLAINING


def test_only_the_certificate_of_a_customer_can_be_read_of_all_secrets() -> None:
    rules = yaml.safe_load((PROJECT / "docs/rights.yaml").read_text())["rules"]
    of_secrets = [rule for rule in rules if "secrets" in rule["resources"]]
    assert {verb for rule in of_secrets if "resourceNames" not in rule for verb in rule["verbs"]} == {"create"}
    assert [rule["resourceNames"] for rule in of_secrets if "resourceNames" in rule] == [["greeter-tls"]]
