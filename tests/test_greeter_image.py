"""How the image is built: per architecture, on any base, with any builder, which stand-ins are here."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from .conftest import Run

PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: greeter_image, tasks_from: build}
      vars: {_greeter_image_arch: "{{ arch }}", _greeter_image_for: [pi-1, pi-2]}
"""
# What is asked of the base image before and after a newer one was asked for.
NEWER = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    base: >-
      {{ lookup('greeter.fleet.base_image', greeter_base_image, builder='podman', folder=greeter_image_cache_dir) }}
  tasks:
    - ansible.builtin.debug: {msg: "before {{ base }}"}
    - ansible.builtin.include_role: {name: greeter_image, tasks_from: base}
    - ansible.builtin.debug: {msg: "after {{ base }}"}
"""
# Notes every call and, of a build, the wheels. It is of amd64, and its base image has a Python 3.12.
BUILDER = """#!/bin/sh
here=$(dirname "$0")
echo "$(basename "$0") $*" >>"$here/calls"
case "$1 $2" in
"info "*|"version "*) echo amd64;;
"run "*) echo "3 12 cpython-312-x86_64-linux-{libc}";;
"image inspect") case "$*" in *Architecture*) echo {built};; *) cat "$here/id";; esac;;
"pull "*) echo 5678 >"$here/id";;
"buildx version") {buildx};;
"build "*|"buildx build")
  for last; do :; done; ls "$last/wheels" >"$here/wheels"; {build};;
