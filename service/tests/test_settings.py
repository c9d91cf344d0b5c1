"""Reading the environment: what is taken, what is refused, and in which words."""

import dataclasses

import pytest

from greeter.settings import SettingsError, load

GOOD = {"GREETING": "Hi!", "CUSTOMER_NAME": "a"}


def faults_of(environ: dict[str, str]) -> tuple[str, ...]:
    """Return what `load` says about an environment that it must refuse."""
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return caught.value.faults


def test_defaults() -> None:
    assert dataclasses.asdict(load(GOOD)) == {
        "greeting": "Hi!",
        "customer_name": "a",
        "port": 8080,
        "drain_seconds": 5,
        "workers": 1,
        "metrics_port": 9090,
        "access_log": "requests",
        "address": "",
        "version": "dev",
    }


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load(GOOD).greeting = "Moin!"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("GREETING", "x" * 1024, "greeting", "x" * 1024),
        ("GREETING", "ü" * 512, "greeting", "ü" * 512),
        ("CUSTOMER_NAME", "0", "customer_name", "0"),
        ("CUSTOMER_NAME", "a-b--c9", "customer_name", "a-b--c9"),
        ("CUSTOMER_NAME", "a" * 63, "customer_name", "a" * 63),
        ("PORT", "1024", "port", 1024),
        ("PORT", "65535", "port", 65535),
        ("DRAIN_SECONDS", "0", "drain_seconds", 0),
        ("DRAIN_SECONDS", "20", "drain_seconds", 20),
        ("WORKERS", "16", "workers", 16),
        ("METRICS_PORT", "1024", "metrics_port", 1024),
        ("METRICS_PORT", "65535", "metrics_port", 65535),
        ("ACCESS_LOG", "requests", "access_log", "requests"),
        ("ACCESS_LOG", "all", "access_log", "all"),
        ("ACCESS_LOG", "off", "access_log", "off"),
        ("ADDRESS", "", "address", ""),
        ("ADDRESS", "127.0.0.1", "address", "127.0.0.1"),
        ("ADDRESS", "::1", "address", "::1"),
        ("GREETER_VERSION", "v1.2.3-rc.1+build_5", "version", "v1.2.3-rc.1+build_5"),
        ("GREETER_VERSION", "0" * 128, "version", "0" * 128),
    ],
)
def test_bounds_belong_to_what_is_allowed(name: str, value: str, attribute: str, expected: str | int) -> None:
    assert getattr(load(GOOD | {name: value}), attribute) == expected


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("GREETING", "", "is blank"),
        ("GREETING", " \u00a0\u3000", "is blank"),
        ("GREETING", "x" * 1025, "is 1025 bytes long"),
        ("GREETING", "ü" * 513, "is 1026 bytes long"),
        ("GREETING", "two\nlines", "holds the control character U+000A"),
        ("GREETING", "tab\there", "holds the control character U+0009"),
        ("GREETING", "escape\x1b[31m", "holds the control character U+001B"),
        ("GREETING", "c1\x85", "holds the control character U+0085"),
        ("GREETING", "delete\x7f", "holds the control character U+007F"),
        ("GREETING", "latin \udcfc", "is not UTF-8"),
        ("CUSTOMER_NAME", "", "is ''"),
        ("CUSTOMER_NAME", "A", "is 'A'"),
        ("CUSTOMER_NAME", "-a", "is '-a'"),
        ("CUSTOMER_NAME", "a-", "is 'a-'"),
        ("CUSTOMER_NAME", "a.b", "is 'a.b'"),
        ("CUSTOMER_NAME", "ä", "is 'ä'"),
        ("CUSTOMER_NAME", "a\n", "is 'a\\n'"),
        ("CUSTOMER_NAME", "a" * 64, "is '" + "a" * 40 + "'... (64 characters)"),
        ("PORT", "", "is ''"),
        ("PORT", "http", "is 'http'"),
        ("PORT", "1023", "is '1023'"),
        ("PORT", "65536", "is '65536'"),
        ("PORT", "8_080", "is '8_080'"),
        ("PORT", " 8080", "is ' 8080'"),
        ("PORT", "٨٠٨٠", "is '٨٠٨٠'"),
        ("PORT", "9" * 5000, "is '" + "9" * 40 + "'... (5000 characters)"),
        ("DRAIN_SECONDS", "-1", "is '-1'"),
        ("DRAIN_SECONDS", "21", "is '21'"),
        ("DRAIN_SECONDS", "1.5", "is '1.5'"),
        ("WORKERS", "0", "is '0'"),
        ("WORKERS", "17", "is '17'"),
        ("METRICS_PORT", "1023", "is '1023'"),
        ("METRICS_PORT", "65536", "is '65536'"),
        ("METRICS_PORT", "8080", "is 8080, as PORT is"),
        ("ACCESS_LOG", "", "is ''"),
        ("ACCESS_LOG", "ALL", "is 'ALL'"),
        ("ADDRESS", "localhost", "is 'localhost'"),
        ("ADDRESS", "127.0.0.1:80", "is '127.0.0.1:80'"),
        ("GREETER_VERSION", "", "is ''"),
        ("GREETER_VERSION", 'a"b', "is 'a\"b'"),
        ("GREETER_VERSION", "a\nb", "is 'a\\nb'"),
        ("GREETER_VERSION", "0" * 129, "is '" + "0" * 40 + "'... (129 characters)"),
    ],
)
def test_a_bad_value_is_named_in_one_line(name: str, value: str, wrong: str) -> None:
    (fault,) = faults_of(GOOD | {name: value})
    assert fault.startswith(f"{name} {wrong}; allowed: ")
    assert fault.isprintable()


@pytest.mark.parametrize("name", GOOD)
def test_a_required_setting_has_no_default(name: str) -> None:
    (fault,) = faults_of({key: value for key, value in GOOD.items() if key != name})
    assert fault.startswith(f"{name} is not set; allowed: ")


def test_the_two_ports_differ() -> None:
    (fault,) = faults_of(GOOD | {"PORT": "9090"})
    assert fault == "METRICS_PORT is 9090, as PORT is; allowed: any other port from 1024 to 65535"


def test_all_faults_are_told_at_once() -> None:
    environ = {"PORT": "0", "DRAIN_SECONDS": "x", "WORKERS": "x", "METRICS_PORT": "x"}
    named = [fault.split()[0] for fault in faults_of(environ)]
    assert named == ["GREETING", "CUSTOMER_NAME", "PORT", "DRAIN_SECONDS", "WORKERS", "METRICS_PORT"]


def test_the_words() -> None:
    assert faults_of({"PORT": "80"}) == (
        "GREETING is not set; allowed: 1 to 1024 bytes of UTF-8 text, not blank, without control characters",
        "CUSTOMER_NAME is not set; allowed: a DNS-1123 label: 1 to 63 of a-z, 0-9 and '-', "
        "beginning and ending with a letter or digit",
        "PORT is '80'; allowed: a whole number from 1024 to 65535",
    )
