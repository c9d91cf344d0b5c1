"""What a plan says to people, in a line for each customer that is not as declared."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.greeter.fleet.plugins.module_utils.difference import Difference

# What people call the change of a field, by a part of its path. The first that fits counts, and before the kind's.
LABELS = {
    r"metadata\.labels": "labels",
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
KINDS = {
    "ResourceQuota": "quota",
    "LimitRange": "resources",
    "NetworkPolicy": "network policy",
    "Secret": "TLS certificate",
    "HorizontalPodAutoscaler": "autoscaling",
    "PodDisruptionBudget": "disruption budget",
    "Middleware": "HTTPS redirect",
}


def labelled(kind: str, path: str) -> str:
    """What people call the change of a field, or of the whole object where ``path`` says what: not declared."""
    return next((word for part, word in LABELS.items() if re.search(part, path)), KINDS.get(kind) or f"{kind} {path}")


def some(names: Sequence[str], most: int = 10) -> str:
    """A few of the names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


class Report:
    """What differs, gathered while a plan is made. Customers are named; no name is the fleet's own namespace.

    Attributes:
        customers: All that are declared.
        new: Customer → hosts.
        changed: Customer → labels of what is declared otherwise than last time.
        by_others: Customer → who, and whether a run has put it back before → labels of what they have changed → when.
        missing: Customer → labels of objects that are not there.
        leaving: Customer → absent or undeclared, and what to know of it.
        refused: Customer → object → why nothing of the customer's is sent.
        given_up: Customer and object of what the cluster has refused a moment ago.
        foreign: Kind and name of objects that nobody has declared → customers in whose namespaces they are.
        unseen: Kinds of such objects that could not be asked for.
        strangers: Namespaces that look like the fleet's.
        differences: Customer, object and what differs, of every object that is there and not as declared.
    """

    def __init__(self, customers: Sequence[str], given_up: Iterable[Mapping[str, str]]) -> None:
        """Begin with the declared ``customers`` and what was refused already: each a ``customer`` and an ``object``."""
        self.customers = customers
        self.new: dict[str, list[str]] = {}
        self.changed: dict[str, set[str]] = defaultdict(set)
        self.by_others: dict[str, dict[tuple[str, bool], dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        self.missing: dict[str, set[str]] = defaultdict(set)
        self.leaving: dict[str, tuple[str, str]] = {}
        self.refused: dict[str, dict[str, str]] = defaultdict(dict)
        self.given_up = {(each["customer"], each["object"]) for each in given_up}
        self.foreign: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.unseen: list[str] = []
        self.strangers: list[str] = []
        self.differences: list[tuple[str, str, str]] = []

    def refuse(self, customer: str, found: str, why: str) -> None:
        """Send nothing of a customer's, for what is wrong with an object."""
        self.refused[customer][found] = why

    def note(self, found: Difference) -> None:
        """Take down what differs in an object."""
        if found.live is not None:
            self.changed[found.customer] |= found.changed
        elif found.customer and found.customer not in self.new:
            self.missing[found.customer].add(KINDS.get(found.kind) or found.kind)
        for who, labels in found.by_others.items():
            self.by_others[found.customer][who].update(labels)
        if not self.gives_up(found):
            self.differences.append((found.customer, found.name, found.summary))

    def gives_up(self, found: Difference) -> bool:
        """Whether the cluster has refused the object a moment ago, or the namespace it belongs to."""
        refused = found.name, f"Namespace customer-{found.customer}"
        return any((found.customer, name) in self.given_up for name in refused)

    def lines(self) -> list[str]:
        """The plan in lines, one for each customer that is not as declared, and a sum."""
        lines = [
            f"+ new         {name}: {', '.join(hosts)}" for name, hosts in self.new.items() if name not in self.refused
        ]
        differing = {name for name in (*self.changed, *self.by_others, *self.missing) if self._words(name)}
        changed = sorted(differing - self.new.keys() - self.refused.keys())
        lines += [f"~ changed     {name or '(fleet)'}: {self._words(name)}" for name in changed]
        lines += [
            f"! refused     {name}: {found} {why}"
            for name, reasons in sorted(self.refused.items())
            for found, why in reasons.items()
        ]
        lines += [f"- {word:11} {name}{note}" for name, (word, note) in sorted(self.leaving.items())]
        lines += [
            f"? foreign     {kind} {name}, which nobody has declared, in {some(sorted(customers))}"
            for (kind, name), customers in sorted(self.foreign.items())
        ]
        if self.unseen:
            lines.append(f"? not seen    {', '.join(self.unseen)}: the kubeconfig may not list them")
        lines += [f"? not ours    namespace {name}, by its id or its name; it stays" for name in sorted(self.strangers)]
        unchanged = set(self.customers) - self.new.keys() - set(changed) - self.refused.keys()
        lines.append(f"= unchanged   {len(unchanged)} of {len(self.customers)}")
        return lines

    def _words(self, name: str) -> str:
        # Whoever declares something else may need another object; else somebody has removed it.
        declared = self.changed.get(name, set())
        parts = [", ".join(sorted(declared | (self.missing.get(name, set()) if declared else set())))]
        by_others = {author: dict(labels) for author, labels in self.by_others.get(name, {}).items()}
        if not declared and name in self.missing:
            missing = {f"{each} missing": "" for each in self.missing[name]}
            by_others.setdefault(("", False), {}).update(missing)
        for (who, again), labels in sorted(by_others.items()):
            by = f" by {who} ({max(labels.values())})" if who else ""
            although = ", although a run has put it back" if again else ""
            parts.append(f"changed in the cluster{by}{although}: {', '.join(sorted(labels))}")
        return "; ".join(filter(None, parts))