"save "*) echo image >"${{2#--output=}}";;
esac
"""
PYTHONS = ("cp311", "cp312")
PLATFORMS = ("manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "musllinux_1_2_x86_64", "musllinux_1_2_aarch64")


class Controller:
    """A controller with stand-ins for podman and docker, and a folder of wheels for its pip."""

    def __init__(self, ansible: Run, folder: Path) -> None:
        """Write the wheels and a service that asks for them."""
        self.ansible, self.folder = ansible, folder
        self.programs, self.wheels = folder / "bin", folder / "index"
        (folder / "play.yml").write_text(PLAY)
        (folder / "newer.yml").write_text(NEWER)
        for path in (self.programs, self.wheels, folder / "service"):
            path.mkdir()
        (self.programs / "id").write_text("1234")
        hashes = [self.wheel(f"demo-1-{python}-{python}-{each}.whl") for python in PYTHONS for each in PLATFORMS]
        lines = [f"--hash=sha256:{digest}" for digest in hashes]
        (folder / "service/requirements.txt").write_text(f"demo==1 {' '.join(lines)}\n")

    def wheel(self, name: str) -> str:
        """Write a wheel that only says what it is, and return its checksum."""
        tag = name.removeprefix("demo-1-").removesuffix(".whl")
        with zipfile.ZipFile(self.wheels / name, "w") as wheel:
            wheel.writestr("demo-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1\n")
            wheel.writestr("demo-1.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
            wheel.writestr("demo-1.dist-info/RECORD", "")
        return hashlib.sha256((self.wheels / name).read_bytes()).hexdigest()

    def build(
        self, arch: str, builder: str = "podman", play: str = "play.yml", **answers: str
    ) -> CompletedProcess[str]:
        """Run the role for an architecture, with other answers of the builder, and a folder for Python, if need be."""
        answers = {"libc": "gnu", "built": arch, "buildx": "true", "build": "true", "pythonpath": ""} | answers
        for name in ("podman", "docker"):
            (self.programs / name).write_text(BUILDER.format_map(answers))
            (self.programs / name).chmod(0o755)
        settings = {
            "arch": arch,
            "greeter_image": "localhost/greeter:1",
            "greeter_base_image": "r.example.com/python:3.12",
            "greeter_builder": builder,
            "greeter_source": str(self.folder / "service"),
            "greeter_image_cache_dir": str(self.folder / "cache"),
        }
        return self.ansible(
            "ansible-playbook", str(self.folder / play), "-e", json.dumps(settings),
            PATH=f"{self.programs}:/usr/bin:/bin", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(self.wheels),
            PYTHONPATH=answers["pythonpath"],
        )  # fmt: skip

    def calls(self, word: str) -> list[list[str]]:
        """How the builder was called: the arguments of each call that holds the word."""
        lines = (self.folder / "bin/calls").read_text().splitlines()
        return [line.split() for line in lines if word in line.split()]


@pytest.fixture
def controller(ansible: Run, tmp_path: Path) -> Controller:
    return Controller(ansible, tmp_path)


@pytest.mark.parametrize(
    ("arch", "libc", "wheel"), [("amd64", "gnu", "manylinux_2_17_x86_64"), ("arm64", "musl", "musllinux_1_2_aarch64")]
)
def test_each_architecture_gets_its_own_wheels_base_and_archive(
    controller: Controller, arch: str, libc: str, wheel: str
) -> None:
    cache = controller.folder / "cache"
    cache.mkdir()
    for number in range(6):
        (cache / f"localhost_greeter_old{number}_amd64.tar").touch()
    done = controller.build(arch, libc=libc)
    assert done.returncode == 0, done.stdout
    assert (controller.programs / "wheels").read_text().split() == [f"demo-1-cp312-cp312-{wheel}.whl"]
    (build,) = controller.calls("build")
    assert {f"--platform=linux/{arch}", f"--platform={wheel}"} <= set(build)
    # Nothing of another architecture runs.
    assert "--build-arg=BUILD_IMAGE=1234" in build
    assert "--platform=linux/amd64" in controller.calls("run")[0]
    # Of each architecture four archives stay; the builder's store keeps nothing.
    kept = sorted(path.name for path in cache.iterdir())
    assert f"localhost_greeter_1_{arch}.tar" in kept
    assert len([name for name in kept if name.endswith("_amd64.tar")]) == (4 if arch == "amd64" else 6)
    assert controller.calls("rmi") == [["podman", "rmi", "localhost/greeter:1"]]


def test_an_archive_that_is_there_needs_no_builder(controller: Controller) -> None:
    (controller.folder / "cache").mkdir()
    (controller.folder / "cache/localhost_greeter_1_arm64.tar").touch()
    done = controller.build("arm64")
    assert "changed=0 " in done.stdout
    assert not (controller.programs / "calls").exists()


@pytest.mark.parametrize(
    ("command", "answers", "advice", "says"),
    [
        (
            ["podman", "build", "--network=none"],
            {"build": "echo 'trying'; echo 'Error: no image found for architecture arm64' >&2; exit 125"},
            "Name a base image that is there for it.",
            "Error: no image found for architecture arm64",
        ),
        # A Docker with buildx may build in a container of its own: its image has to be loaded.
        (
            ["docker", "buildx", "build", "--load"],
            {"built": "amd64"},
            "Name a base image that is there for it, or let Docker emulate it.",
            "that the image is for amd64",
        ),
        (
            ["docker", "build", "--network=none"],
            {"buildx": "exit 1", "build": "echo 'exec format error' >&2; exit 1"},
            "Name a base image that is there for it, or let Docker emulate it.",
            "exec format error",
        ),
    ],
    ids=["podman", "docker with buildx", "docker"],
)
def test_what_cannot_be_built_is_told_with_the_hosts_that_need_it(
    controller: Controller, command: list[str], answers: dict[str, str], advice: str, says: str
) -> None:
    builder = command[0]
    done = controller.build("arm64", builder, **answers)
    assert done.returncode == 2
    fault = (
        f"greeter_base_image: {builder} cannot build the greeter for arm64, which pi-1, pi-2 need(s), on"
        f" r.example.com/python:3.12. {advice} {builder} says: {says}"
    )
    assert fault in " ".join(done.stdout.split())
    assert controller.calls("build")[0][: len(command)] == command
    assert not (controller.folder / "cache").exists()


def test_a_newer_base_image_is_taken_once_it_is_asked_for(controller: Controller) -> None:
    done = controller.build("amd64", play="newer.yml")
    assert done.returncode == 0, done.stdout
    assert [line.split()[1:] for line in done.stdout.splitlines() if "msg: " in line] == [
        ["before", "1234"],
        ["after", "5678"],
    ]
    assert len(controller.calls("pull")) == 1


def test_the_images_name_follows_the_content_of_its_base(ansible: Run, tmp_path: Path) -> None:
    names = []
    for number, identity in enumerate(("1234", "5678", "1234")):
        podman = tmp_path / str(number) / "podman"
        podman.parent.mkdir()
        podman.write_text(f"#!/bin/sh\necho {identity}\n")
        podman.chmod(0o755)
        done = ansible(
            "ansible", "localhost", "-m", "debug", "-a", "var=greeter_image",
            PATH=f"{podman.parent}:/usr/bin:/bin", XDG_CACHE_HOME=str(podman.parent),
        )  # fmt: skip
        names += [line.split()[-1] for line in done.stdout.splitlines() if "greeter_image" in line]
    assert len(names) == 3
    assert names[0] == names[2] != names[1]


def test_a_controller_without_pip_is_told_what_to_install(controller: Controller) -> None:
    # A package that cannot be imported stands for one that is missing, in every Python of this machine.
    (controller.folder / "pip").mkdir()
    (controller.folder / "pip/__init__.py").write_text("raise ImportError")
    done = controller.build("amd64", pythonpath=str(controller.folder))
    assert done.returncode == 2
    advice = 'Install one: "uv pip install pip" in Ansible\'s environment, or the package python3-pip.'
    assert advice in " ".join(done.stdout.split())
