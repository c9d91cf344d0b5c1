"""Which images on a node nobody needs any more."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any


def unused_images(listing: str, repository: str, used: Collection[str]) -> list[str]:
    """The names by which a node knows images of a repository that are not used, see unused_images.yml."""
    rows = [line.split()[:3] for line in listing.splitlines()[1:]]
    # The kubelet's own names begin with sha256: or have the digest behind an @.
    ours = (f"{repository}:", f"{repository}@", "sha256:")
    kept = {digest for name, _, digest in rows if name in used or not name.startswith(ours)}
    found = {digest for name, _, digest in rows if name.startswith(f"{repository}:")}
    return [name for name, _, digest in rows if digest in found - kept]


class FilterModule:
    """The filter under the name that the role uses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"unused_images": unused_images}
