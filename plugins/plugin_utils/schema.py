"""Settings that a JSON Schema describes, and what is wrong with them, in words.

A schema is a file ``schemas/<name>.json`` (JSON Schema 2020-12) whose properties are variables. A fault is a line such
as ``customers.a.replicas: is not a number of pods; write 1 or more``. It shows keys, and a text that a list holds
twice, but no other value unless the schema asks for it: that may be a secret.

Beside the keywords of JSON Schema, these hold what a person reads:

- ``errorMessage``: what is wrong; what to write instead. Editors with yaml-language-server show it too. Keywords that
  are not in ``WORDS`` need one. ``{value}`` in it stands for the value, where that is no secret.
- ``x-write``: what to write instead of a value of the wrong type, as in "is a list; write a mapping such as {a: b}".
- ``title`` of ``propertyNames``: what the keys are called, such as "name"; "key" unless given.
- ``x-maxBytes``: the most bytes that a text may have in UTF-8.

A ``pattern`` has to match the whole text. ``format: cidr`` is a network such as 10.0.0.0/8. A ``$ref`` leads to
a name in ``$defs``. Of several faults of one text, number or list only the first is told, in the schema's order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .preflight.words import is_list, kind, shown

# Imported where it is used: it takes a quarter of a second, and every task that uses one filter loads them all.
if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

# Preflight tells of it.
HAS_JSONSCHEMA = find_spec("jsonschema") is not None

# What a setting's value and a keyword's value make of it: words, or None where nothing is wrong.
Check = Callable[[Any, Any], str | None]
Place = tuple[Any, ...]

# What follows "is a list" and the like where no x-write says it.
TYPES = {
    "string": ", not a text; put it in quotes",
    "boolean": "; write true or false",
    "object": "; write a mapping",
    "array": "; write a list",
}
# Keyword → what is wrong, from the setting's value and the keyword's.
WORDS: dict[str, Callable[[Any, Any], str]] = {
    "maxLength": lambda value, most: f"has {len(value)} characters; use at most {most}",
    "uniqueItems": lambda value, _rule: f"has {_twice(value)} more than once; write it once",
}


class Schema:
    """One file of ``schemas/``, read once and compiled once."""

    def __init__(self, name: str, keywords: Mapping[str, Check] | None = None) -> None:
        """Take ``schemas/<name>.json``.

        Args:
            name: The file's name without its ending.
            keywords: Keywords of the schema's own, beginning with ``x-``, and what checks a value by each.
        """
        self._file = Path(__file__).parent / "schemas" / f"{name}.json"
        self._checks: dict[str, Check] = {"pattern": _mismatch, "x-maxBytes": _too_long, **(keywords or {})}

    @cached_property
    def document(self) -> dict[str, Any]:
        """What the file holds, with every reference replaced by what it leads to."""
        document = json.loads(self._file.read_text(encoding="utf-8"))
        resolved: dict[str, Any] = _resolved(document, document.get("$defs", {}))
        return resolved

    def defaults(self, *path: str) -> dict[str, Any]:
        """The defaults of the variables, or of the properties of the mapping at ``path``."""
        found = self.document
        for key in path:
            found = found["properties"][key]
        return {key: each["default"] for key, each in found["properties"].items() if "default" in each}

    def faults(self, settings: Mapping[Any, Any]) -> list[str]:
        """What is wrong with ``settings`` (variable → value), in the order of the schema."""
        found: dict[tuple[Any, ...], str] = {}
        for error in self._validator.iter_errors(settings):
            of_key = "propertyNames" in error.absolute_schema_path
            for place, words in _located(error, of_key):
                where = _where(settings, place)
                # A mapping may have several faults of its own.
                first = (where, of_key, words if isinstance(error.instance, Mapping) else None)
                found.setdefault(first, f"{where}: {words}")
        return list(found.values())

    @cached_property
    def _validator(self) -> Draft202012Validator:
        from jsonschema import Draft202012Validator, FormatChecker  # noqa: PLC0415 - see above
        from jsonschema.validators import extend  # noqa: PLC0415

        # A mapping is whatever Ansible takes for one, and 2.0 is no whole number in YAML.
        types = Draft202012Validator.TYPE_CHECKER.redefine_many(
            {
                "object": lambda _checker, value: isinstance(value, Mapping),
                "array": lambda _checker, value: is_list(value),
                "integer": lambda _checker, value: isinstance(value, int) and not isinstance(value, bool),
            }
        )
        formats = FormatChecker(formats=())
        formats.checks("cidr")(is_cidr)
        keywords = {name: _keyword(check) for name, check in self._checks.items()}
        validator = extend(Draft202012Validator, keywords, type_checker=types)
        validator.descend = _cached_descend()
        return validator(self.document, format_checker=formats)


def is_cidr(value: object) -> bool:
    """Whether ``value`` is a network as Kubernetes writes it: no number, no bare address, no netmask."""
    if not isinstance(value, str) or not value.rpartition("/")[2].isdecimal():
        return False
    try:
        return bool(ip_network(value, strict=False))
    except ValueError:
        return False


def _resolved(node: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """``node`` with every ``$ref`` replaced by what it leads to; what stands beside it wins."""
    if isinstance(node, list):
        return [_resolved(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    while "$ref" in node:
        node = definitions[node["$ref"].removeprefix("#/$defs/")] | {key: node[key] for key in node if key != "$ref"}
    return {key: _resolved(value, definitions) for key, value in node.items()}


def _cached_descend() -> Callable[..., Iterator[ValidationError]]:
    """What jsonschema's own ``descend`` does, in half the time, and for a key that is None too."""
    validators: dict[int, Draft202012Validator] = {}
    nowhere = object()

    def descend(
        parent: Draft202012Validator,
        instance: object,
        schema: object,
        path: object = nowhere,
        schema_path: object = nowhere,
    ) -> Iterator[ValidationError]:
        if id(schema) not in validators:
            validators[id(schema)] = parent.evolve(schema=schema)
        for error in validators[id(schema)].iter_errors(instance):
            if path is not nowhere:
                error.path.appendleft(path)
            if schema_path is not nowhere:
                error.schema_path.appendleft(schema_path)
            yield error

    return descend


