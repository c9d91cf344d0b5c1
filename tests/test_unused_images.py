"""Which images a node may lose: none that anybody uses, and each by all of its names."""

from __future__ import annotations

import pytest
from ansible_collections.greeter.fleet.plugins.filter.unused_images import unused_images

OLD, PREVIOUS, NOW, OTHER = (f"sha256:{digit * 64}" for digit in "1234")
TYPE = "application/vnd.docker.distribution.manifest.v2+json"
LISTED = f"""\
REF                         TYPE   DIGEST      SIZE      PLATFORMS   LABELS
localhost/greeter:old       {TYPE} {OLD}       193.7 MiB linux/amd64 io.cri-containerd.image=managed
localhost/greeter:previous  {TYPE} {PREVIOUS}  193.7 MiB linux/amd64 io.cri-containerd.pinned=pinned
localhost/greeter:now       {TYPE} {NOW}       193.7 MiB linux/amd64 io.cri-containerd.pinned=pinned
localhost/greeter-two:old   {TYPE} {OTHER}     193.7 MiB linux/amd64 -
localhost/greeter@{OLD}     {TYPE} {OLD}       193.7 MiB linux/amd64 -
sha256:aaaa                 {TYPE} {OLD}       193.7 MiB linux/amd64 io.cri-containerd.image=managed
sha256:bbbb                 {TYPE} {PREVIOUS}  193.7 MiB linux/amd64 io.cri-containerd.image=managed
sha256:cccc                 {TYPE} {OTHER}     193.7 MiB linux/amd64 io.cri-containerd.image=managed
"""


@pytest.mark.parametrize(
    ("used", "unused"),
    [
        (["localhost/greeter:now", "localhost/greeter:previous", "r.example.com/greeter:old"], "old"),
        (["localhost/greeter:now", "localhost/greeter:old"], "previous"),
        (["localhost/greeter:now", "localhost/greeter:old", "localhost/greeter:previous"], ""),
        # What a workload names by the image's ID, as a pod's status does.
        (["localhost/greeter:now", "localhost/greeter:previous", "sha256:aaaa"], ""),
    ],
)
def test_an_image_goes_by_all_its_names_or_not_at_all(used: list[str], unused: str) -> None:
    names = {
        "old": ["localhost/greeter:old", f"localhost/greeter@{OLD}", "sha256:aaaa"],
        "previous": ["localhost/greeter:previous", "sha256:bbbb"],
    }
    assert unused_images(LISTED, "localhost/greeter", used) == names.get(unused, [])


def test_an_image_that_has_a_name_of_another_repository_too_stays() -> None:
    listed = LISTED + f"r.example.com/mine:1 {TYPE} {OLD} 193.7 MiB linux/amd64 -\n"
    assert unused_images(listed, "localhost/greeter", ["localhost/greeter:now", "localhost/greeter:previous"]) == []


def test_a_node_without_images_loses_none() -> None:
    assert unused_images(LISTED.splitlines()[0], "localhost/greeter", []) == []
