"""Action plugin: wait for customers' rollouts and removals, show progress, and report who is not as declared."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.greeter.fleet.plugins.module_utils.compare import rolled_out
from ansible_collections.greeter.fleet.plugins.module_utils.fleet import FLEET, INSTANCE, label
from ansible_collections.greeter.fleet.plugins.module_utils.kubernetes_api import (
    Cluster,
    ClusterError,
    ForbiddenError,
    Object,
    TransientError,
    missing_right,
)
from ansible_collections.greeter.fleet.plugins.module_utils.report import some
from ansible_collections.greeter.fleet.plugins.plugin_utils.customers import NAMESPACE_PREFIX

OPTIONS = {
    "kubeconfig": {"type": "path", "required": True},
    "context": {"type": "str", "default": ""},
    "fleet": {"type": "str", "required": True},
    "customers": {"type": "list", "elements": "str", "default": []},
    "namespaces": {"type": "list", "elements": "str", "default": []},
    "refused": {"type": "list", "elements": "dict", "default": []},
    "timeout": {"type": "int", "default": 300},
}
# Seconds from one look to the next, one for each hundred that are left: the more there are, the larger is the answer.
LEAST_PAUSE, MOST_PAUSE = 0.5, 2.0
LEFT_PER_SECOND = 100
# Up to so many are asked for by name: the names of more would not fit into an address.
MOST_BY_NAME = 50
PROGRESS_SECONDS = 5
# So many customers are named and explained, each with so many events and lines of a log.
MOST = 5


class ActionModule(ActionBase):
    """The options are described in plugins/modules/customers_wait.yml."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Wait until all is done or the time is over."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(OPTIONS)
        wait = Wait(options)
        try:
            wait.follow(Display().display)
            problems = wait.problems()
        except ClusterError as error:
            return result | {"failed": True, "msg": "\n".join([str(error), *wait.refused()])}
        finally:
            wait.close()
        if problems:
            result |= {"failed": True, "msg": "\n".join(["Not as declared, while all others are:", *problems])}
        return result


class Wait:
    """Rollouts and removals that are waited for.

    Every method raises `ClusterError` when the API refuses a request.

    Attributes:
        not_rolled_out: Customers whose rollout is not complete.
        namespaces_left: Namespaces that are still there.
        unreachable: Why the cluster could not be asked the last time; empty if it could.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Wait for what the ``options`` of the action say."""
        self.options = options
        refused = {each["customer"] for each in options["refused"]}
        self.customers = sorted(set(options["customers"]) - refused)
        self.not_rolled_out: list[str] = self.customers
        self.namespaces = [name for name in options["namespaces"] if name.removeprefix(NAMESPACE_PREFIX) not in refused]
        self.namespaces_left = self.namespaces
        self.unreachable = ""
        self._cluster: Cluster | None = None
        # Namespace that is still there → what the API says of its removal.
        self._held_by: dict[str, str] = {}

    def close(self) -> None:
        """Leave nothing open."""
        if self._cluster:
            self._cluster.close()
        self._cluster = None

    def _ask(self, question: Callable[[Cluster], None]) -> None:
        """Ask the cluster something; that nothing answers is no failure yet: its API server may be restarting."""
        self.unreachable = ""
        try:
            self._cluster = self._cluster or Cluster(self.options["kubeconfig"], self.options["context"])
            question(self._cluster)
        except TransientError as error:
            self.unreachable = str(error)

    def _labels(self, customers: Collection[str]) -> str:
        """The selector of these customers' objects, or of the whole fleet's if there are too many."""
        only = f",{INSTANCE} in ({','.join(customers)})" if len(customers) <= MOST_BY_NAME else ""
        return f"{FLEET}={self.options['fleet']}{only}"

    def _look(self, cluster: Cluster) -> None:
        """Ask once for all."""
        if self.not_rolled_out:
            deployments = cluster.objects("apps/v1", "Deployment", self._labels(self.not_rolled_out))
            complete = {label(found, INSTANCE) for found in deployments if rolled_out(found)}
            self.not_rolled_out = [name for name in self.not_rolled_out if name not in complete]
        if self.namespaces_left:
            customers = [name.removeprefix(NAMESPACE_PREFIX) for name in self.namespaces_left]
            found = cluster.objects("v1", "Namespace", self._labels(customers))
            held = {each["metadata"]["name"]: each for each in found}
            self.namespaces_left = [name for name in self.namespaces_left if name in held]
            self._held_by = {name: held_by(held[name]) for name in self.namespaces_left}

    def follow(self, show: Callable[[str], object]) -> None:
        """Look again and again until all is done or the time is over, and ``show`` what progress there is."""
        began, shown_at, shown = time.monotonic(), 0.0, ""
        while self.not_rolled_out or self.namespaces_left:
            self._ask(self._look)
            seconds = time.monotonic() - began
            left = len(self.not_rolled_out) + len(self.namespaces_left)
            pause = min(max(left / LEFT_PER_SECOND, LEAST_PAUSE), MOST_PAUSE)
            if not left or seconds + pause > self.options["timeout"]:
                return
            if seconds - shown_at >= PROGRESS_SECONDS and self.progress() != shown:
                shown_at, shown = seconds, self.progress()
                show(shown)
            time.sleep(pause)

    def progress(self) -> str:
        """How far it is, in one line."""
        parts = [self.unreachable] if self.unreachable else []
        for done, asked, left in (
            ("rolled out", self.customers, self.not_rolled_out),
            ("removed", self.namespaces, self.namespaces_left),
        ):
            if left:
                names = ", ".join(left[:MOST]) + (" …" if len(left) > MOST else "")
                parts.append(f"{len(asked) - len(left)} of {len(asked)} {done}, waiting for {names}")
        return f"customers: {'; '.join(parts)}"

    def problems(self) -> list[str]:
        """One line, or more with what explains it, for everything that is not as declared."""
        seconds = self.options["timeout"]
        reasons: dict[str, list[str]] = {}
        unknown: list[ForbiddenError] = []

        def explain_some(cluster: Cluster) -> None:
            for name in self.not_rolled_out[:MOST]:
                reasons[name] = explain(cluster, NAMESPACE_PREFIX + name, self._labels([name]), unknown)

        if self.not_rolled_out and not self.unreachable:
            self._ask(explain_some)
        lines = self.refused()
        for name in self.not_rolled_out:
            lines.append(f"- {name}: not rolled out within {seconds} s")
            lines += [f"    {reason}" for reason in reasons.get(name, [])]
        lines += [f"- why is not known: {ForbiddenError.of_all(unknown)}"] if unknown else []
        for name in self.namespaces_left:
            reason = self._held_by.get(name)
            lines.append(f"- namespace {name}: still being removed after {seconds} s{reason and ': '}{reason}")
        return lines + ([f"- {self.unreachable}"] if self.unreachable else [])

    def refused(self) -> list[str]:
        """A line for everything the API has refused; those who miss the same rights share one."""
        lines = []
        missing: dict[str, list[ForbiddenError]] = defaultdict(list)
        messages: dict[tuple[str, str], str] = {}
        for each in self.options["refused"]:
            messages.setdefault((each["customer"], each["object"]), each["message"])
        for (customer, name), message in messages.items():
            if error := missing_right(message):
                missing[customer].append(error)
            else:
                lines.append(f"- {customer}: {name}: {message}")
        sharing: dict[str, list[str]] = defaultdict(list)
        for customer, errors in sorted(missing.items()):
            sharing[str(ForbiddenError.of_all(errors))].append(customer)
        return lines + [f"- {some(customers)}: {words}" for words, customers in sharing.items()]


