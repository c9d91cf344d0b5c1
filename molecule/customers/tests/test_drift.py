"""Ways to change a customer's objects by hand: the API server says what becomes of each, and keeps nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import yaml
from ansible_collections.greeter.fleet.plugins.module_utils.compare import merged
from ansible_collections.greeter.fleet.plugins.module_utils.difference import Difference
from kubernetes.config import new_client_from_config
from kubernetes.dynamic import DynamicClient

from fleet import PROJECT

from .conftest import Story
from .edits import EDITS, Object

DECLARED = {each["kind"]: each for each in yaml.safe_load_all((PROJECT / "tests/customer.yaml").read_text())}
DRY_RUN = [("dryRun", "All"), ("fieldManager", "kubectl-edit")]


class Api:
    """The scenario's cluster, asked in the name of somebody who edits by hand."""

    def __init__(self, story: Story) -> None:
        """Connect by the scenario's kubeconfig."""
        kubeconfig = PROJECT / f".kube/{story.fleet.scenario}.yaml"
        self._client = DynamicClient(new_client_from_config(str(kubeconfig)))

    def _of(self, declared: Object) -> tuple[object, dict[str, str | None]]:
        resource = self._client.resources.get(api_version=declared["apiVersion"], kind=declared["kind"])
        metadata = declared["metadata"]
        return resource, {"name": metadata["name"], "namespace": metadata.get("namespace")}

    def held(self, declared: Object) -> Object:
        """The object as the cluster has it."""
        resource, place = self._of(declared)
        return dict(self._client.get(resource, **place).to_dict())

    def edited(self, declared: Object, change: Object) -> Object:
        """The object as it would be after a JSON merge patch."""
        resource, place = self._of(declared)
        content = "application/merge-patch+json"
        answer = self._client.patch(resource, body=change, content_type=content, query_params=DRY_RUN, **place)
        return dict(answer.to_dict())


@pytest.fixture(scope="module")
def api(story: Story) -> Api:
    return Api(story)


def declared(kind: str, api: Api) -> tuple[Object, Object]:
    """A kind's object of the standing customer a, as it is declared and as the cluster has it; they do not differ."""
    wanted = deepcopy(DECLARED[kind])
    held = api.held(wanted)
    if kind == "Deployment":
        container = held["spec"]["template"]["spec"]["containers"][0]
        wanted["spec"]["template"]["spec"]["containers"][0]["image"] = container["image"]
    assert not Difference(wanted, held, held["metadata"]["labels"]["greeter-fleet/id"])
    return wanted, held


@pytest.mark.parametrize(
    ("kind", "change", "label"), [pytest.param(*each, id=f"{number} {each[2]}") for number, each in enumerate(EDITS)]
)
def test_an_edit_by_hand_is_seen_by_name_and_can_be_taken_away(
    story: Story, api: Api, kind: str, change: Callable[[Object], Object], label: str
) -> None:
    story.is_put_back = True  # nothing is kept
    wanted, held = declared(kind, api)
    edited = api.edited(wanted, change(held))
    found = Difference(wanted, edited, held["metadata"]["labels"]["greeter-fleet/id"])
    assert label in {name for labels in found.by_others.values() for name in labels}
    assert not found.changed
    # What is only taken away leaves nobody's name.
    assert {who for who, _ in found.by_others} <= {"kubectl-edit", ""}
    if found.fields:
        mended = merged(edited, found.fields)
        assert not Difference(wanted, mended, held["metadata"]["labels"]["greeter-fleet/id"]).fields
