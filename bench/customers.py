"""The customers role against peers: what one run costs for some numbers N of customers, in turns.

Usage: ``python -m bench.customers N ...``. Every contender has an API server of its own and gets the same objects;
see bench/README.md for what is measured and how to read it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .apiserver import KUBECTL_VERSION, PROJECT, ApiServer, api_servers, newer_kubectl
from .report import CREATE, KUBECTL, NAIVE, NOTHING, ONE, ONE_TASK, OWN, figures, goals, table
from .usage import Usage, measure

ROUNDS = 3
# A module that starts anew for each object takes half a second for each: few customers are enough, and one round.
NAIVE_UP_TO = 10
PATIENCE = 1200.0

FLEET = """
- hosts: localhost
  gather_facts: false
  roles: [customers]
"""
PLAIN_TASK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - kubernetes.core.k8s: {kubeconfig: "{{ customers_kubeconfig }}", src: "{{ objects }}", apply: true}
"""
TASK_PER_OBJECT = """
- hosts: localhost
  gather_facts: false
  tasks:
    - kubernetes.core.k8s: {kubeconfig: "{{ customers_kubeconfig }}", definition: "{{ item }}", apply: true}
      loop: "{{ lookup('ansible.builtin.file', objects) | from_yaml_all }}"
      loop_control: {label: "{{ item.kind }}"}
"""
RENDER = """
- hosts: localhost
  gather_facts: false
  vars_files: ["{role}/defaults/main.yml", "{role}/vars/main.yml"]
  tasks:
    - ansible.builtin.template: {{src: "{role}/templates/customers.yaml.j2", dest: "{objects}", mode: "0600"}}
      vars: {{_customers_applied: "{{{{ _customers_full }}}}"}}
"""


@dataclass(frozen=True)
class Declared:
    """The same customers twice: as the role's variables, and as the objects its templates make of them."""

    variables: Path
    objects: Path
    greeting: str


@dataclass(frozen=True)
class Contender:
    """Something that brings objects to a cluster; ``idle`` tells from its output that it had nothing to change."""

    name: str
    command: Callable[[ApiServer, Declared], list[str]]
    idle: Callable[[str], bool]


