#!/usr/bin/python
"""Ansible module: look whether customers' rollouts are complete, and why not."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.greeter.fleet.plugins.module_utils.compare import rolled_out
from ansible_collections.greeter.fleet.plugins.module_utils.kubernetes_api import Cluster, ClusterError

DOCUMENTATION = r"""
module: customers_wait
short_description: Look whether customers' rollouts are complete, and why not
description:
  - Watches all Deployments of a fleet, and the namespaces that are to go, with one request for each look.
  - Changes nothing. The action plugin of the same name calls it again and again until all is done or the time is over,
    and shows the progress.
options:
  kubeconfig: {description: The kubeconfig of the cluster., type: path, required: true}
  fleet: {description: The value of the label C(app.kubernetes.io/managed-by)., type: str, required: true}
  customers: {description: Those whose rollout must be complete., type: list, elements: str, default: []}
  gone: {description: Namespaces that must no longer be there., type: list, elements: str, default: []}
  seconds: {description: How long to look at most., type: float, default: 5}
  explain: {description: Whether to ask events and logs why rollouts are not complete., type: bool, default: false}
author: [the greeter fleet's maintainers]
"""

EXAMPLES = r"""
- name: Wait for two customers
  customers_wait:
    kubeconfig: ~/.kube/config
    fleet: greeter-fleet
    customers: [a, b]
"""

RETURN = r"""
missing: {description: Customers whose rollout is not complete., type: list, elements: str, returned: always}
staying: {description: Namespaces that are still there., type: list, elements: str, returned: always}
silent: {description: 'What keeps the cluster from being asked at all, or nothing.', type: str, returned: always}
reasons: {description: 'Customer → what pods, events and logs say, for a few.', type: dict, returned: with explain}
"""

INSTANCE = "app.kubernetes.io/instance"
FLEET = "app.kubernetes.io/managed-by"
PAUSE_SECONDS = 0.5
EXPLAINED = 5
LOG_LINES = 5
EVENTS = 5

Object = dict[str, Any]


class Watch:
    """What is being waited for."""

    def __init__(self, params: dict[str, Any]) -> None:
        """Connect by the module's ``params``."""
        self.cluster = Cluster(params["kubeconfig"])
        self.labels = f"{FLEET}={params['fleet']}"
        self.missing: list[str] = params["customers"]
        self.staying: list[str] = params["gone"]

    def look(self) -> None:
        """Ask once for all."""
        if self.missing:
            deployments = self.cluster.all("apps/v1", "Deployment", self.labels)
            complete = {found["metadata"]["labels"].get(INSTANCE) for found in deployments if rolled_out(found)}
            self.missing = [name for name in self.missing if name not in complete]
        if self.staying:
            held = {found["metadata"]["name"] for found in self.cluster.all("v1", "Namespace", self.labels)}
            self.staying = [name for name in self.staying if name in held]

    def follow(self, seconds: float) -> None:
        """Ask until all is done or ``seconds`` are over."""
        deadline = time.monotonic() + seconds
        self.look()
        while (self.missing or self.staying) and time.monotonic() + PAUSE_SECONDS < deadline:
            time.sleep(PAUSE_SECONDS)
            self.look()

    def reasons(self) -> dict[str, list[str]]:
        """Why the first few rollouts are not complete: what containers wait for, warnings, the end of their logs."""
        found = {}
        for name in self.missing[:EXPLAINED]:
            pods = list(self.cluster.all("v1", "Pod", f"{self.labels},{INSTANCE}={name}"))
            namespaces = [
                each["metadata"]["namespace"]
                for each in self.cluster.all("apps/v1", "Deployment", f"{self.labels},{INSTANCE}={name}")
            ]
            lines = [line for pod in pods for line in self._pod(pod)]
            lines += [line for namespace in namespaces for line in self._events(namespace)]
            found[name] = list(dict.fromkeys(lines))
        return found

    def _pod(self, pod: Object) -> list[str]:
        lines = []
        metadata = pod["metadata"]
        for status in pod.get("status", {}).get("containerStatuses", []):
            if status["ready"]:
                continue
            for state in (status.get("state", {}), status.get("lastState", {})):
                for kind, detail in state.items():
                    words = " ".join(str(detail[each]) for each in ("reason", "exitCode", "message") if each in detail)
                    lines += [f"pod {metadata['name']} {kind}: {words}"] if words else []
            where = (metadata["namespace"], metadata["name"], status["name"])
            # What a container that has just begun anew did before says more than what it does now.
            previous = "running" in status.get("state", {}) and status["restartCount"] > 0
            log = self.cluster.log(*where, previous=previous, lines=LOG_LINES)
            lines += [f"pod {metadata['name']} log: {line}" for line in log]
        return lines

    def _events(self, namespace: str) -> list[str]:
        events = self.cluster.all("v1", "Event", namespace=namespace, fields="type=Warning")
        latest = sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
        told = []
        for event in latest:
            about = event["involvedObject"]
            told.append(f"event of {about['kind']} {about['name']}: {event['reason']}: {event['message']}")
        return told[-EVENTS:]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "fleet": {"type": "str", "required": True},
            "customers": {"type": "list", "elements": "str", "default": []},
            "gone": {"type": "list", "elements": "str", "default": []},
            "seconds": {"type": "float", "default": 5},
            "explain": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        watch = Watch(module.params)
        watch.follow(module.params["seconds"])
        reasons = {"reasons": watch.reasons()} if module.params["explain"] else {}
    except ClusterError as error:
        if not error.unreachable:
            module.fail_json(msg=str(error))
        left = {"missing": module.params["customers"], "staying": module.params["gone"]}
        module.exit_json(changed=False, **left, silent=str(error))
    module.exit_json(changed=False, missing=watch.missing, staying=watch.staying, silent="", **reasons)


if __name__ == "__main__":
    main()
