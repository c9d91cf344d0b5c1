"""Action plugin: call the module of the same name until all is done, and show how far it is."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

LOOK_SECONDS = 5
SILENCE_SECONDS = 1
NAMED = 5


class ActionModule(ActionBase):
    """The module's options, without ``seconds`` and ``explain``, and ``timeout``: the seconds all together may take.

    Time that runs out is no failure of this task: ``missing``, ``staying`` and ``reasons`` tell what is left, so that
    the caller can report it together with whatever else went wrong. Nor is a cluster that falls ``silent`` meanwhile,
    as one does whose API server is started anew: it is asked again until the time is over.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look, tell, and look again."""
        super().run(tmp, task_vars)
        options = dict(self._task.args)
        deadline = time.monotonic() + float(options.pop("timeout"))
        told = ""
        while True:
            left = deadline - time.monotonic()
            options |= {"seconds": max(0.0, min(LOOK_SECONDS, left)), "explain": left <= LOOK_SECONDS}
            seen: dict[str, Any] = self._execute_module("greeter.fleet.customers_wait", options, task_vars=task_vars)
            if seen.get("failed") or not (seen["missing"] or seen["staying"]) or options["explain"]:
                return seen
            progress = self._progress(seen)
            if progress != told:
                Display().display(progress)
            told = progress
            if seen["silent"]:
                time.sleep(SILENCE_SECONDS)
            options |= {"customers": seen["missing"], "gone": seen["staying"]}

    def _progress(self, seen: dict[str, Any]) -> str:
        parts = [seen["silent"]] if seen["silent"] else []
        for what, option, left in (("rolled out", "customers", seen["missing"]), ("removed", "gone", seen["staying"])):
            asked = self._task.args.get(option, [])
            if left:
                names = ", ".join(left[:NAMED]) + (" …" if len(left) > NAMED else "")
                parts.append(f"{len(asked) - len(left)} of {len(asked)} {what}, waiting for {names}")
        return f"customers: {'; '.join(parts)}"
