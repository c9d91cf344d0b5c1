"""The collection greeter.fleet as others get it: its archive, its documentation, and its use from an empty folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import PLAIN, PROJECT

Done = subprocess.CompletedProcess[str]

MODULES = sorted(path.stem for path in (PROJECT / "plugins/modules").glob("*.py"))
LOOKUPS = sorted(path.stem for path in (PROJECT / "plugins/lookup").glob("*.py"))
CALLBACKS = sorted(path.stem for path in (PROJECT / "plugins/callback").glob("*.py"))
FILTERS = sorted(
    name
    for path in (PROJECT / "plugins/filter").glob("*.py")
    for name in import_module(f"ansible_collections.greeter.fleet.plugins.filter.{path.stem}").FilterModule().filters()
)
PLUGINS = {"module": MODULES, "filter": FILTERS, "lookup": LOOKUPS}
# What a user needs, by its first folder or name.
CONTENT = {
    "FILES.json", "MANIFEST.json", "README.md", "docs", "group_vars", "meta", "playbooks", "plugins",
    "requirements.yml", "roles", "service",
}  # fmt: skip
# The settings of a clone's own customers are in no archive: they would win over those of an inventory.
INVENTORY = """
all:
  vars:
    customers: {here: {greeting: "From here"}}
    customers_kubeconfig: /nowhere/kubeconfig
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  hosts: {localhost: {ansible_connection: local}}
k3s_cluster:
  children:
    k3s_servers: {hosts: {localhost: }}
    k3s_agents:
"""
ROLE = "- hosts: localhost\n  gather_facts: false\n  roles: [greeter.fleet.{role}]\n"


def run(program: str, *arguments: str, cwd: Path, **environment: str) -> Done:
    """Run an Ansible program with nothing of this repository's configuration."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        cwd=cwd,
        env=clean | PLAIN | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that `ansible-galaxy collection build` makes."""
    folder = tmp_path_factory.mktemp("archive")
    done = run("ansible-galaxy", "collection", "build", f"--output-path={folder}", cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def elsewhere(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the repository with the installed archive and an inventory."""
    folder = tmp_path_factory.mktemp("elsewhere")
    install = ["collection", "install", str(archive), "--no-deps", "--offline", f"--collections-path={folder}"]
    done = run("ansible-galaxy", *install, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "hosts.yml").write_text(INVENTORY)
    return folder


def play(elsewhere: Path, playbook: str, **environment: str) -> Done:
    return run(
        "ansible-playbook", "--inventory=hosts.yml", "--check", playbook,
        cwd=elsewhere, ANSIBLE_COLLECTIONS_PATH=str(elsewhere), **environment,
    )  # fmt: skip


