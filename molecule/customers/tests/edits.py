"""What somebody may do to a customer's objects by hand: JSON merge patches, and what the plan is to call each.

They are sent in the name of kubectl's own edit. A NodePort is not among them: the quota refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Object = dict[str, Any]

CONTAINER = "spec.template.spec.containers[greeter]"


def spec(**changes: object) -> Callable[[Object], Object]:
    """A change of fields of the spec."""
    return lambda _: {"spec": changes}


def pod(**changes: object) -> Callable[[Object], Object]:
    """A change of fields of the pod's spec."""
    return lambda _: {"spec": {"template": {"spec": changes}}}


def container(**changes: object) -> Callable[[Object], Object]:
    """A change of fields of the greeter's container; None takes one away."""

    def change(live: Object) -> Object:
        (held,) = live["spec"]["template"]["spec"]["containers"]
        now = {name: value for name, value in (held | changes).items() if value is not None}
        return {"spec": {"template": {"spec": {"containers": [now]}}}}

    return change


def env(*more: object, greeting: str = "Hi!") -> Callable[[Object], Object]:
    """Other variables."""
    named = [{"name": "CUSTOMER_NAME", "value": "a"}, {"name": "GREETING", "value": greeting}]
    return container(env=[*named, *more])


def metadata(kind: str, key: str, value: str | None) -> Callable[[Object], Object]:
    """A label or an annotation."""
    return lambda _: {"metadata": {kind: {key: value}}}


def rules(**changes: object) -> Callable[[Object], Object]:
    """A change of the only path of an Ingress."""

    def change(live: Object) -> Object:
        rule = live["spec"]["rules"][0]
        (path,) = rule["http"]["paths"]
        return {"spec": {"rules": [rule | {"http": {"paths": [path | changes]}}]}}

    return change


SIDECAR: Mapping[str, object] = {"name": "sidecar", "image": "evil:1"}
SECURITY = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
ANYWHERE: list[Mapping[str, object]] = [{"namespaceSelector": {}}]

