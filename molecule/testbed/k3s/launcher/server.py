"""`k3s server`: the control plane, and this machine as a node of it."""

import json
from pathlib import Path

from launcher import cgroups, names, paths, payload, pki, shared, traefik
from launcher.api import Api
from launcher.config import Config, ConfigError
from launcher.ingress import Ingress
from launcher.manifests import Manifests
from launcher.node import Credentials, Node
from launcher.supervise import Supervisor, notify
from launcher.tokens import Token


def serve(config: Config) -> None:
    """Run until told to stop.

    Raises:
        ConfigError: when the token is another one than before, or the server is to join others.
        ChildError: when any part ends; systemd then starts the service anew, as with K3s.
    """
    if config.text("server"):
        raise ConfigError("the test bed's servers do not join others")
    bin_dir = payload.unpack()
    cgroups.isolate()
    paths.MANIFESTS.mkdir(parents=True, exist_ok=True)
    paths.RUN.mkdir(exist_ok=True)
    token = pki.prepare(config, bin_dir)
    if config.text("datastore-endpoint") and not shared.DONE.exists():
        # The datastore speaks only to an API server: for this first look, one with certificates of its own.
        with Supervisor() as supervisor:
            _start_api_server(config, supervisor, bin_dir)
            supervisor.wait_until("the API server is ready", pki.client().ready)
            shared.share(pki.client(), token)
        token = pki.prepare(config, bin_dir)
    api = pki.client()
    with Supervisor() as supervisor:
        _start_api_server(config, supervisor, bin_dir)
        node = Node(config, supervisor, bin_dir, Credentials(pki.AUTHORITY, paths.CREDENTIALS / "kubelet.conf"))
        node.start(lambda: _admit(config, supervisor, bin_dir, api))
        manifests = Manifests(bin_dir / "kubectl", paths.CREDENTIALS / "admin.conf")
        manifests.apply_text(_builtin(config, token))
        manifests.wait_for_kinds()
        path = f"/api/v1/nodes/{config.node_name}"
        supervisor.wait_until("the node is registered", lambda: api.get(path))
        supervisor.insist("keep the node's name", lambda: names.bind_to_node(api, api.get(path)))
        api.patch(path, {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": "true"}}})
        node.start_network(api)
        if "traefik" not in config.items("disable"):
            supervisor.thread("traefik", lambda: traefik.follow(api, manifests))
            supervisor.thread("ingress", Ingress(api).run)
        supervisor.thread("manifests", lambda: manifests.follow(paths.MANIFESTS))
        supervisor.run()


def _admit(config: Config, supervisor: Supervisor, bin_dir: Path, api: Api) -> None:
    """Wait for the control plane, and until this machine may be the node of its name.

    Like K3s, the server counts as started before that.
    """
    supervisor.wait_until("the API server is ready", api.ready)
    notify("READY=1")
    _start_controllers(config, supervisor, bin_dir)
    supervisor.insist("register the node's name", lambda: names.claim(api, config.node_name))


def _builtin(config: Config, token: Token) -> str:
    """Give the manifests of what the cluster has from the start, as JSON where they hold other text."""
    for_nodes = {"cluster-cidr": config.cluster_cidr, "disable": config.items("disable")}
    return payload.render(
        "builtin.yaml",
        authority=json.dumps(pki.AUTHORITY.read_text()),
        config=json.dumps(json.dumps(for_nodes)),
        token_id=token.bootstrap_id,
        token_secret=token.bootstrap_secret,
    )


def _start_api_server(config: Config, supervisor: Supervisor, bin_dir: Path) -> None:
    datastore = config.text("datastore-endpoint")
    if not datastore:
        data = paths.SERVER / "db/etcd"
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        supervisor.start("etcd", bin_dir / "etcd", data)
    tls = paths.TLS
    supervisor.start(
        "kube-apiserver",
        bin_dir / "kube-apiserver",
        f"--etcd-servers={datastore or 'http://127.0.0.1:2379'}",
        f"--advertise-address={config.node_ip}",
        "--secure-port=6443",
        "--insecure-port=0",
        "--allow-privileged=true",
        "--anonymous-auth=false",
        "--enable-bootstrap-token-auth=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={config.service_cidr}",
        f"--client-ca-file={tls}/ca.crt",
        f"--tls-cert-file={tls}/apiserver.crt",
        f"--tls-private-key-file={tls}/apiserver.key",
        f"--kubelet-client-certificate={tls}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={tls}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--proxy-client-cert-file={tls}/front-proxy-client.crt",
        f"--proxy-client-key-file={tls}/front-proxy-client.key",
        f"--requestheader-client-ca-file={tls}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={tls}/sa.pub",
        f"--service-account-signing-key-file={tls}/sa.key",
        *config.arguments("kube-apiserver"),
    )


def _start_controllers(config: Config, supervisor: Supervisor, bin_dir: Path) -> None:
    def kubeconfigs(name: str) -> list[str]:
        file = paths.CREDENTIALS / f"{name}.conf"
        flags = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
        return [f"--{flag}={file}" for flag in flags]

    alone = not config.text("datastore-endpoint")
    common = [f"--leader-elect={'false' if alone else 'true'}", "--bind-address=127.0.0.1", "--port=0"]
    supervisor.start(
        "kube-controller-manager",
        bin_dir / "kube-controller-manager",
        *kubeconfigs("controller-manager"),
        *common,
        f"--client-ca-file={paths.TLS}/ca.crt",
        f"--root-ca-file={paths.TLS}/ca.crt",
        f"--cluster-signing-cert-file={paths.TLS}/ca.crt",
        f"--cluster-signing-key-file={paths.TLS}/ca.key",
        f"--service-account-private-key-file={paths.TLS}/sa.key",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={config.cluster_cidr}",
        f"--service-cluster-ip-range={config.service_cidr}",
        *config.arguments("kube-controller-manager"),
    )
    supervisor.start(
        "kube-scheduler",
        bin_dir / "kube-scheduler",
        *kubeconfigs("scheduler"),
        *common,
        *config.arguments("kube-scheduler"),
    )
