"""K3s' configuration: files, fragments and environment, merged by K3s' rules."""

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from launcher import paths

log = logging.getLogger(__name__)

Values = dict[str, Any]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


IMPLEMENTED = _words(
    """
    cluster-cidr datastore-endpoint disable kube-apiserver-arg kube-controller-manager-arg kube-proxy-arg
    kube-scheduler-arg kubelet-arg node-ip node-label node-name node-taint server service-cidr tls-san token token-file
    write-kubeconfig-mode
    """
)
# Flags of K3s that mean something to K3s and nothing here.
ACCEPTED = _words(
    """
    advertise-address advertise-port agent-token agent-token-file alsologtostderr bind-address cluster-dns
    cluster-domain cluster-init data-dir datastore-cafile datastore-certfile
    datastore-keyfile debug default-local-storage-path default-runtime disable-apiserver
    disable-cloud-controller disable-controller-manager disable-default-registry-endpoint disable-etcd
    disable-helm-controller disable-kube-proxy disable-network-policy disable-scheduler docker
    egress-selector-mode embedded-registry enable-pprof etcd-arg etcd-disable-snapshots etcd-expose-metrics
    etcd-s3 etcd-snapshot-compress etcd-snapshot-dir etcd-snapshot-name etcd-snapshot-retention
    etcd-snapshot-schedule-cron flannel-backend flannel-cni-conf flannel-conf flannel-external-ip
    flannel-iface flannel-ipv6-masq helm-job-image https-listen-port
    image-credential-provider-bin-dir image-credential-provider-config image-service-endpoint kine-tls
    kube-cloud-controller-manager-arg lb-server-port log node-external-dns node-external-ip
    node-internal-dns nonroot-devices pause-image prefer-bundled-bin private-registry
    protect-kernel-defaults resolv-conf rootless secrets-encryption secrets-encryption-provider selinux
    service-node-port-range servicelb-namespace snapshotter supervisor-metrics
    system-default-registry tls-san-security v vmodule vpn-auth vpn-auth-file with-node-id
    write-kubeconfig write-kubeconfig-group
    """
)
# The flags of `k3s agent`; all others are those of servers alone.
AGENT = _words(
    """
    airgap-extra-registry alsologtostderr bind-address container-runtime-endpoint data-dir debug default-runtime
    disable-apiserver-lb disable-default-registry-endpoint docker enable-pprof flannel-cni-conf flannel-conf
    flannel-iface image-credential-provider-bin-dir image-credential-provider-config image-service-endpoint
    kube-proxy-arg kubelet-arg lb-server-port log node-external-dns node-external-ip node-internal-dns node-ip
    node-label node-name node-taint nonroot-devices pause-image prefer-bundled-bin private-registry
    protect-kernel-defaults resolv-conf rootless selinux server snapshotter token token-file v vmodule vpn-auth
    vpn-auth-file with-node-id
    """
)
SERVER = IMPLEMENTED | ACCEPTED
ENVIRONMENT = {
    "K3S_KUBECONFIG_MODE": "write-kubeconfig-mode",
    "K3S_NODE_NAME": "node-name",
    "K3S_TOKEN": "token",
    "K3S_TOKEN_FILE": "token-file",
    "K3S_URL": "server",
}


class ConfigError(Exception):
    """A setting that K3s would refuse too."""


def merge(documents: list[Values], flags: frozenset[str]) -> Values:
    """Merge documents in order: a later value replaces an earlier one, `key+` adds to a list.

    Raises:
        ConfigError: when a key is none of the `flags`.
    """
    merged: Values = {}
    for document in documents:
        for written, value in document.items():
            key = written.removesuffix("+")
            if key not in flags:
                raise ConfigError(f"flag provided but not defined: -{key}")
            merged[key] = _list(merged.get(key)) + _list(value) if written.endswith("+") else value
    return merged


def _list(value: object) -> list[str]:
    """Give a list of strings; K3s takes both `a,b` and a YAML list wherever several values are allowed."""
    if value is None:
        return []
    if isinstance(value, list):
        return [str(item) for item in value]
    return str(value).split(",")


class Config:
    """The merged settings, read by K3s' names."""

    def __init__(self, values: Values) -> None:
        """Wrap merged values and say which of them have no effect here."""
        self._values = values
        for key in sorted(values.keys() - IMPLEMENTED):
            log.warning("the test bed does not implement %r: the setting has no effect", key)

    @classmethod
    def load(
        cls,
        folder: Path = paths.ETC,
        environment: Mapping[str, str] = os.environ,
        flags: frozenset[str] = SERVER,
    ) -> "Config":
        """Read config.yaml, then config.yaml.d/*.yaml by name; the environment fills what they leave open.

        Raises:
            ConfigError: when a file is not a mapping or names an unknown flag.
        """
        documents = []
        for file in [folder / "config.yaml", *sorted(folder.glob("config.yaml.d/*.yaml"))]:
            document = yaml.safe_load(file.read_text()) if file.exists() else None
            if not isinstance(document or {}, dict):
                raise ConfigError(f"{file}: a mapping of flags is expected")
            documents.append(document or {})
        defaults = {key: environment[name] for name, key in ENVIRONMENT.items() if name in environment}
        return cls(defaults | merge(documents, flags))

    def with_defaults(self, values: Values) -> "Config":
        """Give the same settings, with `values` where nothing is set."""
        return Config(values | self._values)

    def text(self, key: str, default: str = "") -> str:
        """Give a setting of one value."""
        value = self._values.get(key, default)
        return str(value)

    def items(self, key: str) -> list[str]:
        """Give a setting of any number of values."""
        return _list(self._values.get(key))

    def arguments(self, part: str) -> list[str]:
        """Give the extra flags for a part, such as `kubelet` (from `kubelet-arg`)."""
        return [f"--{item}" for item in self.items(f"{part}-arg")]

    @property
    def node_name(self) -> str:
        """The name the node registers by."""
        return self.text("node-name", socket.gethostname()).lower()

    @property
    def node_ip(self) -> str:
        """The address other nodes reach this one by: unless set, that of the default route."""
        given = self.items("node-ip")
        if given:
            return given[0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # documentation address; UDP sends nothing at connect
            return str(probe.getsockname()[0])

    @property
    def kubeconfig_mode(self) -> int:
        """The mode of k3s.yaml; YAML reads 0640 as a number and "0640" as text."""
        mode = self._values.get("write-kubeconfig-mode", 0o600)
        return mode if isinstance(mode, int) else int(str(mode), 8)

    @property
    def cluster_cidr(self) -> str:
        """The range pods get addresses from."""
        return self.text("cluster-cidr", "10.42.0.0/16")

    @property
    def service_cidr(self) -> str:
        """The range services get addresses from."""
        return self.text("service-cidr", "10.43.0.0/16")
