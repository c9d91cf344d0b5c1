"""Configuration is merged and refused by K3s' rules."""

from pathlib import Path

import pytest

from launcher.config import AGENT, SERVER, Config, ConfigError


def load(folder: Path, main: str, environment: dict[str, str] | None = None, **fragments: str) -> Config:
    """Write the files and read them; a fragment `a=...` becomes config.yaml.d/a.yaml."""
    (folder / "config.yaml").write_text(main)
    (folder / "config.yaml.d").mkdir()
    for name, text in fragments.items():
        (folder / "config.yaml.d" / f"{name}.yaml").write_text(text)
    return Config.load(folder, environment or {})


def test_later_fragments_replace_and_plus_adds(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "node-name: main\ntls-san: [one]\nnode-label: [a=1]\n",
        b="node-name: second\ntls-san+: two,three\n",
        a="node-name: first\nnode-label: [b=2]\n",
    )
    assert config.node_name == "second"
    assert config.items("tls-san") == ["one", "two", "three"]
    assert config.items("node-label") == ["b=2"]


def test_files_win_over_the_environment(tmp_path: Path) -> None:
    environment = {"K3S_TOKEN": "from-environment", "K3S_NODE_NAME": "from-environment"}
    config = load(tmp_path, "node-name: from-file\n", environment)
    assert config.node_name == "from-file"
    assert config.text("token") == "from-environment"


def test_unknown_flags_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"flag provided but not defined: -nod-name$"):
        load(tmp_path, "nod-name: x\n")


def test_flags_without_effect_are_accepted_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, "flannel-backend: vxlan\nnode-name: x\n")
    assert "'flannel-backend'" in caplog.text
    assert "node-name" not in caplog.text


@pytest.mark.parametrize(("written", "mode"), [("", 0o600), ("0640", 0o640), ('"0640"', 0o640), ('"640"', 0o640)])
def test_the_kubeconfig_mode_may_be_a_number_or_text(tmp_path: Path, written: str, mode: int) -> None:
    line = f"write-kubeconfig-mode: {written}\n" if written else ""
    assert load(tmp_path, line).kubeconfig_mode == mode


def test_arguments_of_a_part_become_flags(tmp_path: Path) -> None:
    config = load(tmp_path, "kubelet-arg: [max-pods=50, v=2]\n")
    assert config.arguments("kubelet") == ["--max-pods=50", "--v=2"]
    assert config.arguments("kube-proxy") == []


@pytest.mark.parametrize("flag", ["tls-san", "disable", "cluster-init", "write-kubeconfig-mode"])
def test_an_agent_refuses_the_flags_of_servers(tmp_path: Path, flag: str) -> None:
    (tmp_path / "config.yaml").write_text(f"{flag}: x\n")
    assert Config.load(tmp_path, {}).text(flag) == "x"
    with pytest.raises(ConfigError, match=f"flag provided but not defined: -{flag}$"):
        Config.load(tmp_path, {}, AGENT)


def test_every_flag_of_an_agent_is_one_of_servers_too_but_those_of_its_own() -> None:
    assert {"airgap-extra-registry", "container-runtime-endpoint", "disable-apiserver-lb"} == AGENT - SERVER


def test_what_the_servers_say_fills_only_what_is_open(tmp_path: Path) -> None:
    config = load(tmp_path, "node-name: own\n").with_defaults({"node-name": "theirs", "cluster-cidr": "10.9.0.0/16"})
    assert (config.node_name, config.cluster_cidr) == ("own", "10.9.0.0/16")
