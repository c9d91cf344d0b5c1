"""What operators do with customers, and what they see."""

from __future__ import annotations

import json

import pytest

from fleet import changed, wait_until

from .conftest import STANDING, Story

HI = b'{"response":"Hi!"}'


def test_a_mixed_change_is_planned_in_the_operators_words(story: Story) -> None:
    story.declare(
        a={"greeting": "Hello!", "labels": {"team": "blue"}},
        b={"greeting": "Dear Sir or Madam!", "replicas": 2, "hosts": ["b.example.com", "b.example.org"]},
        d={"greeting": "Servus!", "host": "servus.example.com"},
    )
    pods = story.pods()
    planned = [
        "+ new         d: servus.example.com",
        "~ changed     a: greeting, labels",
        "~ changed     b: hosts, quota, replicas",
        "- undeclared  c (stays; customers_prune would remove it)",
        "= unchanged   0 of 3",
    ]
    assert story.plan() == planned
    check = story.fleet.play("customers.yml", *story.arguments(), "--check", "--diff")
    assert check.returncode == 0, check.stdout
    assert sum(changed(check.stdout)) == 1
    for line in (*planned, "+      - host: b.example.org", "-          value: Hi!", "+          value: Hello!"):
        assert line.replace(" ", "") in check.stdout.replace(" ", "")
    assert story.pods() == pods

    said = story.converge()
    for line in planned:
        assert line in said
    story.fleet.wait_for_answer("servus.example.com", b'{"response":"Servus!"}')
    story.fleet.wait_for_answer("customer-a.parcellab.com", b'{"response":"Hello!"}')
    for host in ("b.example.com", "b.example.org"):
        story.fleet.wait_for_answer(host, b'{"response":"Dear Sir or Madam!"}')
    story.fleet.wait_for_answer("customer-b.parcellab.com", 404)
    pods_now = story.pods()
    assert pods_now["customer-c"] == pods["customer-c"]
    assert len(pods_now["customer-b"]) == 2


def test_what_was_changed_by_hand_is_shown_and_healed(story: Story) -> None:
    kubectl = story.fleet.kubectl
    kubectl("set", "env", "deployment/greeter", "GREETING=Hacked!", "EVIL=1", "--namespace=customer-a")
    kubectl(
        "patch",
        "service",
        "greeter",
        "--namespace=customer-a",
        "--type=merge",
        '--patch={"spec":{"externalIPs":["192.0.2.1"]}}',
    )
    kubectl("delete", "service", "greeter", "--namespace=customer-b")
    for label in ("app.kubernetes.io/managed-by=someone", "greeter-fleet/id-"):
        kubectl("label", "ingress", "greeter", label, "--overwrite", "--namespace=customer-c")
    kubectl("label", "deployment", "greeter", "mine=yes", "--overwrite", "--namespace=customer-c")
    # Another run of these tests in the same cluster may have put it back before.
    assert [line.replace(", although a run has put it back", "") for line in story.plan()] == [
        "~ changed     a: changed in the cluster by kubectl-patch: Service spec.externalIPs; "
        "changed in the cluster by kubectl-set: env, greeting",
        "~ changed     b: changed in the cluster: Service missing",
        "~ changed     c: changed in the cluster by kubectl-label: labels",
        "= unchanged   0 of 3",
    ]
    story.converge()
    story.fleet.wait_for_answer("customer-a.parcellab.com", HI)
    story.fleet.wait_for_answer("customer-b.parcellab.com", b'{"response":"Dear Sir or Madam!"}')
    deployment = story.fleet.objects("deployment/greeter", "--namespace=customer-a")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in container["env"]] == ["CUSTOMER_NAME", "GREETING"]
    assert "externalIPs" not in story.fleet.objects("service/greeter", "--namespace=customer-a")["spec"]
    labels = story.fleet.objects("deployment/greeter", "--namespace=customer-c")["metadata"]["labels"]
    assert "mine" not in labels


def test_what_changes_again_after_every_run_is_told_as_such(story: Story) -> None:
    for _ in range(2):
        story.fleet.kubectl("label", "service", "greeter", "mine=yes", "--namespace=customer-a")
        said = story.converge()
    assert "~ changed     a: changed in the cluster by kubectl-label (" in said
    assert "), although a run has put it back: labels" in said


def test_what_controllers_do_is_nobodys_change(story: Story) -> None:
    kubectl = story.fleet.kubectl
    kubectl("rollout", "restart", "deployment/greeter", "--namespace=customer-a")
    kubectl("rollout", "status", "deployment/greeter", "--namespace=customer-a", "--timeout=120s")
    note = '--patch={"metadata":{"annotations":{"cert.example.com/issued":"yes"}}}'
    kubectl(
        "patch", "ingress", "greeter", "--namespace=customer-a", "--type=merge", note, "--field-manager=cert-keeper"
    )
    assert story.plan() == ["= unchanged   3 of 3"]
    kubectl("annotate", "ingress", "greeter", "cert.example.com/issued-", "--namespace=customer-a")


