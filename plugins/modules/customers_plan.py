#!/usr/bin/python
"""Ansible module: compare the customers' declared objects with what a cluster holds."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.greeter.fleet.plugins.module_utils.kubernetes_api import (
    Cluster,
    ClusterError,
    UnreachableError,
)
from ansible_collections.greeter.fleet.plugins.module_utils.plan import Plan


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "context": {"type": "str", "default": ""},
            "objects": {"type": "str", "required": True},
            "secrets": {"type": "str", "default": "", "no_log": True},
            "fleet": {"type": "str", "required": True},
            "cluster": {"type": "str", "default": ""},
            "absent": {"type": "list", "elements": "str", "default": []},
            "prune": {"type": "bool", "default": False},
            "prune_limit": {"type": "int", "default": 10},
            "refuse_foreign": {"type": "list", "elements": "str", "default": []},
            "refused": {"type": "list", "elements": "dict", "default": []},
            "only": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        cluster = connect(module)
        plan = Plan(cluster, module.params, with_diff=module._diff)
    except ClusterError as error:
        module.fail_json(msg=f"Nothing was changed: {error}")
    if plan.faults:
        module.fail_json(msg="\n".join(["Nothing was changed:", *(f"- {fault}" for fault in plan.faults)]))
    report = plan.report
    title = f"Plan for {cluster.url}:" if cluster else "Plan for a cluster that is not there yet:"
    wide = plan.wide
    merged = {id(each) for each in wide}
    found = {
        "fields": plan.fields,
        "apply": [each for each in plan.apply if id(each) not in merged],
        "wide": wide,
        "secrets": sorted(plan.secrets),
        "remove": plan.remove,
        "later": plan.later,
    }
    module.exit_json(
        changed=module.check_mode and any(found.values()),
        context=cluster.context if cluster else "",
        report=[title, *report.lines()],
        **found,
        id=plan.fleet.id,
        touched=plan.touched,
        waiting=sorted(plan.waiting),
        leaving=plan.leaving,
        refused=[
            {"customer": customer, "object": name, "message": why}
            for customer, reasons in report.refused.items()
            for name, why in reasons.items()
        ],
        differences=[
            {"customer": customer, "object": name, "message": what} for customer, name, what in report.differences
        ],
        **({"diff": plan.diff} if module._diff else {}),
    )


def connect(module: AnsibleModule) -> Cluster | None:
    """The cluster; None if check mode finds that there is none yet."""
    try:
        cluster = Cluster(module.params["kubeconfig"], module.params["context"])
        cluster.serves("v1", "Namespace")
        return cluster
    except UnreachableError as error:
        if not module.check_mode:
            raise
        module.warn(f"All customers are shown as new: {error}")
        return None


if __name__ == "__main__":
    main()
