"""Waiting for rollouts and removals, against a cluster that is a list of objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.greeter.fleet.plugins.action import customers_wait as action
from ansible_collections.greeter.fleet.plugins.filter import customers_results
from ansible_collections.greeter.fleet.plugins.modules import customers_wait

Object = dict[str, Any]


def labelled(customer: str) -> Object:
    """The labels of a customer's object."""
    return {"app.kubernetes.io/instance": customer, "app.kubernetes.io/managed-by": "greeter-fleet"}


def deployment(customer: str, available: int = 1) -> Object:
    metadata = {"name": "greeter", "namespace": f"customer-{customer}", "generation": 1, "labels": labelled(customer)}
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 1}, "status": status}


def namespace(customer: str) -> Object:
    return {"kind": "Namespace", "metadata": {"name": f"customer-{customer}", "labels": labelled(customer)}}


def pod(customer: str, *containers: Object) -> Object:
    metadata = {"name": "greeter-1", "namespace": f"customer-{customer}", "labels": labelled(customer)}
    return {"kind": "Pod", "metadata": metadata, "status": {"containerStatuses": list(containers)}}


def container(state: Object, last: Object | None = None, restarts: int = 0) -> Object:
    return {"name": "greeter", "ready": False, "restartCount": restarts, "state": state, "lastState": last or {}}


def event(customer: str, when: str, message: str, kind: str = "Warning") -> Object:
    return {
        "kind": "Event",
        "type": kind,
        "metadata": {"namespace": f"customer-{customer}"},
        "involvedObject": {"kind": "Pod", "name": "greeter-1"},
        "reason": "Failed",
        "message": message,
        "lastTimestamp": when,
    }


class Cluster:
    """Objects that change from one look to the next, and logs: (pod, of the run before) → lines."""

    def __init__(self, *looks: list[Object], logs: dict[tuple[str, bool], list[str]] | None = None) -> None:
        """Hold what each look finds; the last one stays."""
        self.looks = list(looks)
        self.logs = logs or {}

    def next(self) -> None:
        """Time passes."""
        if len(self.looks) > 1:
            self.looks.pop(0)

    def all(
        self, api_version: str, kind: str, labels: str = "", namespace: str = "", fields: str = ""
    ) -> Iterator[Object]:
        """Every object of a kind that carries all the labels."""
        assert api_version == ("apps/v1" if kind == "Deployment" else "v1")
        for found in self.looks[0]:
            metadata = found["metadata"]
            carried = {f"{key}={value}" for key, value in metadata.get("labels", {}).items()}
            if (
                found["kind"] == kind
                and set(filter(None, labels.split(","))) <= carried
                and namespace in ("", metadata.get("namespace"))
                and fields in ("", f"type={found.get('type')}")
            ):
                yield found

    def log(self, namespace: str, pod: str, container: str, previous: bool, lines: int) -> list[str]:
        """The end of a container's log."""
        assert (namespace, container) == ("customer-a", "greeter")
        return self.logs.get((pod, previous), [])[-lines:]


Watching = Callable[[Cluster, list[str], list[str]], customers_wait.Watch]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watching:
    """A function that makes a watch of a cluster, for which time passes only by sleeping."""

    def make(cluster: Cluster, customers: list[str], gone: list[str]) -> customers_wait.Watch:
        now = 0.0

        def sleep(seconds: float) -> None:
            nonlocal now
            now += seconds
            cluster.next()

        monkeypatch.setattr(customers_wait, "Cluster", lambda _: cluster)
        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr(time, "monotonic", lambda: now)
        params = {"kubeconfig": "", "fleet": "greeter-fleet", "customers": customers, "gone": gone}
        return customers_wait.Watch(params)

    return make


def test_it_ends_as_soon_as_all_are_rolled_out_and_gone(watch: Watching) -> None:
    cluster = Cluster(
        [deployment("a"), deployment("b", available=0), namespace("a"), namespace("c")],
        [deployment("a", available=0), deployment("b"), namespace("c")],
        [deployment("b"), namespace("d")],
        [deployment("b", available=0), namespace("c")],
    )
    found = watch(cluster, ["a", "b"], ["customer-c"])
    found.follow(60)
    assert (found.missing, found.staying) == ([], [])
    # It has looked three times: whoever was complete once is not asked for again.
    assert len(cluster.looks) == 2