def test_what_somebody_else_has_put_beside_is_told_and_stays(story: Story) -> None:
    kubectl = story.fleet.kubectl
    kubectl("create", "rolebinding", "eve", "--clusterrole=view", "--user=eve", "--namespace=customer-a")
    kubectl("create", "namespace", "payments")
    kubectl("label", "namespace", "payments", "app.kubernetes.io/managed-by=greeter-fleet")
    story.declare({"customers_prune": True}, **STANDING)
    assert story.plan() == [
        "? foreign     RoleBinding eve, which nobody has declared, in a",
        "? not ours    namespace payments, by its id or its name; it stays",
        "= unchanged   3 of 3",
    ]
    story.converge()
    assert "payments" in kubectl("get", "namespaces")
    assert "eve" in kubectl("get", "rolebindings", "--namespace=customer-a")
    story.declare({"customers_refuse_foreign": ["RoleBinding"]}, **STANDING)
    assert "Nothing was changed: - customers a: nobody has declared the RoleBinding eve there" in story.refused()
    kubectl("delete", "rolebinding", "eve", "--namespace=customer-a")
    kubectl("delete", "namespace", "payments")


def test_resources_shrink_without_standing_in_their_own_way(story: Story) -> None:
    story.declare(**STANDING, kurt={"greeting": "Servus!", "resources": {"limits": {"memory": "128Mi"}}})
    story.converge()
    story.declare(**STANDING, kurt={"greeting": "Servus!", "replicas": 2})
    story.converge()
    quota = story.fleet.objects("resourcequota/greeter", "--namespace=customer-kurt")
    assert quota["spec"]["hard"]["limits.memory"] == "384Mi"
    assert len(story.fleet.pods()["customer-kurt"]) == 2


def test_a_setting_that_is_taken_back_goes_from_the_cluster(story: Story) -> None:
    more = {
        "labels": {"team": "blue"},
        "annotations": {"note": "x"},
        "env": {"COLOUR": "$blue"},
        "node_selector": {"a": "b"},
    }
    story.declare(**STANDING | {"a": STANDING["a"] | {name: more[name] for name in ("labels", "annotations", "env")}})
    story.converge()
    deployment = story.fleet.objects("deployment/greeter", "--namespace=customer-a")
    assert deployment["metadata"]["labels"]["team"] == "blue"
    assert deployment["spec"]["template"]["metadata"]["annotations"]["note"] == "x"
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "COLOUR", "value": "$$blue"} in container["env"]

    story.declare(**STANDING)
    assert story.plan() == ["~ changed     a: annotations, env, labels", "= unchanged   2 of 3"]
    story.converge()
    deployment = story.fleet.objects("deployment/greeter", "--namespace=customer-a")
    assert "team" not in deployment["metadata"]["labels"]
    assert "note" not in deployment["spec"]["template"]["metadata"].get("annotations", {})
    story.fleet.wait_for_answer("customer-a.parcellab.com", HI)


def test_a_customer_is_removed_only_when_told_to_and_an_absent_one_without_being_told_twice(story: Story) -> None:
    pods = story.pods()
    # Not waited for here: the second run takes as long.
    story.declare({"customers_wait": False}, a=STANDING["a"], b={"state": "absent"})
    assert story.plan() == [
        "- absent      b",
        "- undeclared  c (stays; customers_prune would remove it)",
        "= unchanged   1 of 1",
    ]
    story.converge()
    story.fleet.wait_for_answer("customer-c.parcellab.com", b'{"response":"Moin!"}')

    story.declare({"customers_prune": True}, a=STANDING["a"])
    assert story.plan() == ["- undeclared  c", "= unchanged   1 of 1"]
    assert "customer-c" in story.namespaces()
    story.converge()
    assert {"customer-b", "customer-c"}.isdisjoint(story.namespaces())
    for host in ("customer-b.parcellab.com", "customer-c.parcellab.com"):
        story.fleet.wait_for_answer(host, 404)
    assert story.pods() == {"customer-a": pods["customer-a"]}


def test_nobody_at_all_is_refused_even_with_pruning(story: Story) -> None:
    story.declare({"customers_prune": True})
    assert "customers_prune" in story.refused()
    assert {"customer-a", "customer-b", "customer-c"} <= story.namespaces()


def test_a_foreign_namespace_is_never_adopted_and_never_removed(story: Story) -> None:
    story.fleet.kubectl("create", "namespace", "customer-theirs")
    story.fleet.kubectl("create", "namespace", "customer-forgotten")
    theirs = story.fleet.objects("namespace/customer-theirs")["metadata"]
    story.declare({"customers_prune": True}, **STANDING, theirs={"greeting": "Mine!"}, emil={"greeting": "Servus!"})
    said = story.refused()
    assert "- theirs: Namespace customer-theirs: is there already and not this fleet's by its labels" in said
    assert story.fleet.get("customer-emil.parcellab.com").body == b'{"response":"Servus!"}'
    assert story.fleet.objects("namespace/customer-theirs")["metadata"] == theirs
    story.fleet.kubectl("delete", "namespace", "customer-theirs")
    story.converge()
    assert "customer-forgotten" in story.namespaces()
    story.fleet.kubectl("delete", "namespace", "customer-forgotten")


