"""Certificates, kubeconfigs and the token of a server."""

import base64
import hashlib
import secrets
import subprocess
from pathlib import Path
from typing import Any

import yaml

from launcher import paths, payload
from launcher.api import Api
from launcher.config import Config

API_SERVER = "127.0.0.1:6443"


def prepare(config: Config, bin_dir: Path) -> None:
    """Make whatever is missing; the serving certificate is made anew, as addresses may have changed."""
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
    _write_token(config)


def client() -> Api:
    """Give the API as its administrator sees it (the certificate API server and kubelet talk by is one)."""
    name = "apiserver-kubelet-client"
    return Api(API_SERVER, paths.TLS / "ca.crt", paths.TLS / f"{name}.crt", paths.TLS / f"{name}.key")


def write_private(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file that never is more readable than it should be."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(0o600)
    fresh.write_text(text)
    fresh.chmod(mode)
    return fresh.replace(path)


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


def _write_token(config: Config) -> None:
    """Write node-token in K3s' form; the secret is the configured one, the one of last time or a new one."""
    kept = paths.SERVER / "token"
    file = Path(config.text("token-file") or kept)
    secret = config.text("token") or (file.read_text().strip() if file.exists() else secrets.token_hex(16))
    secret = secret.rsplit("::server:", maxsplit=1)[-1]
    write_private(kept, secret + "\n")
    authority = (paths.TLS / "ca.crt").read_text().split("-----")[2]
    digest = hashlib.sha256(base64.b64decode(authority)).hexdigest()
    write_private(paths.SERVER / "node-token", f"K10{digest}::server:{secret}\n")
