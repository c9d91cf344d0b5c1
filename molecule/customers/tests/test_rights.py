"""A user who may do what docs/rights.yaml says and no more, and what is told of each right that is missing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from fleet import PROJECT

from .conftest import STANDING, Story
from .test_tls import pair

USER = "system:serviceaccount:default:ci"
SECONDS = 30
# Of every customer, and of one with a certificate.
KINDS = {
    "namespaces",
    "resourcequotas",
    "limitranges",
    "serviceaccounts",
    "services",
    "deployments.apps",
    "networkpolicies.networking.k8s.io",
    "ingresses.networking.k8s.io",
}
SECRETS = "secrets"


class Right(NamedTuple):
    """A verb, and a resource as messages call it."""

    verb: str
    resource: str

    def __str__(self) -> str:
        """As a message says it."""
        return f"{self.verb} {self.resource}"


class User:
    """A service account, the kubeconfig it is used by, and what it may."""

    def __init__(self, story: Story, kubeconfig: Path) -> None:
        """Make the account, and a kubeconfig whose current context is good for nothing."""
        self._story = story
        self.settings = {"customers_kubeconfig": str(kubeconfig), "customers_context": "ci"}
        self._role = yaml.safe_load((PROJECT / "docs/rights.yaml").read_text())
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ci", "namespace": "default"}}
        self._send("apply --filename=-", account)
        self._send("apply --filename=-", self._role)
        binding = ("clusterrolebinding", "ci", "--clusterrole=greeter-fleet", "--serviceaccount=default:ci")
        story.fleet.kubectl("create", *binding)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = self._send("create --raw=/api/v1/namespaces/default/serviceaccounts/ci/token --filename=-", request)
        content = yaml.safe_load((PROJECT / ".kube" / f"{story.fleet.scenario}.yaml").read_text())
        cluster = content["clusters"][0]["name"]
        content["users"] = [{"name": "ci", "user": {"token": json.loads(token)["status"]["token"]}}]
        content["users"].append({"name": "nobody", "user": {"token": "none"}})
        content["contexts"] = [
            {"name": name, "context": {"cluster": cluster, "user": name}} for name in ("ci", "nobody")
        ]
        kubeconfig.write_text(yaml.safe_dump(content | {"current-context": "nobody"}))

    def _send(self, words: str, thing: object) -> str:
        return str(self._story.fleet.node.check_output(f"echo %s | k3s kubectl {words}", json.dumps(thing)))

    def may(self, is_kept: Callable[[Right], bool]) -> set[Right]:
        """Grant what is kept of the documented rights and nothing else; return the others."""
        rules, taken = [], set()
        for rule in self._role["rules"]:
            for resource in rule["resources"]:
                group = rule["apiGroups"][0]
                rights = {verb: Right(verb, f"{resource}{group and '.'}{group}") for verb in rule["verbs"]}
                kept = [verb for verb, right in rights.items() if is_kept(right)]
                rules += [rule | {"resources": [resource], "verbs": kept}] if kept else []
                taken |= {right for verb, right in rights.items() if verb not in kept}
        self._send("apply --filename=-", self._role | {"rules": rules})
        until = time.monotonic() + SECONDS
        while taken and (left := self._may_still(taken)):
            assert time.monotonic() < until, left
            time.sleep(0.2)
        return taken

    def _may_still(self, rights: set[Right]) -> list[str]:
        """Those of the rights that the API, which hears of changes a little later, goes on to give."""
        reviews, groups = [], ["system:serviceaccounts", "system:authenticated"]
        for right in (ordered := sorted(rights)):
            resource, _, part = right.resource.partition("/")
            name, _, group = resource.partition(".")
            asked = {"verb": right.verb, "resource": name, "group": group, "subresource": part}
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}}
            reviews.append(review | {"spec": {"user": USER, "groups": groups, "resourceAttributes": asked}})
        every = {"apiVersion": "v1", "kind": "List", "items": reviews}
        said = self._send("""create --filename=- --output=jsonpath='{.status.allowed}{"\\n"}'""", every)
        return [str(right) for right, allowed in zip(ordered, said.split(), strict=True) if allowed != "false"]

    def remove(self) -> None:
        """Take the account and its rights away."""
        for kind, name in (("clusterrolebinding", "ci"), ("clusterrole", "greeter-fleet"), ("serviceaccount", "ci")):
            self._story.fleet.kubectl("delete", kind, name)


@pytest.fixture
def user(story: Story, tmp_path: Path) -> Iterator[User]:
    """The user, who has all rights that are documented."""
    made = User(story, tmp_path / "kubeconfig")
    yield made
    made.remove()


def told(said: str, rights: set[Right]) -> set[str]:
    """Those of the rights that are told to be missing."""
    # Who may not create is not told by the API.
    sentences = [
        part.partition("; grant it")[0]
        for part in said.replace("the user may", f"{USER} may").split(f"{USER} may not ")[1:]
    ]
    return {str(right) for right in rights} & {right for sentence in sentences for right in sentence.split(", ")}


def test_the_documented_rights_do_and_each_that_is_missing_is_told(story: Story, user: User) -> None:
    own = pair("customer-karl.parcellab.com")
    karl = {"greeting": "Servus!", "tls": {"certificate": own.certificate, "key": own.key}}
    later = {"greeting": "Servus!", "labels": {"team": "blue"}}

    # Nothing can be read: one list, before anything is changed.
    taken = user.may(lambda right: right.verb != "list")
    story.declare(user.settings, **STANDING, karl=karl)
    said = story.refused()
    assert "Nothing was changed" in said
    assert told(said, taken) == {f"list {kind}" for kind in KINDS | {SECRETS}}

    # Nothing can be made: first no namespace, and then nothing in it.
    taken = user.may(lambda right: right.verb != "create")
    assert told(story.refused(), taken) == {"create namespaces"}
    taken = user.may(lambda right: right.verb != "create" or right.resource == "namespaces")
    assert told(story.refused(), taken) == {f"create {kind}" for kind in KINDS - {"namespaces"} | {SECRETS}}

    user.may(lambda _: True)
    story.converge()

    # Nothing can be found by its name, or changed or removed.
    story.declare(user.settings, **STANDING | {"c": {"state": "absent"}}, karl=later)
    taken = user.may(lambda right: right.verb != "get")
    assert told(story.refused(), taken) == {f"get {kind}" for kind in KINDS | {SECRETS}}
    taken = user.may(lambda right: right.verb not in ("patch", "delete"))
    wanted = {f"patch {kind}" for kind in KINDS} | {"delete namespaces", "delete secrets"}
    assert told(story.refused(), taken) == wanted

    # It cannot be seen why a rollout is not complete, but that it is not.
    taken = user.may(lambda right: right.resource not in ("pods", "pods/log", "events"))
    broken = later | {"env": {"WORKERS": "many"}}
    story.declare(user.settings | {"customers_rollout_timeout": 5}, **STANDING, karl=broken)
    said = story.refused()
    assert "- karl: not rolled out within 5 s - why is not known: " in said
    assert told(said, taken) == {"list pods", "list events"}

    user.may(lambda _: True)
    assert "log: WORKERS is 'many'" in story.refused()
    story.declare(user.settings, **STANDING, karl={"state": "absent"})
    story.converge()
    assert "customer-karl" not in story.namespaces()
