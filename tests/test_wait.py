"""Waiting for rollouts and removals, against a cluster that is a list of objects."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.greeter.fleet.plugins.action import customers_wait
from ansible_collections.greeter.fleet.plugins.module_utils import kubernetes_api

Object = dict[str, Any]


def labelled(customer: str) -> Object:
    """The labels of a customer's object."""
    return {"app.kubernetes.io/instance": customer, "app.kubernetes.io/managed-by": "greeter-fleet"}


def deployment(customer: str, available: int = 1) -> Object:
    metadata = {"name": "greeter", "namespace": f"customer-{customer}", "generation": 1, "labels": labelled(customer)}
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 1}, "status": status}


def namespace(customer: str, *conditions: Object, **metadata: object) -> Object:
    name = {"name": f"customer-{customer}", "labels": labelled(customer)}
    return {"kind": "Namespace", "metadata": name | metadata, "status": {"conditions": list(conditions)}}


def selects(labels: str, carried: dict[str, str]) -> bool:
    """Whether a label selector, of the two kinds that there are here, fits."""
    for name, value, several in re.findall(r"([a-z./-]+)(?:=([^,]+)| in \(([^)]*)\))", labels):
        if carried.get(name) not in (several.split(",") if several else [value]):
            return False
    return True


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


SILENCE = "the cluster at https://192.0.2.1 does not answer: refused"


class Cluster(kubernetes_api.Cluster):
    """Objects that change from one look to the next, and logs: (pod, of the run before) → lines.

    A look that finds an error is one at which the API does not answer, or refuses. What is ``forbidden`` are kinds.
    """

    def __init__(
        self,
        *looks: list[Object] | Exception,
        logs: dict[tuple[str, bool], list[str]] | None = None,
        forbidden: tuple[str, ...] = (),
    ) -> None:
        """Hold what each look finds; the last one stays."""
        self.looks = list(looks)
        self.logs = logs or {}
        self.forbidden = forbidden
        self.asked: list[str] = []
        self.selectors: list[str] = []
        self.closed = 0

    def close(self) -> None:
        """Count how often."""
        self.closed += 1

    def next(self) -> None:
        """Time passes."""
        if len(self.looks) > 1:
            self.looks.pop(0)

    def objects(
        self, api_version: str, kind: str, labels: str = "", namespace: str = "", fields: str = ""
    ) -> Iterator[Object]:
        """Every object of a kind that carries all the labels."""
        assert api_version == ("apps/v1" if kind == "Deployment" else "v1")
        self.asked.append(kind)
        self.selectors.append(labels)
        if kind in self.forbidden:
            raise kubernetes_api.ForbiddenError("ci", f"list {kind}")
        look = self.looks[0]
        if isinstance(look, Exception):
            raise look
        for found in look:
            metadata = found["metadata"]
            if (
                found["kind"] == kind
                and selects(labels, metadata.get("labels", {}))
                and namespace in ("", metadata.get("namespace"))
                and fields in ("", f"type={found.get('type')}")
            ):
                yield found

    def log(self, namespace: str, pod: str, container: str, previous: bool, lines: int) -> list[str]:
        """The end of a container's log."""
        assert namespace.startswith("customer-")
        assert container == "greeter"
        if "log" in self.forbidden:
            raise kubernetes_api.ForbiddenError("ci", "get pods/log")
        return self.logs.get((pod, previous), [])[-lines:]


Waiting = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """A function that runs the task, with time that passes only by sleeping: its message's lines, and its progress."""

    def run(
        cluster: Cluster, *customers: str, namespaces: tuple[str, ...] = (), timeout: int = 60, **more: object
    ) -> tuple[list[str], list[str]]:
        now = 0.0
        shown: list[str] = []

        def sleep(seconds: float) -> None:
            nonlocal now
            now += seconds
            cluster.next()

        plugin = object.__new__(customers_wait.ActionModule)
        arguments = {"customers": list(customers), "namespaces": list(namespaces), "timeout": timeout, **more}
        plugin._task = SimpleNamespace(args={"kubeconfig": "/k", "fleet": "greeter-fleet", **arguments})
        monkeypatch.setattr(ActionBase, "run", lambda *_: {})
        monkeypatch.setattr(Display, "display", lambda _self, text: shown.append(text))
        monkeypatch.setattr(customers_wait, "Cluster", lambda *given: given == ("/k", "") and cluster)
        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr(time, "monotonic", lambda: now)
        result = plugin.run()
        assert result.get("failed", False) == ("msg" in result)
        assert cluster.closed == bool(cluster.asked)
        return result.get("msg", "").splitlines(), shown

    return run


