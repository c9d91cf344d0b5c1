"""The cluster's kubeconfig within a person's own one, whose other entries stay as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

LISTS = ("clusters", "users", "contexts")
# Only words are written without quotes. PyYAML leaves out those of 12e4 and y as well, which kubectl takes for a number
# and a truth value.
WORD = re.compile(r"(?!(?:no|on|yes|off|true|false|null)$)[a-z][a-z-]+", re.IGNORECASE | re.ASCII)


class Loader(yaml.SafeLoader):
    """Reads times as the texts they are written as."""


class Dumper(yaml.SafeDumper):
    """Quotes texts."""


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if WORD.fullmatch(text) else '"')


Loader.add_constructor("tag:yaml.org,2002:timestamp", Loader.yaml_constructors["tag:yaml.org,2002:str"])
Dumper.add_representer(str, _text)


def _fault(found: object) -> str:
    """What keeps the content of a file from being a kubeconfig; an empty file is one without entries."""
    if not isinstance(found, dict):
        return "" if found is None else "is no mapping of clusters, users and contexts"
    if found.get("kind", "Config") != "Config":
        return "is of another kind than Config"
    for name in LISTS:
        entries = [] if found.get(name) is None else found[name]
        if not isinstance(entries, list):
            return f"has {name} that are no list"
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                return f"has an entry without a name, number {number} of {name}"
    return ""


def _merged(old: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """A kubeconfig with our entries, each in the place of the first of its name, or at the end."""
    result = {"apiVersion": ours["apiVersion"], "kind": ours["kind"]} | old
    for name in LISTS:
        (new,), entries = ours[name], old.get(name) or []
        place = next((place for place, entry in enumerate(entries) if entry["name"] == new["name"]), len(entries))
        result[name] = [entry for entry in entries if entry["name"] != new["name"]]
        result[name].insert(place, new)
    result["current-context"] = old.get("current-context") or ours["current-context"]
    return result


def merge(path: str, own: str, ours: str = "") -> dict[str, str]:
    """Merge the cluster's kubeconfig into a file, as described in k3s_merge_kubeconfig.yml.

    Nothing is written, and nothing of the file is in a fault: it may be secret.
    """
    real = Path(os.path.realpath(Path(path).expanduser()))
    text, found, fault = "", None, ""
    try:
        text = real.read_text()
        found = yaml.load(text, Loader)
        fault = _fault(found)
    except FileNotFoundError:
        pass
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        fault = f"is not YAML (line {mark.line + 1})" if mark else "is not YAML"
    except OSError as error:
        fault = f"cannot be read ({error.strerror})"
    if not fault and not os.access(next(each for each in real.parents if each.exists()), os.W_OK):
        fault = "is in a folder that you may not write to"
    if real == Path(os.path.realpath(Path(own).expanduser())):
        fault = "is k3s_kubeconfig itself; name your own file, or leave k3s_kubeconfig_merge empty"
    if ours and not fault:
        old: dict[str, Any] = found or {}
        new = _merged(old, yaml.load(ours, Loader))
        if new != old:
            text = yaml.dump(new, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10**9)
    return {"path": str(real), "text": text, "fault": fault}


class FilterModule:
    """The filter under the name that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"k3s_merge_kubeconfig": merge}
