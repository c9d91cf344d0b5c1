"""The greeter's image and the three customers as containers on this machine, as `make run-app` starts them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
IMAGE = "localhost/greeter:latest"
# The tests' own customers, whatever group_vars declares.
CUSTOMERS = {
    "a": {"greeting": "Hi!", "env": {"NOTE": "a b=c"}},
    "b": {"greeting": "Dear Sir or Madam!"},
    "before-b": {"state": "absent"},
    "c": {"greeting": "Moin!"},
}
settings: dict[str, object] = {
    "customers": CUSTOMERS,
    "customers_defaults": {"env": {"TZ": "UTC"}},
    "greeter_builder": "podman",
}


def playbook(path: str, **extra: object) -> str:
    """Run one of the project's playbooks, and return what it said."""
    done = subprocess.run(
        ["ansible-playbook", path, "-e", json.dumps(settings | extra)],
        cwd=PROJECT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask the container engine."""
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=60, check=False)


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask this clone's history."""
    return subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)


def image(template: str, name: str = IMAGE) -> str:
    """Return what the engine knows of an image."""
    done = podman("image", "inspect", f"--format={template}", name)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The customers' containers on an engine set up for this machine, and none of them afterwards."""
    folder = tmp_path_factory.mktemp("builder")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MOLECULE_EPHEMERAL_DIRECTORY", str(folder))
        environment.setenv("MOLECULE_SCENARIO_NAME", "builder")
        playbook("molecule/testbed/builder.yml")
        environment.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
        settings.update(json.loads((folder / "builder.json").read_text()))
        playbook("playbooks/run-app.yml")
        yield
        # Another checkout's container stays, and the name of the image with it.
        assert podman("create", "--name=greeter-app-theirs", "--label=greeter-app=/theirs", IMAGE).returncode == 0
        assert "changed=1 " in playbook("playbooks/remove-app.yml")
        assert podman("ps", "--all", "--format={{.Names}}", "--filter=label=greeter-app").stdout.split() == [
            "greeter-app-theirs"
        ]
        podman("rm", "greeter-app-theirs")
        assert "changed=1 " in playbook("playbooks/remove-app.yml")
        assert "changed=0 " in playbook("playbooks/remove-app.yml")
        assert podman("ps", "--all", "--quiet", "--filter=label=greeter-app").stdout == ""
        assert podman("image", "exists", IMAGE).returncode == 1


@pytest.mark.parametrize(
    ("port", "body"),
    [
        (8080, b'{"response":"Hi!"}'),
        (8081, b'{"response":"Dear Sir or Madam!"}'),
        (8082, b'{"response":"Moin!"}'),
    ],
)
def test_every_customer_answers(port: int, body: bytes) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        assert (answer.status, answer.read()) == (200, body)


def test_a_second_build_changes_nothing_and_a_name_that_was_moved_is_put_back() -> None:
    identity = image("{{.Id}}")
    assert "changed=0 " in playbook("playbooks/build-app.yml")
    base = str(settings["greeter_base_image"])
    assert podman("tag", base, IMAGE).returncode == 0
    assert image("{{.Id}}") != identity
    assert "changed=1 " in playbook("playbooks/build-app.yml")
    assert image("{{.Id}}") == identity


def test_absent_customers_are_left_out() -> None:
    names = podman("ps", "--all", "--format={{.Names}}", "--filter=label=greeter-app").stdout.split()
    assert sorted(names) == ["greeter-app-a", "greeter-app-b", "greeter-app-c"]


def test_a_container_has_its_customers_environment() -> None:
    (found,) = json.loads(podman("container", "inspect", "greeter-app-a").stdout)
    assert {"GREETING=Hi!", "CUSTOMER_NAME=a", "NOTE=a b=c", "TZ=UTC"} <= set(found["Config"]["Env"])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--env=CUSTOMER_NAME=a"], "GREETING is not set"),
        (["--env=CUSTOMER_NAME=a", "--env=GREETING="], "GREETING is blank"),
        (["--env=GREETING=Hi!"], "CUSTOMER_NAME is not set"),
        # With these Python would find neither its own modules nor the greeter's.
        (["--env=CUSTOMER_NAME=a", "--env=PYTHONHOME=/nowhere", "--env=PYTHONSAFEPATH=1"], "GREETING is not set"),
    ],
)
def test_a_container_that_was_not_told_enough_does_not_start(options: list[str], named: str) -> None:
    done = podman("run", "--rm", "--network=none", "--read-only", "--cap-drop=all", *options, IMAGE)
    assert done.returncode == os.EX_CONFIG
    assert done.stdout == ""
    assert done.stderr.startswith(f"{named}; allowed: ")
    assert done.stderr.count("\n") == 1


def test_the_containers_are_confined() -> None:
    (found,) = json.loads(podman("container", "inspect", "greeter-app-a").stdout)
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    assert found["EffectiveCaps"] in (None, [])
    assert found["Config"]["User"] == "10001:10001"
    bindings = found["HostConfig"]["PortBindings"]
    assert {binding["HostIp"] for port in bindings.values() for binding in port or []} == {"127.0.0.1"}
    assert podman("logs", "greeter-app-a").stderr == ""


