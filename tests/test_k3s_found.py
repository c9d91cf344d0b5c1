"""What the modules see of a K3s on a host: whose it is, and what of its settings lasts."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.module_utils.k3s_found import datastore, k3s_found

SECRET = "hunter2-Xo7q9Kp2Lm4w"
UNIT = "/etc/systemd/system/k3s.service"
CONFIG = "/etc/rancher/k3s/config.yaml"
SECRETS = "/etc/rancher/k3s/config.yaml.d/secrets.yaml"
OURS = """[Service]
ExecStartPre=/bin/sh -c 'umask 077; sha256sum /usr/local/bin/k3s >/run/k3s-started-from'
ExecStart=/usr/local/bin/k3s server
"""
# As K3s' own installer writes it.
THEIRS = f"""[Service]
EnvironmentFile=-/etc/systemd/system/k3s.service.env
ExecStart=/usr/local/bin/k3s \\
    server \\
\t'--cluster-cidr=10.0.0.0/14' \\
\t'--secrets-encryption' \\
\t'--token' \\
\t'{SECRET}' \\
\t'--flannel-backend' \\
\t'host-gw' \\

Restart=always
"""


def seen(root: Path, files: dict[str, str]) -> dict[str, Any]:
    """What is found on a host with these files."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = k3s_found(str(root))
    assert SECRET not in str(found)
    return found


def test_a_bare_host_has_nothing(tmp_path: Path) -> None:
    assert seen(tmp_path, {}) == {"foreign": [], "settings": {}, "state": "", "node_name": ""}


@pytest.mark.parametrize("unit", [UNIT, "/etc/init.d/k3s", "/etc/systemd/system/k3s-agent.service"])
def test_what_this_project_has_begun_is_its_own(tmp_path: Path, unit: str) -> None:
    """The service is what it writes first."""
    assert seen(tmp_path, {unit: OURS})["foreign"] == []
    files = {CONFIG: "debug: true\n", "/usr/local/bin/k3s": "", "/etc/rancher/k3s/config.yaml.d/90-mine.yaml": ""}
    assert seen(tmp_path, files)["foreign"] == []


@pytest.mark.parametrize(
    "files",
    [
        [UNIT],
        ["/usr/lib/systemd/system/k3s.service"],
        ["/etc/init.d/k3s-agent", "/etc/conf.d/k3s-agent"],
        [UNIT, CONFIG, SECRETS, "/etc/rancher/k3s/registries.yaml", "/etc/rancher/k3s/token",
         "/etc/rancher/k3s/config.yaml.d/10-db.yaml", "/etc/systemd/system/k3s.service.env"],
        # As a cloud's image brings it, and one that somebody has started by hand.
        [CONFIG],
        ["/var/lib/rancher/k3s/server/token"],
        ["/var/lib/rancher/k3s/agent/client-kubelet.crt", "/usr/local/bin/k3s"],
        ["/usr/local/bin/k3s"],
    ],
    ids=lambda files: files[0],
)  # fmt: skip
def test_what_somebody_else_has_put_there_is_named(tmp_path: Path, files: list[str]) -> None:
    assert seen(tmp_path, dict.fromkeys(files, ""))["foreign"] == files


def test_what_others_may_bring_before_k3s_is_not_taken_for_it(tmp_path: Path) -> None:
    files = ["/var/lib/rancher/k3s/agent/images/k3s.tar", "/etc/default/k3s", "/etc/rancher/rke2/config.yaml"]
    files += ["/etc/rancher/k3s/config.yaml.d/90-mine.yaml", "/etc/rancher/k3s/k3s.yaml"]
    assert seen(tmp_path, dict.fromkeys(files, ""))["foreign"] == []


