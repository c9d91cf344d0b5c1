"""What every role promises of itself, and that the pinned collections are the installed ones."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import PROJECT

ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir())


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text())) if path.exists() else {}


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_specified_and_every_optional_setting_has_a_default(role: str) -> None:
    folder = PROJECT / "roles" / role
    options = load(folder / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(folder / "defaults/main.yml")
    assert set(defaults) == {name for name, option in options.items() if not option.get("required")}
    for name, value in defaults.items():
        if not isinstance(value, str):
            assert options[name]["default"] == value
        assert options[name]["description"]


@pytest.mark.parametrize("pinned", load(PROJECT / "requirements.yml")["collections"], ids=lambda pin: pin["name"])
def test_requirements_yml_pins_what_the_ansible_package_brings(pinned: dict[str, str]) -> None:
    installed = Path(sysconfig.get_path("purelib"), "ansible_collections")
    manifest = Path(installed, *pinned["name"].split("."), "MANIFEST.json")
    assert json.loads(manifest.read_text())["collection_info"]["version"] == pinned["version"]