# Kind, change, what the plan calls it.
EDITS: list[tuple[str, Callable[[Object], Object], str]] = [
    ("Deployment", spec(replicas=3), "replicas"),
    ("Deployment", spec(replicas=0), "replicas"),
    ("Deployment", spec(paused=True), "Deployment spec.paused"),
    ("Deployment", spec(minReadySeconds=300), "Deployment spec.minReadySeconds"),
    ("Deployment", spec(revisionHistoryLimit=0), "Deployment spec.revisionHistoryLimit"),
    ("Deployment", spec(progressDeadlineSeconds=1), "Deployment spec.progressDeadlineSeconds"),
    (
        "Deployment",
        spec(strategy={"type": "Recreate", "rollingUpdate": None}),
        "Deployment spec.strategy.type",
    ),
    (
        "Deployment",
        spec(strategy={"rollingUpdate": {"maxUnavailable": 1}}),
        "Deployment spec.strategy.rollingUpdate.maxUnavailable",
    ),
    ("Deployment", env(greeting="Hacked!"), "greeting"),
    ("Deployment", env({"name": "EVIL", "value": "1"}), "env"),
    (
        "Deployment",
        env({"name": "FROM", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}),
        "env",
    ),
    ("Deployment", container(env=[{"name": "GREETING", "value": "Hi!"}]), "env"),
    (
        "Deployment",
        container(envFrom=[{"configMapRef": {"name": "evil"}}]),
        f"Deployment {CONTAINER}.envFrom",
    ),
    ("Deployment", container(image="evil:1"), "image"),
    ("Deployment", container(imagePullPolicy="Always"), f"Deployment {CONTAINER}.imagePullPolicy"),
    ("Deployment", container(command=["sleep", "9"]), f"Deployment {CONTAINER}.command"),
    ("Deployment", container(args=["--evil"]), f"Deployment {CONTAINER}.args"),
    ("Deployment", container(workingDir="/tmp"), f"Deployment {CONTAINER}.workingDir"),
    ("Deployment", container(stdin=True), f"Deployment {CONTAINER}.stdin"),
    ("Deployment", container(tty=True), f"Deployment {CONTAINER}.tty"),
    (
        "Deployment",
        container(lifecycle={"preStop": {"exec": {"command": ["sleep", "25"]}}}),
        f"Deployment {CONTAINER}.lifecycle",
    ),
    ("Deployment", container(readinessProbe=None), f"Deployment {CONTAINER}.readinessProbe"),
    ("Deployment", container(livenessProbe=None), f"Deployment {CONTAINER}.livenessProbe"),
    ("Deployment", container(startupProbe=None), f"Deployment {CONTAINER}.startupProbe"),
    (
        "Deployment",
        container(readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 5, "timeoutSeconds": 2}),
        f"Deployment {CONTAINER}.readinessProbe.httpGet",
    ),
    ("Deployment", container(resources={}), "resources"),
    (
        "Deployment",
        container(resources={"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"cpu": "500m", "memory": "9Gi"}}),
        "resources",
    ),
    (
        "Deployment",
        container(
            resources={
                "requests": {"cpu": "10m", "memory": "48Mi"},
                "limits": {"cpu": "500m", "memory": "64Mi", "ephemeral-storage": "1Mi"},
            }
        ),
        "resources",
    ),
    (
        "Deployment",
        container(ports=[{"name": "http", "containerPort": 8080, "protocol": "TCP"}]),
        f"Deployment {CONTAINER}.ports[metrics]",
    ),
    (
        "Deployment",
        container(
            ports=[
                {"name": "http", "containerPort": 8080, "protocol": "TCP", "hostPort": 8080},
                {"name": "metrics", "containerPort": 9090, "protocol": "TCP"},
            ]
        ),
        f"Deployment {CONTAINER}.ports[http].hostPort",
    ),
    (
        "Deployment",
        container(securityContext=SECURITY | {"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}),
        f"Deployment {CONTAINER}.securityContext.capabilities.add",
    ),
    (
        "Deployment",
        container(securityContext=SECURITY | {"readOnlyRootFilesystem": False}),
        f"Deployment {CONTAINER}.securityContext.readOnlyRootFilesystem",
    ),
    (
        "Deployment",
        container(securityContext=SECURITY | {"runAsUser": 0, "runAsNonRoot": False}),
        f"Deployment {CONTAINER}.securityContext.runAsUser",
    ),
    (
        "Deployment",
        container(terminationMessagePath="/tmp/x"),
        f"Deployment {CONTAINER}.terminationMessagePath",
    ),
    (
        "Deployment",
        lambda live: {
            "spec": {"template": {"spec": {"containers": [*live["spec"]["template"]["spec"]["containers"], SIDECAR]}}}
        },
        "Deployment spec.template.spec.containers[sidecar]",
    ),
    ("Deployment", pod(initContainers=[SIDECAR]), "Deployment spec.template.spec.initContainers"),
    ("Deployment", pod(hostNetwork=True), "Deployment spec.template.spec.hostNetwork"),
    ("Deployment", pod(hostPID=True), "Deployment spec.template.spec.hostPID"),
    ("Deployment", pod(shareProcessNamespace=True), "Deployment spec.template.spec.shareProcessNamespace"),
    ("Deployment", pod(nodeSelector={"disk": "none"}), "node selector"),
    ("Deployment", pod(nodeName="elsewhere"), "Deployment spec.template.spec.nodeName"),
    (
        "Deployment",
        pod(affinity={"nodeAffinity": {}}),
        "Deployment spec.template.spec.affinity",
    ),
    ("Deployment", pod(tolerations=[{"operator": "Exists"}]), "tolerations"),
    (
        "Deployment",
        pod(topologySpreadConstraints=None),
        "Deployment spec.template.spec.topologySpreadConstraints",
    ),
    ("Deployment", pod(serviceAccountName="default"), "Deployment spec.template.spec.serviceAccountName"),
    (
        "Deployment",
        pod(automountServiceAccountToken=True),
        "Deployment spec.template.spec.automountServiceAccountToken",
    ),
    ("Deployment", pod(enableServiceLinks=True), "Deployment spec.template.spec.enableServiceLinks"),
    (
        "Deployment",
        pod(terminationGracePeriodSeconds=0),
        "Deployment spec.template.spec.terminationGracePeriodSeconds",
    ),
    ("Deployment", pod(dnsPolicy="Default"), "Deployment spec.template.spec.dnsPolicy"),
    (
        "Deployment",
        pod(dnsConfig={"nameservers": ["192.0.2.1"]}),
        "Deployment spec.template.spec.dnsConfig",
    ),
    (
        "Deployment",
        pod(hostAliases=[{"ip": "192.0.2.1", "hostnames": ["a"]}]),
        "Deployment spec.template.spec.hostAliases",
    ),
    ("Deployment", pod(schedulerName="mine"), "Deployment spec.template.spec.schedulerName"),
    ("Deployment", pod(runtimeClassName="gvisor"), "Deployment spec.template.spec.runtimeClassName"),
    ("Deployment", pod(imagePullSecrets=[{"name": "x"}]), "Deployment spec.template.spec.imagePullSecrets"),
    ("Deployment", pod(volumes=[{"name": "v", "emptyDir": {}}]), "Deployment spec.template.spec.volumes"),
    ("Deployment", pod(activeDeadlineSeconds=None, hostname="x"), "Deployment spec.template.spec.hostname"),
    (
        "Deployment",
        pod(securityContext=POD_SECURITY | {"runAsUser": 0}),
        "Deployment spec.template.spec.securityContext.runAsUser",
    ),
    (
        "Deployment",
        pod(securityContext=POD_SECURITY | {"fsGroup": 0}),
        "Deployment spec.template.spec.securityContext.fsGroup",
    ),
    (
        "Deployment",
        lambda _: {"spec": {"template": {"metadata": {"labels": {"mine": "yes"}}}}},
        "labels",
    ),
    (
        "Deployment",
        lambda _: {"spec": {"template": {"metadata": {"annotations": {"sidecar.example.com/inject": "yes"}}}}},
        "annotations",
    ),
    ("Deployment", metadata("labels", "mine", "yes"), "labels"),
    ("Deployment", metadata("annotations", "mine", "yes"), "annotations"),
    ("Deployment", metadata("labels", "app.kubernetes.io/managed-by", None), "labels"),
    (
        "Service",
        spec(selector={"app.kubernetes.io/name": "evil"}),
        "Service spec.selector.app.kubernetes.io/name",
    ),
    ("Service", spec(selector={"version": "2"}), "Service spec.selector.version"),
    ("Service", spec(externalIPs=["192.0.2.1"]), "Service spec.externalIPs"),
    ("Service", spec(sessionAffinity="ClientIP"), "Service spec.sessionAffinity"),
    ("Service", spec(publishNotReadyAddresses=True), "Service spec.publishNotReadyAddresses"),
    (
        "Service",
        spec(ports=[{"name": "http", "port": 80, "targetPort": 9090, "protocol": "TCP"}]),
        "Service spec.ports[http].targetPort",
    ),
    (
        "Service",
        lambda live: {"spec": {"ports": [*live["spec"]["ports"], {"name": "metrics", "port": 90, "protocol": "TCP"}]}},
        "Service spec.ports[metrics]",
    ),
    ("Ingress", rules(path="/x"), "hosts"),
    ("Ingress", rules(backend={"service": {"name": "evil", "port": {"number": 1}}}), "hosts"),
    (
        "Ingress",
        lambda live: {"spec": {"rules": [*live["spec"]["rules"], {"host": "more.example.com"}]}},
        "hosts",
    ),
    (
        "Ingress",
        spec(defaultBackend={"service": {"name": "evil", "port": {"number": 1}}}),
        "Ingress spec.defaultBackend",
    ),
    ("Ingress", spec(tls=[{"hosts": ["a.example.com"], "secretName": "x"}]), "TLS"),
    ("Ingress", spec(ingressClassName="other"), "ingress class"),
    (
        "Ingress",
        metadata("annotations", "traefik.ingress.kubernetes.io/router.middlewares", "a-evil@kubernetescrd"),
        "annotations",
    ),
    ("NetworkPolicy", spec(egress=[{}], policyTypes=["Ingress"]), "network policy"),
    ("NetworkPolicy", spec(egress=[{}]), "network policy"),
    ("NetworkPolicy", spec(ingress=[{"from": ANYWHERE}]), "network policy"),
    ("NetworkPolicy", spec(ingress=[]), "network policy"),
    ("NetworkPolicy", spec(podSelector={"matchLabels": {"x": "y"}}), "network policy"),
    ("ResourceQuota", spec(hard={"pods": "0"}), "quota"),
    ("ResourceQuota", spec(hard={"services": "0"}), "quota"),
    ("LimitRange", spec(limits=[]), "resources"),
    ("LimitRange", spec(limits=[{"type": "Pod", "max": {"cpu": "1m"}}]), "resources"),
    (
        "ServiceAccount",
        lambda _: {"automountServiceAccountToken": True},
        "ServiceAccount automountServiceAccountToken",
    ),
    ("ServiceAccount", lambda _: {"imagePullSecrets": [{"name": "x"}]}, "ServiceAccount imagePullSecrets"),
    ("Namespace", metadata("labels", "pod-security.kubernetes.io/enforce", "privileged"), "labels"),
    ("Namespace", metadata("labels", "istio-injection", "enabled"), "labels"),
    ("Namespace", metadata("annotations", "scheduler.alpha.kubernetes.io/node-selector", "x=y"), "annotations"),
]
