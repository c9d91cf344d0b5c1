"""What is made from the schema of the customers' settings; ``.venv/bin/python tests/generate.py`` writes it anew.

It stands between two lines that hold ``MARKS``, in files whose other lines people write.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[1]
MARKS = (
    "begin: made by tests/generate.py",
    "end: made by tests/generate.py",
)
WIDTH = 120

Node = Mapping[str, Any]

TYPES = {
    "array": "list",
    "boolean": "bool",
    "integer": "int",
    "number": "float",
    "object": "dict",
    "string": "str",
}


class IndentedDumper(yaml.SafeDumper):
    """Lists are indented, as everywhere in the project."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Never ``indentless``."""
        super().increase_indent(flow, False)


def block(value: object, spaces: int = 0) -> str:
    """``value`` as YAML of many lines, indented by ``spaces``."""
    text = yaml.dump(value, Dumper=IndentedDumper, sort_keys=False, allow_unicode=True, width=WIDTH - spaces)
    return re.sub(r"^(?=.)", " " * spaces, text, flags=re.MULTILINE)


def flow(value: object) -> str:
    """``value`` as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def type_of(node: Node) -> str:
    """The type of Ansible that takes what the schema takes."""
    given = node.get("type", "string")
    if node.get("format") == "path":
        return "path"
    if isinstance(given, str):
        return TYPES[given]
    # The command line gives texts: Ansible makes of them what they stand for.
    return next((TYPES[one] for one in ("boolean", "integer") if one in given), "raw")


def option(node: Node, required: bool = False) -> dict[str, Any]:
    """The option of an argument spec that a schema's node describes."""
    found: dict[str, Any] = {"type": type_of(node), "description": node["description"]}
    if required:
        found["required"] = True
    if "enum" in node:
        found["choices"] = node["enum"]
    if "default" in node:
        found["default"] = node["default"]
    if "writeOnly" in node:
        found["no_log"] = node["writeOnly"]
    inner = node
    if found["type"] == "list":
        inner = node["items"]
        found["elements"] = type_of(inner)
    if "properties" in inner:
        found["options"] = options(inner)
    return found


def options(node: Node) -> dict[str, Any]:
    """The options of a mapping, by their names."""
    return {name: option(each, name in node.get("required", ())) for name, each in node["properties"].items()}


def argument_specs(document: Node) -> str:
    """The options of the role customers."""
    found = options(document)
    customer = document["properties"]["customers"]["additionalProperties"]
    of_all = document["properties"]["customers_defaults"]["properties"]
    found["customers"] |= {
        "required": True,
        "description": [
            document["properties"]["customers"]["description"],
            *(f"{name} ({type_of(each)}). {each['description']}" for name, each in customer["properties"].items()
              if name not in of_all),
            "And every option of customers_defaults.",
        ],
    }  # fmt: skip
    return block(found, 6)


def defaults(document: Node) -> str:
    """The role's defaults, each below its sentence."""
    lines = [
        f"# {node['description']}\n{block({name: node['default']})}"
        for name, node in document["properties"].items()
        if "default" in node
    ]
    return "\n".join(lines)


def rows(node: Node, required: tuple[str, ...] = ()) -> Iterator[str]:
    """A row of a table for each property."""
    for name, each in node["properties"].items():
        default = each.get("default")
        words = "none" if default in (None, {}, []) else f"`{flow(default)}`"
        words = "required" if name in required else each.get("x-default", words)
        yield f"| `{name}` | {words} | {each['description']} |\n"


def tables(document: Node) -> str:
    """The tables of docs/customers.md: a customer's settings, and the variables that all customers share."""
    customer = document["properties"]["customers"]["additionalProperties"]
    head = "| {} | default | what it is |\n|---|---|---|\n"
    shared = {name: each for name, each in document["properties"].items() if name != "customers"}
    return (
        f"\n{head.format('setting')}{''.join(rows(customer, tuple(customer['else']['required'])))}\n"
        "What all customers share stands beside `customers`:\n\n"
        f"{head.format('variable')}{''.join(rows({'properties': shared}))}\n"
    )


def renewed(text: str, made: str) -> str:
    """``text`` with ``made`` between the two marked lines."""
    begin, end = map(re.escape, MARKS)
    between = re.compile(rf"(^[^\n]*{begin}[^\n]*\n).*?(^[^\n]*{end})", re.MULTILINE | re.DOTALL)
    return between.sub(lambda found: found[1] + made + found[2], text)


def files(document: Node) -> dict[Path, str]:
    """Path → what the file should hold."""
    made = {
        PROJECT / "docs/customers.md": tables,
        PROJECT / "roles/customers/defaults/main.yml": defaults,
        PROJECT / "roles/customers/meta/argument_specs.yml": argument_specs,
    }
    return {path: renewed(path.read_text(encoding="utf-8"), make(document)) for path, make in made.items()}


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT / ".collections"))
    module = importlib.import_module("ansible_collections.greeter.fleet.plugins.plugin_utils.customers")
    for name, content in files(module.SCHEMA.document).items():
        name.write_text(content, encoding="utf-8")
