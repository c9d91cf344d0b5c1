"""The one schema of the customers' settings: its own rules, what is made from it, and that preflight says the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.greeter.fleet.plugins.plugin_utils.customers import SCHEMA
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight.customers import customer_faults
from jinja2.nativetypes import NativeEnvironment
from jsonschema import Draft202012Validator

from . import generate
from .conftest import PROJECT
from .test_broken_customers import BY_SITE, CASES
from .test_customer_faults import BOTH, CUSTOMER, GOOD_FLEET, OWN, WRONG_FLEET, write_certificates

FILE = PROJECT / "plugins/plugin_utils/schemas/customers.json"
# As an editor reads it: without the keywords of our own, and with a list and a mapping as YAML makes them.
EDITOR = Draft202012Validator(json.loads(FILE.read_text()))

# What only shows when settings are held against each other, or against files on the controller.
BETWEEN_SETTINGS = {
    "two customers with one host",
    "a host that is another customer's by default",
    "three customers with one host",
    "a default host that is too long",
    "no list at all, and pruning asked for as on the command line",
    "autoscaling upside down",
    "more workers than the memory takes",
    "autoscaling by an amount that no pod exceeds",
    "a request above the limit",
    "a limit below the built-in request",
    "a limit of all below a request of all",
    "annotations that are too long",
    "a redirect of a controller nobody knows",
    "another ingress controller that nobody may call from",
    "a certificate that is not there",
    "a key without its first line",
    "files that hold something else",
    "a certificate whose lines YAML has joined",
    "a certificate and a key the wrong way round",
    "a key with a passphrase",
    "a key that ansible-vault has encrypted",
    "a certificate that has expired",
    "a certificate of the future",
    "another certificate's key",
    "a certificate of another host",
    "a wildcard certificate and a host two labels deep",
    "a certificate with a common name alone",
    "a certificate of all that does not cover all",
    "a certificate of all that is not there",
}
# What keywords of our own say, which editors do not know.
OWN_KEYWORDS = {"a greeting that is too long", "quantities that are nothing"}


class Unsafe(str):
    """A text that Ansible does not take for a template."""


class Loader(yaml.SafeLoader):
    """YAML with the tags of Ansible."""


def unsafe(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Unsafe:
    """The text that stands behind the tag."""
    return Unsafe(loader.construct_scalar(node))


Loader.add_constructor("!unsafe", unsafe)


def load(text: str, **variables: str) -> dict[str, Any]:
    """The variables of a customers' file, with their templates filled in as Ansible does."""
    environment = NativeEnvironment()
    environment.globals["lookup"] = lambda _plugin, path: Path(path).read_text()

    def rendered(value: object) -> object:
        if isinstance(value, dict):
            return {key: rendered(each) for key, each in value.items()}
        if isinstance(value, list):
            return [rendered(each) for each in value]
        if not isinstance(value, str) or isinstance(value, Unsafe) or not re.search("{[{%]", value):
            return value
        return environment.from_string(value).render(**variables)

    return {name: rendered(value) for name, value in yaml.load(text, Loader).items()}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with certificates and keys of all sorts."""
    return str(write_certificates(tmp_path_factory.mktemp("certificates") / "all"))


GOOD_FILES = [
    PROJECT / "group_vars/all/customers.yml",
    *sorted((PROJECT / "molecule/render/inventory/host_vars").glob("*.yml")),
]
GOOD: list[dict[str, Any]] = [
    *({"customers": {"a": {"greeting": "Hi!"} | own}} for own in [*BOTH, *OWN]),
    *(CUSTOMER | {"customers_defaults": every} for every in BOTH),
    *(CUSTOMER | {name: value} for name, values in GOOD_FLEET.items() for value in values),
]
# Templates are Ansible's own matter.
BROKEN = [name for name in CASES if name not in [*BY_SITE, "templates that cannot be worked out"]]


@pytest.mark.parametrize("path", GOOD_FILES, ids=lambda path: path.stem)
def test_editors_and_preflight_take_every_good_file(path: Path) -> None:
    variables = load(path.read_text(), rendering="/nowhere/made-by-the-scenario")
    assert not [error.message for error in EDITOR.iter_errors(variables)]
    assert not [fault for fault in customer_faults(variables) if "made-by-the-scenario" not in fault]


@pytest.mark.parametrize("variables", GOOD, ids=str)
def test_editors_and_preflight_take_every_good_setting(variables: dict[str, Any]) -> None:
    assert not [error.message for error in EDITOR.iter_errors(variables)]
    assert not customer_faults(variables)


@pytest.mark.parametrize("name", BROKEN)
def test_editors_and_preflight_refuse_the_same_files(name: str, certificates: str) -> None:
    variables = load(CASES[name]["file"], certificates=certificates)
    of_schema, of_preflight = SCHEMA.faults(variables), customer_faults(variables)
    assert of_preflight
    if name in BETWEEN_SETTINGS:
        assert not of_schema
    else:
        assert of_schema
        assert {fault.split(": ")[0] for fault in of_schema} <= {fault.split(": ")[0] for fault in of_preflight}
    assert EDITOR.is_valid(variables) == (name in BETWEEN_SETTINGS | OWN_KEYWORDS)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG_FLEET.items() for value in values])
def test_editors_refuse_what_preflight_refuses_of_the_fleet(name: str, value: object) -> None:
    # Networks are looked at by preflight alone.
    assert EDITOR.is_valid({name: value}) == name.endswith("_from")


def subschemas(node: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every part of a schema that says what is wrong: not what stands in if, not, anyOf and oneOf."""
    if isinstance(node, dict):
        if not path or path[-1] not in ("properties", "$defs"):
            yield path, node
        for key, each in node.items():
            if key not in ("if", "not", "anyOf", "oneOf", "default", "$defs"):
                yield from subschemas(each, (*path, key))
    elif isinstance(node, list):
        for index, each in enumerate(node):
            yield from subschemas(each, (*path, str(index)))


