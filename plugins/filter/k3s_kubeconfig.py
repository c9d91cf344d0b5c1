"""The cluster's kubeconfig within a person's own one, whose other entries stay as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Kubeconfig = dict[str, Any]

LISTS = ("clusters", "users", "contexts")
TIMESTAMP = "tag:yaml.org,2002:timestamp"
STRING = "tag:yaml.org,2002:str"
# What every reader of YAML takes for a text without quotes. PyYAML leaves out the quotes of more, such as those of
# "12e4", which to kubectl is a number then.
PLAIN = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z/](?:[-\w./@+=]|:(?=\S)| (?=\S))*", re.IGNORECASE | re.ASCII
)


class Loader(yaml.SafeLoader):
    """Reads times as the texts they are written as."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Dumper(yaml.SafeDumper):
    """Writes without anchors, and puts into quotes what might be anything but a text."""

    def ignore_aliases(self, _data: object) -> bool:
        """Write everything where it belongs."""
        return True


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(STRING, text, style=None if PLAIN.fullmatch(text) else '"')


Dumper.add_representer(str, _text)


def _loaded(text: str) -> object:
    """The value of a YAML text.

    Raises:
        yaml.YAMLError: when it is none.
    """
    return yaml.load(text, Loader)


def fault(text: str) -> str:
    """Say what keeps a text from being a kubeconfig; an empty one is a kubeconfig without entries.

    Nothing of the text itself is said: it may be a secret.
    """
    try:
        found = _loaded(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        return f"is not YAML (line {mark.line + 1})" if mark else "is not YAML"
    return next(_faults(found), "") if found is not None else ""


def _faults(found: object) -> Iterator[str]:
    if not isinstance(found, Mapping):
        yield "is no mapping of clusters, users and contexts"
        return
    if found.get("kind", "Config") != "Config":
        yield "is of another kind than Config"
    for name in LISTS:
        entries = [] if found.get(name) is None else found[name]
        if not isinstance(entries, list):
            yield f"has {name} that are no list"
            continue
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
                yield f"has an entry without a name, number {number} of {name}"


def target(path: str, own: str) -> dict[str, str]:
    """Look at the file that is to be merged into.

    Args:
        path: The file, which may be absent, or a symbolic link; a ``~`` is the home folder.
        own: The file that holds the cluster's kubeconfig alone.

    Returns:
        ``path`` (whole, without links), ``text`` (empty if absent) and ``fault`` (empty, or what is wrong with it).
    """
    real = Path(os.path.realpath(Path(path).expanduser()))
    text, wrong = "", ""
    try:
        text = real.read_text()
        wrong = fault(text)
    except FileNotFoundError:
        pass
    except UnicodeDecodeError:
        wrong = "is not YAML"
    except OSError as error:
        wrong = f"cannot be read ({error.strerror})"
    if not wrong and not os.access(next(each for each in real.parents if each.exists()), os.W_OK):
        wrong = "is in a folder that you may not write to"
    if real == Path(os.path.realpath(Path(own).expanduser())):
        wrong = "is k3s_kubeconfig itself; name your own file, or leave k3s_kubeconfig_merge empty"
    return {"path": str(real), "text": text, "fault": wrong}


def merged(text: str, ours: str) -> str:
    """Put the entries of a kubeconfig into another one.

    Args:
        text: The other one; entries of the same names are replaced, all else stays, ``current-context`` too if there is
            one.
        ours: The cluster's, with one entry of each kind.

    Returns:
        The text, as it was if nothing is to be changed.
    """
    before = _loaded(text)
    old: Kubeconfig = before if isinstance(before, dict) else {}
    new: Kubeconfig = yaml.load(ours, Loader)
    result = {"apiVersion": new["apiVersion"], "kind": new["kind"]} | old
    for name in LISTS:
        result[name] = _replaced(result.get(name) or [], new[name][0])
    result["current-context"] = old.get("current-context") or new["current-context"]
    return text if result == old else yaml.dump(result, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10**9)


def _replaced(entries: Sequence[Kubeconfig], new: Kubeconfig) -> list[Kubeconfig]:
    """The entries with the new one in the place of the first of its name, or at the end."""
    places = [number for number, entry in enumerate(entries) if entry["name"] == new["name"]]
    if not places:
        return [*entries, new]
    kept = [(number, entry) for number, entry in enumerate(entries) if number not in places[1:]]
    return [new if number == places[0] else entry for number, entry in kept]


def answering(hostvars: Mapping[str, Mapping[str, Any]], servers: Sequence[str]) -> dict[str, str]:
    """Choose the server to fetch the kubeconfig of.

    Args:
        hostvars: Host → its variables, among them ``_k3s_status``, what the module has returned there.
        servers: The servers, in the inventory's order.

    Returns:
        ``server`` (the first whose API server is ready, or empty) and ``why`` (what the others have said).
    """
    said = {name: hostvars[name].get("_k3s_status") or {} for name in servers}
    why = {
        name: each.get("said") or each.get("msg") or "no K3s" for name, each in said.items() if not each.get("ready")
    }
    return {
        "server": next((name for name in servers if name not in why), ""),
        "why": "; ".join(f"{name}: {' '.join(str(each).split())}" for name, each in why.items()),
    }


class FilterModule:
    """The filters under the names that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {
            "k3s_answering": answering,
            "k3s_kubeconfig_target": target,
            "k3s_kubeconfig_merged": merged,
        }
