"""What a run would do to the objects of a fleet, and the lines that say so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import yaml
from ansible_collections.greeter.fleet.plugins.module_utils.compare import (
    LAST_APPLIED,
    annotated,
    last_applied,
    merged,
    patch,
    paths,
    rolled_out,
)
from ansible_collections.greeter.fleet.plugins.module_utils.kubernetes_api import Cluster, Object

INSTANCE = "app.kubernetes.io/instance"
FLEET = "app.kubernetes.io/managed-by"
# What only the server has to say is of no interest in a difference.
SERVER_SIDE = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
# The C parser takes a tenth of the time; PyYAML has it wherever libyaml was there to build it with.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Key = tuple[str, str]


class Kind(NamedTuple):
    """What people call a change of such an object, and the setting that turns it off where a cluster has none."""

    api_version: str
    kind: str
    label: str = ""
    setting: str = ""


# Every kind a customer may have, in the order they are made.
KINDS = (
    Kind("v1", "Namespace"),
    Kind("v1", "ResourceQuota", "quota"),
    Kind("v1", "LimitRange", "resources"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "network policy"),
    Kind("v1", "ServiceAccount"),
    Kind("v1", "Secret", "TLS certificate"),
    Kind("apps/v1", "Deployment"),
    Kind("v1", "Service"),
    Kind("autoscaling/v2", "HorizontalPodAutoscaler", "autoscaling", "replicas instead of autoscaling"),
    Kind("policy/v1", "PodDisruptionBudget", "disruption budget", "disruption_budget: false"),
    Kind("traefik.io/v1alpha1", "Middleware", "HTTPS redirect", "tls.redirect: false"),
    Kind("networking.k8s.io/v1", "Ingress"),
)
# What people call the change of a field, by a part of its path. The first that fits counts, and before the kind's.
LABELS = {
    r"metadata\.labels": "labels",
    re.escape(LAST_APPLIED): "the record of what was declared",
    r"metadata\.annotations": "annotations",
    r"spec\.replicas$": "replicas",
    r"env\[GREETING\]": "greeting",
    r"env(\[|$)": "env",
    r"\.image$": "image",
    r"\.resources": "resources",
    r"nodeSelector": "node selector",
    r"tolerations": "tolerations",
    r"spec\.rules": "hosts",
    r"spec\.tls": "TLS",
    r"spec\.ingressClassName": "ingress class",
}


def key(found: Object) -> Key:
    """Namespace and name."""
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]


def label(found: Object, name: str) -> str:
    """One label's value, empty if it is not there."""
    return str((found["metadata"].get("labels") or {}).get(name, ""))


def reference(found: Object) -> Object:
    """What is needed to name an object to the API."""
    metadata = {name: found["metadata"][name] for name in ("name", "namespace") if name in found["metadata"]}
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": metadata}


def view(found: Object | None, side: str) -> Object | str:
    """An object as ``--diff`` shows it before or after; of a Secret only what it is."""
    if found is None:
        return ""
    metadata = {name: value for name, value in found["metadata"].items() if name not in SERVER_SIDE}
    annotations = {name: value for name, value in metadata.get("annotations", {}).items() if name != LAST_APPLIED}
    rest = {name: value for name, value in found.items() if name != "status"}
    hidden = {"data": f"not shown ({side})"} if found["kind"] == "Secret" else {}
    return rest | hidden | {"metadata": metadata | {"annotations": annotations}}