def test_the_schema_is_one_of_2020_12() -> None:
    Draft202012Validator.check_schema(json.loads(FILE.read_text()))


def test_every_rule_has_words_and_every_pattern_is_of_the_whole_text() -> None:
    rules = {"pattern", "enum", "minimum", "maximum", "minItems", "minProperties", "not", "anyOf", "oneOf", "format"}
    for path, node in subschemas(SCHEMA.document):
        if node.keys() & rules and node.get("format") != "path":
            assert re.fullmatch("(is|has|have|holds|goes|use|means|ends) .+; .+|use .+", node["errorMessage"]), path
        if node.get("type") in ("object", "array") and path:
            assert node["x-write"].startswith(("a ", "an ")), path
        if "pattern" in node:
            assert re.fullmatch(r"\^.*\$", node["pattern"]), path


def test_every_setting_has_a_sentence() -> None:
    for path, node in subschemas(SCHEMA.document):
        for name, each in node.get("properties", {}).items() if not {"then", "else"} & set(path) else ():
            assert each["description"].endswith("."), (path, name)


@pytest.mark.parametrize("path", generate.files(SCHEMA.document), ids=lambda path: path.name)
def test_what_is_made_from_the_schema_is_up_to_date(path: Path) -> None:
    stale = path.read_text() != generate.files(SCHEMA.document)[path]
    assert not stale, f"{path} is older than the schema; run .venv/bin/python tests/generate.py"


def test_editors_find_the_schema() -> None:
    customers = PROJECT / "group_vars/all/customers.yml"
    first = customers.read_text().splitlines()[0]
    assert (customers.parent / first.removeprefix("# yaml-language-server: $schema=")).samefile(FILE)
    settings = json.loads((PROJECT / ".vscode/settings.json").read_text())
    assert [PROJECT / path for path in settings["yaml.schemas"]] == [FILE]
    assert {tag.split()[0] for tag in settings["yaml.customTags"]} == {"!vault", "!unsafe"}
