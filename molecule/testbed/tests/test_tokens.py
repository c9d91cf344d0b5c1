"""A token is read in both of K3s' forms, and a server keeps to the one it has."""

from pathlib import Path

import pytest

from launcher.config import Config, ConfigError
from launcher.tokens import Token, given, of_server

AUTHORITY = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
# printf -- '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' | sha256sum
DIGEST = "7cc358aa45100f42d57b76e9b235253bfc6fc830b3e45858d2bc473657aae3f7"


@pytest.mark.parametrize("text", ["s3cret", "s3cret\n", f"K10{DIGEST}::server:s3cret\n", f"K10{DIGEST}::node:s3cret"])
def test_both_forms_hold_the_same_secret(text: str) -> None:
    assert Token.parse(text).secret == "s3cret"
    assert Token.parse(text).written_for(AUTHORITY) == f"K10{DIGEST}::server:s3cret\n"


def test_only_the_long_form_tells_another_cluster() -> None:
    assert Token.parse("s3cret").fits(AUTHORITY)
    assert Token.parse(f"K10{DIGEST}::server:s3cret").fits(AUTHORITY)
    assert not Token.parse(f"K10{'0' * 64}::server:s3cret").fits(AUTHORITY)


@pytest.mark.parametrize("text", ["K10abc::server:s3cret", f"K10{DIGEST}::s3cret", f"K10{DIGEST}::server:"])
def test_a_spoilt_long_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid token format"):
        Token.parse(text)


def test_the_bootstrap_token_is_the_secrets_own_and_does_not_show_it() -> None:
    one, same, other = Token("s3cret"), Token.parse(f"K10{DIGEST}::server:s3cret"), Token("s3cret2")
    assert (one.bootstrap_id, one.bootstrap_secret) == (same.bootstrap_id, same.bootstrap_secret)
    assert one.bootstrap_secret != other.bootstrap_secret
    assert (len(one.bootstrap_id), len(one.bootstrap_secret)) == (6, 16)
    assert (one.bootstrap_id + one.bootstrap_secret).isalnum()


def test_a_token_comes_from_the_setting_or_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"K10{DIGEST}::server:filed\n")
    assert given(Config({})) is None
    assert given(Config({"token": "set"})) == Token("set")
    assert given(Config({"token-file": str(file)})) == Token("filed", DIGEST)
    assert given(Config({"token": "set", "token-file": str(file)})) == Token("set")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"the token cannot be read: .*{tmp_path}/token"):
        given(Config({"token-file": str(tmp_path / "token")}))


def test_a_server_keeps_its_token_and_takes_no_other(tmp_path: Path) -> None:
    kept = tmp_path / "token"
    assert of_server(Config({}), kept) is None
    assert of_server(Config({"token": "s3cret"}), kept) == Token("s3cret")
    kept.write_text(f"K10{DIGEST}::server:s3cret\n")
    for settings in ({}, {"token": "s3cret"}, {"token": f"K10{DIGEST}::server:s3cret"}):
        found = of_server(Config(settings), kept)
        assert found is not None
        assert found.secret == "s3cret"
    with pytest.raises(ConfigError, match="encrypted with different token"):
        of_server(Config({"token": "other"}), kept)
