"""What a run would do to the objects of a fleet, and how to tell people."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

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

INSTANCE = "app.kubernetes.io/instance"
FLEET = "app.kubernetes.io/managed-by"
# What only the server has to say is of no interest in a difference.
SERVER_SIDE = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
# The C parser takes a tenth of the time; PyYAML has it wherever libyaml was there to build it with.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

Object = dict[str, Any]
Key = tuple[str, str]


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


def shown(found: Object | None) -> str:
    """An object as text for ``--diff``; of a Secret only what it is."""
    if found is None:
        return ""
    metadata = {name: value for name, value in found["metadata"].items() if name not in SERVER_SIDE}
    notes = {name: value for name, value in metadata.get("annotations", {}).items() if name != LAST_APPLIED}
    parts = {name: value for name, value in found.items() if name not in ("data", "status")}
    parts["metadata"] = metadata | {"annotations": notes}
    return str(yaml.dump(parts, Dumper=DUMPER, allow_unicode=True))


class Cluster(Protocol):
    """What a plan asks of a cluster; see customers_cluster."""

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the API knows objects of this kind."""

    def all(self, api_version: str, kind: str, labels: str = "") -> Iterable[Object]:
        """Every object of a kind."""

    def one(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        """One object, None if there is no such."""


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

    def __init__(self, cluster: Cluster | None, params: dict[str, Any], show: bool) -> None:
        """Compare what the module's ``params`` declare with what ``cluster`` holds; None holds nothing yet.

        ``show`` asks for ``diff``: writing thousands of objects takes longer than all the rest.
        """
        self._shows = show
        self.cluster = cluster
        self.fleet: str = params["fleet"]
        self.words = [(re.compile(each["place"]), each["word"]) for each in params["words"]]
        self.apply: list[Object] = []
        self.secrets: set[str] = set()
        self.remove: list[Object] = []
        self.waiting: set[str] = set()
        self.faults: list[str] = []
        self.diff: list[Object] = []
        # Customer → what changes, in people's words: because it is declared so, or because someone changed it by hand.
        self.changed: dict[str, set[str]] = defaultdict(set)
        self.drifted: dict[str, set[str]] = defaultdict(set)
        self.new: dict[str, list[str]] = {}
        self.going: dict[str, str] = {}

        self.declared: dict[tuple[str, str], dict[Key, Object]] = defaultdict(dict)
        for text in (params["objects"], params["secrets"]):
            for found in filter(None, yaml.load_all(text, Loader=LOADER)):
                self.declared[found["apiVersion"], found["kind"]][key(found)] = found
        self._namespaces(set(params["absent"]), params["prune"])
        for each in params["kinds"]:
            if each["kind"] != "Namespace":
                self._kind(each["api_version"], each["kind"], each["setting"])

    def _word(self, place: str) -> str:
        return next((word for pattern, word in self.words if pattern.search(place)), place)

    def _namespaces(self, absent: set[str], prune: bool) -> None:
        declared = self.declared["v1", "Namespace"]
        held = {key(found): found for found in self.cluster.all("v1", "Namespace")} if self.cluster else {}
        self.customers = {name: label(found, INSTANCE) for (_, name), found in declared.items()}
        for place, found in declared.items():
            live = held.get(place)
            if live and label(live, FLEET) != self.fleet:
                self.faults.append(
                    f"customer {label(found, INSTANCE)}: the namespace {place[1]} is there already and not "
                    f"this fleet's: it has no label {FLEET}={self.fleet}; rename the customer, or remove the namespace"
                )
            elif live and "deletionTimestamp" in live["metadata"]:
                self.faults.append(
                    f"customer {label(found, INSTANCE)}: the namespace {place[1]} is being deleted; "
                    "run again when it is gone"
                )
            else:
                if live is None:
                    self.new[label(found, INSTANCE)] = []
                self._compare(found, live)
        for place, live in held.items():
            leaving = "deletionTimestamp" in live["metadata"]
            if place not in declared and label(live, FLEET) == self.fleet and not leaving:
                customer = label(live, INSTANCE) or place[1]
                why = "absent" if customer in absent else "undeclared"
                self.going[customer] = why
                if why == "absent" or prune:
                    self._delete(live)

    def _kind(self, api_version: str, kind: str, setting: str) -> None:
        declared = self.declared[api_version, kind]
        if self.cluster and declared and not self.cluster.serves(api_version, kind):
            names = sorted({self.customers[namespace] for namespace, _ in declared})
            self.faults.append(
                f"customers {some(names)}: the cluster serves no {kind} of {api_version}; "
                f"set {setting} for them or in customers_defaults, or use a newer Kubernetes"
            )
            return
        selector = f"{FLEET}={self.fleet}"
        held = {key(found): found for found in self.cluster.all(api_version, kind, selector)} if self.cluster else {}
        for place, found in declared.items():
            live = held.pop(place, None)
            if live is None and self.cluster and self.customers[place[0]] not in self.new:
                # Not under our label: gone, or someone has taken the label off.
                live = self.cluster.one(api_version, kind, *place)
            self._compare(found, live)
        for (namespace, _), live in held.items():
            if namespace in self.customers:
                self.changed[self.customers[namespace]].add(self._word(f"{kind} not declared"))
                self._delete(live)

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
            told = [place for place in places if not place.endswith(LAST_APPLIED)] or places
            notes = self.drifted if last == declared else self.changed
            notes[customer] |= {self._word(f"{kind} {place}") for place in told}
        elif customer not in self.new:
            self.changed[customer].add(self._word(f"{kind} missing"))
        elif kind == "Ingress":
            self.new[customer] = [rule["host"] for rule in declared["spec"]["rules"]]
        if kind == "Secret":
            self.secrets.add(customer)
        else:
            self.apply.append(merged(change, reference(declared)))
        self._show(live, merged(live, change))

    def _delete(self, live: Object) -> None:
        self.remove.append(reference(live))
        self._show(live, None)

    def _show(self, before: Object | None, after: Object | None) -> None:
        if not self._shows:
            return
        found = before or after or {}
        name = "/".join(filter(None, (found["kind"], *key(found))))
        texts = {"before": shown(before), "after": shown(after)}
        if found["kind"] == "Secret":
            texts = {side: text and f"{text}# its data is not shown ({side})\n" for side, text in texts.items()}
        self.diff.append({**texts, "before_header": name, "after_header": name})

    def report(self, prune: bool) -> list[str]:
        """The plan in lines, one for each customer that is not as declared, and a sum."""
        lines = [f"+ new         {name}: {', '.join(hosts)}" for name, hosts in self.new.items()]
        changed = sorted((self.changed.keys() | self.drifted.keys()) - self.new.keys())
        for name in changed:
            parts = [", ".join(sorted(self.changed[name]))] if self.changed[name] else []
            if self.drifted[name]:
                parts.append(f"changed by hand in the cluster: {', '.join(sorted(self.drifted[name]))}")
            lines.append(f"~ changed     {name}: {'; '.join(parts)}")
        for name, why in sorted(self.going.items()):
            kept = " (stays; customers_prune would remove it)" if why == "undeclared" and not prune else ""
            lines.append(f"- {why:11} {name}{kept}")
        unchanged = len(self.customers) - len(self.new) - len(changed)
        lines.append(f"= unchanged   {unchanged} of {len(self.customers)}")
        return lines


def some(names: list[str], most: int = 10) -> str:
    """A few of the names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
