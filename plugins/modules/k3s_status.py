#!/usr/bin/python
"""What a host knows of its cluster: its certificates and images and, on a server, what its API server says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

BINARY = Path("/usr/local/bin/k3s")
FOLDER = Path("/var/lib/rancher/k3s")
# Not all below agent: containers' files lie there.
PLACES = ("server/tls/**/*.crt", "agent/*.crt")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
ROLES = {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}
SECONDS = 10
# No registry has an image of this name: the nodes do, or nobody.
LOCAL = "localhost/"
IMAGES = "--output=jsonpath={.items[*].spec.template.spec.containers[*].image}"


def certificates(folder: Path) -> dict[str, str]:
    """File → the certificates in it, and nothing else of it.

    Raises:
        OSError: when one cannot be read.
    """
    paths = sorted({path for place in PLACES for path in folder.glob(place)})
    return {
        str(path.relative_to(folder)): "".join(CERTIFICATE.findall(path.read_text(errors="replace"))) for path in paths
    }


def run(*arguments: str) -> tuple[str, str]:
    """What K3s' own command answers, and what it says if it does not."""
    try:
        done = subprocess.run(
            [str(BINARY), *arguments], capture_output=True, timeout=3 * SECONDS, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    return ("", done.stderr or f"{arguments[0]} failed") if done.returncode else (done.stdout, "")


def ask(*arguments: str) -> tuple[str, str]:
    """What this server's API answers, and what kubectl says if it does not."""
    return run("kubectl", f"--request-timeout={SECONDS}s", "get", *arguments)


def local_images(text: str) -> list[str]:
    """Those of the names of images in a text that stand for local ones."""
    return sorted({name for name in text.split() if name.startswith(LOCAL)})


def node(found: dict[str, Any]) -> dict[str, Any]:
    """What `RETURN` says of a node."""
    return {
        "version": found["status"]["nodeInfo"]["kubeletVersion"],
        "unschedulable": bool(found["spec"].get("unschedulable")),
        "control_plane": not ROLES.isdisjoint(found["metadata"].get("labels", {})),
        "addresses": [each["address"] for each in found["status"].get("addresses", [])],
        "conditions": {
            each["type"]: {"status": each["status"], "message": each.get("message", "")}
            for each in found["status"].get("conditions", [])
        },
    }


def status(server: bool) -> dict[str, Any]:
    """Everything that `RETURN` lists."""
    result: dict[str, Any] = {"certificates": certificates(FOLDER), "ready": False, "message": "", "nodes": {}}
    result.update(images=[], images_needed=[])
    if not BINARY.exists():
        return result
    result["images"] = local_images(run("ctr", "images", "list", "--quiet")[0])
    if not server:
        return result
    answer, error = ask("--raw=/readyz?verbose")
    failed = re.findall(r"\[-\](\S+) failed", error)
    result["ready"] = bool(answer)
    result["message"] = f"failed checks: {', '.join(failed)}" if failed else error.strip().rpartition("\n")[2]
    # One that is not ready may still know its nodes; one that does not answer is not waited for twice.
    if answer or "[-]" in error:
        nodes = json.loads(ask("--raw=/api/v1/nodes")[0] or '{"items": []}')
        result["nodes"] = {each["metadata"]["name"]: node(each) for each in nodes["items"]}
        greeters = ask("deployments", "--all-namespaces", "--selector=app.kubernetes.io/name=greeter", IMAGES)[0]
        result["images_needed"] = local_images(greeters)
    return result


def main() -> None:
    """Answer Ansible."""
    module = AnsibleModule(argument_spec={"server": {"type": "bool", "required": True}}, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **status(module.params["server"]))
    except OSError as error:
        module.fail_json(msg=f"K3s' files cannot be read: {error}")


if __name__ == "__main__":
    main()
