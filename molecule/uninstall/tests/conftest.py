"""What this scenario's tests share: the hosts, and what they were like before K3s."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleet import Answer, Fleet, container

SERVER, AGENT = "greeter-uninstall-1", "greeter-uninstall-2"
HI = Answer(200, "application/json", b'{"response":"Hi!"}')
Picture = dict[str, Any]

# What somebody else has on a host, as near to K3s' own as can be: files in folders of both, a file system mounted below
# K3s' folder, rules whose comments speak of it, an interface, a namespace with a process of its own, and a shim of
# another containerd.
FOREIGN = """
set -e
for folder in /etc/rancher /etc/rancher/k3s/config.yaml.d /var/lib/rancher/disk /var/lib/rancher/k3s/storage/disk \
    /var/lib/cni/networks/mine /usr/local/bin /srv; do
  mkdir -p $folder
done
for file in /etc/rancher/mine /var/lib/rancher/disk/mine /var/lib/cni/networks/mine/1 /usr/local/bin/kubectl \
    /srv/mine; do
  echo mine >$file
done
echo 'node-label: [owner=mine]' >/etc/rancher/k3s/config.yaml.d/90-mine.yaml
mount --bind /var/lib/rancher/disk /var/lib/rancher/k3s/storage/disk
ln -s /srv/mine /usr/local/bin/ctr
iptables -A INPUT -p tcp --dport 9 -m comment --comment 'flannel and KUBE-API may come in' -j ACCEPT
iptables -t nat -N CNI-mine
iptables -t nat -A CNI-mine -m comment --comment 'name: "mine" id: "1"' -j ACCEPT
iptables -t nat -A POSTROUTING -s 10.88.0.2/32 -m comment --comment 'name: "mine" id: "1"' -j CNI-mine
ip6tables -A INPUT -p tcp --dport 9 -j ACCEPT
ip link add veth-mine type veth peer name veth-yours
ip netns add cni-mine
systemd-run --quiet --unit=mine-1 ip netns exec cni-mine sleep infinity
systemd-run --quiet --unit=mine-2 bash -c \
  'exec -a containerd-shim-runc-v2 bash -c "sleep infinity & wait" shim -address /run/containerd/containerd.sock'
"""


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """The hosts."""
    return Fleet()


def picture(host: str) -> Picture:
    """All of a host that an installation could change."""
    script = Path(__file__).with_name("picture.py").read_text()
    done = subprocess.run(
        ["podman", "exec", "--interactive", container(host), "python3", "-B", "-"],
        input=script, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="session")
def before(fleet: Fleet) -> dict[str, Picture]:
    """Host → what it was like, with things of others on it; then K3s and the customer were put there."""
    pictures = {}
    for name, host in fleet.nodes.items():
        host.run_expect([0], "sh -c %s", FOREIGN)
        pictures[name] = picture(name)
    done = fleet.play("site.yml")
    assert done.returncode == 0, done.stdout
    return pictures


def differences(was: object, now: object, where: str = "") -> list[str]:
    """What is another in two pictures, in lines."""
    if isinstance(was, dict) and isinstance(now, dict):
        return [
            line
            for key in sorted({*was, *now})
            for line in differences(was.get(key, "nothing"), now.get(key, "nothing"), f"{where} {key}")
        ]
    if isinstance(was, list) and isinstance(now, list):
        gone, new = [each for each in was if each not in now], [each for each in now if each not in was]
        return [f"{where}: {sign} {each}" for sign, some in (("gone", gone), ("new", new)) for each in some]
    return [] if was == now else [f"{where}: was {was}, is {now}"]
