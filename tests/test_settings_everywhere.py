"""A setting has one value in every stage, wherever it was written, and what stands beside an inventory wins."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import PROJECT, Run

HOSTS = ("one", "two", "three")
PASSWORD = "only for this test"
# Place → the setting that is written there, and its value. The repository's own files have another one for each.
PLACES: dict[str, tuple[str, Any]] = {
    "hosts.yml, vars of all": ("k3s_download_on", "of all"),
    "hosts.yml, vars of k3s_cluster": ("k3s_artifact_dir", "of the group"),
    "group_vars/all.yml": ("customers_domain", "all.example.com"),
    "group_vars/k3s_cluster/settings.yml": ("customers", {"mine": {"greeting": "Hi!"}}),
    "group_vars/k3s_cluster/vault.yml": ("k3s_registration_address", "from a vault"),
    "host_vars": ("greeter_base_image", "of every host"),
    "-e": ("k3s_release_url", "https://given.example.com"),
}
# What nobody has written elsewhere is the repository's, and what is made of other settings follows them.
REPOSITORY = {"greeter_builder": "podman"}
FOLLOWING = ("k3s_kubeconfig", "customers_kubeconfig", "greeter_image", "customers_image")
# They only refuse an inventory without hosts; no setting reaches them.
ON_LOCALHOST = {"inventory.yml", "preflight.yml", "uninstall.yml"}
# How a play's first block, if it has one, has its tasks run.
KEYWORDS = ("run_once", "delegate_to", "become")


def plays() -> list[tuple[str, dict[str, Any]]]:
    """The file of every play there is, and the play."""
    # Another test may have one of its own there for a moment.
    files = sorted(path for path in (PROJECT / "playbooks").glob("*.yml") if not path.stem.endswith("-for-test"))
    every = [(file.name, play) for file in files for play in yaml.safe_load(file.read_text())]
    return [(name, play) for name, play in every if "hosts" in play]


def stage(name: str, play: dict[str, Any], variables: str) -> dict[str, Any]:
    """The play with one task in the place of its own, that shows what it sees."""
    block: dict[str, Any] = next((task for task in play.get("tasks", []) if "block" in task), {})
    show = {
        "name": "Show",
        "ansible.builtin.debug": {"msg": {"stage": name, "settings": "{{ " + variables + " }}"}},
        **{key: block[key] for key in KEYWORDS if key in block},
    }
    header = {key: play[key] for key in play if key not in ("roles", "tasks", "serial", "gather_subset")}
    return {**header, "gather_facts": False, "tasks": [show]}


@pytest.fixture(scope="module")
def inventory(ansible: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory beside which the settings are written, each in a place of its own."""
    folder = tmp_path_factory.mktemp("inventories") / "mine"
    for each in ("group_vars/k3s_cluster", "host_vars"):
        (folder / each).mkdir(parents=True)

    def written(place: str) -> str:
        name, value = PLACES[place]
        return yaml.safe_dump({name: value})

    def group(hosts: tuple[str, ...]) -> dict[str, Any]:
        return {"hosts": dict.fromkeys(hosts)}

    groups = {"k3s_servers": group(HOSTS[:1]), "k3s_agents": group(HOSTS[1:])}
    cluster = {"children": groups, "vars": yaml.safe_load(written("hosts.yml, vars of k3s_cluster"))}
    of_all = yaml.safe_load(written("hosts.yml, vars of all"))
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": of_all}, "k3s_cluster": cluster}))
    for place in ("group_vars/all.yml", "group_vars/k3s_cluster/settings.yml", "group_vars/k3s_cluster/vault.yml"):
        (folder / place).write_text(written(place))
    for host in HOSTS:
        (folder / f"host_vars/{host}.yml").write_text(written("host_vars"))
    (folder / "group_vars/k3s_cluster/vault.yml").chmod(0o600)
    (folder.parent / "password").write_text(PASSWORD)
    vault = ["--vault-password-file", str(folder.parent / "password")]
    done = ansible("ansible-vault", "encrypt", *vault, str(folder / "group_vars/k3s_cluster/vault.yml"))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def seen(ansible: Run, inventory: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """Stage, host, and the settings that it sees there, of every play of every playbook."""
    names = [*(name for name, _ in PLACES.values()), *REPOSITORY, *FOLLOWING]
    variables = "{" + ", ".join(f"'{name}': {name}" for name in names) + "}"
    shown = [stage(name, play, variables) for name, play in plays() if play["hosts"] != "localhost"]
    path = PROJECT / "playbooks/settings-for-test.yml"
    path.write_text(yaml.safe_dump(shown, sort_keys=False))
    given, value = PLACES["-e"]
    # What the image's name needs of its base, as a run before this one has kept it.
    cache = inventory.parent / "cache"
    (cache / "greeter-fleet/images").mkdir(parents=True)
    (cache / "greeter-fleet/images/base_of_every_host.txt").write_text("0123\n")
    try:
        done = ansible(
            "ansible-playbook", str(path), "-i", str(inventory), "-e", f"{given}={value}",
            "--vault-password-file", str(inventory.parent / "password"), ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
            XDG_CACHE_HOME=str(cache),
        )  # fmt: skip
    finally:
        path.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [
        (answer["msg"]["stage"], host, answer["msg"]["settings"])
        for play in json.loads(done.stdout[done.stdout.index("{") :])["plays"]
        for task in play["tasks"]
        for host, answer in task["hosts"].items()
    ]
    assert {name for name, *_ in answers} == {name for name, play in plays() if play["hosts"] != "localhost"}
    return answers


def test_only_what_refuses_an_inventory_without_hosts_runs_as_localhost() -> None:
    assert {name for name, play in plays() if play["hosts"] == "localhost"} == ON_LOCALHOST


@pytest.mark.parametrize("place", PLACES)
def test_every_stage_sees_what_is_written_there(seen: list[tuple[str, str, dict[str, Any]]], place: str) -> None:
    name, value = PLACES[place]
    assert [(stage, host) for stage, host, settings in seen if settings[name] != value] == []


def test_every_stage_sees_the_repositorys_settings_and_what_follows_from_others(
    seen: list[tuple[str, str, dict[str, Any]]],
) -> None:
    for _, _, settings in seen:
        assert {name: settings[name] for name in REPOSITORY} == REPOSITORY
        assert settings["customers_kubeconfig"] == settings["k3s_kubeconfig"] == f"{PROJECT}/.kube/mine.yaml"
        assert settings["customers_image"] == settings["greeter_image"] == seen[0][2]["greeter_image"]


def test_the_controllers_stages_run_once_and_on_the_controller() -> None:
    stages = {name: stage(name, play, "") for name, play in plays() if play["hosts"] != "localhost"}
    for name in (
        "customers.yml",
        "plan.yml",
        "verify.yml",
        "status.yml",
        "build-app.yml",
        "run-app.yml",
        "remove-app.yml",
    ):
        (show,) = stages[name]["tasks"]
        assert [show[key] for key in KEYWORDS] == [True, "localhost", False]


def test_three_inventories_in_one_checkout_have_three_kubeconfigs(ansible: Run, tmp_path: Path) -> None:
    inventories = {"east": "east/hosts.yml", "west": "west/hosts.yml", "north": "north.yml"}
    for path in inventories.values():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("k3s_cluster: {children: {k3s_servers: {hosts: {node: }}, k3s_agents: }}\n")

    def kubeconfigs(path: str) -> str:
        return ansible(
            "ansible", "node", "-i", str(tmp_path / path), "-m", "ansible.builtin.debug",
            "-a", "msg='{{ k3s_kubeconfig }} {{ customers_kubeconfig }}'",
        ).stdout  # fmt: skip

    with ThreadPoolExecutor() as pool:
        said = dict(zip(inventories, pool.map(kubeconfigs, inventories.values()), strict=True))
    for name in inventories:
        assert f"{PROJECT}/.kube/{name}.yaml {PROJECT}/.kube/{name}.yaml" in " ".join(said[name].split())
