"""Lookup: which image a name of a base image stands for, asked once and kept."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display


def default_folder() -> Path:
    """Where the role greeter_image keeps what it has built, unless told otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "greeter-fleet/images")


def ask(builder: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the builder.

    Raises:
        AnsibleError: when it is not there.
    """
    try:
        return subprocess.run([builder, *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        fault = f"{builder} cannot be run on the controller ({error.strerror}); install it, or set the other one"
        raise AnsibleError(f"greeter_builder: {fault}") from None


def image_id(builder: str, name: str, fetch: bool) -> str:
    """The ID of the image that has this name here, fetched if there is none and it may be.

    Raises:
        AnsibleError: when it cannot be had.
    """
    inspect = ("image", "inspect", "--format={{.Id}}", name)
    found = ask(builder, *inspect)
    if found.returncode:
        fetched = ask(builder, "pull", "--quiet", name) if fetch else found
        if fetched.returncode:
            fault = fetched.stderr.strip().rpartition("\n")[2]
            raise AnsibleError(f"greeter_base_image: {builder} cannot fetch {name} ({fault}); name one that it can")
        found = ask(builder, *inspect)
    return found.stdout.strip().removeprefix("sha256:")


def known_id(builder: str, name: str, folder: Path, check_mode: bool) -> str:
    """The ID that was kept of an earlier time, else the one of now."""
    kept = folder / f"base_{re.sub('[^A-Za-z0-9.-]', '_', name)}.txt"
    if kept.exists():
        return kept.read_text().strip()
    if check_mode:
        try:
            return image_id(builder, name, fetch=False)
        except AnsibleError as error:
            Display().warning(
                f"{error.message}. What is shown of the greeter's image may have another name in the end."
            )
            return ""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    # One of all the forks of a run asks; the file is there as a whole or not at all.
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            fresh = kept.with_suffix(".new")
            fresh.write_text(image_id(builder, name, fetch=True) + "\n")
            fresh.replace(kept)
    return kept.read_text().strip()


class LookupModule(LookupBase):
    """What base_image.yml describes."""

    def run(self, terms: Sequence[str], variables: object = None, **options: object) -> list[str]:
        """The ID of each base image."""
        check_mode = isinstance(variables, Mapping) and bool(variables.get("ansible_check_mode"))
        folder = Path(str(options.get("folder") or default_folder())).expanduser()
        return [known_id(str(options["builder"]), str(name), folder, check_mode) for name in terms]
