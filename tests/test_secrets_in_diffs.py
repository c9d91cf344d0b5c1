"""No difference that --diff shows holds a secret, whatever is declared and whatever the files held before."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.greeter.fleet.plugins.action.k3s_file import without_old_values

from .conftest import PROJECT, Run
from .test_k3s_shapes import LOCAL, VERSION, make_artifacts

# Modules that show the content of files, the old and the new one. The module k3s_file hides the old one by itself.
WRITERS = {
    f"{collection}.{name}"
    for collection, names in {
        "ansible.builtin": ("assemble", "blockinfile", "copy", "lineinfile", "replace", "template"),
        "community.general": ("ini_file", "pamd", "sefcontext", "xml"),
        "ansible.posix": ("authorized_key", "mount"),
    }.items()
    for name in names
}
# Tasks whose files hold no secret, neither what is written nor what a person may have written there before.
PLAIN = {
    "endpoints": {"Write the table of hosts and answers"},
    # Archives and the service's source.
    "greeter_image": {"Keep the archive", "Copy the greeter's source", "Copy the image's archive to the node"},
    # Programs and images, and the name of a folder.
    "k3s": {
        "Install the k3s binary",
        "Install the downloaded k3s binary",
        "Note it for a run after this one",
        "Put further images where K3s imports them from",
        "Put K3s' own images where it imports them from",
        "Put the new release in place",
    },
    # Settings of the kernel, packages, and where they come from.
    "prepare": {
        "Add its repository",
        "Copy its packages",
        "Enable the control groups on the kernel's command line",
        "Load the kernel modules at every boot",
        "Set the kernel settings at every boot",
    },
}


def tasks(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All tasks of a file, those within blocks too."""
    for task in found:
        inner = [task[part] for part in ("block", "rescue", "always") if part in task]
        yield from tasks([each for part in inner for each in part]) if inner else [task]


def test_every_task_that_writes_a_file_hides_it_or_writes_no_secret() -> None:
    shown = {
        (path.relative_to(PROJECT / "roles").parts[0], task["name"])
        for folder in ("tasks", "handlers")
        for path in sorted((PROJECT / "roles").glob(f"*/{folder}/**/*.yml"))
        for task in tasks(yaml.safe_load(path.read_text()) or [])
        if WRITERS & task.keys() and task.get("diff") is not False and task.get("no_log") is not True
    }
    assert shown == {(role, name) for role, names in PLAIN.items() for name in names}


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("", "debug: true\n", ""),
        ("debug: true\n", "debug: true\nx: 1\n", "debug: true\n"),
        ("debug: false\ntoken: hunter2\n", "debug: true\n", "debug: (hidden)\ntoken: (hidden)\n"),
        ("token:\n- hunter2\n- hunter3\n  more\n'token': hunter2\n", "a: 1\n", "token: (hidden)\n(hidden)\n"),
        ("# hunter2\n\n   token: hunter2\ndebug: true\n", "debug: true\n", "(hidden)\ndebug: true\n"),
        ("ExecStart=/usr/local/bin/k3s --token=hunter2\r\n", "ExecStart=/usr/local/bin/k3s\n", "(hidden)\n"),
        ("hunter2:hunter2\nhttp://hunter2:hunter2@x\n", "", "(hidden)\n"),
    ],
)
def test_of_an_old_file_the_lines_that_stay_and_names_of_settings_are_shown(
    before: str, after: str, shown: str
) -> None:
    assert without_old_values(before, after) == shown


