"""What was measured, as tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from .usage import Usage

STEPS = CREATE, NOTHING, ONE = "create all", "nothing to change", "one changed"
SECONDS, CPU, MEMORY = FIGURES = "s", "CPU s", "peak MiB"
OWN, ONE_TASK, KUBECTL, NAIVE = "fleet", "one task", "kubectl apply", "task per object"
SOME, MANY = 100, 1000
MB_PER_MIB = 1.048576
# Seconds of one customer's, which are left out here: one change may cost that much.
ROLLOUT = 3

# (customers, run, contender) → name of a figure → median
Medians = Mapping[tuple[int, str, str], Mapping[str, float]]


def figures(usages: Sequence[Usage]) -> dict[str, float]:
    """Name → median."""
    columns = ([one.seconds for one in usages], [one.cpu for one in usages], [one.mib for one in usages])
    return dict(zip(FIGURES, map(statistics.median, columns), strict=True))


def table(medians: Medians) -> str:
    """Every figure of every contender, and the fleet's as a ratio to it."""
    peers = list(dict.fromkeys(name for _, _, name in medians if name != OWN))
    lines = [
        f"| customers | run | | {OWN} | " + " | ".join(f"{peer} | {OWN} ÷ it" for peer in peers) + " |",
        "|---" * (4 + 2 * len(peers)) + "|",
    ]
    for size, step, _ in (key for key in medians if key[2] == OWN):
        for figure in FIGURES:
            own = medians[size, step, OWN][figure]
            others = [medians[size, step, peer][figure] if (size, step, peer) in medians else None for peer in peers]
            cells = ["| " if other is None else f"{other:.4g} | {own / other:.2f}" for other in others]
            lines.append(f"| {size} | {step} | {figure} | {own:.4g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def goals(medians: Medians) -> str:
    """What the role is to reach, next to what it reached."""

    def seconds(size: int, step: str, name: str = OWN) -> float:
        return medians[size, step, name][SECONDS]

    reached: list[tuple[str, float, float]] = []
    sizes = {size for size, _, _ in medians}
    if SOME in sizes:
        reached += [
            (f"{SOME} customers, create all: s", seconds(SOME, CREATE), 8),
            (f"{SOME} customers, nothing to change: s", seconds(SOME, NOTHING), 4),
        ]
    if MANY in sizes:
        own = seconds(MANY, NOTHING)
        peak = max(medians[MANY, step, OWN][MEMORY] for step in STEPS)
        reached += [
            (f"{MANY} customers, nothing to change: ÷ one task", own / seconds(MANY, NOTHING, ONE_TASK), 0.45),
            (f"{MANY} customers, nothing to change: ÷ kubectl apply", own / seconds(MANY, NOTHING, KUBECTL), 0.75),
            (f"{MANY} customers, one changed: s more than nothing to change", seconds(MANY, ONE) - own, ROLLOUT),
            (f"{MANY} customers, the most memory of all runs: MB", peak * MB_PER_MIB, 600),
        ]
    rows = [
        f"| {what} | {value:.3g} | {limit} | {'yes' if value <= limit else 'no'} |" for what, value, limit in reached
    ]
    return "\n".join(["| goal | is | at most | reached |", "|---|---|---|---|", *rows])
