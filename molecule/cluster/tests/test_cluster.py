"""A server and an agent as the first run leaves them."""

from __future__ import annotations

import pytest

from fleet import Answer, Fleet

from .conftest import AGENT, ANSWERS, SERVER, SPARE, is_ready, nodes, pods_by_node


def test_both_nodes_are_ready_at_the_wanted_version_and_the_spare_is_none(fleet: Fleet, version: str) -> None:
    found = nodes(fleet)
    assert {name: status["nodeInfo"]["kubeletVersion"] for name, status in found.items()} == {
        SERVER: version,
        AGENT: version,
    }
    assert [name for name, status in found.items() if not is_ready(status)] == []
    assert not fleet.nodes[SPARE].file("/usr/local/bin/k3s").exists


@pytest.mark.parametrize("node", [SERVER, AGENT])
def test_the_image_is_on_every_node(fleet: Fleet, node: str) -> None:
    deployment = fleet.objects("deployment/greeter", "--namespace=customer-a")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] in fleet.nodes[node].check_output("k3s ctr images list --quiet").split()


def test_the_pods_of_a_customer_with_two_are_on_two_nodes(fleet: Fleet) -> None:
    assert len(fleet.pods()["customer-a"]) == 2
    assert [node for node, customers in pods_by_node(fleet).items() if "customer-a" in customers] in (
        [SERVER, AGENT],
        [AGENT, SERVER],
    )


@pytest.mark.parametrize("node", [SERVER, AGENT])
@pytest.mark.parametrize(("host", "body"), ANSWERS.items())
def test_every_host_answers_through_every_node(fleet: Fleet, node: str, host: str, body: bytes) -> None:
    for _ in range(6):
        assert fleet.get(host, node) == Answer(200, "application/json", body)


@pytest.mark.parametrize(
    ("node", "path"),
    [
        (SERVER, "/etc/rancher/k3s/config.yaml"),
        (SERVER, "/etc/rancher/k3s/k3s.yaml"),
        (SERVER, "/etc/rancher/k3s/registries.yaml"),
        (SERVER, "/etc/systemd/system/k3s.service.env"),
        (SERVER, "/var/lib/rancher/k3s/server/token"),
        (AGENT, "/etc/rancher/k3s/config.yaml"),
        (AGENT, "/etc/rancher/k3s/registries.yaml"),
        (AGENT, "/etc/rancher/k3s/token"),
        (AGENT, "/etc/systemd/system/k3s-agent.service.env"),
    ],
)
def test_what_may_hold_secrets_is_for_root_alone(fleet: Fleet, node: str, path: str) -> None:
    file = fleet.nodes[node].file(path)
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)


def test_an_agent_has_no_kubeconfig_of_the_administrator(fleet: Fleet) -> None:
    assert not fleet.nodes[AGENT].file("/etc/rancher/k3s/k3s.yaml").exists
    assert fleet.nodes[AGENT].run("k3s kubectl get nodes").rc != 0


@pytest.mark.parametrize("node", [SERVER, AGENT])
def test_the_token_is_in_no_process_list_and_no_file_that_others_read(fleet: Fleet, secret: str, node: str) -> None:
    machine = fleet.nodes[node]
    assert secret not in machine.check_output("ps -eo args")
    # Not in what lies in images and in the database: nobody else may enter those folders.
    found = machine.run(
        "find /etc /run /var/lib/rancher -xdev -type f -size -4096k -not -path '*/containerd/*' -exec grep -lF %s {} +",
        secret,
    ).stdout.split()
    assert found
    assert {path: oct(machine.file(path).mode) for path in found} == dict.fromkeys(found, "0o600")