def test_it_tells_who_is_missing_when_the_time_is_over(watch: Watching) -> None:
    other = deployment("c")
    other["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "another-fleet"
    cluster = Cluster([deployment("a"), deployment("b", available=0), other, namespace("d")])
    found = watch(cluster, ["a", "b", "c"], ["customer-d", "customer-e"])
    found.follow(2)
    assert (found.missing, found.staying) == (["b", "c"], ["customer-d"])


def test_no_time_at_all_is_one_look(watch: Watching) -> None:
    cluster = Cluster([deployment("a", available=0)], [deployment("a")])
    found = watch(cluster, ["a"], [])
    found.follow(0)
    assert found.missing == ["a"]
    assert len(cluster.looks) == 2


def test_the_reasons_are_the_states_the_logs_and_the_latest_warnings(watch: Watching) -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    ended = {"terminated": {"reason": "Error", "exitCode": 2, "startedAt": "2026-01-01T00:00:00Z"}}
    well = {"name": "other", "ready": True, "restartCount": 0, "state": {"running": {}}}
    cluster = Cluster(
        [
            deployment("a", available=0),
            deployment("b", available=0),
            pod("a", container(waiting, ended, restarts=3), well),
            pod("b", container({"waiting": {"reason": "ImagePullBackOff"}})),
            *(event("a", f"2026-01-01T00:00:0{second}Z", f"no. {second}") for second in (3, 1, 2, 6, 5, 4)),
            event("a", "2026-01-01T00:00:09Z", "all is well", kind="Normal"),
            event("b", "2026-01-01T00:00:09Z", "somebody else's"),
        ],
        logs={("greeter-1", False): [f"line {number}" for number in range(7)]},
    )
    found = watch(cluster, ["a"], [])
    found.follow(0)
    assert found.reasons() == {
        "a": [
            "pod greeter-1 waiting: CrashLoopBackOff back-off 10s",
            "pod greeter-1 terminated: Error 2",
            "pod greeter-1 log: line 2",
            "pod greeter-1 log: line 3",
            "pod greeter-1 log: line 4",
            "pod greeter-1 log: line 5",
            "pod greeter-1 log: line 6",
            "event of Pod greeter-1: Failed: no. 2",
            "event of Pod greeter-1: Failed: no. 3",
            "event of Pod greeter-1: Failed: no. 4",
            "event of Pod greeter-1: Failed: no. 5",
            "event of Pod greeter-1: Failed: no. 6",
        ]
    }


@pytest.mark.parametrize(
    ("restarts", "line"), [(0, "pod greeter-1 log: it starts"), (1, "pod greeter-1 log: it has failed")]
)
def test_the_log_of_a_container_that_began_anew_is_the_one_before(watch: Watching, restarts: int, line: str) -> None:
    logs = {("greeter-1", False): ["it starts"], ("greeter-1", True): ["it has failed"]}
    cluster = Cluster([deployment("a", available=0), pod("a", container({"running": {}}, None, restarts))], logs=logs)
    found = watch(cluster, ["a"], [])
    found.follow(0)
    assert found.reasons() == {"a": [line]}


def test_only_a_few_are_explained(watch: Watching) -> None:
    names = [f"c{number}" for number in range(7)]
    found = watch(Cluster([deployment(name, available=0) for name in names]), names, [])
    found.follow(0)
    assert list(found.reasons()) == ["c0", "c1", "c2", "c3", "c4"]


def test_what_every_pod_says_is_told_once(watch: Watching) -> None:
    waiting = container({"waiting": {"reason": "ImagePullBackOff"}})
    cluster = Cluster([deployment("a", available=0), pod("a", waiting), pod("a", waiting)])
    found = watch(cluster, ["a"], [])
    found.follow(0)
    assert found.reasons() == {"a": ["pod greeter-1 waiting: ImagePullBackOff"]}


def seen(missing: str = "", staying: str = "", **more: object) -> Object:
    """What the module answers."""
    return {"missing": missing.split(), "staying": staying.split(), "silent": "", **more}


Waiting = Callable[..., tuple[Object, list[Object], list[str]]]


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """A function from the module's answers to what the task returns, what it has asked for and what it has shown.

    Every look takes as long as it may, but one at a silent cluster, which takes no time.
    """

    def run(*answers: Object, timeout: int = 60, **options: object) -> tuple[Object, list[Object], list[str]]:
        now = 0.0
        asked: list[Object] = []
        shown: list[str] = []
        left = list(answers)

        def execute(_name: str, module_args: Object, **_: object) -> Object:
            nonlocal now
            asked.append(dict(module_args))
            answer = left.pop(0)
            now += 0 if answer.get("silent") else module_args["seconds"]
            return answer

        def sleep(seconds: float) -> None:
            nonlocal now
            now += seconds

        plugin = object.__new__(action.ActionModule)
        plugin._task = SimpleNamespace(args={"timeout": timeout, **options})
        plugin._execute_module = execute
        monkeypatch.setattr(ActionBase, "run", lambda *_: {})
        monkeypatch.setattr(Display, "display", lambda _self, text: shown.append(text))
        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr(time, "monotonic", lambda: now)
        found = plugin.run()
        assert left == []
        return found, asked, shown

    return run


def test_progress_is_shown_when_there_is_some_and_only_who_is_missing_is_asked_for(wait: Waiting) -> None:
    found, asked, shown = wait(
        seen("b c", "customer-d"),
        seen("b c", "customer-d"),
        seen("c"),
        seen(),
        customers=["a", "b", "c"],
        gone=["customer-d"],
    )
    assert found == seen()
    assert shown == [
        "customers: 1 of 3 rolled out, waiting for b, c; 0 of 1 removed, waiting for customer-d",
        "customers: 2 of 3 rolled out, waiting for c",
    ]
    assert [each["customers"] for each in asked] == [["a", "b", "c"], ["b", "c"], ["b", "c"], ["c"]]
    assert [each["gone"] for each in asked] == [["customer-d"], ["customer-d"], ["customer-d"], []]
    assert not any(each["explain"] for each in asked)


def test_the_last_look_asks_for_the_reasons(wait: Waiting) -> None:
    last = seen("a", reasons={"a": ["log: no"]})
    found, asked, _ = wait(seen("a"), seen("a"), last, timeout=12, customers=["a"])
    assert found == last
    assert [(each["seconds"], each["explain"]) for each in asked] == [(5, False), (5, False), (2, True)]


def test_a_cluster_that_falls_silent_is_asked_again_and_told_of(wait: Waiting) -> None:
    silent = seen("a b", silent="the cluster at https://192.0.2.1 does not answer: refused")
    found, asked, shown = wait(seen("a b"), silent, silent, seen(), customers=["a", "b"])
    assert found == seen()
    assert len(asked) == 4
    assert shown == [
        "customers: 0 of 2 rolled out, waiting for a, b",
        "customers: the cluster at https://192.0.2.1 does not answer: refused; 0 of 2 rolled out, waiting for a, b",
    ]


def test_a_cluster_that_stays_silent_is_a_problem_of_its_own(wait: Waiting) -> None:
    silent = seen("a", silent="the cluster at https://192.0.2.1 does not answer: refused")
    found, _, _ = wait(silent, silent, silent, silent, timeout=8, customers=["a"])
    assert customers_results.problems([], found, 8) == [
        "- a: not rolled out within 8 s",
        "- the cluster at https://192.0.2.1 does not answer: refused",
    ]


def test_a_refusal_ends_the_wait(wait: Waiting) -> None:
    refusal = {"failed": True, "msg": "the cluster at https://192.0.2.1 refuses: no"}
    found, _, _ = wait(seen("a"), refusal, customers=["a"])
    assert found == refusal