def explain(cluster: Cluster, namespace: str, labels: str, unknown: list[ForbiddenError]) -> list[str]:
    """Why a rollout is not complete: what containers wait for, the end of their logs, and the latest warnings.

    What may not be read is added to ``unknown``.
    """
    lines: list[str] = []
    try:
        for pod in cluster.objects("v1", "Pod", labels, namespace):
            lines += pod_lines(cluster, pod, unknown)
    except ForbiddenError as error:
        unknown.append(error)
    try:
        events = list(cluster.objects("v1", "Event", namespace=namespace, fields="type=Warning"))
    except ForbiddenError as error:
        unknown.append(error)
        events = []
    events.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    for event in events[-MOST:]:
        about = event["involvedObject"]
        lines.append(f"event of {about['kind']} {about['name']}: {event['reason']}: {event['message']}")
    return list(dict.fromkeys(lines))


def held_by(namespace: Object) -> str:
    """What a namespace on its way out still waits for, in the API's own words; empty if it does not say."""
    conditions = namespace.get("status", {}).get("conditions") or []
    messages = [each["message"] for each in conditions if each["status"] == "True" and each.get("message")]
    own = namespace["metadata"].get("finalizers")
    return "; ".join(messages) or (f"its finalizers are left: {', '.join(own)}" if own else "")


def pod_lines(cluster: Cluster, pod: Object, unknown: list[ForbiddenError]) -> list[str]:
    """What keeps a pod's containers from being ready, and the last lines of their logs."""
    lines = []
    metadata = pod["metadata"]
    for status in pod.get("status", {}).get("containerStatuses", []):
        if status["ready"]:
            continue
        for state in (status.get("state", {}), status.get("lastState", {})):
            for kind, detail in state.items():
                text = " ".join(str(detail[each]) for each in ("reason", "exitCode", "message") if each in detail)
                lines += [f"pod {metadata['name']} {kind}: {text}"] if text else []
        # What a container that has just begun anew did before says more than what it does now.
        previous = "running" in status.get("state", {}) and status["restartCount"] > 0
        try:
            log = cluster.log(metadata["namespace"], metadata["name"], status["name"], previous=previous, lines=MOST)
        except ForbiddenError as error:
            unknown.append(error)
        else:
            lines += [f"pod {metadata['name']} log: {line}" for line in log]
    return lines