def test_one_refused_object_is_named_and_the_others_converge(story: Story) -> None:
    marks = story.fleet.objects("namespace/customer-b")["metadata"]["labels"]
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "greeter", "namespace": "customer-b", "labels": marks},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "other"}},
            "template": {
                "metadata": {"labels": {"app": "other"}},
                "spec": {"containers": [{"name": "other", "image": "other"}]},
            },
        },
    }
    story.fleet.kubectl("delete", "deployment", "greeter", "--namespace=customer-b")
    story.fleet.node.run_expect([0], "echo %s | k3s kubectl create --filename=-", json.dumps(foreign))
    story.declare(**STANDING, frida={"greeting": "Servus!"})
    said = story.refused()
    assert "Not as declared, while all others are: - b: Deployment greeter: " in said
    assert "field is immutable" in said
    story.fleet.wait_for_answer("customer-frida.parcellab.com", b'{"response":"Servus!"}')
    story.fleet.kubectl("delete", "deployment", "greeter", "--namespace=customer-b")
    story.converge()
    story.fleet.wait_for_answer("customer-b.parcellab.com", b'{"response":"Dear Sir or Madam!"}')


def test_what_the_cluster_cannot_take_now_is_told_in_its_words_and_goes_on_later(story: Story) -> None:
    rules = [
        {
            "apiGroups": ["networking.k8s.io"],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["ingresses"],
        }
    ]
    nobody = {"service": {"name": "nobody", "namespace": "default"}}
    hook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "nobody.example.com"},
        "webhooks": [
            {
                "name": "nobody.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 1,
                "clientConfig": nobody,
                "rules": rules,
            }
        ],
    }
    story.fleet.node.run_expect([0], "echo %s | k3s kubectl create --filename=-", json.dumps(hook))
    story.declare(**STANDING, lena={"greeting": "Servus!"})
    said = story.refused()
    assert "Not as declared, while all others are: - lena: Ingress greeter: " in said
    assert "failed calling webhook" in said
    story.fleet.kubectl("delete", "validatingwebhookconfiguration", "nobody.example.com")
    story.converge()
    assert story.fleet.get("customer-lena.parcellab.com").body == b'{"response":"Servus!"}'


def test_a_rollout_that_fails_tells_why(story: Story) -> None:
    def reasons(customer: str) -> set[str]:
        """Why a customer's containers do not run, as their pods tell it."""
        pods = story.fleet.objects("pods", f"--namespace=customer-{customer}")["items"]
        states = [each["state"] for pod in pods for each in pod["status"].get("containerStatuses", [])]
        return {each["waiting"]["reason"] for each in states if "waiting" in each}

    declared = STANDING | {
        "nowhere": {"greeting": "Hi!", "image": "registry.invalid/none:1"},
        "broken": {"greeting": "Hi!", "env": {"WORKERS": "many"}},
        "gustav": {"greeting": "Servus!"},
    }
    story.declare({"customers_wait": False}, **declared)
    done = story.fleet.play("customers.yml", *story.arguments())
    assert done.returncode == 0, done.stdout
    # How long that takes depends on the machine; what is told of it must not.
    story.fleet.wait_for_answer("customer-gustav.parcellab.com", b'{"response":"Servus!"}')
    wait_until(lambda: "CrashLoopBackOff" in reasons("broken"), "the broken customer's container does not end")
    wait_until(lambda: "ImagePullBackOff" in reasons("nowhere"), "the image from nowhere is not asked for")

    story.declare({"customers_rollout_timeout": 20}, **declared)
    said = story.refused()
    assert "customers: 0 of 2 rolled out, waiting for broken, nowhere" in said
    assert "- nowhere: not rolled out within 20 s pod greeter-" in said
    assert "ImagePull" in said
    assert "- broken: not rolled out within 20 s pod greeter-" in said
    assert "log: WORKERS is 'many'; allowed: a whole number from 1 to 16" in said
    assert "- gustav" not in said


@pytest.mark.parametrize(
    ("customer", "settings", "needed"),
    [
        (
            "heidi",
            {"replicas": 2, "disruption_budget": True},
            ("policy/v1", "PodDisruptionBudget", "disruption_budget: false"),
        ),
        (
            "ida",
            {"autoscaling": {"min": 1, "max": 3, "cpu": 80}},
            ("autoscaling/v2", "HorizontalPodAutoscaler", "replicas instead of autoscaling"),
        ),
    ],
)
def test_an_api_the_cluster_does_not_serve_is_one_clear_message_and_one_it_serves_is_used(
    story: Story, customer: str, settings: dict[str, object], needed: tuple[str, str, str]
) -> None:
    api, kind, instead = needed
    story.declare(**STANDING, **{customer: {"greeting": "Servus!"} | settings})
    if api in story.fleet.served():
        story.converge()
        (found,) = story.fleet.objects(kind, f"--namespace=customer-{customer}")["items"]
        assert found["metadata"]["name"] == "greeter"
        return
    fault = f"- customers {customer}: the cluster serves no {kind} of {api}; set {instead} for them"
    assert f"Nothing was changed: {fault}" in story.refused()
    assert f"customer-{customer}" not in story.namespaces()
