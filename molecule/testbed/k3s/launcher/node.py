"""What runs on every node: containers, the kubelet, service addresses and routes to the other nodes' pods."""

import logging
import resource
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher import paths, payload
from launcher.api import Api, Key, Object, internal_ip
from launcher.config import Config
from launcher.supervise import Supervisor

log = logging.getLogger(__name__)

PAUSE_IMAGE = "localhost/testbed/pause:1"
CTR = ("ctr", "--address", str(paths.CONTAINERD_SOCKET), "--namespace", "k8s.io")


@dataclass(frozen=True)
class Credentials:
    """How the node's parts reach the API server: by its CA and a kubeconfig.

    With `bootstrap`, another kubeconfig, the kubelet first asks for a certificate and writes `kubeconfig` itself.
    """

    authority: Path
    kubeconfig: Path
    bootstrap: Path | None = None


class Node:
    """This machine as a node."""

    def __init__(self, config: Config, supervisor: Supervisor, bin_dir: Path, credentials: Credentials) -> None:
        """Take what all parts need."""
        self._config = config
        self._supervisor = supervisor
        self._bin = bin_dir
        self._credentials = credentials
        self._etc = paths.AGENT / "etc"

    def start(self, admit: Callable[[], None]) -> None:
        """Start containerd, import the images that lie ready, have the node admitted, start the kubelet."""
        self._etc.mkdir(parents=True, exist_ok=True)
        bootstrap = self._credentials.bootstrap
        files_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        cni = self._render("cni.json")
        containerd = self._render(
            "containerd.toml",
            root=paths.AGENT / "containerd",
            state=paths.RUN / "containerd",
            socket=paths.CONTAINERD_SOCKET,
            pause=PAUSE_IMAGE,
            cni=cni,
        )
        kubelet = self._render("kubelet.yaml", authority=self._credentials.authority, max_open_files=files_limit)
        self._supervisor.start("containerd", "containerd", "--config", containerd)
        self._supervisor.wait_until("containerd answers", self._containerd_answers)
        for archive in sorted(paths.IMAGES.glob("*.tar*")):
            log.info("importing %s", archive)
            # Debian's ctr takes no compressed archives; gzip hands on what is none of its own as it is.
            with subprocess.Popen(["gzip", "-dcf", str(archive)], stdout=subprocess.PIPE) as plain:
                command = [*CTR, "images", "import", "-"]
                subprocess.run(command, check=True, stdin=plain.stdout, stdout=subprocess.DEVNULL)
        admit()
        self._supervisor.start(
            "kubelet",
            self._bin / "kubelet",
            f"--config={kubelet}",
            f"--kubeconfig={self._credentials.kubeconfig}",
            *([f"--bootstrap-kubeconfig={bootstrap}"] if bootstrap else []),
            "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{paths.CONTAINERD_SOCKET}",
            f"--pod-infra-container-image={PAUSE_IMAGE}",
            f"--hostname-override={self._config.node_name}",
            f"--node-ip={self._config.node_ip}",
            f"--node-labels={','.join(self._config.items('node-label'))}",
            f"--register-with-taints={','.join(self._config.items('node-taint'))}",
            *self._config.arguments("kubelet"),
        )

    def start_network(self, api: Api) -> None:
        """Start what needs an API server that is ready."""
        settings = self._render(
            "kube-proxy.yaml",
            kubeconfig=self._credentials.kubeconfig,
            cluster_cidr=self._config.cluster_cidr,
            name=self._config.node_name,
        )
        extra = self._config.arguments("kube-proxy")
        self._supervisor.start("kube-proxy", self._bin / "kube-proxy", f"--config={settings}", *extra)
        self._masquerade()
        self._supervisor.thread("routes", lambda: api.follow("/api/v1/nodes", self._route))

    def _render(self, template: str, /, **values: object) -> Path:
        file = self._etc / template
        file.write_text(payload.render(template, **values))
        return file

    @staticmethod
    def _containerd_answers() -> bool:
        return subprocess.run([*CTR, "version"], check=False, capture_output=True).returncode == 0

    def _masquerade(self) -> None:
        """Let pods leave the cluster by the node's address, with flannel's comment on the rule."""
        pods = self._config.cluster_cidr
        comment = ["-m", "comment", "--comment", "flanneld masq"]
        rule = ["POSTROUTING", "-s", pods, "!", "-d", pods, *comment, "-j", "MASQUERADE"]
        tool = ["iptables", "--wait", "--table", "nat"]
        if subprocess.run([*tool, "-C", *rule], check=False, capture_output=True).returncode:
            subprocess.run([*tool, "-A", *rule], check=True)

    def _route(self, nodes: dict[Key, Object]) -> None:
        """Reach every other node's pods by that node's address: all share one network."""
        for item in nodes.values():
            pods, gateway = item["spec"].get("podCIDR"), internal_ip(item)
            # This node may still be known by an address that it had before.
            if pods and gateway and item["metadata"]["name"] != self._config.node_name:
                subprocess.run(["ip", "route", "replace", pods, "via", gateway], check=False)
