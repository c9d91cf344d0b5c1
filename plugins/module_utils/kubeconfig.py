"""What a kubeconfig says: which cluster, as which user, and the program that gives the user's credentials."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from kubernetes.client import ApiClient
from kubernetes.config import ConfigException, new_client_from_config
from kubernetes.config.kube_config import ConfigNode, KubeConfigMerger

# What the client's library raises of a file that holds something else.
BROKEN = (ConfigException, OSError, AttributeError, KeyError, TypeError, ValueError)


class KubeconfigError(Exception):
    """A kubeconfig cannot be used. The message holds nothing of the file but names: the rest may be secret."""


class MissingKubeconfigError(KubeconfigError):
    """There is no such file."""


class Access(NamedTuple):
    """One context of a kubeconfig, by name, with its user's; no user is an empty name."""

    kubeconfig: str
    context: str
    user: str

    def __str__(self) -> str:
        """What to call it in a message."""
        user = f"the user {self.user}" if self.user else "requests without a user"
        return f"{user} (context {self.context} of {self.kubeconfig})"


def choose(kubeconfig: str, context: str = "") -> Access:
    """Look at the ``context`` of the file ``kubeconfig``, the current one if none is named.

    Raises:
        KubeconfigError: There is none, or something that it needs is missing.
    """
    config = _read(kubeconfig)
    contexts = _entries(config, "contexts", "context")
    names = ", ".join(map(str, contexts)) or "none"
    chosen = context or config.get("current-context")
    if not chosen:
        raise KubeconfigError(f"the kubeconfig {kubeconfig} has no current context; set customers_context: {names}")
    if chosen not in contexts:
        remedy = f"set customers_context to one that it has: {names}"
        raise KubeconfigError(f"the kubeconfig {kubeconfig} has no context {chosen}; {remedy}")
    found: dict[str, ConfigNode | None] = {}
    for kind in ("cluster", "user"):
        name = contexts[chosen].safe_get(kind) or ""
        found[kind] = _entries(config, f"{kind}s", kind).get(name)
        if found[kind] is None and (name or kind == "cluster"):
            missing = f"names a {kind} that is not in it: {name or 'none'}"
            raise KubeconfigError(f"the context {chosen} of the kubeconfig {kubeconfig} {missing}")
    if found["user"] and found["cluster"]:
        _find_program(found["user"].value.get("exec"), found["cluster"].path, kubeconfig)
    return Access(kubeconfig, str(chosen), str(contexts[chosen].safe_get("user") or ""))


def connect(access: Access) -> ApiClient:
    """A client with the credentials of ``access``. A program that gives them runs once, and again when they expire.

    Raises:
        KubeconfigError: They cannot be had.
    """
    with _logged_errors() as errors:
        try:
            client = new_client_from_config(config_file=access.kubeconfig, context=access.context, persist_config=False)
        except BROKEN as error:
            raise KubeconfigError(f"the kubeconfig {access.kubeconfig} cannot be used: {_words(error)}") from error
    if errors:
        raise KubeconfigError(f"{access} has no credentials: {_words(errors[0])}")
    return client


def _words(error: object) -> str:
    """What the library says, without the entries of the file that it shows as dictionaries."""
    return re.sub(r"\{.*\}", "…", str(error), flags=re.DOTALL)


def _read(kubeconfig: str) -> Mapping[str, Any]:
    try:
        found = KubeConfigMerger(kubeconfig).config
        config = found and found.value
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise KubeconfigError(f"the kubeconfig {kubeconfig} is not YAML{where}") from error
    except OSError as error:
        raise KubeconfigError(f"the kubeconfig {kubeconfig} cannot be read: {error.strerror}") from error
    except BROKEN as error:
        raise KubeconfigError(f"the kubeconfig {kubeconfig} holds something else than clusters and contexts") from error
    if config is None:
        raise MissingKubeconfigError(f"the kubeconfig {kubeconfig} is not there")
    return dict(config)


def _entries(config: Mapping[str, Any], section: str, kind: str) -> dict[str, ConfigNode]:
    """Name → what it stands for, of one of the lists ``clusters``, ``contexts`` and ``users``."""
    named = (node for node in config[section] if isinstance(node.value, Mapping) and "name" in node.value)
    return {node.value["name"]: node[kind] for node in named if isinstance(node.value.get(kind), Mapping)}


def _find_program(given: object, cluster_path: str, kubeconfig: str) -> None:
    """Tell of a credential plugin that is not there: the library would go on without any credentials."""
    if not isinstance(given, Mapping) or not given.get("command"):
        return
    command = str(given["command"])
    variables = {each["name"]: each["value"] for each in given.get("env") or []}
    # A path with a slash counts from the file's folder, as the library runs it there.
    place = Path(cluster_path).absolute().parent / command if os.sep in command else command
    if shutil.which(place, path=variables.get("PATH")) is None:
        hint = " ".join(str(given.get("installHint") or "install it").split())
        missing = f"needs the program {command}, which is not on this machine; {hint}"
        raise KubeconfigError(f"the kubeconfig {kubeconfig} {missing}")


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """What is logged as an error meanwhile: how the library tells that a credential plugin has failed."""
    messages: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield messages
    finally:
        logging.getLogger().removeHandler(handler)
