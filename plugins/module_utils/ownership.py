"""What somebody else has set in an object that is ours, by its managedFields.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Object = dict[str, Any]
Path = tuple[str, ...]

# Who we are to the API: https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers
MANAGER = "greeter-fleet"
# Tools that people change things with by hand. A browser's and a library's name stand for whatever talks through them.
TOOLS = re.compile(
    r"kubectl|oc$|k9s|helm|lens|node-fetch|mozilla|python|openapi-generator|curl|go-http-client|unknown", re.IGNORECASE
)
# A controller may note something in annotations and labels of its own domain. These change what is served.
MEANINGFUL = re.compile(
    r"\.ingress\.kubernetes\.io/|^kubernetes\.io/ingress|^pod-security|^service\.|traefik|haproxy|nginx"
)
# What the server fills in or a controller keeps, and whoever writes a whole object makes their own. A value: only that.
FILLED: Mapping[str, Mapping[str, object]] = {
    "Deployment": {
        "spec.replicas": ...,  # an autoscaler's, where it is not declared
        "spec.template.spec.serviceAccount": "greeter",
        "spec.template.metadata.annotations.kubectl.kubernetes.io/restartedAt": ...,  # it is done, and harms nobody
    },
    "Namespace": {"metadata.labels.kubernetes.io/metadata.name": ..., "spec.finalizers": ...},
    "Service": {
        "spec.clusterIP": ...,
        "spec.clusterIPs": ...,
        "spec.ipFamilies": ...,
        "spec.ipFamilyPolicy": ...,
        "spec.internalTrafficPolicy": "Cluster",
    },
    "ServiceAccount": {"secrets": ...},
}
# Written by kubectl and by earlier releases of this project. Nothing reads it here.
RECORD = "kubectl.kubernetes.io/last-applied-configuration"
ANYWHERE = re.compile(rf"metadata\.annotations\.({re.escape(RECORD)}|deployment\.kubernetes\.io/.*)")


class Change(NamedTuple):
    """A field that is not declared, and who has set it when (RFC 3339); ``declared`` if it was declared last time."""

    path: Path
    manager: str
    time: str
    declared: bool


def dotted(path: Sequence[str]) -> str:
    """A path as people write it, such as ``spec.template.spec.containers[greeter].lifecycle``."""
    return "".join(step if step.startswith("[") else f".{step}" for step in path).removeprefix(".")


def applied(live: Object) -> Object:
    """The fields that we have declared, in the form of the API; empty if we never have."""
    entries = live["metadata"].get("managedFields") or []
    return next((entry.get("fieldsV1") or {} for entry in entries if _is_ours(entry)), {})


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("manager") == MANAGER and entry.get("operation") == "Apply")


def changes(declared: Object, live: Object) -> list[Change]:
    """The fields of ``live`` that are not ``declared`` and that somebody other than a controller at work has set."""
    found: dict[Path, Change] = {}
    before: set[Path] | None = None
    for entry in live["metadata"].get("managedFields") or []:
        if _is_ours(entry) or entry.get("subresource") == "status":
            continue
        manager, time = str(entry.get("manager", "unknown")), str(entry.get("time", ""))
        for path in _undeclared(entry.get("fieldsV1") or {}, declared, live):
            if _counts(declared["kind"], path, live, manager):
                if before is None:
                    before = set(_undeclared(applied(live), declared, live))
                found[path] = Change(path, manager, time, path in before)
    return list(found.values())


def dropped(declared: Object, live: Object) -> list[Path]:
    """The fields that we have declared last time and that are no longer declared."""
    return [path for path in _undeclared(applied(live), declared, live) if path != ("spec", "replicas")]


def _undeclared(fields: Mapping[str, Any], declared: object, live: object, path: Path = ()) -> Iterator[Path]:
    for step, below in fields.items():
        kind, _, name = step.partition(":")
        if kind == "f" and isinstance(live, Mapping) and live.get(name) is not None:
            if not isinstance(declared, Mapping) or name not in declared:
                yield (*path, name)
            elif below.keys() - {"."}:
                yield from _undeclared(below, declared[name], live[name], (*path, name))
            elif not below:
                yield from _more(declared[name], live[name], (*path, name))
        elif kind == "k":
            keys = json.loads(name)
            held, wanted = _item(live, keys), _item(declared, keys)
            where = (*path, _called(keys, held))
            if held is not None and wanted is None:
                yield where
            elif held is not None:
                yield from _undeclared(below, wanted, held, where)


def _called(keys: Mapping[str, object], item: object) -> str:
    """An item of a list, by its name if it has one, else by what the API knows it by."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return f"[{name or ','.join(map(str, keys.values()))}]"