def test_the_image_says_what_it_is() -> None:
    labels = json.loads(image("{{json .Labels}}"))
    name = "org.opencontainers.image"
    assert {f"{name}.source", f"{name}.version", f"{name}.revision"} <= set(labels)
    (tag,) = {tag.rpartition(":")[2] for tag in json.loads(image("{{json .RepoTags}}"))} - {"latest"}
    assert labels[f"{name}.version"] == tag
    revision = labels[f"{name}.revision"]
    assert re.fullmatch("[0-9a-f]{40}|unknown", revision)
    # An image that was there already may be of a commit that this clone does not have.
    if git("cat-file", "-e", f"{revision}^{{commit}}").returncode == 0:
        inputs = ("Containerfile", "requirements.txt", "gunicorn.conf.py", "precompile.py", "greeter")
        assert git("diff", "--quiet", revision, "--", *(f"service/{path}" for path in inputs)).returncode == 0


def test_what_the_image_adds_is_small_and_without_tools() -> None:
    listing = podman("exec", "greeter-app-a", "python3", "-c", LIST)
    files = json.loads(listing.stdout)
    top = {path.split("/")[0] for path in files}
    assert {"falcon", "gunicorn", "greeter", "gunicorn.conf.py", "pycache"} <= top
    assert not top & {"bin", "pip", "setuptools", "wheel"}
    assert sum(files.values()) < 80e6


LIST = """
import json, os
from pathlib import Path
root = Path("/opt/greeter")
print(json.dumps({str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}))
"""


def test_no_start_and_no_request_compiles_anything() -> None:
    """Python says with -v where each module comes from: from a source only if there is no bytecode of it."""
    python, *options = json.loads(image("{{json .Config.Entrypoint}}"))
    name = "greeter-app-verbose"
    done = podman(
        "run", "--detach", f"--name={name}", "--network=none", "--read-only", "--cap-drop=all",
        "--env=GREETING=Hi!", "--env=CUSTOMER_NAME=a", f"--entrypoint={python}", IMAGE, "-v", *options,
    )  # fmt: skip
    try:
        assert done.returncode == 0, done.stderr
        asked = podman("exec", name, "python3", "-c", ASK)
        assert asked.stdout.split() == ["200", "200", "200", "404", "400"], asked.stderr
        assert podman("stop", name).returncode == 0
        said = podman("logs", name).stderr
    finally:
        podman("rm", "--force", name)
    # Bytecode's own path stands there in quotes.
    assert re.findall("^# code object from ([^'].*)$", said, re.MULTILINE) == []
    assert len(re.findall("^# /opt/greeter/pycache/.* matches ", said, re.MULTILINE)) > 100


ASK = """
import time, urllib.error, urllib.request
def ask(url, method="GET"):
    for _ in range(200):
        try:
            return urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.1)
    return 0
greeter, metrics = "http://127.0.0.1:8080", "http://127.0.0.1:9090/metrics"
print(ask(greeter + "/healthz"), ask(greeter), ask(metrics), ask(greeter + "/no"), ask(greeter, "b/d"))
"""


def test_the_same_inputs_give_the_same_image(tmp_path: Path) -> None:
    """Built twice from nothing: no archive, no layer of the other build."""
    digests = []
    for number in "12":
        name = f"localhost/greeter-again-{number}:same"
        playbook(
            "playbooks/build-app.yml",
            greeter_image=name,
            greeter_image_local_name=name,
            greeter_image_cache_dir=str(tmp_path / number),
            greeter_image_build_options=["--no-cache"],
        )
        digests.append(image("{{.Digest}}", name))
    podman("rmi", "localhost/greeter-again-1:same", "localhost/greeter-again-2:same")
    assert digests[0].startswith("sha256:")
    assert digests[0] == digests[1]


OTHER = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: greeter_image, tasks_from: build}
      vars: {_greeter_image_arch: arm64}
"""


def test_an_image_of_another_architecture_is_built_without_running_anything_of_it(tmp_path: Path) -> None:
    """The base image has nothing in it there, so that nothing could run."""
    play, archive = tmp_path / "play.yml", tmp_path / "empty.tar"
    empty, both = "localhost/greeter-base:arm64", "localhost/greeter-base:both"
    play.write_text(OTHER)
    tarfile.open(archive, "w").close()
    base = str(settings["greeter_base_image"])
    try:
        assert podman("import", "--os=linux", "--arch=arm64", str(archive), empty).returncode == 0
        assert podman("manifest", "create", both).returncode == 0
        for name in (base, empty):
            assert podman("manifest", "add", both, f"containers-storage:{name}").returncode == 0
        playbook(
            str(play),
            greeter_image="localhost/greeter-other:1",
            greeter_base_image=both,
            greeter_image_cache_dir=str(tmp_path / "cache"),
            greeter_source=str(PROJECT / "service"),
        )
    finally:
        podman("manifest", "rm", both)
        podman("rmi", empty)
    assert podman("image", "exists", "localhost/greeter-other:1").returncode == 1
    with tarfile.open(tmp_path / "cache/localhost_greeter-other_1_arm64.tar") as image:
        (manifest,) = json.load(image.extractfile("manifest.json") or pytest.fail("no manifest"))
        config = json.load(image.extractfile(manifest["Config"]) or pytest.fail("no configuration"))
        with tarfile.open(fileobj=image.extractfile(manifest["Layers"][-1])) as layer:
            files = set(layer.getnames())
    assert (manifest["RepoTags"], config["architecture"]) == (["localhost/greeter-other:1"], "arm64")
    assert {"opt/greeter/gunicorn.conf.py", "opt/greeter/greeter/app.py", "opt/greeter/falcon/__init__.py"} <= files
    # The standard library's bytecode is that of the builder's own architecture: it is the same.
    assert any(re.fullmatch("opt/greeter/pycache/.*/json/decoder[.].*[.]opt-2[.]pyc", path) for path in files)
