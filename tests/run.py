"""Run the project's tests, stage by stage, and end with what failed and one line that counts them all.

Usage: ``run.py`` for what needs no container host, ``run.py --all`` for everything. A stage that pytest runs counts
each of its tests; any other stage counts as one. Every stage runs, whatever became of the one before. Much of the time
is spent waiting, for a cluster or for a server to stop, so two or three stages run side by side, and each shows its
output when it is over.

The stages run with the Ansible of the environment that this runs in. With ``--all``, what depends on Ansible and needs
no hosts runs with the other supported Ansible as well, if there is a Python for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

PROJECT = Path(__file__).parents[1]
REPORTS = PROJECT / ".reports"

# How many failed tests the end of the output names, and how much of each.
NAMED = 20
WIDTH = 160

# Scenarios that take four minutes and more, the longest first.
LONG = ("etcd", "ha", "customers", "default", "cluster", "upgrade")

# The other Ansible of requirements.in, and the versions of Python it runs on, the newest first.
OTHER_ANSIBLE, OTHER_PYTHONS = (
    ("ansible14", ("3.14", "3.13", "3.12")) if sys.version_info < (3, 12) else ("ansible12", ("3.11",))
)
OTHER_ENVIRONMENT = PROJECT / f".venv-{OTHER_ANSIBLE}"


@dataclass
class Stage:
    """One command.

    Attributes:
        name: What to call it.
        command: Its words.
        report: The name of the JUnit file that pytest writes in it.
        seconds: The most it may take.
        environment: What its environment has besides ours.
        cleaning: The command that removes what it leaves when its time is over.
    """

    name: str
    command: list[str]
    report: str | None = None
    seconds: int = 2400
    environment: dict[str, str] = field(default_factory=dict)
    cleaning: list[str] | None = None


def pytest(name: str, *arguments: str) -> Stage:
    """A stage of pytest with these ``arguments``, folders among them."""
    return Stage(f"pytest: {name}", ["pytest", "--quiet", *arguments], report=f"{name.replace(' ', '-')}.xml")


def molecule(scenario: str) -> Stage:
    """A stage of all that Molecule does for a scenario; its tests are counted."""
    return Stage(
        f"molecule {scenario}",
        ["molecule", "test", "--scenario-name", scenario],
        report=f"molecule-{scenario}.xml",
        seconds=3600,
        cleaning=["molecule", "destroy", "--scenario-name", scenario],
    )


def with_other_ansible(stage: Stage) -> Stage:
    """The same stage in the environment that has the other Ansible."""
    programs = OTHER_ENVIRONMENT / "bin"
    return replace(
        stage,
        name=f"{stage.name}, {OTHER_ANSIBLE}",
        report=stage.report and f"{OTHER_ANSIBLE}-{stage.report}",
        environment=stage.environment | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
    )


def make_other_environment() -> Stage | None:
    """The stage that makes the environment of the other Ansible; none, and a line that says so, without a Python."""
    find = ["tests/find_python.sh", *OTHER_PYTHONS]
    found = subprocess.run(find, cwd=PROJECT, check=False, capture_output=True, text=True)
    if found.returncode:
        versions = " or ".join(OTHER_PYTHONS)
        print(f"Nothing is tested with {OTHER_ANSIBLE}: it needs Python {versions}, and none is here.", flush=True)
        return None
    make = ["make", "--no-print-directory", OTHER_ENVIRONMENT.name, f"PYTHON={found.stdout.strip()}"]
    return Stage(f"environment of {OTHER_ANSIBLE}", make)


def phases(everything: bool, other_ansible: bool) -> list[tuple[int, list[Stage]]]:
    """Which stages may run side by side, and how many at a time: each phase begins when the one before is over.

    Within a phase the longest come first, so that all workers end together.
    """
    ansible_lint = Stage("ansible-lint", ["ansible-lint"])
    render = molecule("render")
    without_hosts = [
        pytest("service", "service/tests"),
        ansible_lint,
        render,
        Stage("mypy", ["mypy"]),
        # A cache of its own: the other run may be on.
        Stage(
            "mypy service", ["mypy", "--cache-dir=.mypy_cache/service", "service"], environment={"MYPYPATH": "service"}
        ),
        Stage("ruff", ["ruff", "check", "."]),
        Stage("ruff format", ["ruff", "format", "--check", "."]),
        Stage("yamllint", ["yamllint", "--strict", "."]),
    ]
    # Not beside the linters, who would see the playbook that one of these tests writes for a moment, nor beside the
    # service, whose answers are timed. The scenario render runs the tests of broken files.
    unit_tests = sorted(f"tests/{path.name}" for path in (PROJECT / "tests").glob("test_*.py"))
    unit_tests.remove("tests/test_broken_customers.py")
    a_to_j = [path for path in unit_tests if path < "tests/test_k"]
    playbooks = [
        pytest("unit tests K to Z", *unit_tests[len(a_to_j) :], "molecule/testbed/tests"),
        pytest("unit tests A to J", *a_to_j),
    ]
    found = [(2, without_hosts), (2, playbooks)]
    if other_ansible:
        without_hosts.append(with_other_ansible(ansible_lint))
        # None of them is beside its twin, which has the same files.
        found.append((2, [with_other_ansible(stage) for stage in (*playbooks, render)]))
    if not everything:
        return found
    scenarios = {path.parent.name for path in (PROJECT / "molecule").glob("*/molecule.yml")} - {"render", "demo"}
    if not os.environ.get("K3S_ARTIFACT_DIR"):
        print("The scenario etcd is left out: it needs a release of K3s in K3S_ARTIFACT_DIR.")
        scenarios.remove("etcd")
    if (PROJECT / ".ansible/molecule/demo/testbed.json").exists():
        print("The host of `make demo` is up and stays so: the scenario demo is left out. `make clean` removes it.")
    else:
        # Before the other scenarios: on a new machine it builds what all of them need.
        playbooks.insert(0, molecule("demo"))
    longest_first = [each for each in LONG if each in scenarios] + sorted(scenarios - set(LONG))
    scenario_stages = [*map(molecule, longest_first), pytest("containers", "tests/app")]
    if other_ansible and OTHER_ANSIBLE == "ansible14":
        # Whichever is the other, one scenario with hosts runs with the newer.
        default = longest_first.index("default")
        scenario_stages[default] = with_other_ansible(scenario_stages[default])
    return [*found, (3, scenario_stages)]


def run(stage: Stage) -> tuple[int, int]:
    """Run ``stage`` and return how many tests passed and how many failed."""
    started = time.monotonic()
    said = ""
    reporting = {"PYTEST_ADDOPTS": f"--junitxml={REPORTS / stage.report}"} if stage.report else {}
    try:
        done = subprocess.run(
            stage.command,
            cwd=PROJECT,
            env=os.environ | stage.environment | reporting,
            timeout=stage.seconds,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        ended_well = done.returncode == 0
        said = done.stdout
    except subprocess.TimeoutExpired as over:
        said = over.stdout.decode(errors="replace") if isinstance(over.stdout, bytes) else ""
        said += f"{stage.name} was stopped after {stage.seconds} s\n"
        ended_well = False
        if stage.cleaning:
            subprocess.run(stage.cleaning, cwd=PROJECT, env=os.environ | stage.environment, check=False)
    passed, failed = count(REPORTS / stage.report) if stage.report else (0, 0)
    if not ended_well and not failed:
        failed = 1
    elif ended_well and not stage.report:
        passed = 1
    seconds = time.monotonic() - started
    verdict = f"=== {stage.name}: {passed} passed, {failed} failed in {seconds:.0f} s"
    # In one piece: another stage may be about to say something too.
    print(f"\n=== {stage.name}\n{said}{verdict}\n", end="", flush=True)
    return passed, failed


def count(report: Path) -> tuple[int, int]:
    """Passed and failed tests of a JUnit file; none of either if pytest never wrote it. A skipped test is neither."""
    if not report.exists():
        return 0, 0
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total, failures, errors, skipped = (
        sum(int(suite.get(kind, 0)) for suite in suites) for kind in ("tests", "failures", "errors", "skipped")
    )
    return total - failures - errors - skipped, failures + errors


def failures(report: Path) -> list[str]:
    """The tests of a JUnit file that failed, with the first line of the reason; none if pytest never wrote it."""
    if not report.exists():
        return []
    return [
        f"{case.get('classname')}::{case.get('name')}: {(reason.get('message') or '').strip().partition(chr(10))[0]}"
        for case in ElementTree.parse(report).getroot().iter("testcase")
        for reason in (*case.iter("failure"), *case.iter("error"))
    ]


def named(failed: list[Stage]) -> list[str]:
    """Lines that say what failed: every stage, and below it its tests, for the end is what is left of a long log."""
    share = max(1, NAMED // max(1, len(failed)))
    lines = []
    for stage in failed:
        tests = failures(REPORTS / stage.report) if stage.report else []
        more = [f"  and {len(tests) - share} more"] if len(tests) > share else []
        lines += [f"failed: {stage.name}", *(f"  {test}"[:WIDTH] for test in tests[:share]), *more]
    return lines


def main() -> int:
    """Run the stages asked for; 0 if tests ran and all passed."""
    REPORTS.mkdir(exist_ok=True)
    for old in REPORTS.glob("*.xml"):
        old.unlink()
    everything = "--all" in sys.argv[1:]
    results: list[tuple[Stage, int, int]] = []
    environment = make_other_environment() if everything else None
    if environment:
        results.append((environment, *run(environment)))
    other_ansible = environment is not None and not results[0][2]
    for workers, phase in phases(everything, other_ansible):
        with ThreadPoolExecutor(max_workers=workers) as pool:
            results += [(stage, *counted) for stage, counted in zip(phase, pool.map(run, phase), strict=True)]
    passed, failed = sum(result[1] for result in results), sum(result[2] for result in results)
    print()
    for line in named([stage for stage, _, stage_failed in results if stage_failed]):
        print(line)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
