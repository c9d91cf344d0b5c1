"""What runs on every node: containers, the kubelet, service addresses and routes to the other nodes' pods."""

import logging
import resource
import subprocess
from pathlib import Path

from launcher import paths, payload
from launcher.api import Api, Key, Object
from launcher.config import Config
from launcher.supervise import Supervisor

log = logging.getLogger(__name__)

PAUSE_IMAGE = "localhost/testbed/pause:1"
CTR = ("ctr", "--address", str(paths.CONTAINERD_SOCKET), "--namespace", "k8s.io")


class Node:
    """This machine as a node; `kubeconfig` is how its kubelet reaches the API server."""

    def __init__(
        self, config: Config, supervisor: Supervisor, bin_dir: Path, authority: Path, kubeconfig: Path
    ) -> None:
        """Take what all parts need."""
        self._config = config
        self._supervisor = supervisor
        self._bin = bin_dir
        self._authority = authority
        self._kubeconfig = kubeconfig
        self._etc = paths.AGENT / "etc"

    def start(self) -> None:
        """Start containerd, import the images that lie ready, start the kubelet."""
        self._etc.mkdir(parents=True, exist_ok=True)
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
        kubelet = self._render("kubelet.yaml", authority=self._authority, max_open_files=files_limit)
        self._supervisor.start("containerd", "containerd", "--config", containerd)
        self._supervisor.wait_until("containerd answers", self._containerd_answers)
        for archive in sorted(paths.IMAGES.glob("*.tar*")):
            log.info("importing %s", archive)
            subprocess.run([*CTR, "images", "import", str(archive)], check=True, stdout=subprocess.DEVNULL)
        self._supervisor.start(
            "kubelet",
            self._bin / "kubelet",
            f"--config={kubelet}",
            f"--kubeconfig={self._kubeconfig}",
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
            kubeconfig=self._kubeconfig,
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
        """Let pods leave the cluster by the node's address."""
        pods = self._config.cluster_cidr
        rule = ["POSTROUTING", "-s", pods, "!", "-d", pods, "-j", "MASQUERADE"]
        tool = ["iptables", "--wait", "--table", "nat"]
        if subprocess.run([*tool, "-C", *rule], check=False, capture_output=True).returncode:
            subprocess.run([*tool, "-A", *rule], check=True)

    def _route(self, nodes: dict[Key, Object]) -> None:
        """Reach every other node's pods by that node's address: all share one network."""
        for item in nodes.values():
            pods = item["spec"].get("podCIDR")
            addresses = item["status"].get("addresses", [])
            gateway = next((each["address"] for each in addresses if each["type"] == "InternalIP"), None)
            if pods and gateway and gateway != self._config.node_ip:
                subprocess.run(["ip", "route", "replace", pods, "via", gateway], check=False)
