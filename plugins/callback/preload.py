"""What Ansible's workers would each load anew, loaded once."""

from __future__ import annotations

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader

DOCUMENTATION = """
name: preload
type: aggregate
short_description: Load this collection's filters once a run, not once a task
description:
  - Ansible runs every task in a fork of itself, and loads plugins where they are first used, which is in the fork. So
    each task that uses one filter of a collection reads and compiles them all. What the first process has loaded, the
    forks have.
  - It prints nothing. A run in which nothing changes takes about a fifth less CPU time with it.
author: [the greeter fleet's maintainers (@greeter-fleet)]
"""
ANY_FILTERS = ("greeter.fleet.customers_settings", "ansible.builtin.combine")
"""Of each place one: Ansible loads the others of the place to find it."""


class CallbackModule(CallbackBase):
    """Ansible makes one before the first play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "greeter.fleet.preload"

    def __init__(self) -> None:
        """Load the filters."""
        super().__init__()
        for name in ANY_FILTERS:
            filter_loader.get(name)