class Bench:
    """The contenders for a number of customers, and a folder for what they read."""

    def __init__(self, folder: Path, kubectl: Path | None, size: int) -> None:
        """Lay out the playbooks, and render the objects."""
        self.folder, self.size = folder, size
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_NOCOLOR": "1",
            # Caches of clients and modules must not outlive the clusters they are about.
            "TMPDIR": str(folder),
            "KUBECACHEDIR": str(folder / "kubectl-cache"),
        }
        self.contenders = [
            self._playbook(OWN, FLEET),
            self._playbook(ONE_TASK, PLAIN_TASK),
            Contender(
                KUBECTL,
                lambda api, declared: [
                    str(kubectl or api.kubectl), "apply",
                    f"--kubeconfig={api.kubeconfig}", f"--filename={declared.objects}",
                ],
                lambda output: all(line.endswith(" unchanged") for line in output.splitlines()),
            ),
        ]  # fmt: skip
        if size <= NAIVE_UP_TO:
            self.contenders.append(self._playbook(NAIVE, TASK_PER_OBJECT))
        self.customers: dict[str, Any] = {
            f"c{number:04}": {"greeting": f"Hello from customer {number}!"} for number in range(size)
        }
        self.changing = f"c{size // 2:04}"
        self.first = self._render()

    def _playbook(self, name: str, text: str) -> Contender:
        playbook = self.folder / f"{name.replace(' ', '-')}.yml"
        playbook.write_text(text)

        def command(api: ApiServer, declared: Declared) -> list[str]:
            variables = {"customers_kubeconfig": str(api.kubeconfig), "objects": str(declared.objects)}
            own = [f"--extra-vars=@{declared.variables}"] if name == OWN else []
            return ["ansible-playbook", str(playbook), f"--extra-vars={json.dumps(variables)}", *own]

        return Contender(name, command, lambda output: re.search(r"\bchanged=0\b", output) is not None)

    def _variables(self, customers: Mapping[str, Any], name: str) -> Path:
        """Declare customers in YAML, as people do."""
        file = self.folder / name
        # No rollout completes here, and none is waited for.
        settings = {"customers_image": "greeter:1", "customers_wait": False, "customers_rollout_timeout": 1}
        file.write_text(yaml.safe_dump(settings | {"customers": dict(customers)}))
        return file

    def _render(self) -> Declared:
        """Make the objects by the role's own templates."""
        variables, objects = self._variables(self.customers, "customers.yml"), self.folder / "objects.yaml"
        playbook = self.folder / "render.yml"
        playbook.write_text(RENDER.format(role=PROJECT / "roles/customers", objects=objects))
        done = measure(
            ["ansible-playbook", str(playbook), f"--extra-vars=@{variables}"], PROJECT, self.environment, PATIENCE
        )
        expect(done.status == 0, "the objects are rendered", done)
        plain = [as_kept(found) for found in yaml.load_all(objects.read_text(), yaml.CSafeLoader) if found]
        objects.write_text(yaml.dump_all(plain, Dumper=yaml.CSafeDumper))
        return Declared(variables, objects, self.customers[self.changing]["greeting"])

    def changed(self, number: int) -> Declared:
        """The same customers, of whom one has a greeting of round ``number``."""
        greeting = f"Good morning, for the {number}. time!"
        customers = self.customers | {self.changing: {"greeting": greeting}}
        objects = self.folder / f"objects-{number}.yaml"
        objects.write_text(self.first.objects.read_text().replace(self.first.greeting, greeting))
        return Declared(self._variables(customers, f"customers-{number}.yml"), objects, greeting)

    def run(self, contender: Contender, api: ApiServer, declared: Declared, idle: bool) -> Usage:
        """Let a contender run once, and see to it that it did what it was to do."""
        usage = measure(contender.command(api, declared), PROJECT, self.environment, PATIENCE)
        expect(usage.status == 0, f"{contender.name} ends well", usage)
        expect(contender.idle(usage.output) == idle, f"{contender.name} changes {'nothing' if idle else 'some'}", usage)
        objects = list(yaml.load_all(declared.objects.read_text(), yaml.CSafeLoader))
        for api_version, kind in {(found["apiVersion"], found["kind"]) for found in objects}:
            wanted = {identity(found) for found in objects if found["kind"] == kind}
            expect(wanted <= api.names(api_version, kind), f"{contender.name} makes every {kind}", usage)
        namespace = f"customer-{self.changing}"
        held = api.read(f"/apis/apps/v1/namespaces/{namespace}/deployments")
        expect(declared.greeting in held, f"{contender.name} brings the greeting", usage)
        return usage

    def measure(self) -> dict[tuple[str, str], list[Usage]]:
        """(step, contender) → what it took, for every round."""
        names = {contender: contender.name.replace(" ", "-") for contender in self.contenders}
        found: dict[tuple[str, str], list[Usage]] = {}

        def turn(step: str, declared: Declared) -> None:
            for contender in self.contenders:
                if contender.name == NAIVE and (step == ONE or (step, NAIVE) in found):
                    continue
                usage = self.run(contender, apis[names[contender]], declared, step == NOTHING)
                found.setdefault((step, contender.name), []).append(usage)
                note = f"{usage.seconds:.2f} s, {usage.cpu:.2f} CPU s, {usage.mib:.0f} MiB"
                print(f"{self.size} customers, {step}, {contender.name}: {note}", file=sys.stderr, flush=True)

        with api_servers(list(names.values())) as apis:
            now = self.first
            turn(CREATE, now)
            for number in range(ROUNDS):
                turn(NOTHING, now)
                now = self.changed(number)
                turn(ONE, now)
        return found


def as_kept(found: object) -> object:
    """Leave out and write what the API does, or else the peers would send it again in every run."""
    if isinstance(found, list):
        return [as_kept(item) for item in found]
    if not isinstance(found, dict):
        whole = re.fullmatch(r"(\d+)000m", str(found))
        return whole[1] if whole else found
    empty = {"annotations", "nodeSelector", "tolerations", "tls"}
    return {key: as_kept(value) for key, value in found.items() if value or key not in empty}


def identity(found: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name of an object."""
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]


def expect(fulfilled: bool, what: str, usage: Usage) -> None:
    """End the benchmark when a run was not what its figure would say."""
    if not fulfilled:
        sys.exit(f"Not so: {what}. The end of its output (status {usage.status}):\n{usage.output[-3000:]}")


def machine_cpu() -> float:
    """Seconds that the cores of this machine have been busy for anybody."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, *_ = ticks
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure every size and print the medians."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    sizes = [int(word) for word in sys.argv[1:]]
    began = time.monotonic(), machine_cpu()
    kubectl = newer_kubectl()
    medians: dict[tuple[int, str, str], dict[str, float]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="greeter-bench-") as temporary:
            folder = Path(temporary)
            bench = Bench(folder, kubectl, size)
            for (step, name), usages in bench.measure().items():
                medians[size, step, name] = figures(usages)
    seconds, busy = time.monotonic() - began[0], machine_cpu() - began[1]
    others = (busy - sum(os.times()[:4])) / seconds
    print(f"{os.cpu_count()} cores, of which other work kept {others:.1f} busy on average, over {seconds:.0f} s;")
    print(f"kubectl {KUBECTL_VERSION if kubectl else 'of the cluster'}.\n")
    print(f"{table(medians)}\n\n{goals(medians)}")


if __name__ == "__main__":
    main()