SECRET = "hunter2-Xo7q9Kp2Lm4w"
REGISTRY = f"""mirrors: {{docker.io: {{endpoint: [https://me:{SECRET}@mirror]}}}}
configs: {{r: {{auth: {{password: {SECRET}}}}}}}
"""
BEFORE = {
    "/etc/rancher/k3s/config.yaml": (
        f"token: {SECRET}\n'datastore-endpoint': postgres://k3s:{SECRET}@db/k3s\n# was {SECRET}\n"
        f"agent-token:\n  {SECRET}\n"
    ),
    "/etc/rancher/k3s/config.yaml.d/secrets.yaml": f"etcd-s3-secret-key: {SECRET}\n",
    "/etc/rancher/k3s/config.yaml.d/10-theirs.yaml": f"token: {SECRET}\n",
    "/etc/rancher/k3s/registries.yaml": REGISTRY,
    "/etc/rancher/k3s/token": f"{SECRET}\n",
    "/etc/rancher/k3s/k3s.env": f"HTTPS_PROXY=http://me:{SECRET}@proxy\n",
    "/etc/systemd/system/k3s.service": f"[Service]\nExecStart=/usr/local/bin/k3s server '--token={SECRET}'\n",
    "/etc/systemd/system/k3s.service.env": f"K3S_TOKEN={SECRET}\n",
    "/etc/init.d/k3s": f"#!/sbin/openrc-run\ncommand_args=\"server '--token={SECRET}'\"\n",
    "/var/lib/rancher/k3s/server/manifests/kube-vip.yaml": f"env: [{{name: bgp_peerpass, value: {SECRET}}}]\n",
    "/var/lib/rancher/k3s/server/manifests/mine.yaml": f"kind: Secret\nstringData: {{password: {SECRET}}}\n",
}
FOREIGN = ("/etc/rancher/k3s/config.yaml", "/etc/systemd/system/k3s.service")
# All folders of K3s and of its services are elsewhere, for the role's own files as they are.
FOLDERS = ("/etc/rancher", "/etc/systemd/system", "/etc/init.d", "/var/lib/rancher", "/usr/local/bin", "/run/k3s-")
PLAY = """
- name: Put K3s on the host
  hosts: k3s_servers
  gather_subset: ["!all", min]
  roles:
    - role: k3s
"""
SECRETS: dict[str, Any] = {
    "k3s_token": SECRET,
    "k3s_server_config": {"etcd-s3-secret-key": SECRET},
    "k3s_datastore_endpoint": f"postgres://k3s:{SECRET}@db/k3s",
    "k3s_registries": yaml.safe_load(REGISTRY),
    "k3s_environment": {"HTTPS_PROXY": f"http://me:{SECRET}@proxy"},
}


@pytest.mark.parametrize(
    ("declared", "adopted"),
    [
        ({"k3s_registries": {"mirrors": {"docker.io": {}}}, "k3s_environment": {"NO_PROXY": "10.0.0.0/8"}}, False),
        ({"k3s_registries": {}, "k3s_environment": {}}, True),
        (SECRETS, False),
        (SECRETS, True),
    ],
    ids=["without secrets", "nothing, of somebody else's", "with secrets", "with secrets, of somebody else's"],
)
def test_the_role_shows_no_secret_of_before_and_after(
    ansible: Run, tmp_path: Path, declared: dict[str, Any], adopted: bool
) -> None:
    for name, text in BEFORE.items():
        path = tmp_path / f"host{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in sorted((PROJECT / "roles/k3s").glob("*/*")):
        text = path.read_text()
        for folder in FOLDERS:
            text = text.replace(folder, f"{tmp_path}/host{folder}")
        copy = tmp_path / "roles/k3s" / path.relative_to(PROJECT / "roles/k3s")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
    manifest = tmp_path / "mine.yaml"
    manifest.write_text(f"kind: Secret\nstringData: {{other: {SECRET}}}\n")
    artifacts = make_artifacts(tmp_path / "artifacts")
    info = {
        "version": VERSION, "sha256": "", "images": {}, "active": True, "enabled": True, "server_url": "",
        "present": [f"{tmp_path}/host{name}" for name in BEFORE], "not_run_from": [], "has_cluster": False,
        "has_joined": True, "addresses": ["192.0.2.1"],
        "found": {
            "foreign": [f"{tmp_path}/host{name}" for name in FOREIGN] if adopted else [],
            "settings": {}, "state": "", "node_name": "",
        },
    }  # fmt: skip
    settings = {
        "k3s_version": VERSION, "k3s_artifact_dir": str(artifacts), "k3s_manifests": [str(manifest)], "k3s_info": info,
        "k3s_kube_vip_interface": "eth7", "k3s_registration_address": "192.0.2.10", "k3s_adopt": adopted,
        "k3s_node_config": {"disable": ["servicelb"]}, **declared,
    }  # fmt: skip
    inventory, extra, playbook = (tmp_path / name for name in ("hosts.yml", "extra.json", "play.yml"))
    inventory.write_text(yaml.safe_dump({"k3s_servers": {"hosts": {"s1": LOCAL}}, "k3s_agents": {}}))
    extra.write_text(json.dumps(settings))
    playbook.write_text(PLAY)
    done = ansible(
        "ansible-playbook", f"--inventory={inventory}", f"--extra-vars=@{extra}", "--check", "--diff", "-vvv",
        str(playbook), ANSIBLE_ROLES_PATH=str(tmp_path / "roles"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for secret in (SECRET, base64.b64encode(SECRET.encode()).decode()[:-4]):
        assert [line for line in done.stdout.splitlines() if secret in line] == []
    # What is declared in the open is shown, and the names of what goes.
    assert "+disable:" in done.stdout
    assert "-token: (hidden)" in done.stdout
