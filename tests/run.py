"""Run the project's tests, stage by stage, and end with one line that counts them all.

Usage: ``run.py`` for what needs no container host, ``run.py --all`` for everything. A stage that pytest runs counts
each of its tests; any other stage counts as one. Every stage runs, whatever became of the one before. Scenarios spend
much of their time waiting for a cluster, so two run side by side, and each shows its output when it is over.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

PROJECT = Path(__file__).parents[1]
REPORTS = PROJECT / ".reports"


@dataclass
class Stage:
    """One command.

    Attributes:
        name: What to call it.
        command: Its words.
        report: The JUnit file that pytest writes in it.
        seconds: The most it may take.
        environment: What its environment has besides ours.
        cleaning: The command that removes what it leaves when its time is over.
        side_by_side: Whether it may run while another such stage does.
    """

    name: str
    command: list[str]
    report: str | None = None
    seconds: int = 600
    environment: dict[str, str] = field(default_factory=dict)
    cleaning: list[str] | None = None
    side_by_side: bool = False


def pytest(name: str, *arguments: str) -> Stage:
    """A stage of pytest with these ``arguments``, folders among them."""
    report = f"{name.replace(' ', '-')}.xml"
    return Stage(f"pytest: {name}", ["pytest", "--quiet", f"--junitxml={REPORTS / report}", *arguments], report=report)


def molecule(scenario: str, *, side_by_side: bool = False) -> Stage:
    """A stage of all that Molecule does for a scenario; its tests are counted."""
    report = f"molecule-{scenario}.xml"
    return Stage(
        f"molecule {scenario}",
        ["molecule", "test", "--scenario-name", scenario],
        report=report,
        seconds=2400,
        environment={"PYTEST_ADDOPTS": f"--junitxml={REPORTS / report}"},
        cleaning=["molecule", "destroy", "--scenario-name", scenario],
        side_by_side=side_by_side,
    )


def stages(everything: bool) -> list[Stage]:
    """The stages in their order, from the fastest to the realest."""
    fast = [
        Stage("ruff", ["ruff", "check", "."]),
        Stage("ruff format", ["ruff", "format", "--check", "."]),
        Stage("mypy", ["mypy"]),
        Stage("mypy service", ["mypy", "service"], environment={"MYPYPATH": "service"}),
        Stage("yamllint", ["yamllint", "--strict", "."]),
        Stage("ansible-lint", ["ansible-lint"]),
        # The scenario render runs those of broken files.
        pytest("playbooks and test bed", "tests", "molecule/testbed/tests", "--ignore=tests/test_broken_customers.py"),
        pytest("service", "service/tests"),
        molecule("render"),
    ]
    if not everything:
        return fast
    scenarios = sorted(path.parent.name for path in (PROJECT / "molecule").glob("*/molecule.yml"))
    scenarios.remove("render")
    scenarios.remove("demo")
    if not os.environ.get("K3S_ARTIFACT_DIR"):
        print("The scenario etcd is left out: it needs a release of K3s in K3S_ARTIFACT_DIR.")
        scenarios.remove("etcd")
    stages = [*fast, pytest("containers", "tests/app")]
    if subprocess.run(["podman", "container", "exists", "greeter-demo"], check=False).returncode == 0:
        print("The host of `make demo` is up and stays so: the scenario demo is left out. `make clean` removes it.")
    else:
        # Before the others, alone: on a new machine it builds what all of them need.
        stages.append(molecule("demo"))
    return [*stages, *(molecule(scenario, side_by_side=True) for scenario in scenarios)]


def run(stage: Stage) -> tuple[int, int]:
    """Run ``stage`` and return how many tests passed and how many failed."""
    if not stage.side_by_side:
        print(f"\n=== {stage.name}", flush=True)
    started = time.monotonic()
    said = ""
    try:
        done = subprocess.run(
            stage.command,
            cwd=PROJECT,
            env=os.environ | stage.environment,
            timeout=stage.seconds,
            check=False,
            stdout=subprocess.PIPE if stage.side_by_side else None,
            stderr=subprocess.STDOUT if stage.side_by_side else None,
            text=True,
        )
        ended_well = done.returncode == 0
        said = done.stdout or ""
    except subprocess.TimeoutExpired as over:
        said = over.stdout.decode(errors="replace") if isinstance(over.stdout, bytes) else ""
        said += f"{stage.name} was stopped after {stage.seconds} s\n"
        ended_well = False
        if stage.cleaning:
            subprocess.run(stage.cleaning, cwd=PROJECT, check=False)
    passed, failed = count(REPORTS / stage.report) if stage.report else (0, 0)
    if not ended_well and not failed:
        failed = 1
    elif ended_well and not stage.report:
        passed = 1
    heading = f"\n=== {stage.name}\n" if stage.side_by_side else ""
    seconds = time.monotonic() - started
    print(f"{heading}{said}=== {stage.name}: {passed} passed, {failed} failed in {seconds:.0f} s", flush=True)
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


def main() -> int:
    """Run the stages asked for; 0 if tests ran and all passed."""
    REPORTS.mkdir(exist_ok=True)
    for old in REPORTS.glob("*.xml"):
        old.unlink()
    wanted = stages("--all" in sys.argv[1:])
    results = [(stage, *run(stage)) for stage in wanted if not stage.side_by_side]
    with ThreadPoolExecutor(max_workers=2) as pool:
        beside = [stage for stage in wanted if stage.side_by_side]
        results += [(stage, *counted) for stage, counted in zip(beside, pool.map(run, beside), strict=True)]
    passed, failed = sum(result[1] for result in results), sum(result[2] for result in results)
    print()
    for stage, _, stage_failed in results:
        if stage_failed:
            print(f"failed: {stage.name}")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
