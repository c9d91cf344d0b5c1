"""What counts as a difference between a declared object and the live one, and the patch that mends it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.module_utils import compare
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DEPLOYED: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "greeter", "namespace": "customer-a", "labels": {"team": "blue"}, "generation": 3},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "greeter",
                        "image": "greeter:1",
                        "env": [{"name": "GREETING", "value": "Hi!"}, {"name": "LOG", "value": "info"}],
                        "resources": {"limits": {"cpu": "1000m", "memory": "64Mi"}},
                    }
                ],
            }
        },
    },
    "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
}


def declared(**spec: object) -> dict[str, Any]:
    found = deepcopy({key: value for key, value in DEPLOYED.items() if key != "status"})
    del found["metadata"]["generation"]
    found["spec"] |= spec
    return found


def test_what_the_server_adds_is_no_difference() -> None:
    live = deepcopy(DEPLOYED)
    live["spec"]["minReadySeconds"] = 5
    live["metadata"]["labels"]["rancher.example.com/project"] = "7"
    live["spec"]["template"]["spec"]["containers"][0]["stdin"] = False
    assert compare.patch(declared(), live) == {}


def test_a_quantity_in_other_words_is_no_difference() -> None:
    live = deepcopy(DEPLOYED)
    live["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1", "memory": "65536Ki"}}
    assert compare.patch(declared(), live) == {}


def test_empty_values_that_the_server_leaves_out_are_no_difference() -> None:
    assert compare.patch(declared(tolerations=[], nodeSelector={}, note=""), DEPLOYED) == {}


def test_a_false_that_someone_took_away_is_a_difference() -> None:
    live = deepcopy(DEPLOYED)
    del live["spec"]["template"]["spec"]["automountServiceAccountToken"]
    patch = compare.patch(declared(), live)
    assert patch == {"spec": {"template": {"spec": {"automountServiceAccountToken": False}}}}


def test_a_variable_that_someone_added_is_taken_away() -> None:
    live = deepcopy(DEPLOYED)
    live["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "EVIL", "value": "1"})
    patch = compare.patch(declared(), live)
    assert list(compare.paths(patch, live)) == ["spec.template.spec.containers[greeter].env[EVIL]"]
    mended = compare.merged(live, patch)
    assert [each["name"] for each in mended["spec"]["template"]["spec"]["containers"][0]["env"]] == ["GREETING", "LOG"]


def test_a_changed_variable_is_named() -> None:
    live = deepcopy(DEPLOYED)
    live["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "Hacked!"
    patch = compare.patch(declared(), live)
    assert list(compare.paths(patch, live)) == ["spec.template.spec.containers[greeter].env[GREETING].value"]


def test_a_new_variable_is_named() -> None:
    now = declared()
    now["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "NEW", "value": "1"})
    patch = compare.patch(now, DEPLOYED)
    assert list(compare.paths(patch, DEPLOYED)) == ["spec.template.spec.containers[greeter].env[NEW]"]


def test_a_text_that_is_equal_as_a_quantity_is_another_text() -> None:
    for was, now in (("1.10", "1.1"), ("2.0", "2"), ("1000", "1k"), ("007", "7")):
        live, wanted = deepcopy(DEPLOYED), declared()
        for found, value in ((live, was), (wanted, now)):
            found["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = value
        assert compare.patch(wanted, live) != {}


def test_the_order_of_variables_is_no_difference() -> None:
    live = deepcopy(DEPLOYED)
    live["spec"]["template"]["spec"]["containers"][0]["env"].reverse()
    assert compare.patch(declared(), live) == {}


def test_what_is_missing_as_a_whole_is_one_place() -> None:
    live = deepcopy(DEPLOYED)
    del live["spec"]["template"]["spec"]["containers"][0]["resources"]
    patch = compare.patch(declared(), live)
    assert list(compare.paths(patch, live)) == ["spec.template.spec.containers[greeter].resources"]


def test_two_patches_are_one_and_still_take_away() -> None:
    assert compare.combined({"spec": {"a": 1}}, {"spec": {"b": None}, "c": [1]}) == {
        "spec": {"a": 1, "b": None},
        "c": [1],
    }


def test_more_items_than_declared_are_noticed_at_any_depth() -> None:
    live = deepcopy(DEPLOYED)
    assert not compare.has_more_items(live, declared())
    live["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "EVIL", "value": "1"})
    assert compare.has_more_items(live, declared())
    assert not compare.has_more_items(declared(), live)


def test_a_digest_is_of_what_is_declared_and_not_of_its_order() -> None:
    turned = dict(reversed(declared().items()))
    assert compare.digest(turned) == compare.digest(declared())
    assert compare.digest(declared(replicas=3)) != compare.digest(declared())


def test_quantities_are_summed_and_compared_as_such() -> None:
    assert compare.added("500m", "1") == "1.500"
    assert compare.added("64Mi", 0) == "67108864"
    assert compare.less("1000Ki", "1Mi")
    assert not compare.less("1000m", "1")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=1), inner, max_size=3)
    ),
    max_leaves=10,
)
SPECS = st.dictionaries(st.text("abcd", min_size=1, max_size=1), VALUES, max_size=4)


# A busy machine is no fault of the code's.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(now=SPECS, live=SPECS)
def test_an_applied_patch_leaves_nothing_to_do(now: dict[str, Any], live: dict[str, Any]) -> None:
    def each(spec: dict[str, Any]) -> dict[str, Any]:
        return {"kind": "Anything", "spec": spec}

    mended = compare.merged(each(live), compare.patch(each(now), each(live)))
    assert compare.patch(each(now), mended) == {}


def test_a_complete_rollout() -> None:
    assert compare.rolled_out(DEPLOYED)


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 2},  # the controller has not seen the change yet
        {"replicas": 3},  # an old pod is left
        {"updatedReplicas": 1},
        {"availableReplicas": 1},
    ],
)
def test_an_incomplete_rollout(status: dict[str, int]) -> None:
    assert not compare.rolled_out(DEPLOYED | {"status": DEPLOYED["status"] | status})


def test_a_deployment_without_status_is_not_rolled_out() -> None:
    assert not compare.rolled_out({key: value for key, value in DEPLOYED.items() if key != "status"})
