"""What a run would do to the objects of a fleet."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import yaml
from ansible_collections.greeter.fleet.plugins.module_utils.compare import added, less, merged
from ansible_collections.greeter.fleet.plugins.module_utils.difference import DECLARED, PUT_BACK, Difference
from ansible_collections.greeter.fleet.plugins.module_utils.fleet import (
    FLEET,
    ID,
    INSTANCE,
    Fleet,
    label,
    leaves,
)
from ansible_collections.greeter.fleet.plugins.module_utils.kubernetes_api import Cluster, ForbiddenError, Object
from ansible_collections.greeter.fleet.plugins.module_utils.ownership import RECORD
from ansible_collections.greeter.fleet.plugins.module_utils.report import Report, labelled, some

# What only the server has to say is of no interest in a difference.
SERVER_SIDE = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
# The C parser takes a tenth of the time; PyYAML has it wherever libyaml was there to build it with.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Key = tuple[str, str]


class Kind(NamedTuple):
    """A kind of object, the setting that turns it off where a cluster has none, and what brings it."""

    api_version: str
    kind: str
    setting: str = ""
    remedy: str = "use a newer Kubernetes"
    # Which of them are asked for, where that is not all.
    fields: str = ""


# Every kind a customer may have, in the order they are made.
KINDS = (
    Kind("v1", "Namespace"),
    Kind("v1", "ResourceQuota"),
    Kind("v1", "LimitRange"),
    Kind("networking.k8s.io/v1", "NetworkPolicy"),
    Kind("v1", "ServiceAccount"),
    # By name, so that a user needs no right to read other Secrets.
    Kind("v1", "Secret", fields="metadata.name=greeter-tls"),
    Kind("apps/v1", "Deployment"),
    Kind("v1", "Service"),
    Kind("autoscaling/v2", "HorizontalPodAutoscaler", "replicas instead of autoscaling"),
    Kind("policy/v1", "PodDisruptionBudget", "disruption_budget: false"),
    Kind("traefik.io/v1alpha1", "Middleware", "tls.redirect: false", "install Traefik's CRDs"),
    Kind("networking.k8s.io/v1", "Ingress"),
)
# What else changes what a customer's objects mean, and by which labels it is none that a controller has made for them.
FOREIGN = (
    ("rbac.authorization.k8s.io/v1", "Role", ""),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", ""),
    ("apps/v1", "StatefulSet", ""),
    ("apps/v1", "DaemonSet", ""),
    ("apps/v1", "ReplicaSet", "!pod-template-hash"),
    ("batch/v1", "Job", ""),
    ("batch/v1", "CronJob", ""),
    ("v1", "Pod", "!pod-template-hash"),
    ("discovery.k8s.io/v1", "EndpointSlice", "endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io"),
)
# Requests at a time.
REQUESTS = 8
# Of so many customers each namespace is asked for alone; of more, a list of all takes less.
FEW = 20


def key(found: Object) -> Key:
    """Namespace and name."""
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]


def reference(found: Object) -> Object:
    """What is needed to name an object to the API."""
    metadata = {name: found["metadata"][name] for name in ("name", "namespace") if name in found["metadata"]}
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": metadata}


def view(found: Object | None, side: str) -> Object | str:
    """An object as ``--diff`` shows it before or after; of a Secret only what it is."""
    if found is None:
        return ""
    metadata = {name: value for name, value in found["metadata"].items() if name not in SERVER_SIDE}
    hide = (RECORD, DECLARED, PUT_BACK)
    annotations = {name: value for name, value in (metadata.get("annotations") or {}).items() if name not in hide}
    rest = {name: value for name, value in found.items() if name != "status"}
    hidden = {"data": f"not shown ({side})"} if found["kind"] == "Secret" else {}
    return rest | hidden | {"metadata": metadata | {"annotations": annotations}}


class Plan:
    """What a run would do to the objects of a fleet.

    Attributes:
        fleet: Whose objects are whose in this cluster.
        fields: JSON merge patches, with the name of the object they are for, that take away what others have added.
        secrets: Customers whose Secret differs.
        remove: References to the objects to delete.
        later: Quotas that may shrink once the rollouts are complete.
        waiting: Customers whose rollout is not complete or will begin.
        leaving: Namespaces of absent customers that are being deleted already.
        faults: Why nothing may be changed; empty if something may.
        report: What to tell people.
        diff: What differs, as Ansible shows it with ``--diff``.
    """

    def __init__(self, cluster: Cluster | None, params: Mapping[str, Any], with_diff: bool) -> None:
        """Compare what the module's ``params`` declare with what ``cluster`` holds; None holds nothing yet.

        Without ``with_diff`` there is no ``diff``: writing thousands of objects takes longer than all the rest.
        """
        self.cluster, self.params, self.with_diff = cluster, params, with_diff
        self.fields: list[Object] = []
        self.secrets: set[str] = set()
        self.remove: list[Object] = []
        self.later: list[Object] = []
        self.waiting: set[str] = set()
        self.leaving: list[str] = []
        self.faults: list[str] = []
        self.diff: list[Object] = []
        self._apply: dict[str, list[Object]] = defaultdict(list)  # by kind
        self._forbidden: list[ForbiddenError] = []
        self._quotas: list[tuple[Object, Object | None]] = []

        self._declared: dict[tuple[str, str], dict[Key, Object]] = defaultdict(dict)
        for text in (params["objects"], params["secrets"]):
            for found in filter(None, yaml.load_all(text, Loader=LOADER)):
                self._declared[found["apiVersion"], found["kind"]][key(found)] = found
        # Namespace → customer.
        self._customers = {
            name: label(found, INSTANCE) for (_, name), found in self._declared["v1", "Namespace"].items()
        }
        self.report = Report(list(self._customers.values()), params["refused"])
        self._answers = self._ask()
        namespaces = self._answer("v1", "Namespace")
        self.fleet = Fleet(params["fleet"], params["cluster"], {name: found for (_, name), found in namespaces.items()})
        if self.fleet.fault:
            self.faults.append(self.fleet.fault)
            return
        self._compare_namespaces(namespaces)
        for kind in KINDS[1:]:
            self._compare_kind(kind)
        for declared, live in self._quotas:
            self._compare_quota(declared, live)
        self._look_for_foreign()
        if self._forbidden:
            self.faults.append(str(ForbiddenError.of_all(self._forbidden)))
        # Whoever is refused is left as they are, by what was found before it was known as well.
        self.fields, self.remove, self.later = map(self._of_others, (self.fields, self.remove, self.later))
        self.secrets -= self.report.refused.keys()
        self.waiting -= self.report.refused.keys()

    def _of_others(self, found: list[Object]) -> list[Object]:
        """Those objects that belong to nobody who is refused."""
        return [each for each in found if self._customers.get(key(each)[0]) not in self.report.refused]

    @property
    def apply(self) -> list[Object]:
        """The objects to send, as they are to be, in the order they are made."""
        found = [each for kind in KINDS for each in self._apply[kind.kind]]
        return [each for each in found if label(each, INSTANCE) not in self.report.refused]

    @property
    def wide(self) -> list[Object]:
        """Those that no server-side apply can send.

        Its text counts as YAML, and the library writes characters from U+10000 on in JSON's way, which no YAML is.
        """
        return [each for each in self.apply if max(json.dumps(each, ensure_ascii=False)) > "\uffff"]

    @property
    def touched(self) -> list[str]:
        """The customers to look at after this was sent; empty if that is all, for namespaces come or go."""
        objects = [*self.apply, *self.fields, *self.later, *self.remove]
        if self.leaving or any(each["kind"] == "Namespace" for each in objects):
            return []
        differing = {customer for customer, _, _ in self.report.differences}
        names = {self._customers[key(each)[0]] for each in objects} | differing
        return sorted(names | self.secrets | self.waiting | self.report.refused.keys())

    def _ask(self) -> dict[tuple[str, str], Future[dict[Key, Object]]]:
        """Ask for all objects of every kind, several at a time: a cluster may be far away."""
        kinds = [(each.api_version, each.kind, {"fields": each.fields}) for each in KINDS]
        if not self.params["only"]:
            kinds += [(api_version, kind, {"labels": labels}) for api_version, kind, labels in FOREIGN]
        if not self.cluster:
            return {}
        with ThreadPoolExecutor(max_workers=REQUESTS) as pool:
            # What a version of the API serves is asked once, before its kinds.
            versions = {api_version for api_version, _, _ in kinds}
            list(pool.map(self.cluster.serves, versions, ["Namespace"] * len(versions)))
            return {
                (api_version, kind): pool.submit(self._held, api_version, kind, **query)
                for api_version, kind, query in kinds
            }

    def _answer(self, api_version: str, kind: str) -> dict[Key, Object]:
        try:
            return self._answers[api_version, kind].result() if self._answers else {}
        except ForbiddenError as error:
            # Of what nobody declares there is nothing either, where the user may not even look. Not so of namespaces.
            if self._declared[api_version, kind] or kind == "Namespace":
                self._forbidden.append(error)
            return {}

    def _held(self, api_version: str, kind: str, **query: str) -> dict[Key, Object]:
        if not self.cluster:
            return {}
        is_few = self.params["only"] and len(self._customers) <= FEW and kind != "Namespace"
        return {
            key(found): found
            for namespace in (self._customers if is_few else [""])
            for found in self.cluster.objects(api_version, kind, namespace=namespace, **query)
        }

    def _compare_namespaces(self, held: dict[Key, Object]) -> None:
        own = self.fleet.namespace
        if self.cluster:
            self._compare(own, held.pop(key(own), None))
        for place, found in self._declared["v1", "Namespace"].items():
            customer, live = label(found, INSTANCE), held.pop(place, None)
            if not self._refuse(found, live):
                if live is None:
                    self.report.new[customer] = []
                self._compare(found, live)
        if not self.params["only"]:
            self._leave([found for found in held.values() if label(found, FLEET) == self.fleet.name])

    def _leave(self, undeclared: list[Object]) -> None:
        """Decide which of the namespaces that no customer declares go."""
        pruned = 0
        for live in undeclared:
            name, customer = live["metadata"]["name"], label(live, INSTANCE)
            absent = customer in self.params["absent"]
            if not (self.fleet.owns(live) and self.fleet.names(live)):
                self.report.strangers.append(name)
            elif leaves(live):
                if absent:
                    self.leaving.append(name)
                    self.report.leaving[customer] = "absent", " (is being removed)"
            elif absent:
                self.report.leaving[customer] = "absent", ""
                self._remove(live)
            elif self.params["prune"] and not self.fleet.new:
                self.report.leaving[customer] = "undeclared", ""
                pruned += 1
                self._remove(live)
            else:
                why = "a first run removes nobody" if self.params["prune"] else "customers_prune would remove it"
                self.report.leaving[customer] = "undeclared", f" (stays; {why})"
        if pruned > self.params["prune_limit"]:
            self.faults.append(
                f"customers_prune would remove {pruned} customers ({some(sorted(self.report.leaving))}), and at most "
                f"{self.params['prune_limit']} may go in one run; set customers_prune_limit to {pruned} if it is meant"
            )

    def _compare_kind(self, kind: Kind) -> None:
        api_version, name = kind.api_version, kind.kind
        declared = self._declared[api_version, name]
        if self.cluster and declared and not self.cluster.serves(api_version, name):
            customers = some(sorted({self._customers[namespace] for namespace, _ in declared}))
            self.faults.append(
                f"customers {customers}: the cluster serves no {name} of {api_version}; "
                f"set {kind.setting} for them or in customers_defaults, or {kind.remedy}"
            )
            return
        held = self._answer(api_version, name)
        if name == "Ingress" and not self.params["only"]:
            self._look_for_shared_hosts(declared, held)
        for place, found in declared.items():
            live = held.pop(place, None)
            if label(found, INSTANCE) not in self.report.refused and not self._refuse(found, live):
                if name == "ResourceQuota":
                    self._quotas.append((found, live))
                else:
                    self._compare(found, live)
        for (namespace, _), live in held.items():
            if namespace in self._customers:
                self._drop(live, self._customers[namespace])

    def _refuse(self, declared: Object, live: Object | None) -> bool:
        """Send nothing of a customer's if an object of a name that is theirs is somebody else's, or on its way out."""
        if live is None or (self.fleet.owns(live) and not leaves(live)):
            return False
        owner = label(live, FLEET)
        by = f"{FLEET} is {owner or 'not there'}" if owner != self.fleet.name else f"it lacks {ID}={self.fleet.id}"
        remedy = "remove it, or rename the customer" if live["kind"] == "Namespace" else "remove it"
        why = f"is there already and not this fleet's by its labels ({by}); {remedy}"
        if self.fleet.owns(live):
            why = "is being deleted; run again when it is gone"
        self.report.refuse(label(declared, INSTANCE), f"{live['kind']} {live['metadata']['name']}", why)
        return True

    def _drop(self, live: Object, customer: str) -> None:
        """Remove what is no longer declared of a customer's, and tell what somebody else has put there."""
        if not (self.fleet.owns(live) and self.fleet.names(live)):
            if live["kind"] not in ("Secret", "ServiceAccount"):
                self._tell_foreign(live)
        elif not leaves(live):
            self.report.changed[customer].add(labelled(live["kind"], "not declared"))
            self._remove(live)

    def _look_for_shared_hosts(self, declared: Mapping[Key, Object], held: Mapping[Key, Object]) -> None:
        """Refuse a customer whose host an Ingress serves that stays and is not theirs."""
        going = {each["metadata"]["name"] for each in self.remove}
        served = {
            rule.get("host"): place
            for place, found in held.items()
            if place[0] not in self._customers and place[0] not in going
            for rule in found["spec"].get("rules") or []
        }
        for (_, name), found in declared.items():
            for rule in found["spec"]["rules"] if served else ():
                if place := served.get(rule["host"]):
                    self.report.refuse(
                        label(found, INSTANCE),
                        f"Ingress {name}",
                        f"{rule['host']} is served by the Ingress {'/'.join(place)} already; remove that, or its "
                        "customer (state: absent), or choose another host",
                    )

    def _look_for_foreign(self) -> None:
        """Name what nobody has declared in the namespaces of customers, and no controller has made."""
        for api_version, kind, _ in () if self.params["only"] else FOREIGN:
            try:
                found = self._answers[api_version, kind].result() if self._answers else {}
            except ForbiddenError:
                self.report.unseen.append(kind)
                continue
            for (namespace, _), live in found.items():
                if namespace in self._customers:
                    self._tell_foreign(live)
        for kind, name in sorted(self.report.foreign):
            if kind in self.params["refuse_foreign"]:
                self.faults.append(
                    f"customers {some(sorted(self.report.foreign[kind, name]))}: nobody has declared the {kind} {name} "
                    f"there; remove it, or take {kind} out of customers_refuse_foreign"
                )

    def _tell_foreign(self, found: Object) -> None:
        if not any(owner.get("controller") for owner in found["metadata"].get("ownerReferences") or []):
            place = found["kind"], found["metadata"]["name"]
            self.report.foreign[place].add(self._customers[found["metadata"]["namespace"]])

    def _compare(self, declared: Object, live: Object | None) -> None:
        found = Difference(declared, live, self.fleet.id)
        customer = found.customer
        if found.rolls_out:
            self.waiting.add(customer)
        if not found:
            return
        self.report.note(found)
        if live is None and customer in self.report.new and found.kind == "Ingress":
            self.report.new[customer] = [rule["host"] for rule in declared["spec"]["rules"]]
        self._add_diff(live, found.after)
        if self.report.gives_up(found):
            return
        if found.fields:
            self.fields.append(merged(found.fields, reference(declared)))
        if found.kind == "Secret":
            self.secrets.add(customer)
        else:
            self._apply[found.kind].append(found.sent)

    def _compare_quota(self, declared: Object, live: Object | None) -> None:
        """At no moment is a quota smaller than what runs and what comes."""
        customer, hard = label(declared, INSTANCE), declared["spec"]["hard"]
        held = (live or {}).get("spec", {}).get("hard", {})
        shrinks = any(name not in hard or less(hard[name], value) for name, value in held.items())
        if live is None or not shrinks or customer not in self.waiting:
            self._compare(declared, live)
            return
        found = Difference(declared, live, self.fleet.id)
        self.later.append(found.sent)
        self.report.note(found)
        self._add_diff(live, found.after)
        if any(name not in held or less(held[name], value) for name, value in hard.items()):
            both = hard | {name: added(value, hard.get(name, 0)) for name, value in held.items()}
            for_now = Difference(merged(declared, {"spec": {"hard": both}}), live, self.fleet.id)
            self._apply["ResourceQuota"].append(for_now.sent)

    def _remove(self, live: Object) -> None:
        if (label(live, INSTANCE), f"{live['kind']} {live['metadata']['name']}") in self.report.given_up:
            return
        self.remove.append(reference(live))
        self._add_diff(live, None)

    def _add_diff(self, before: Object | None, after: Object | None) -> None:
        if not self.with_diff:
            return
        found = before or after or {}
        name = "/".join(filter(None, (found["kind"], *key(found))))
        sides = {"before": view(before, "before"), "after": view(after, "after")}
        self.diff.append({**sides, "before_header": name, "after_header": name})
