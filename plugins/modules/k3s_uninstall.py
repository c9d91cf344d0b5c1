#!/usr/bin/python
"""Take K3s off a host: what it runs, what it has set up there, its files; and nothing that is not its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.k3s_uninstall import files, mounts, network, processes
from ..module_utils.k3s_uninstall.host import DATA, FAILURES, SERVICES, Host, Leftover, output_lines


def steps(host: Host) -> list[Callable[[Host], Iterator[Leftover]]]:
    """What finds K3s, in the order in which that is to go."""
    # Other Kubernetes have these under the same names.
    shared = [
        network.network_namespaces,
        network.interfaces,
        network.addresses,
        network.packet_filters,
        network.routes,
        processes.cgroups,
    ]
    only_k3s = shared if host.has_run_k3s else []
    return [processes.services, processes.processes, mounts.mounts, *only_k3s, files.files]


def found(host: Host) -> list[str]:
    """All that is there of K3s."""
    return list(dict.fromkeys(leftover.name for find in [*steps(host), files.markers] for leftover in find(host)))


def remove(host: Host) -> dict[str, str]:
    """Remove all that is there of K3s; give what is left nevertheless, and why if that is known."""
    errors: dict[str, str] = {}

    def remove_each(find: Callable[[Host], Iterator[Leftover]]) -> None:
        for leftover in list(find(host)):
            errors.pop(leftover.name, None)
            try:
                leftover.remove()
            except FAILURES as error:
                errors[leftover.name] = " ".join([str(error), getattr(error, "stderr", None) or ""]).strip()

    for find in steps(host):
        remove_each(find)
        # What was on its way while the first were removed.
        remove_each(find)
    if host.has_systemd:
        output_lines("systemctl", "daemon-reload")
        output_lines("systemctl", "reset-failed", *SERVICES)
    # Without the markers the next run could not tell the rest from another Kubernetes'.
    if not any(True for find in steps(host) for _ in find(host)):
        remove_each(files.markers)
        remove_each(files.shared_folders)
    return {name: errors.get(name, "") for name in found(host)}


def shown(name: str) -> str:
    """Write ``name`` so that it can be printed, whatever bytes are in it."""
    return os.fsencode(name).decode(errors="backslashreplace")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "networks": {"type": "list", "elements": "str", "default": []},
            "kube_vip_address": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    # K3s brings tools that the host may lack.
    brought = sorted(str(each) for each in Path(DATA, "data").glob("*/bin"))
    brought += [f"{each}/aux" for each in brought]
    os.environ["PATH"] = os.pathsep.join(
        [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin", *brought]
    )
    host = Host(Path("/"), module.params["networks"], module.params["kube_vip_address"])
    if host.has_rke2():
        module.fail_json(
            msg="Nothing was touched: this host has RKE2 (/var/lib/rancher/rke2), whose processes, mounts and files "
            "cannot be told from those of K3s. Take the host out of the inventory."
        )
    try:
        before, kept = [shown(name) for name in found(host)], [shown(name) for name in mounts.mounts_of_others(host)]
        errors = remove(host) if before and not module.check_mode else {}
        left = {shown(name): shown(error) for name, error in errors.items()}
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"The host cannot be looked at: {error}")
    result: dict[str, Any] = {
        "changed": before != list(left),
        "removed": [name for name in before if name not in left],
        "left": [f"{name} ({reason})" if reason else name for name, reason in left.items()],
        "kept": kept,
        "diff": {"before": "".join(f"{name}\n" for name in before), "after": "".join(f"{name}\n" for name in left)},
    }
    if left:
        module.fail_json(msg=f"Of K3s there is left on the host: {'; '.join(result['left'])}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