def _keyword(check: Check) -> Callable[..., Iterator[ValidationError]]:
    """The keyword of jsonschema that finds what ``check`` finds."""
    from jsonschema import ValidationError  # noqa: PLC0415 - see above

    def errors(_validator: object, rule: object, value: object, _schema: object) -> Iterator[ValidationError]:
        if words := check(value, rule):
            yield ValidationError(words)

    return errors


def _mismatch(value: object, pattern: str) -> str | None:
    # jsonschema itself searches: its $ would let a line break pass.
    return "does not match" if isinstance(value, str) and not re.fullmatch(pattern, value) else None


def _too_long(value: object, most: int) -> str | None:
    if isinstance(value, str) and (size := len(value.encode(errors="surrogatepass"))) > most:
        return f"has {size} bytes; use at most {most}"
    return None


def _located(error: ValidationError, of_key: bool) -> Iterator[tuple[Place, str]]:
    """Every fault that one error of jsonschema tells of: its place, and what is wrong there."""
    place, schema, rule, value = tuple(error.absolute_path), error.schema, error.validator_value, error.instance
    if error.validator == "additionalProperties":
        known = schema["properties"]
        yield from (((*place, key), f"is no setting; use {', '.join(known)}") for key in value if key not in known)
    elif error.validator == "required":
        words = schema.get("errorMessage", f"is missing; write all of {', '.join(rule)}")
        yield from (((*place, key), words) for key in rule if key not in value)
    elif error.validator == "dependentRequired":
        for given in value.keys() & rule.keys():
            yield from (((*place, key), f"is missing; {given} needs it") for key in rule[given] if key not in value)
    else:
        yield (
            (*place, value) if of_key else place,
            _words(error, f"the {schema.get('title', 'key')} " if of_key else ""),
        )


def _words(error: ValidationError, subject: str) -> str:
    """What is wrong with the value that an error is about; ``subject`` is what to call it where that is not clear."""
    keyword, schema, rule, value = error.validator, error.schema, error.validator_value, error.instance
    if keyword.startswith("x-"):
        return str(error.message)
    if keyword in WORDS:
        return subject + WORDS[keyword](value, rule)
    if keyword == "type" and "x-write" in schema:
        return f"{subject}is {kind(value)}; write {schema['x-write']}"
    if keyword == "type" and isinstance(rule, str) and rule in TYPES:
        return f"{subject}is {kind(value)}{TYPES[rule]}"
    return str(schema.get("errorMessage", f"is not valid; {keyword}: {rule}")).replace("{value}", repr(value))


def _twice(items: list[Any]) -> str:
    twice = [each for index, each in enumerate(items) if isinstance(each, str) and each in items[:index]]
    return ", ".join(map(shown, dict.fromkeys(twice))) or "an item"


def _where(settings: Any, place: Place) -> str:  # noqa: ANN401
    """The place as a person writes it: customers.a.hosts[0]."""
    where = ""
    for step in place:
        if is_list(settings):
            where, settings = f"{where}[{step}]", settings[step]
        else:
            where, settings = f"{where}.{shown(step)}" if where else shown(step), settings.get(step)
    return where