def not_as_declared(*problems: str) -> list[str]:
    """What the task fails with."""
    return ["Not as declared, while all others are:", *problems]


def test_it_ends_as_soon_as_all_are_rolled_out_and_gone(wait: Waiting) -> None:
    cluster = Cluster(
        [deployment("a"), deployment("b", available=0), namespace("a"), namespace("c")],
        [deployment("a", available=0), deployment("b"), namespace("c")],
        [deployment("b"), namespace("d")],
        [deployment("b", available=0), namespace("c")],
    )
    assert wait(cluster, "a", "b", namespaces=("customer-c",)) == ([], [])
    # It has looked three times: whoever was complete once is not asked for again.
    assert len(cluster.looks) == 2
    assert cluster.asked == ["Deployment", "Namespace", "Deployment", "Namespace", "Namespace"]


def test_it_reports_who_is_left_when_the_time_is_over(wait: Waiting) -> None:
    other = deployment("c")
    other["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "another-fleet"
    cluster = Cluster([deployment("a"), deployment("b", available=0), other, namespace("d")])
    problems, _ = wait(cluster, "a", "b", "c", namespaces=("customer-d", "customer-e"), timeout=2)
    assert problems == not_as_declared(
        "- b: not rolled out within 2 s",
        "- c: not rolled out within 2 s",
        "- namespace customer-d: still being removed after 2 s",
    )


def test_no_time_at_all_is_one_look(wait: Waiting) -> None:
    cluster = Cluster([deployment("a", available=0)], [deployment("a")])
    problems, _ = wait(cluster, "a", timeout=0)
    assert problems == not_as_declared("- a: not rolled out within 0 s")
    assert len(cluster.looks) == 2


def test_what_was_refused_is_reported_with_the_rest_and_not_waited_for(wait: Waiting) -> None:
    refused = [{"customer": "a", "object": "Service greeter", "message": "no"}]
    cluster = Cluster([deployment("a", available=0), deployment("b", available=0)])
    problems, shown = wait(cluster, "a", "b", refused=refused, timeout=8)
    assert problems == not_as_declared("- a: Service greeter: no", "- b: not rolled out within 8 s")
    assert shown == ["customers: 0 of 1 rolled out, waiting for b"]


def test_of_an_object_that_is_told_twice_the_first_words_count(wait: Waiting) -> None:
    words = ("a webhook does not answer", "is not there, although it was sent")
    refused = [{"customer": "a", "object": "Service greeter", "message": each} for each in words]
    problems, _ = wait(Cluster([]), refused=refused)
    assert problems == not_as_declared("- a: Service greeter: a webhook does not answer")


def test_a_namespace_whose_removal_was_refused_is_not_waited_for(wait: Waiting) -> None:
    refused = [{"customer": "a", "object": "Namespace customer-a", "message": "no"}]
    cluster = Cluster([namespace("a"), namespace("b")], [namespace("a")])
    problems, _ = wait(cluster, namespaces=("customer-a", "customer-b"), refused=refused)
    assert problems == not_as_declared("- a: Namespace customer-a: no")


def test_with_nothing_to_wait_for_the_cluster_is_not_asked(wait: Waiting) -> None:
    refused = [{"customer": "a", "object": "Service greeter", "message": "no"}]
    cluster = Cluster([])
    assert wait(cluster, "a", refused=refused) == (not_as_declared("- a: Service greeter: no"), [])
    assert cluster.asked == []


def test_the_reasons_are_the_states_the_logs_and_the_latest_warnings(wait: Waiting) -> None:
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
    problems, _ = wait(cluster, "a", timeout=0)
    assert problems == not_as_declared(
        "- a: not rolled out within 0 s",
        "    pod greeter-1 waiting: CrashLoopBackOff back-off 10s",
        "    pod greeter-1 terminated: Error 2",
        "    pod greeter-1 log: line 2",
        "    pod greeter-1 log: line 3",
        "    pod greeter-1 log: line 4",
        "    pod greeter-1 log: line 5",
        "    pod greeter-1 log: line 6",
        "    event of Pod greeter-1: Failed: no. 2",
        "    event of Pod greeter-1: Failed: no. 3",
        "    event of Pod greeter-1: Failed: no. 4",
        "    event of Pod greeter-1: Failed: no. 5",
        "    event of Pod greeter-1: Failed: no. 6",
    )


@pytest.mark.parametrize(
    ("restarts", "line"), [(0, "pod greeter-1 log: it starts"), (1, "pod greeter-1 log: it has failed")]
)
def test_the_log_of_a_container_that_began_anew_is_the_one_before(wait: Waiting, restarts: int, line: str) -> None:
    logs = {("greeter-1", False): ["it starts"], ("greeter-1", True): ["it has failed"]}
    cluster = Cluster([deployment("a", available=0), pod("a", container({"running": {}}, None, restarts))], logs=logs)
    problems, _ = wait(cluster, "a", timeout=0)
    assert problems == not_as_declared("- a: not rolled out within 0 s", f"    {line}")


def test_only_a_few_are_explained_and_what_several_pods_say_only_once(wait: Waiting) -> None:
    names = [f"c{number}" for number in range(7)]
    waiting = container({"waiting": {"reason": "ImagePullBackOff"}})
    pods = [pod(name, waiting) for name in names for _ in range(2)]
    problems, _ = wait(Cluster([*(deployment(name, available=0) for name in names), *pods]), *names, timeout=0)
    explained = [
        line
        for name in names[:5]
        for line in (f"- {name}: not rolled out within 0 s", "    pod greeter-1 waiting: ImagePullBackOff")
    ]
    others = [f"- {name}: not rolled out within 0 s" for name in names[5:]]
    assert problems == not_as_declared(*explained, *others)


def test_progress_is_shown_every_few_seconds_if_there_is_some(wait: Waiting) -> None:
    late, gone = deployment("c", available=0), namespace("d")
    # Two looks a second; what is over within the first seconds is not worth a line.
    looks = (
        [[late, gone]] * 4 + [[deployment("a"), late, gone]] * 18 + [[deployment("b"), late]] * 10 + [[deployment("c")]]
    )
    problems, shown = wait(Cluster(*looks), "a", "b", "c", namespaces=("customer-d",))
    assert problems == []
    assert shown == [
        "customers: 1 of 3 rolled out, waiting for b, c; 0 of 1 removed, waiting for customer-d",
        "customers: 2 of 3 rolled out, waiting for c",
    ]


def test_of_many_a_few_are_named(wait: Waiting) -> None:
    names = [f"c{number}" for number in range(6)]
    _, shown = wait(Cluster([]), *names, timeout=6)
    assert shown == ["customers: 0 of 6 rolled out, waiting for c0, c1, c2, c3, c4 …"]


def test_a_cluster_that_stops_answering_is_asked_again_and_shown(wait: Waiting) -> None:
    silent = kubernetes_api.UnreachableError(SILENCE)
    cluster = Cluster(*[[deployment("a", available=0)]] * 15, *[silent] * 10, [deployment("a")])
    assert wait(cluster, "a") == (
        [],
        [
            "customers: 0 of 1 rolled out, waiting for a",
            f"customers: {SILENCE}; 0 of 1 rolled out, waiting for a",
        ],
    )


def test_a_cluster_that_never_answers_is_a_problem_of_its_own(wait: Waiting) -> None:
    silent = kubernetes_api.UnreachableError(SILENCE)
    problems, _ = wait(Cluster(silent), "a", timeout=8)
    assert problems == not_as_declared("- a: not rolled out within 8 s", f"- {SILENCE}")


def test_a_refusal_ends_the_wait(wait: Waiting) -> None:
    refusal = kubernetes_api.ClusterError("the cluster at https://192.0.2.1 refuses: no")
    cluster = Cluster([deployment("a", available=0)], refusal, [deployment("a")])
    assert wait(cluster, "a") == (["the cluster at https://192.0.2.1 refuses: no"], [])
    assert len(cluster.looks) == 2


def test_a_refusal_keeps_back_nothing_of_what_was_refused_before(wait: Waiting) -> None:
    refused = [{"customer": "a", "object": "Service greeter", "message": "no"}]
    cluster = Cluster([], forbidden=("Deployment",))
    assert wait(cluster, "a", "b", refused=refused)[0] == [
        "ci may not list Deployment; grant it as docs/rights.yaml does",
        "- a: Service greeter: no",
    ]


def test_only_those_that_are_left_are_asked_for_and_many_by_the_whole_list(wait: Waiting) -> None:
    names = [f"c{number:02}" for number in range(51)]
    done = [deployment(name) for name in names]
    cluster = Cluster([done[0], namespace("x")], [*done[:49], namespace("x")], [*done[:50], namespace("x")], done)
    wait(cluster, *names, namespaces=("customer-x",))
    fleet = "app.kubernetes.io/managed-by=greeter-fleet"
    asked = [fleet if ask == fleet else ask.removeprefix(f"{fleet},app.kubernetes.io/instance in ")
             for ask in cluster.selectors]  # fmt: skip
    fifty = f"({','.join(names[1:])})"
    assert asked == [fleet, "(x)", fifty, "(x)", "(c49,c50)", "(x)", "(c50)", "(x)"]


@pytest.mark.parametrize(("left", "looks"), [(1, 9), (50, 9), (100, 5), (200, 3), (1000, 3)])
def test_the_more_are_left_the_longer_it_takes_to_the_next_look(wait: Waiting, left: int, looks: int) -> None:
    cluster = Cluster([])
    wait(cluster, *(f"c{number}" for number in range(left)), timeout=4)
    assert cluster.asked.count("Deployment") == looks


def test_a_namespace_that_stays_is_told_with_what_holds_it(wait: Waiting) -> None:
    conditions = [
        {"type": "NamespaceDeletionContentFailure", "status": "False", "message": "All content successfully deleted"},
        {"type": "NamespaceContentRemaining", "status": "True", "message": "Resources are remaining: things. has 1"},
        {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "example.com/keep in 1 resource"},
    ]
    cluster = Cluster([namespace("a", *conditions), namespace("b", finalizers=["example.com/hold"]), namespace("c")])
    problems, _ = wait(cluster, namespaces=("customer-a", "customer-b", "customer-c"), timeout=1)
    stays = "still being removed after 1 s"
    assert problems == not_as_declared(
        f"- namespace customer-a: {stays}: Resources are remaining: things. has 1; example.com/keep in 1 resource",
        f"- namespace customer-b: {stays}: its finalizers are left: example.com/hold",
        f"- namespace customer-c: {stays}",
    )


@pytest.mark.parametrize(
    ("forbidden", "explained", "missing"),
    [
        (("Pod",), "    event of Pod greeter-1: Failed: no", "list Pod"),
        (("Event",), "    pod greeter-1 waiting: ErrImagePull", "list Event"),
        (("Event", "log"), "    pod greeter-1 waiting: ErrImagePull", "get pods/log, list Event"),
        (("Pod", "Event"), "", "list Pod, list Event"),
    ],
)
def test_without_the_rights_to_explain_it_the_rest_is_told_and_which_are_missing(
    wait: Waiting, forbidden: tuple[str, ...], explained: str, missing: str
) -> None:
    waiting = container({"waiting": {"reason": "ErrImagePull"}})
    things = [thing for name in "ab" for thing in (deployment(name, 0), pod(name, waiting), event(name, "", "no"))]
    problems, _ = wait(Cluster(things, forbidden=forbidden), "a", "b", timeout=0)
    assert [line for line in problems if line.startswith("-")] == [
        "- a: not rolled out within 0 s",
        "- b: not rolled out within 0 s",
        f"- why is not known: ci may not {missing}; grant it as docs/rights.yaml does",
    ]
    assert [line for line in problems if line.startswith(" ")] == ([explained] * 2 if explained else [])


def test_those_who_miss_the_same_rights_share_a_line(wait: Waiting) -> None:
    words = 'is forbidden: User "ci" cannot create resource "{0}" in API group "" in the namespace "customer-x"'
    refused = [
        {"customer": name, "object": kind, "message": f'{kind} "greeter" {words.format(kind)}'}
        for name, kinds in {"b": ["pods", "services"], "a": ["pods", "services"], "c": ["pods"]}.items()
        for kind in kinds
    ]
    refused.append({"customer": "a", "object": "Ingress greeter", "message": "no"})
    assert wait(Cluster([]), refused=refused)[0] == not_as_declared(
        "- a: Ingress greeter: no",
        "- a, b: ci may not create pods, create services; grant it as docs/rights.yaml does",
        "- c: ci may not create pods; grant it as docs/rights.yaml does",
    )
