"""What a run for some of the hosts may bring these to."""

from __future__ import annotations

import json

import pytest
from ansible_collections.greeter.fleet.plugins.filter.k3s_skew import skew_faults

CONTROL_PLANE, MASTER = "node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"


def answer(**nodes: str) -> str:
    """The cluster's nodes, each with its version; those that begin with s are servers."""
    items = []
    for name, version in nodes.items():
        labels = {"s": {CONTROL_PLANE: "true"}, "m": {MASTER: "true"}}.get(name[0], {})
        items.append(
            {"metadata": {"name": name, "labels": labels}, "status": {"nodeInfo": {"kubeletVersion": version}}}
        )
    return json.dumps({"items": items})


@pytest.mark.parametrize(
    ("role", "wanted", "nodes", "named"),
    [
        ("agent", "v1.36.4+k3s1", {"s1": "v1.36.4+k3s1", "a2": "v1.35.1+k3s1"}, []),
        ("agent", "v1.37.1+k3s1", {"s1": "v1.36.4+k3s1"}, ["server s1"]),
        ("agent", "v1.37.1+k3s1", {"m1": "v1.36.4+k3s1"}, ["server m1"]),
        ("agent", "v1.36.5+k3s1", {"s1": "v1.36.4+k3s1"}, ["server s1"]),
        ("agent", "v1.36.4+k3s2", {"s1": "v1.36.4+k3s1", "s2": "v1.36.4+k3s2"}, ["server s1"]),
        ("agent", "v1.33.4+k3s1", {"s1": "v1.36.4+k3s1"}, []),
        ("agent", "v1.32.4+k3s1", {"s1": "v1.36.4+k3s1"}, ["server s1"]),
        ("server", "v1.37.1+k3s1", {"s2": "v1.36.4+k3s1", "a1": "v1.34.4+k3s1"}, []),
        ("server", "v1.37.1+k3s1", {"s2": "v1.35.4+k3s1"}, ["server s2"]),
        ("server", "v1.35.1+k3s1", {"s2": "v1.37.4+k3s1"}, ["server s2"]),
        ("server", "v1.37.1+k3s1", {"s2": "v1.36.4+k3s1", "a1": "v1.33.4+k3s1"}, ["agent a1"]),
        ("server", "v1.36.1+k3s1", {"a1": "v1.37.4+k3s1"}, ["agent a1"]),
        # What this run changes does not count, and of what is no release of K3s nothing is known.
        ("agent", "v1.37.1+k3s1", {"s0": "v1.36.4+k3s1", "a0": "v1.20.1+k3s1"}, []),
        ("agent", "v1.37.1+k3s1", {"s1": "v1.36.4"}, []),
    ],
)
def test_nodes_that_are_left_out_refuse_what_does_not_go_with_them(
    role: str, wanted: str, nodes: dict[str, str], named: list[str]
) -> None:
    faults = skew_faults(answer(**nodes), role, wanted, ["s0", "a0"])
    assert [" ".join(fault.split()[1:3]) for fault in faults] == named
    assert all(nodes[fault.split()[2]] in fault for fault in faults)
