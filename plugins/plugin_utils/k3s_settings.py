"""The flags that a host runs K3s with, from the variables k3s_config, k3s_server_config and so on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Config = dict[str, Any]


def layers(variables: Mapping[str, Any], role: str) -> dict[str, Mapping[str, Any]]:
    """The flags that are set for one host whose ``role`` is server or agent: variable → flags, the weakest first."""
    names = ("k3s_config", f"k3s_{role}_config", "k3s_node_config")
    return {name: variables[name] for name in names if isinstance(variables.get(name), Mapping)}


def merge(layers: Iterable[Mapping[str, Any]]) -> Config:
    """Join layers of flags: a later value replaces an earlier one, and ``key+`` adds to it.

    Texts with commas stay whole: not every flag is split at them.
    Source: https://docs.k3s.io/installation/configuration#value-merge-behavior
    """
    config: Config = {}
    for layer in layers:
        for key, value in layer.items():
            name = str(key).removesuffix("+")
            config[name] = _as_list(config.get(name)) + _as_list(value) if str(key).endswith("+") else value
    return config


def node_config(variables: Mapping[str, Any], role: str) -> Config:
    """The flags that one host runs with, from all of its ``variables``."""
    return merge(layers(variables, role).values())


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def flag_values(value: object) -> list[str]:
    """The values of a flag such as ``disable`` or ``node-ip``: K3s takes a list, and a text with commas.

    Those between two commas and of an empty text are kept: K3s stops at them, and preflight tells.
    """
    return [each.strip() for text in _as_list(value) for each in str(text).split(",")]