@pytest.mark.parametrize(
    ("files", "settings"),
    [
        ({UNIT: THEIRS}, {"cluster-cidr": "10.0.0.0/14", "secrets-encryption": True, "flannel-backend": "host-gw"}),
        # The command line wins over the files, a later file over an earlier one, and all over the environment.
        (
            {
                UNIT: THEIRS,
                CONFIG: f"cluster-cidr: 10.9.0.0/16\ncluster-domain: one.example\ntoken: {SECRET}\n",
                "/etc/rancher/k3s/config.yaml.d/1.yaml": "cluster-domain: 'two.example' # ours\n",
                "/etc/systemd/system/k3s.service.env": f"K3S_TOKEN={SECRET}\nK3S_NODE_NAME='web'\n",
            },
            {
                "cluster-cidr": "10.0.0.0/14",
                "secrets-encryption": True,
                "flannel-backend": "host-gw",
                "cluster-domain": "two.example",
                "node-name": "web",
            },
        ),
        (
            {
                "/etc/init.d/k3s": 'command_args="server \\\n'
                "    '--data-dir=/srv/k3s' \\\n    >>/var/log/k3s.log 2>&1\"\n",
            },
            {"data-dir": "/srv/k3s"},
        ),
        (
            {
                CONFIG: 'cluster-cidr:\n- 10.42.0.0/16\n# both\n- "fd42::/56"\n'
                "service-cidr: [10.4.0.0/16, fd4::/112]\nnode-ip:\n",
            },
            {
                "cluster-cidr": ["10.42.0.0/16", "fd42::/56"],
                "service-cidr": ["10.4.0.0/16", "fd4::/112"],
                "node-ip": "",
            },
        ),
        (
            {CONFIG: '{"secrets-encryption": false, "node-ip": "192.0.2.1"}'},
            {"secrets-encryption": False, "node-ip": "192.0.2.1"},
        ),
        (
            {SECRETS: f"datastore-endpoint: postgres://k3s:{SECRET}@db:5432/k3s?a=b\n"},
            {"datastore": "postgres db:5432/k3s"},
        ),
        (
            {"/etc/default/k3s": f"K3S_DATASTORE_ENDPOINT=mysql://k3s:{SECRET}@tcp(db:3306)/k3s\n"},
            {"datastore": "mysql tcp(db:3306)/k3s"},
        ),
        ({CONFIG: "[[[ no YAML: at: all\n- x\n"}, {}),
        ({UNIT: "ExecStart=/usr/local/bin/k3s 'server\n"}, {}),
    ],
)
def test_lasting_settings_are_found_wherever_they_are_set(
    tmp_path: Path, files: dict[str, str], settings: dict[str, Any]
) -> None:
    assert seen(tmp_path, files)["settings"] == settings


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("", ""),
        ("sqlite:///var/lib/k3s.db", ""),
        (f"postgresql://k3s:{SECRET}@db/k3s?sslmode=disable", "postgres db/k3s"),
        (f"postgres://k3s:p@?/{SECRET}@db/k3s", "postgres db/k3s"),
        ("https://b:2379,https://a:2379/", "etcd a:2379,b:2379"),
    ],
)
def test_a_datastore_has_a_name_without_its_login(endpoint: str, name: str) -> None:
    assert datastore(endpoint) == name


def test_what_holds_the_state_is_found(tmp_path: Path) -> None:
    server = "/var/lib/rancher/k3s/server"
    assert seen(tmp_path, {f"{server}/db/state.db": ""})["state"] == ""
    assert seen(tmp_path, {f"{server}/token": SECRET})["state"] == "sqlite"
    assert seen(tmp_path, {f"{server}/db/etcd/member/wal": ""})["state"] == "etcd"
    assert seen(tmp_path / "other", {f"{server}/token": SECRET})["state"] == "elsewhere"


@pytest.mark.parametrize("name", ["web-1", "a", "node.example.com"])
def test_the_nodes_name_is_that_of_its_certificate(tmp_path: Path, name: str) -> None:
    text = b"system:node:" + name.encode()
    body = base64.encodebytes(b"0\x82\x01 system:nodes \x0c" + bytes([len(text)]) + text + b"0\x0a rest").decode()
    certificate = f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"
    assert seen(tmp_path, {"/var/lib/rancher/k3s/agent/client-kubelet.crt": certificate})["node_name"] == name
