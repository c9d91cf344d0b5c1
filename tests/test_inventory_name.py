"""What an inventory is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.greeter.fleet.plugins.filter.inventory_name import inventory_name


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        (["mine"], "mine"),
        (["mine/"], "mine"),
        (["mine/hosts.yml"], "mine"),
        (["mine/hosts"], "mine"),
        (["mine/inventory.ini"], "mine"),
        (["mine/east.yml"], "east"),
        (["v1.2"], "v1.2"),
        (["mine", "mine/hosts.yml"], "mine"),
        (["mine", "other.yml"], "mine-other"),
        (["node1.example.com,"], "node1.example.com"),
        (["a,b"], "a-b"),
        (["our cluster (new)"], "our-cluster-new"),
        (["2026"], "2026"),
        ([], "greeter-fleet"),
        ([","], "greeter-fleet"),
    ],
)
def test_an_inventory_is_called_after_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str], name: str
) -> None:
    for folder in ("mine", "v1.2", "our cluster (new)", "2026"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    assert inventory_name(sources) == name
