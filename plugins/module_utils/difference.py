"""A declared object against the live one: what differs, by whom, and what to send."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ansible_collections.greeter.fleet.plugins.module_utils import ownership
from ansible_collections.greeter.fleet.plugins.module_utils.compare import (
    combined,
    digest,
    has_more_items,
    merged,
    patch,
    paths,
    rolled_out,
)
from ansible_collections.greeter.fleet.plugins.module_utils.fleet import ID, INSTANCE, annotation, label
from ansible_collections.greeter.fleet.plugins.module_utils.report import labelled

Object = dict[str, Any]

# What was declared, so that the next run can tell a change that is declared from one by somebody else.
DECLARED = "greeter-fleet/declared"
# What a run has put back: when it differs again, something changes it after every run.
PUT_BACK = "greeter-fleet/put-back"
MARKS = (f"metadata.annotations.{DECLARED}", f"metadata.annotations.{PUT_BACK}", f"metadata.labels.{ID}")
# Who changes an object as it is sent leaves no name.
UNNAMED = "an admission webhook, it seems (kubectl get mutatingwebhookconfigurations)"


class Difference:
    """What differs in one object; true if anything does.

    Attributes:
        customer: Whose object it is; empty for the fleet's own namespace.
        name: Its kind and name.
        live: The object as the server has it, if it does.
        wanted: The object as it is to be, with the marks of the fleet.
        changed: Labels of what is declared otherwise than last time.
        by_others: Who, and whether a run has put it back before → labels of what somebody else has changed → when.
    """

    def __init__(self, declared: Object, live: Object | None, fleet: str) -> None:
        """Compare ``declared`` with ``live``; ``fleet`` is the fleet's id."""
        self.kind = declared["kind"]
        self.customer = label(declared, INSTANCE)
        self.name = f"{self.kind} {declared['metadata']['name']}"
        self.live = live
        self.wanted = _marked(declared, live, fleet)
        self.changed: set[str] = set()
        self.by_others: dict[tuple[str, bool], dict[str, str]] = defaultdict(dict)
        self._change = patch(self.wanted, live) if live else self.wanted
        self._foreign = ownership.changes(self.wanted, live) if live else []
        # As long as the digest is the same, nothing was taken back; a Secret has none.
        may_be_gone = self._change or self.kind == "Secret"
        self._gone = ownership.dropped(self.wanted, live) if live and may_be_gone else []
        if self and live:
            self._name_what_differs(declared, live)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self._change or self._foreign or self._gone)

    @property
    def rolls_out(self) -> bool:
        """Whether pods are being replaced, or will be."""
        return self.kind == "Deployment" and (bool(self) or self.live is None or not rolled_out(self.live))

    def _name_what_differs(self, declared: Object, live: Object) -> None:
        was = annotation(live, DECLARED)
        put_back = annotation(live, PUT_BACK).split(", ")
        # Where there is no annotation at all, a mark is still a mark.
        for place in paths(self._change, merged({"metadata": {"annotations": {}, "labels": {}}}, live)):
            if place in MARKS:
                continue
            name, (who, time) = labelled(self.kind, place), ownership.author(live, place)
            if was == digest(declared) or (who and was and not ownership.owns(live, place)):
                self.by_others[who, name in put_back][name] = time
            else:
                self.changed.add(name)
        for each in self._foreign:
            name = labelled(self.kind, ownership.dotted(each.path))
            if each.declared:
                self.changed.add(name)
            else:
                self.by_others[each.manager, name in put_back][name] = each.time
        self.changed |= {labelled(self.kind, ownership.dotted(path)) for path in self._gone}
        if not (self.changed or self.by_others):
            self.changed.add("the marks of this fleet")

    @property
    def _removal(self) -> Object:
        return ownership.removal([*self._gone, *(each.path for each in self._foreign)], self.wanted)

    @property
    def fields(self) -> Object:
        """The merge patch that takes away what others have added; empty if applying the object is enough.

        It holds all that differs, so that a pod that changes in several ways is replaced once.
        """
        if self.live and (self._foreign or has_more_items(self.live, self.wanted)):
            return combined(self._change, self._removal)
        return {}

    @property
    def sent(self) -> Object:
        """The object to apply."""
        result = self.wanted
        names = sorted({name for labels in self.by_others.values() for name in labels})
        if names and self.kind != "Secret":
            result = merged(result, {"metadata": {"annotations": {PUT_BACK: ", ".join(names)}}})
        autoscaled = self.kind == "Deployment" and "replicas" not in result["spec"]
        if self.live and autoscaled and ownership.owns(self.live, "spec.replicas"):
            # An autoscaler that takes over starts from the pods that are there.
            result = merged(result, {"spec": {"replicas": self.live["spec"]["replicas"]}})
        return result

    @property
    def after(self) -> Object:
        """The live object as it will be."""
        return merged(merged(self.live, self._change), self._removal)

    @property
    def summary(self) -> str:
        """What differs and whose doing it is, for somebody who has just applied it."""
        if self.live is None:
            return "is not there, although it was sent"
        labels = self.changed.union(*self.by_others.values())
        by = ", ".join(sorted({who for who, _ in self.by_others if who})) or UNNAMED
        return f"is changed as soon as it is sent: {', '.join(sorted(labels))}, by {by}"


def _marked(declared: Object, live: Object | None, fleet: str) -> Object:
    """``declared`` with what says that it is ours and what was declared."""
    metadata = declared["metadata"]
    marked = {**metadata, "labels": {**metadata.get("labels", {}), ID: fleet}}
    if declared["kind"] != "Secret":  # of a key not even a digest
        put_back = annotation(live, PUT_BACK) if live else ""
        marks = {DECLARED: digest(declared)} | ({PUT_BACK: put_back} if put_back else {})
        marked["annotations"] = {**metadata.get("annotations", {}), **marks}
    return {**declared, "metadata": marked}
