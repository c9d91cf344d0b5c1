"""Action plugin: wait for customers' rollouts and removals, show progress, and report who is not as declared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.greeter.fleet.plugins.module_utils.compare import rolled_out
from ansible_collections.greeter.fleet.plugins.module_utils.fleet import FLEET, INSTANCE, label
from ansible_collections.greeter.fleet.plugins.module_utils.kubernetes_api import (
    Cluster,
    ClusterError,
    Object,
    UnreachableError,
)

OPTIONS = {
    "kubeconfig": {"type": "path", "required": True},
    "fleet": {"type": "str", "required": True},
    "customers": {"type": "list", "elements": "str", "default": []},
    "namespaces": {"type": "list", "elements": "str", "default": []},
    "refused": {"type": "list", "elements": "dict", "default": []},
    "timeout": {"type": "int", "default": 300},
}
PAUSE_SECONDS = 0.5
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
            return result | {"failed": True, "msg": str(error)}
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
        self.labels = f"{FLEET}={options['fleet']}"
        refused = {each["customer"] for each in options["refused"]}
        self.customers = sorted(set(options["customers"]) - refused)
        self.not_rolled_out: list[str] = self.customers
        self.namespaces_left: list[str] = options["namespaces"]
        self.unreachable = ""
        self._cluster: Cluster | None = None

    def _ask(self, question: Callable[[Cluster], None]) -> None:
        """Ask the cluster something; that nothing answers is no failure yet: its API server may be restarting."""
        self.unreachable = ""
        try:
            self._cluster = self._cluster or Cluster(self.options["kubeconfig"])
            question(self._cluster)
        except UnreachableError as error:
            self._cluster, self.unreachable = None, str(error)

    def _look(self, cluster: Cluster) -> None:
        """Ask once for all."""
        if self.not_rolled_out:
            deployments = cluster.objects("apps/v1", "Deployment", self.labels)
            complete = {label(found, INSTANCE) for found in deployments if rolled_out(found)}
            self.not_rolled_out = [name for name in self.not_rolled_out if name not in complete]
        if self.namespaces_left:
            held = {found["metadata"]["name"] for found in cluster.objects("v1", "Namespace", self.labels)}
            self.namespaces_left = [name for name in self.namespaces_left if name in held]

    def follow(self, show: Callable[[str], object]) -> None:
        """Look again and again until all is done or the time is over, and ``show`` what progress there is."""
        began, shown_at, shown = time.monotonic(), 0.0, ""
        while self.not_rolled_out or self.namespaces_left:
            self._ask(self._look)
            seconds = time.monotonic() - began
            is_done = not (self.not_rolled_out or self.namespaces_left)
            if is_done or seconds + PAUSE_SECONDS > self.options["timeout"]:
                return
            if seconds - shown_at >= PROGRESS_SECONDS and self.progress() != shown:
                shown_at, shown = seconds, self.progress()
                show(shown)
            time.sleep(PAUSE_SECONDS)

    def progress(self) -> str:
        """How far it is, in one line."""
        parts = [self.unreachable] if self.unreachable else []
        for done, asked, left in (
            ("rolled out", self.customers, self.not_rolled_out),
            ("removed", self.options["namespaces"], self.namespaces_left),
        ):
            if left:
                names = ", ".join(left[:MOST]) + (" …" if len(left) > MOST else "")
                parts.append(f"{len(asked) - len(left)} of {len(asked)} {done}, waiting for {names}")
        return f"customers: {'; '.join(parts)}"

    def problems(self) -> list[str]:
        """One line, or more with what explains it, for everything that is not as declared."""
        seconds = self.options["timeout"]
        reasons: dict[str, list[str]] = {}

        def explain_some(cluster: Cluster) -> None:
            for name in self.not_rolled_out[:MOST]:
                reasons[name] = explain(cluster, f"{self.labels},{INSTANCE}={name}")

        if self.not_rolled_out and not self.unreachable:
            self._ask(explain_some)
        lines = [f"- {each['customer']}: {each['object']}: {each['message']}" for each in self.options["refused"]]
        for name in self.not_rolled_out:
            lines.append(f"- {name}: not rolled out within {seconds} s")
            lines += [f"    {reason}" for reason in reasons.get(name, [])]
        lines += [f"- namespace {name}: still being removed after {seconds} s" for name in self.namespaces_left]
        return lines + ([f"- {self.unreachable}"] if self.unreachable else [])


def explain(cluster: Cluster, labels: str) -> list[str]:
    """Why a rollout is not complete: what containers wait for, the end of their logs, and the latest warnings."""
    lines = [line for pod in cluster.objects("v1", "Pod", labels) for line in pod_lines(cluster, pod)]
    for deployment in cluster.objects("apps/v1", "Deployment", labels):
        events = cluster.objects("v1", "Event", namespace=deployment["metadata"]["namespace"], fields="type=Warning")
        latest = sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
        for event in latest[-MOST:]:
            about = event["involvedObject"]
            lines.append(f"event of {about['kind']} {about['name']}: {event['reason']}: {event['message']}")
    return list(dict.fromkeys(lines))


def pod_lines(cluster: Cluster, pod: Object) -> list[str]:
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
        log = cluster.log(metadata["namespace"], metadata["name"], status["name"], previous=previous, lines=MOST)
        lines += [f"pod {metadata['name']} log: {line}" for line in log]
    return lines