def test_the_archive_holds_what_a_user_needs_and_nothing_else(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        files = {entry.name for entry in tar if not entry.isdir()}
    assert {name.split("/")[0] for name in files} == CONTENT
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    new = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    assert files - {"FILES.json", "MANIFEST.json"} <= {*tracked.splitlines(), *new.splitlines()}
    assert not {name for name in files if "/tests/" in name or name.endswith((".pyc", "customers.yml"))} - {
        "playbooks/customers.yml",
        "roles/preflight/tasks/customers.yml",
    }
    assert {"plugins/modules/customers_plan.py", "service/Containerfile", "group_vars/all/cluster.yml"} <= files


def test_the_collection_asks_for_what_requirements_yml_names() -> None:
    galaxy = yaml.safe_load((PROJECT / "galaxy.yml").read_text())
    required = yaml.safe_load((PROJECT / "requirements.yml").read_text())["collections"]
    assert {each["name"]: each["version"] for each in required} == galaxy["dependencies"]


def test_the_role_customers_runs_from_a_playbook_of_three_lines(elsewhere: Path) -> None:
    (elsewhere / "customers.yml").write_text(ROLE.format(role="customers"))
    done = play(elsewhere, "customers.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+ new         here: customer-here.parcellab.com" in done.stdout


def test_the_role_preflight_runs_from_a_playbook_of_three_lines(elsewhere: Path) -> None:
    """Whatever it finds of this machine, and of a customer who is made wrong for the test."""
    (elsewhere / "preflight.yml").write_text(ROLE.format(role="preflight") + "  vars: {customers_domain: 5}\n")
    done = play(elsewhere, "preflight.yml")
    assert re.search(r"Nothing was changed: \d+ fault", done.stdout), done.stdout + done.stderr
    assert "- customers_domain: is a number" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_playbook_of_the_collection_runs_by_its_name_for_the_inventorys_customers(elsewhere: Path) -> None:
    done = play(elsewhere, "greeter.fleet.plan")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+ new         here: customer-here.parcellab.com" in done.stdout
    assert "customer-a.parcellab.com" not in done.stdout


def test_settings_beside_the_inventory_win_or_are_refused(elsewhere: Path) -> None:
    beside = elsewhere / "group_vars"
    beside.mkdir()
    (beside / "all.yml").write_text("k3s_kubeconfig: /nowhere/of-mine.yaml\n")
    try:
        done = play(elsewhere, "greeter.fleet.plan")
        assert done.returncode != 0
        assert f"- {beside}/all: loses to the playbooks' own group_vars/all; write precedence = " in done.stdout
        (config,) = re.findall(r"^precedence = (.*)", (PROJECT / "ansible.cfg").read_text(), re.MULTILINE)
        done = play(elsewhere, "greeter.fleet.plan", ANSIBLE_PRECEDENCE=config)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        shutil.rmtree(beside)


def repack(installed: Path, archive: Path) -> None:
    """Make an archive of an installed collection. The ansible package leaves out files that its list of them names."""
    files = json.loads((installed / "FILES.json").read_text())
    files["files"] = [each for each in files["files"] if (installed / each["name"]).exists()]
    manifest = json.loads((installed / "MANIFEST.json").read_text())
    listed = json.dumps(files).encode()
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(listed).hexdigest()
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in (("FILES.json", listed), ("MANIFEST.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for each in files["files"]:
            if each["name"] != ".":
                tar.add(installed / each["name"], arcname=each["name"], recursive=False)


def test_with_ansible_core_alone_the_collections_of_requirements_yml_are_enough(tmp_path: Path) -> None:
    """From archives, into the place where `ansible-galaxy` puts them; those of the ansible package are out of sight."""
    packaged = Path(sysconfig.get_path("purelib"), "ansible_collections")
    wanted = [each["name"] for each in yaml.safe_load((PROJECT / "requirements.yml").read_text())["collections"]]
    local = []
    # Grows by what they depend on themselves, which ansible-galaxy would fetch.
    for name in wanted:
        folder, archive = packaged.joinpath(*name.split(".")), tmp_path / f"{name}.tar.gz"
        needed = json.loads((folder / "MANIFEST.json").read_text())["collection_info"]["dependencies"]
        wanted += needed.keys() - set(wanted)
        repack(folder, archive)
        local.append({"name": str(archive), "type": "file"})
    (tmp_path / "requirements.yml").write_text(yaml.safe_dump({"collections": local}))
    alone = {"HOME": str(tmp_path), "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false"}

    def known() -> set[str]:
        names = ["kubernetes.core.k8s", "greeter.fleet.customers_plan"]
        return set(json.loads(run("ansible-doc", "--type=module", "--json", *names, cwd=PROJECT, **alone).stdout))

    assert known() == {"greeter.fleet.customers_plan"}
    done = run(
        "ansible-galaxy", "collection", "install", "--requirements-file=requirements.yml", "--offline",
        cwd=tmp_path, **alone,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert known() == {"kubernetes.core.k8s", "greeter.fleet.customers_plan"}


def test_a_path_of_the_users_own_does_not_hide_the_collection(tmp_path: Path) -> None:
    done = run(
        "ansible-playbook", "playbooks/plan.yml", "--check", "--extra-vars=customers_kubeconfig=/nowhere",
        cwd=PROJECT, ANSIBLE_COLLECTIONS_PATH=str(tmp_path),
    )  # fmt: skip
    assert "+ new         a: customer-a.parcellab.com" in done.stdout, done.stdout + done.stderr


@pytest.fixture(scope="module")
def documented() -> dict[str, dict[str, Any]]:
    """What ansible-doc says, by the kind of the plugin and its name."""
    found = {}
    for kind, names in PLUGINS.items():
        asked = [f"greeter.fleet.{name}" for name in names]
        done = run("ansible-doc", f"--type={kind}", "--json", *asked, cwd=PROJECT)
        assert done.returncode == 0, done.stderr
        found[kind] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in PLUGINS.items() for name in names])
def test_ansible_doc_knows_every_plugin(documented: dict[str, Any], kind: str, name: str) -> None:
    about = documented[kind][f"greeter.fleet.{name}"]
    assert about["doc"]["short_description"]
    assert about["doc"]["author"]
    assert about["examples"].strip()
    assert about["return"]


def test_the_filters_load_without_packages_that_take_long() -> None:
    """Ansible loads all of them, from their source, in every task that uses one: about twenty times a run."""
    load = """
import importlib, sys, pathlib
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    importlib.import_module(f"ansible_collections.greeter.fleet.plugins.filter.{file.stem}")
print(*sorted({"cryptography", "jsonschema", "kubernetes", "requests"} & sys.modules.keys()))
"""
    collections = PROJECT / ".collections"
    folder = collections / "ansible_collections/greeter/fleet/plugins/filter"
    done = run(sys.executable, "-c", load, str(folder), cwd=PROJECT, PYTHONPATH=str(collections))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_first_process_of_a_run_has_all_filters_before_it_forks() -> None:
    look = """
import sys
from ansible import constants
from ansible.plugins.loader import callback_loader, init_plugin_loader
init_plugin_loader()
assert callback_loader.get(*constants.CALLBACKS_ENABLED)
print(*(name.removeprefix("ansible_collections.greeter.fleet.plugins.filter.") for name in sys.modules))
"""
    done = run(sys.executable, "-c", look, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in (PROJECT / "plugins/filter").glob("*.py")} <= set(done.stdout.split())


# What ansible-test says, and why it is no fault here.
OVERLOOKED = {
    "missing-gplv3-license": "the project is under the MIT license",
    "import-error": "preflight looks for the controller's packages; the Python of ansible-test lacks them",
}


def test_ansible_test_finds_no_fault_with_modules_and_other_plugins(tmp_path: Path) -> None:
    folder = tmp_path / "ansible_collections/greeter/fleet"
    for part in ("plugins", "meta"):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "galaxy.yml", folder)
    command = ["ansible-test", "sanity", "--test", "validate-modules", "--color", "no"]
    done = run(*command, cwd=folder)
    # It wants pip from the internet for its virtual environment, and says where else it would take it from.
    if wanted := re.search(r"manually downloaded and saved to: (\S+)", done.stdout + done.stderr):
        Path(wanted[1]).parent.mkdir(parents=True, exist_ok=True)
        Path(wanted[1]).write_text("import ensurepip\n\nensurepip.bootstrap(default_pip=True)\n")
        done = run(*command, cwd=folder)
    output = done.stdout + done.stderr
    faults = re.findall(r"^ERROR: (plugins/\S+?):\d+:\d+: ([\w-]+)", output, re.MULTILINE)
    # Of every file one is said, so that it has looked at all.
    looked_at = {file for file, fault in faults if fault == "missing-gplv3-license"}
    assert len(looked_at) == 2 * len(MODULES + LOOKUPS + CALLBACKS), output
    assert not [fault for fault in faults if fault[1] not in OVERLOOKED], output
