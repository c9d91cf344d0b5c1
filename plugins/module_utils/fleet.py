"""The fleet in a cluster: which objects are its own, and the namespace that says whose cluster it is.

Ours is what carries the fleet's label and the fleet's id and has a name that the fleet gives. The id is made at the
first run and kept as a label of a namespace that is named for the fleet; an annotation there names the cluster.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from ansible_collections.greeter.fleet.plugins.module_utils.ownership import applied

Object = dict[str, Any]

INSTANCE = "app.kubernetes.io/instance"
FLEET = "app.kubernetes.io/managed-by"
ID = "greeter-fleet/id"
CLUSTER = "greeter-fleet/cluster"
# The names that the templates give, by kind; any other kind's is greeter.
NAMES = {"NetworkPolicy": ("greeter", "acme-solver"), "Secret": ("greeter-tls",), "Middleware": ("redirect",)}


def label(found: Object, name: str) -> str:
    """One label's value, empty if it is not there."""
    return str((found["metadata"].get("labels") or {}).get(name, ""))


def annotation(found: Object, name: str) -> str:
    """One annotation's value, empty if it is not there."""
    return str((found["metadata"].get("annotations") or {}).get(name, ""))


def leaves(found: Object) -> bool:
    """Whether the object is being deleted."""
    return "deletionTimestamp" in found["metadata"]


class Fleet:
    """Whose objects are whose.

    Attributes:
        name: The value of the label ``app.kubernetes.io/managed-by``.
        id: The value of the label ``greeter-fleet/id``.
        new: Whether the cluster has no id of this fleet yet. What carries the fleet's label and no id is ours then.
        fault: Why nothing may be changed in this cluster; empty if something may.
        namespace: The namespace that holds the id, as it is to be.
    """

    def __init__(self, name: str, cluster: str, namespaces: Mapping[str, Object]) -> None:
        """Find the fleet in a cluster.

        Args:
            name: The fleet's name.
            cluster: The name of the cluster that the inventory means; empty if it names none.
            namespaces: Those of the cluster the kubeconfig leads to, by name.
        """
        self.name = name
        place = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
        live = namespaces.get(place)
        self.id = label(live, ID) if live else ""
        self.new = not self.id
        self.fault = ""
        is_of = annotation(live, CLUSTER) if live else ""
        if live and (label(live, FLEET) != name or not self.id):
            self.fault = (
                f"the namespace {place}, which is to hold the id of this fleet, is there already and not the fleet's: "
                "remove it, or give the fleet another name (customers_fleet)"
            )
        elif live and leaves(live):
            self.fault = (
                f"the namespace {place}, which holds the id of this fleet, is being deleted; run again when it is gone"
            )
        elif cluster and is_of and is_of != cluster:
            self.fault = (
                f"the kubeconfig leads to the cluster {is_of}, and the inventory is that of {cluster}; use the "
                f"inventory of {is_of}, or the kubeconfig of {cluster} (customers_kubeconfig). If it has a new "
                f"name: kubectl annotate namespace {place} {CLUSTER}={cluster} --overwrite"
            )
        self.id = self.id or secrets.token_hex(8)
        levels = {f"pod-security.kubernetes.io/{each}": "restricted" for each in ("enforce", "audit", "warn")}
        metadata: Object = {"name": place, "labels": {FLEET: name} | levels}
        metadata["annotations"] = {CLUSTER: cluster or is_of} if cluster or is_of else {}
        self.namespace: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}

    def owns(self, found: Object) -> bool:
        """Whether an object is marked as ours, or was applied by us and somebody has taken the labels off."""
        if label(found, FLEET) == self.name and label(found, ID) in (self.id, *([""] if self.new else [])):
            return True
        return bool(applied(found)) and label(found, ID) in ("", self.id)

    def names(self, found: Object) -> bool:
        """Whether an object has a name that the fleet gives."""
        kind, name = found["kind"], found["metadata"]["name"]
        if kind == "Namespace":
            return bool(name == f"customer-{label(found, INSTANCE)}")
        return name in NAMES.get(kind, ("greeter",))
