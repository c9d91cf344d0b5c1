"""Certificates, kubeconfigs and the token of a server."""

import secrets
import subprocess
from pathlib import Path
from typing import Any

import yaml

from launcher import paths, payload, tokens
from launcher.api import Api, trusting
from launcher.config import Config
from launcher.paths import write_private
from launcher.tokens import Token

API_SERVER = "127.0.0.1:6443"
AUTHORITY = paths.TLS / "ca.crt"
TOKEN = paths.SERVER / "token"


def prepare(config: Config, bin_dir: Path) -> Token:
    """Make whatever is missing and give the token; the serving certificate is made anew, as addresses may have changed.

    Raises:
        ConfigError: when the configured token is not the one of last time.
    """
    token = tokens.of_server(config, TOKEN) or Token(secrets.token_hex(16))
    for folder in (paths.TLS, paths.CREDENTIALS):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = write_private(
        paths.CREDENTIALS / "kubeadm.yaml",
        payload.render(
            "kubeadm.yaml",
            ip=config.node_ip,
            name=config.node_name,
            names=["localhost", "127.0.0.1", *config.items("tls-san")],
            tls=paths.TLS,
            cluster_cidr=config.cluster_cidr,
            service_cidr=config.service_cidr,
            version=payload.build()["version"],
        ),
    )
    for name in ("apiserver.crt", "apiserver.key"):
        (paths.TLS / name).unlink(missing_ok=True)
    _kubeadm(bin_dir, "certs", "all", "--config", settings)
    if not (paths.CREDENTIALS / "admin.conf").exists():
        _kubeadm(bin_dir, "kubeconfig", "all", "--config", settings, "--kubeconfig-dir", paths.CREDENTIALS)
        for file in paths.CREDENTIALS.glob("*.conf"):
            kubeconfig = yaml.safe_load(file.read_text())
            kubeconfig["clusters"][0]["cluster"]["server"] = f"https://{API_SERVER}"
            write_private(file, yaml.safe_dump(kubeconfig))
    _write_user_kubeconfig(config)
    _write_token(token)
    return token


def client() -> Api:
    """Give the API as its administrator sees it (the certificate API server and kubelet talk by is one)."""
    name = "apiserver-kubelet-client"
    return Api(API_SERVER, trusting(AUTHORITY, paths.TLS / f"{name}.crt", paths.TLS / f"{name}.key"))


def _kubeadm(bin_dir: Path, *arguments: object) -> None:
    command = [bin_dir / "kubeadm", "init", "phase", *arguments]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def _write_user_kubeconfig(config: Config) -> None:
    """Write k3s.yaml with K3s' one name for everything."""
    kubeconfig: dict[str, Any] = yaml.safe_load((paths.CREDENTIALS / "admin.conf").read_text())
    kubeconfig["clusters"][0]["name"] = kubeconfig["users"][0]["name"] = "default"
    kubeconfig["contexts"] = [{"name": "default", "context": {"cluster": "default", "user": "default"}}]
    kubeconfig["current-context"] = "default"
    write_private(paths.KUBECONFIG, yaml.safe_dump(kubeconfig), config.kubeconfig_mode)


def _write_token(token: Token) -> None:
    """Write the token under both of K3s' names."""
    write_private(TOKEN, token.written_for(AUTHORITY.read_text()))
    other = paths.SERVER / "node-token"
    if not other.is_symlink():
        other.unlink(missing_ok=True)
        other.symlink_to(TOKEN)