def _item(items: object, keys: Mapping[str, object]) -> object:
    found = items if isinstance(items, list) else []
    return next((item for item in found if all(item.get(key) == value for key, value in keys.items())), None)


def _more(declared: object, live: object, path: Path) -> Iterator[Path]:
    """What is not declared in a map or list that the API keeps as a whole. Lists of other lengths differ anyway."""
    if isinstance(declared, Mapping) and isinstance(live, Mapping):
        for name, value in live.items():
            if name in declared:
                yield from _more(declared[name], value, (*path, name))
            elif value is not None:
                yield (*path, name)
    elif isinstance(declared, list) and isinstance(live, list) and len(declared) == len(live):
        for index, pair in enumerate(zip(declared, live, strict=True)):
            yield from _more(*pair, (*path, f"[{index}]"))


def _counts(kind: str, path: Path, live: Object, manager: str) -> bool:
    name = dotted(path)
    if path[0] in ("apiVersion", "kind", "status") or ANYWHERE.match(name):
        return False
    if path[0] == "metadata":
        if path[1] not in ("annotations", "labels"):
            return False
        key = path[-1]
        if "/" in key and not TOOLS.match(manager) and not MEANINGFUL.search(key):
            return False
    filled = FILLED.get(kind, {})
    return name not in filled or filled[name] not in (..., _at(live, path))


def _at(live: object, path: Path) -> object:
    for step in path:
        live = live.get(step) if isinstance(live, Mapping) else None
    return live


def removal(found: Sequence[Path], declared: Object) -> Object:
    """The JSON merge patch that takes fields away. Within a list that is the whole list, as it is ``declared``."""
    result: Object = {}
    for path in found:
        place, wanted = result, declared
        for step, after in zip(path, (*path[1:], ""), strict=True):
            if after == "":
                place[step] = None
            elif after.startswith("["):
                place[step] = wanted[step]
                break
            else:
                place, wanted = place.setdefault(step, {}), wanted.get(step) or {}
    return result


def author(live: Object, place: str) -> tuple[str, str]:
    """Who other than we has set what lies at a dotted ``place``, and when; empty if nobody is known."""
    found = [("", "")]
    for entry in live["metadata"].get("managedFields") or []:
        if not _is_ours(entry) and entry.get("subresource") != "status":
            owned = _names(entry.get("fieldsV1") or {}, live)
            if any(_is_below(name, place) or _is_below(place, name) for name in owned):
                found.append((str(entry.get("time", "")), str(entry.get("manager", "unknown"))))
    time, manager = max(found)
    return manager, time


def owns(live: Object, place: str) -> bool:
    """Whether we have declared what lies at a dotted ``place``, and nobody has taken it over."""
    return any(_is_below(name, place) for name in _names(applied(live), live))


def _is_below(name: str, place: str) -> bool:
    return f"{name}.".startswith((f"{place}.", f"{place}["))


def _names(fields: Mapping[str, Any], live: object, path: str = "") -> Iterator[str]:
    for step, below in fields.items():
        kind, _, name = step.partition(":")
        if kind == "k":
            keys = json.loads(name)
            item = _item(live, keys)
            yield from _names(below, item, path + _called(keys, item))
        elif kind == "f":
            held = live.get(name) if isinstance(live, Mapping) else None
            yield from _names(below, held, f"{path}.{name}" if path else name)
    if path and not fields.keys() - {"."}:
        yield path