class Plan:
    """What a run would do to the objects of a fleet.

    Attributes:
        apply: Objects to create as they are, and merge patches with the name of the object they are for.
        secrets: Customers whose Secret differs.
        remove: References to the objects to delete.
        waiting: Customers whose rollout is not complete or will begin.
        faults: Why nothing may be changed; empty if something may.
        diff: What differs, as Ansible shows it with ``--diff``.
    """

    def __init__(self, cluster: Cluster | None, params: Mapping[str, Any], with_diff: bool) -> None:
        """Compare what the module's ``params`` declare with what ``cluster`` holds; None holds nothing yet.

        Without ``with_diff`` there is no ``diff``: writing thousands of objects takes longer than all the rest.
        """
        self.cluster, self.with_diff = cluster, with_diff
        self.fleet: str = params["fleet"]
        self.prune: bool = params["prune"]
        self.apply: list[Object] = []
        self.secrets: set[str] = set()
        self.remove: list[Object] = []
        self.waiting: set[str] = set()
        self.faults: list[str] = []
        self.diff: list[Object] = []
        # Customer → labels of what changes: because it is declared so, or because someone changed it by hand.
        self._changed: dict[str, set[str]] = defaultdict(set)
        self._drifted: dict[str, set[str]] = defaultdict(set)
        self._new: dict[str, list[str]] = {}  # customer → hosts
        self._leaving: dict[str, str] = {}  # customer → absent or undeclared

        self._declared: dict[tuple[str, str], dict[Key, Object]] = defaultdict(dict)
        for text in (params["objects"], params["secrets"]):
            for found in filter(None, yaml.load_all(text, Loader=LOADER)):
                self._declared[found["apiVersion"], found["kind"]][key(found)] = found
        # Namespace → customer.
        self._customers = {
            name: label(found, INSTANCE) for (_, name), found in self._declared["v1", "Namespace"].items()
        }
        self._compare_namespaces(params["absent"])
        for kind in KINDS[1:]:
            self._compare_kind(kind)

    def _held(self, api_version: str, kind: str, **query: str) -> dict[Key, Object]:
        return {key(found): found for found in self.cluster.objects(api_version, kind, **query)} if self.cluster else {}

    def _compare_namespaces(self, absent: Collection[str]) -> None:
        held = self._held("v1", "Namespace")
        for place, found in self._declared["v1", "Namespace"].items():
            customer, live = label(found, INSTANCE), held.pop(place, None)
            if live and label(live, FLEET) != self.fleet:
                self.faults.append(
                    f"customer {customer}: the namespace {place[1]} is there already and not "
                    f"this fleet's: it has no label {FLEET}={self.fleet}; rename the customer, or remove the namespace"
                )
            elif live and "deletionTimestamp" in live["metadata"]:
                self.faults.append(
                    f"customer {customer}: the namespace {place[1]} is being deleted; run again when it is gone"
                )
            else:
                if live is None:
                    self._new[customer] = []
                self._compare(found, live)
        for (_, name), live in held.items():
            if label(live, FLEET) == self.fleet and "deletionTimestamp" not in live["metadata"]:
                customer = label(live, INSTANCE) or name
                self._leaving[customer] = "absent" if customer in absent else "undeclared"
                if customer in absent or self.prune:
                    self._remove(live)

    def _compare_kind(self, kind: Kind) -> None:
        api_version, name = kind.api_version, kind.kind
        declared = self._declared[api_version, name]
        if self.cluster and declared and not self.cluster.serves(api_version, name):
            customers = some(sorted({self._customers[namespace] for namespace, _ in declared}))
            self.faults.append(
                f"customers {customers}: the cluster serves no {name} of {api_version}; "
                f"set {kind.setting} for them or in customers_defaults, or use a newer Kubernetes"
            )
            return
        held = self._held(api_version, name, labels=f"{FLEET}={self.fleet}")
        for place, found in declared.items():
            live = held.pop(place, None)
            if live is None and self._customers[place[0]] not in self._new:
                # Not under our label: gone, or someone has taken the label off.
                query = {"namespace": place[0], "fields": f"metadata.name={place[1]}"}
                live = self._held(api_version, name, **query).get(place)
            self._compare(found, live)
        for (namespace, _), live in held.items():
            if namespace in self._customers:
                self._changed[self._customers[namespace]].add(kind.label or f"{name} not declared")
                self._remove(live)

    def _compare(self, declared: Object, live: Object | None) -> None:
        customer, kind = label(declared, INSTANCE), declared["kind"]
        # A record of what was declared would be the key once more, and `kubectl describe` shows annotations.
        wanted = declared if kind == "Secret" else annotated(declared)
        last = last_applied(live) if live else {}
        change = patch(wanted, live, last) if live else wanted
        if kind == "Deployment" and (change or live is None or not rolled_out(live)):
            self.waiting.add(customer)
        if not change:
            return
        if live is not None:
            places = list(paths(change, live))
            others = [place for place in places if not place.endswith(LAST_APPLIED)]
            notes = self._drifted if last == declared else self._changed
            notes[customer] |= {labelled(kind, place) for place in others or places}
        elif customer not in self._new:
            self._changed[customer].add(labelled(kind, "missing"))
        elif kind == "Ingress":
            self._new[customer] = [rule["host"] for rule in declared["spec"]["rules"]]
        if kind == "Secret":
            self.secrets.add(customer)
        else:
            self.apply.append(merged(change, reference(declared)))
        self._add_diff(live, merged(live, change))

    def _remove(self, live: Object) -> None:
        self.remove.append(reference(live))
        self._add_diff(live, None)

    def _add_diff(self, before: Object | None, after: Object | None) -> None:
        if not self.with_diff:
            return
        found = before or after or {}
        name = "/".join(filter(None, (found["kind"], *key(found))))
        sides = {"before": view(before, "before"), "after": view(after, "after")}
        self.diff.append({**sides, "before_header": name, "after_header": name})

    def report(self) -> list[str]:
        """The plan in lines, one for each customer that is not as declared, and a sum."""
        lines = [f"+ new         {name}: {', '.join(hosts)}" for name, hosts in self._new.items()]
        changed = sorted((self._changed.keys() | self._drifted.keys()) - self._new.keys())
        for name in changed:
            by_hand = ", ".join(sorted(self._drifted[name]))
            parts = [", ".join(sorted(self._changed[name])), by_hand and f"changed by hand in the cluster: {by_hand}"]
            lines.append(f"~ changed     {name}: {'; '.join(filter(None, parts))}")
        for name, why in sorted(self._leaving.items()):
            stays = " (stays; customers_prune would remove it)" if why == "undeclared" and not self.prune else ""
            lines.append(f"- {why:11} {name}{stays}")
        unchanged = len(self._customers) - len(self._new) - len(changed)
        lines.append(f"= unchanged   {unchanged} of {len(self._customers)}")
        return lines


def labelled(kind: str, path: str) -> str:
    """What people call the change of a field."""
    of_kind = next((each.label for each in KINDS if each.kind == kind), "")
    return next((word for part, word in LABELS.items() if re.search(part, path)), of_kind or f"{kind} {path}")


def some(names: list[str], most: int = 10) -> str:
    """A few of the names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
