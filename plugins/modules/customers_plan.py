#!/usr/bin/python
"""Ansible module: compare the customers' declared objects with what a cluster holds."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.greeter.fleet.plugins.module_utils.kubernetes_api import Cluster, ClusterError
from ansible_collections.greeter.fleet.plugins.module_utils.plan import Plan

DOCUMENTATION = r"""
module: customers_plan
short_description: Compare the customers' declared objects with what a cluster holds
description:
  - Asks the cluster once for each kind, by label, and tells what a run would change. Changes nothing itself.
  - An object belongs to a customer by its label C(app.kubernetes.io/instance), and to this fleet by its label
    C(app.kubernetes.io/managed-by).
  - In check mode a cluster that cannot be reached counts as one that holds nothing yet.
options:
  kubeconfig: {description: The kubeconfig of the cluster., type: path, required: true}
  objects: {description: 'The declared objects as YAML documents, namespaces included.', type: str, required: true}
  secrets: {description: 'The declared Secrets, likewise. They are never returned.', type: str, default: ''}
  fleet: {description: The value of the label C(app.kubernetes.io/managed-by)., type: str, required: true}
  kinds:
    description: Every kind that may be declared, with the customer's setting that asks for it, if it can be turned off.
    type: list
    elements: dict
    required: true
    suboptions:
      api_version: {description: Such as C(apps/v1)., type: str, required: true}
      kind: {description: Such as C(Deployment)., type: str, required: true}
      setting: {description: 'What to change where the cluster does not serve the kind.', type: str, default: ''}
  words:
    description: How people call a place in an object; the first match counts.
    type: list
    elements: dict
    default: []
    suboptions:
      place: {description: A regular expression over C(Kind path)., type: str, required: true}
      word: {description: The word., type: str, required: true}
  absent: {description: Customers declared absent., type: list, elements: str, default: []}
  prune: {description: Whether customers that are not declared are to be removed., type: bool, default: false}
author: [the greeter fleet's maintainers]
"""

EXAMPLES = r"""
- name: Compare
  customers_plan:
    kubeconfig: ~/.kube/config
    objects: "{{ lookup('ansible.builtin.template', 'customers.yaml.j2') }}"
    fleet: greeter-fleet
    kinds: [{api_version: v1, kind: Namespace}, {api_version: apps/v1, kind: Deployment}]
"""

RETURN = r"""
report: {description: The plan in lines for people., type: list, returned: always}
apply: {description: 'Objects to create, and merge patches of those to change.', type: list, returned: always}
secrets: {description: Customers whose Secrets differ., type: list, returned: always}
remove: {description: References to the objects to delete., type: list, returned: always}
waiting: {description: Customers whose rollout is not complete or will begin., type: list, returned: always}
"""


def main() -> None:
    """Run the module."""
    kinds = {"api_version": {"type": "str", "required": True}, "kind": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "objects": {"type": "str", "required": True},
            "secrets": {"type": "str", "default": "", "no_log": True},
            "fleet": {"type": "str", "required": True},
            "kinds": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {**kinds, "setting": {"type": "str", "default": ""}},
            },
            "words": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"place": {"type": "str", "required": True}, "word": {"type": "str", "required": True}},
            },
            "absent": {"type": "list", "elements": "str", "default": []},
            "prune": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        cluster = connect(module)
        plan = Plan(cluster, module.params, show=module._diff)
    except ClusterError as error:
        module.fail_json(msg=f"Nothing was changed: {error}")
    if plan.faults:
        module.fail_json(msg="\n".join(["Nothing was changed:", *(f"- {fault}" for fault in plan.faults)]))
    module.exit_json(
        changed=module.check_mode and bool(plan.apply or plan.secrets or plan.remove),
        report=[
            f"Plan for {cluster.url}:" if cluster else "Plan for a cluster that is not there yet:",
            *plan.report(module.params["prune"]),
        ],
        apply=plan.apply,
        secrets=sorted(plan.secrets),
        remove=plan.remove,
        waiting=sorted(plan.waiting),
        **({"diff": plan.diff} if module._diff else {}),
    )


def connect(module: AnsibleModule) -> Cluster | None:
    """The cluster; None if check mode finds that there is none yet."""
    try:
        return Cluster(module.params["kubeconfig"])
    except ClusterError as error:
        if module.check_mode and error.unreachable:
            module.warn(f"All customers are shown as new: {error}")
            return None
        raise


if __name__ == "__main__":
    main()
