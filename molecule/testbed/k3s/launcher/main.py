"""The command `k3s`."""

import logging
import os
import sys

from launcher import paths, payload

USAGE = "usage: k3s server | agent | etcd-snapshot ... | kubectl ... | ctr ... | --version"


def main() -> int | str:
    """Do what the first argument says."""
    logging.basicConfig(level=logging.INFO, format="level=%(levelname)s msg=%(message)s")
    match sys.argv[1:]:
        case ["--version" | "-v"]:
            build = payload.build()
            print(f"k3s version {build['version']} (debian)\ngo version {build['go']}")
            return 0
        case ["server" | "agent" as role]:
            return _run(role, [])
        case ["server" as role, *options] if "--cluster-reset" in options:
            return _run(role, options)
        case ["etcd-snapshot" as role, *arguments]:
            return _run(role, arguments)
        case ["server" | "agent", *_]:
            return "the test bed's k3s takes its settings from /etc/rancher/k3s/config.yaml only"
        case ["kubectl", *arguments]:
            os.environ.setdefault("KUBECONFIG", str(paths.KUBECONFIG))
            kubectl = str(payload.unpack() / "kubectl")
            os.execv(kubectl, [kubectl, *arguments])
        case ["ctr", *arguments]:
            os.environ.setdefault("CONTAINERD_ADDRESS", str(paths.CONTAINERD_SOCKET))
            os.environ.setdefault("CONTAINERD_NAMESPACE", "k8s.io")
            os.execvp("ctr", ["ctr", *arguments])
    return USAGE


def _run(role: str, arguments: list[str]) -> int | str:
    # Imported only here: `k3s --version` also runs on a controller, which may have no PyYAML.
    from launcher import agent, config, server, snapshots  # noqa: PLC0415
    from launcher.supervise import ChildError  # noqa: PLC0415

    try:
        if role == "agent":
            agent.work(config.Config.load(flags=config.AGENT))
            return 0
        settings = config.Config.load(flags=config.SERVER)
        if role == "etcd-snapshot":
            snapshots.manage(settings, arguments)
        elif arguments:
            snapshots.restore(settings, arguments)
        else:
            server.serve(settings)
    except (config.ConfigError, ChildError) as error:
        return f"level=fatal msg={str(error)!r}"
    return 0
