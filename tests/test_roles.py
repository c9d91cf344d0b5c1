"""What every role promises of itself, and that the installed collections are those that are asked for."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

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
        # What a template gives is described there in words.
        if "{{" not in str(value):
            assert options[name]["default"] == value
        assert options[name]["description"]


@pytest.mark.parametrize("named", load(PROJECT / "requirements.yml")["collections"], ids=lambda one: one["name"])
def test_the_ansible_package_brings_what_requirements_yml_asks_for(named: dict[str, str]) -> None:
    installed = Path(sysconfig.get_path("purelib"), "ansible_collections")
    manifest = Path(installed, *named["name"].split("."), "MANIFEST.json")
    version = json.loads(manifest.read_text())["collection_info"]["version"]
    assert version in SpecifierSet(named["version"])


def test_the_settings_that_people_change_are_given_the_defaults_of_the_role() -> None:
    """The release of K3s among them, which stands in both: other stages read it without the role k3s."""
    settings, defaults = (
        load(PROJECT / path) for path in ("group_vars/all/cluster.yml", "roles/k3s/defaults/main.yml")
    )
    assert settings == {name: defaults.get(name) for name in settings}
