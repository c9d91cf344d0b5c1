#!/usr/bin/python
"""What a host knows of the cluster it is part of: its certificates and, on a server, what its API server says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: k3s_status
short_description: Read a host's certificates and ask its API server, and change nothing
description:
  - Gives the certificates that K3s keeps in files, without any key.
  - A server is asked by its own kubeconfig whether it is ready, and for the nodes.
options:
  server: {type: bool, required: true, description: Whether the host is a server.}
"""
RETURN = r"""
certificates: {type: dict, returned: always, description: "File, relative to K3s' folder → its certificates in PEM."}
ready: {type: bool, returned: always, description: Whether the API server of this host says that it is.}
said: {type: str, returned: always, description: "What it, or kubectl, says if it is not."}
nodes:
  type: dict
  returned: always
  description:
    - Node → version, unschedulable, control_plane, addresses and conditions (type → status and message).
    - Empty if nothing was answered; a cluster that answers has a node at least.
"""

BINARY = Path("/usr/local/bin/k3s")
FOLDER = Path("/var/lib/rancher/k3s")
# Not all below agent: containers' files lie there.
PLACES = ("server/tls/**/*.crt", "agent/*.crt")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
SECONDS = 10


def certificates(folder: Path) -> dict[str, str]:
    """File → the certificates in it, and nothing else of it.

    Raises:
        OSError: when one cannot be read.
    """
    paths = sorted({path for place in PLACES for path in folder.glob(place)})
    return {
        str(path.relative_to(folder)): "".join(CERTIFICATE.findall(path.read_text(errors="replace"))) for path in paths
    }


def ask(path: str) -> tuple[str, str]:
    """What this server's API answers, and what kubectl says if it does not."""
    command = [str(BINARY), "kubectl", f"--request-timeout={SECONDS}s", "get", f"--raw={path}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=3 * SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    said = done.stderr.decode(errors="replace")
    return (done.stdout.decode(errors="replace"), "") if done.returncode == 0 else ("", said or "kubectl failed")


def reason(said: str) -> str:
    """The checks that have failed, if kubectl names some, else its last line."""
    failed = re.findall(r"\[-\](\S+) failed", said)
    return f"failed checks: {', '.join(failed)}" if failed else said.strip().rpartition("\n")[2]


def trimmed(answer: str) -> dict[str, Any]:
    """What `RETURN` says of nodes, from a NodeList as JSON text."""
    return {
        node["metadata"]["name"]: {
            "version": node["status"]["nodeInfo"]["kubeletVersion"],
            "unschedulable": bool(node["spec"].get("unschedulable")),
            "control_plane": any(
                f"node-role.kubernetes.io/{role}" in node["metadata"].get("labels", {})
                for role in ("control-plane", "master")
            ),
            "addresses": [each["address"] for each in node["status"].get("addresses", [])],
            "conditions": {
                each["type"]: {"status": each["status"], "message": each.get("message", "")}
                for each in node["status"].get("conditions", [])
            },
        }
        for node in json.loads(answer)["items"]
    }


def look(server: bool) -> dict[str, Any]:
    """Everything that `RETURN` lists."""
    found: dict[str, Any] = {"certificates": certificates(FOLDER), "ready": False, "said": "", "nodes": {}}
    if server and BINARY.exists():
        answer, said = ask("/readyz?verbose")
        found["ready"], found["said"] = bool(answer), reason(said)
        # One that is not ready may still know its nodes; one that does not answer is not waited for twice.
        if answer or "[-]" in said:
            answer, _ = ask("/api/v1/nodes")
            found["nodes"] = trimmed(answer) if answer else {}
    return found


def main() -> None:
    """Answer Ansible."""
    module = AnsibleModule(argument_spec={"server": {"type": "bool", "required": True}}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **look(module.params["server"]))
    except OSError as error:
        module.fail_json(msg=f"K3s' files cannot be read: {error}")


if __name__ == "__main__":
    main()
