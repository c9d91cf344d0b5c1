"""What preflight says of single values, of good ones above all; whole files are in ``test_broken_customers.py``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.greeter.fleet.plugins.filter import customers as role
from ansible_collections.greeter.fleet.plugins.plugin_utils.customers import SCHEMA, quantity
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import customers as preflight
from ansible_collections.greeter.fleet.plugins.plugin_utils.preflight import tls as preflight_tls
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
DOMAIN = "example.com"


def pem(key: Key, passphrase: bytes | None = None) -> bytes:
    """The PEM text of ``key``."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def certificate(key: Key, *hosts: str, years: tuple[int, int] = (2020, 2120)) -> bytes:
    """The PEM text of a certificate of ``key`` for ``hosts``; its common name is always a.example.com."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example.com")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(years[0], 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(years[1], 2, 1, tzinfo=UTC))
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


def write_certificates(folder: Path) -> Path:
    """Write certificates and keys of all sorts into ``folder``."""
    folder.mkdir()
    keys = {
        name: ec.generate_private_key(ec.SECP256R1()) for name in ("a", "wildcard", "expired", "future", "common-name")
    }
    certificates = {
        "a": certificate(keys["a"], "a.example.com"),
        "wildcard": certificate(keys["wildcard"], "*.example.com"),
        "expired": certificate(keys["expired"], "a.example.com", years=(2019, 2020)),
        "future": certificate(keys["future"], "a.example.com", years=(2120, 2121)),
        "common-name": certificate(keys["common-name"]),
        "junk": b"-----BEGIN NOTHING-----\n",
    }
    for name, text in certificates.items():
        (folder / f"{name}.crt").write_bytes(text)
    for name, key in keys.items():
        (folder / f"{name}.key").write_bytes(pem(key))
    (folder / "encrypted.key").write_bytes(pem(keys["a"], b"a passphrase"))
    (folder / "vault.key").write_text("$ANSIBLE_VAULT;1.1;AES256\n61\n")
    return folder


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates and keys of all sorts."""
    return write_certificates(tmp_path_factory.mktemp("certificates") / "all")


def all_faults(
    customers: object, defaults: object = None, ingress_class: object = "traefik", domain: object = DOMAIN
) -> list[str]:
    """Every fault of ``customers``."""
    return preflight.customer_faults(
        {
            "customers": customers,
            "customers_defaults": {} if defaults is None else defaults,
            "customers_domain": domain,
            "customers_ingress_class": ingress_class,
            "customers_ingress_from": [],
        }
    )


BOTH: list[dict[str, Any]] = [
    {"replicas": 1},
    {"replicas": 1000},
    {"autoscaling": {"min": 1, "max": 1, "cpu": 1}},
    {"autoscaling": {"min": 2, "max": 5, "cpu": 90}},
    {"autoscaling": {"min": 2, "max": 5, "cpu": "450m"}},
    {"resources": {}},
    {"resources": {"requests": {"cpu": 0.25, "memory": "5e7"}, "limits": {"cpu": 1, "memory": "1G"}}},
    {"resources": {"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"cpu": "0.5", "memory": 67108864}}},
    {"resources": {"requests": {"ephemeral-storage": "1Gi"}, "limits": {"ephemeral-storage": "1.5Gi"}}},
    {"labels": {}},
    {"labels": {"team": "blue", "example.com/cost-centre": "A_1.b", "empty": "", "x" * 63: "y" * 63}},
    {"labels": {"topology.kubernetes.io/zone": "a", f"{'a' * 63}.{'b' * 63}/c": "d"}},
    {
        "annotations": {
            "note": "a text, with: all {sorts} of\nthings",
            "nginx.ingress.kubernetes.io/ssl-redirect": "true",
        }
    },
    {"annotations": {"note": "x" * (256 * 1024 - 4)}},
    {"node_selector": {"disk": "ssd", "kubernetes.io/arch": "arm64", "node-role.kubernetes.io/worker": ""}},
    {"tolerations": []},
    {"tolerations": [{"operator": "Exists"}, {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]},
    {"tolerations": [{"key": "example.com/gpu", "value": "yes", "effect": "PreferNoSchedule"}]},
    {"tolerations": [{"key": "gpu", "operator": "Equal", "effect": "NoExecute", "toleration_seconds": 0}]},
    *(
        {"image": image}
        for image in (
            "greeter",
            "greeter:2",
            "localhost/greeter:latest",
            "registry.example.com:5000/team/greeter__x-y.z:V2_1",
            "[2001:db8::1]:5000/greeter",
            f"docker.io/library/greeter:2@sha256:{'0' * 64}",
        )
    ),
    {"env": {"LOG_LEVEL": "info", "_x9": "", "TEXT": "ü, {{ and }} and\nmore"}},
    {"disruption_budget": False},
    {"tls": {}},
    {"tls": {"secret": "my-tls"}},
    {"tls": {"issuer": "letsencrypt.example", "redirect": True}},
    {"tls": {"cluster_issuer": "letsencrypt", "redirect": False}},
]
OWN: list[dict[str, Any]] = [
    {"state": "present"},
    {"host": "a.example.com"},
    {"host": "xn--bcher-kva.example.com"},
    {"hosts": ["a.example.com"]},
    {"hosts": ["a.example.com", "www.a.example.com", "1.2.3.4.example"]},
]


@pytest.mark.parametrize("said", [*BOTH, *OWN], ids=str)
def test_a_good_setting_of_a_customer_has_no_fault(said: dict[str, Any]) -> None:
    assert all_faults({"a": {"greeting": "Hi!"} | said}) == []


@pytest.mark.parametrize("said", BOTH, ids=str)
def test_a_good_setting_of_all_has_no_fault(said: dict[str, Any]) -> None:
    assert all_faults({"a": {"greeting": "Hi!"}}, said) == []


@pytest.mark.parametrize(
    "said",
    [
        {"host": "a.example.com\n"},
        {"labels": {"team\n": "blue"}},
        {"labels": {"team": "blue\n"}},
        {"image": "greeter\n"},
        {"env": {"A\n": "b"}},
        {"tls": {"secret": "my-tls\n"}},
        {"resources": {"limits": {"cpu": "1\n"}}},
    ],
    ids=str,
)
def test_a_line_break_at_the_end_is_one_too_many(said: dict[str, Any]) -> None:
    assert len(all_faults({"a": {"greeting": "Hi!"} | said})) == 1
    assert len(all_faults({"a\n": {"greeting": "Hi!", "host": "a.example.com"}})) == 1


def test_an_absent_customer_needs_nothing_and_owns_no_host() -> None:
    gone = {"state": "absent", "tls": {"certificate": "/nowhere/a.crt", "key": "/nowhere/a.key"}}
    assert all_faults({"a": gone | {"host": "a.example.com"}, "b": {"greeting": "Hi!", "host": "a.example.com"}}) == []


def test_a_layer_may_take_back_what_a_lower_one_says() -> None:
    scaled = {"autoscaling": {"min": 2, "max": 5, "cpu": 80}}
    assert all_faults({"a": {"greeting": "Hi!", "replicas": 2}}, scaled) == []


def test_the_longest_name_has_no_fault() -> None:
    assert all_faults({"a" * 54: {"greeting": "Hi!"}}) == []
    (fault,) = all_faults({"a" * 55: {"greeting": "Hi!"}})
    assert fault == f"customers.{'a' * 55}: the name has 55 characters; use at most 54"


def test_a_default_host_that_is_too_long_is_told_only_where_name_and_domain_are_right() -> None:
    domain = ".".join(["d" * 59] * 4)
    (fault,) = all_faults({"a" * 20: {"greeting": "Hi!"}, "b": {"greeting": "Hi!"}}, domain=domain)
    assert fault.startswith(f"customers.{'a' * 20}.host: the default, customer-{'a' * 20}.{domain}, has more than 253")
    assert all_faults({"b": {"greeting": "Hi!"}}, domain=f"{domain}.{'e' * 30}") == [
        "customers_domain: has 270 characters; use at most 253"
    ]


def test_a_name_that_is_a_number_keeps_no_other_fault_back() -> None:
    assert all_faults({1: {"replicas": 0}}) == [
        'customers.1.greeting: is missing; write the text the host answers with, such as greeting: "Hi!"',
        "customers.1.replicas: is not a number of pods; write 1 or more",
        "customers.1: the name is a number, not a text; put it in quotes",
    ]


def test_annotations_of_all_and_of_a_customer_count_together() -> None:
    half = 200 * 1024
    (fault,) = all_faults(
        {"a": {"greeting": "Hi!", "annotations": {"b": "x" * half}}, "b": {"greeting": "Hi!"}},
        {"annotations": {"a": "x" * half}},
    )
    assert fault == "customers.a.annotations: have 409602 bytes in all; use at most 262144"


def test_a_fault_in_the_defaults_is_told_once() -> None:
    defaults = {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}}
    faults = all_faults({name: {"greeting": "Hi!"} for name in "abc"}, defaults)
    assert faults == [
        "customers_defaults.resources.requests.cpu: 2 is more than the limit of 1; lower it, or raise limits.cpu"
    ]


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ("7", {}),
        ("16", {"resources": {"limits": {"memory": "109Mi"}}}),
        ("2", {"resources": {"limits": {"memory": "39Mi"}, "requests": {"memory": "30Mi"}}}),
        ("16", {"resources": {"limits": {"memory": "1e99"}}}),
        # One there is anyway.
        ("1", {"resources": {"limits": {"memory": "20Mi"}, "requests": {"memory": "20Mi"}}}),
        ("16", {"image": "registry.example.com/greeter:2"}),
        # The service itself tells what it is.
        ("many", {}),
    ],
)
def test_workers_that_fit_the_memory_have_no_fault(workers: str, said: dict[str, Any]) -> None:
    assert all_faults({"a": {"greeting": "Hi!", "env": {"WORKERS": workers}} | said}) == []
    assert all_faults({"a": {"greeting": "Hi!"} | said}, {"env": {"WORKERS": workers}}) == []
    assert all_faults({"a": {"greeting": "Hi!", "env": {"WORKERS": workers}}}, said) == []


@pytest.mark.parametrize(
    ("workers", "memory", "most", "needed"),
    [("8", "64Mi", 7, 69), ("16", "108Mi", 15, 109), ("2", "38.9Mi", 1, 39), ("2", "20Mi", 1, 39)],
)
def test_workers_that_do_not_fit_are_told_with_what_would(workers: str, memory: str, most: int, needed: int) -> None:
    resources = {"requests": {"memory": "20Mi"}, "limits": {"memory": memory}}
    words = (
        f".env.WORKERS: {workers} need more than the memory limit of {memory}; write at most {most}, or raise"
        f" resources.limits.memory to {needed}Mi"
    )
    own, every = {"env": {"WORKERS": workers}}, {"resources": resources}
    assert all_faults({"a": {"greeting": "Hi!"} | own | every}) == [f"customers.a{words}"]
    assert all_faults({"a": {"greeting": "Hi!"} | own}, every) == [f"customers.a{words}"]
    assert all_faults({"a": {"greeting": "Hi!"} | every}, own) == [f"customers.a{words}"]
    assert all_faults({"a": {"greeting": "Hi!"}, "b": {"greeting": "Hi!"}}, own | every) == [
        f"customers_defaults{words}"
    ]


def test_no_value_of_an_environment_is_shown() -> None:
    (fault,) = all_faults({"a": {"greeting": "Hi!", "env": {"PIN": 4711}}})
    assert fault == "customers.a.env.PIN: is a number, not a text; put it in quotes"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)),
        (ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())),
        (ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["rsa", "ec", "ed25519"],
)
def test_a_good_pair_has_no_fault_as_text_or_as_files(tmp_path: Path, one: Key, other: Key) -> None:
    text = certificate(one, "other.example.org", "*.example.com").decode()
    # A chain is the host's own certificate first, and then that of whoever signed it.
    text += certificate(other, "authority.example.org", years=(2019, 2020)).decode()
    (tmp_path / "a.crt").write_text(text)
    (tmp_path / "a.key").write_bytes(pem(one))
    for pair in (text, pem(one).decode()), (str(tmp_path / "a.crt"), str(tmp_path / "a.key")):
        tls = {"certificate": pair[0], "key": pair[1], "redirect": True}
        for hosts in ["a.example.com", "other.example.org"], ["b.example.com"]:
            assert all_faults({"a": {"greeting": "Hi!", "hosts": hosts, "tls": tls}}, ingress_class="nginx") == []
        assert all_faults({"a": {"greeting": "Hi!"}, "b": {"greeting": "Hi!"}}, {"tls": tls}) == []
        (fault,) = all_faults({"a": {"greeting": "Hi!", "tls": tls | {"key": pem(other).decode()}}})
        assert fault.startswith("customers.a.tls.key: does not belong to the certificate")


@pytest.mark.parametrize("way", ["secret", "issuer", "cluster_issuer"])
def test_a_name_has_at_most_253_characters(way: str) -> None:
    assert all_faults({"a": {"greeting": "Hi!", "tls": {way: "x" * 253}}}) == []
    (fault,) = all_faults({"a": {"greeting": "Hi!", "tls": {way: "x" * 254}}})
    assert fault == f"customers.a.tls.{way}: has 254 characters; use at most 253"


def test_a_path_is_read_as_the_role_reads_it(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(certificates))
    monkeypatch.chdir(certificates)
    for folder in ("~/", "", "./"):
        tls = {"certificate": f"{folder}a.crt", "key": f"{folder}a.key"}
        assert all_faults({"a": {"greeting": "Hi!", "host": "a.example.com", "tls": tls}}) == []
        assert role.pem(tls["key"]) == (certificates / "a.key").read_text()


def test_no_message_holds_a_part_of_a_key(certificates: Path) -> None:
    key = (certificates / "a.key").read_text()
    body = "".join(key.splitlines()[1:-1])
    crt = str(certificates / "a.crt")
    lines = [
        body,
        key[5:],
        key.replace("\n", " "),
        f"A key: {key}",
        body[:40],
        f"{body}\n",
        key[:90],
        f"./{key}",
        f"/{body}-----",
    ]
    for wrong in (*lines, *({"deep": line} for line in lines), *([line] for line in lines)):
        for pair in {"certificate": crt, "key": wrong}, {"certificate": wrong, "key": crt}, {"secret": wrong}:
            faults = all_faults({"a": {"greeting": "Hi!", "host": "a.example.com", "tls": pair}})
            assert faults
            assert not [fault for fault in faults if body[:20] in fault or body[-20:] in fault]


def test_a_certificate_is_read_once_for_all(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    check_pair = preflight_tls.check_pair

    def counted(certificate: str, key: str) -> preflight_tls.Pair:
        read.append(certificate)
        return check_pair(certificate, key)

    monkeypatch.setattr(preflight_tls, "check_pair", counted)
    tls = {"certificate": str(certificates / "wildcard.crt"), "key": str(certificates / "wildcard.key")}
    assert all_faults({f"c{number}": {"greeting": "Hi!"} for number in range(9)}, {"tls": tls}) == []
    assert len(read) == 1


def test_a_thousand_customers_take_less_than_two_seconds(certificates: Path) -> None:
    said = BOTH[5] | BOTH[9] | BOTH[11] | BOTH[13] | BOTH[16] | {"greeting": "Hi!", "env": {"A": "b"}, "replicas": 2}
    tls = {"certificate": str(certificates / "wildcard.crt"), "key": str(certificates / "wildcard.key")}
    customers = {f"c{number}": said for number in range(1000)}
    # What the processor spent: the machine may have other things to do.
    begin = time.process_time()
    assert all_faults(customers, {"tls": tls}) == []
    assert time.process_time() - begin < 2


CUSTOMER = {"customers": {"a": {"greeting": "Hi!"}}}
GOOD_FLEET: dict[str, list[Any]] = {
    "customers_ingress_class": ["traefik"],
    "customers_domain": ["lan", "example.com"],
    "customers_ingress_from": [
        [],
        [{"podSelector": {}}],
        [{"podSelector": {"matchLabels": {"app": "traefik"}}, "namespaceSelector": {}}],
    ],
    "customers_metrics_from": [
        [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
        [{"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}}, {"ipBlock": {"cidr": "10.0.0.1/8"}}],
    ],
    "customers_fleet": ["greeter-fleet", "A", "x" * 63],
    "customers_prune": [True, False, "true", "False", "yes", "off", "1", 0],
    "customers_wait": [True, "no"],
    "customers_rollout_timeout": [1, 300, "600"],
}


@pytest.mark.parametrize("name", GOOD_FLEET)
def test_a_good_setting_of_the_fleet_has_no_fault(name: str) -> None:
    for value in GOOD_FLEET[name]:
        assert preflight.customer_faults(CUSTOMER | {name: value}) == []


WRONG_FLEET: dict[str, list[Any]] = {
    "customers_rollout_timeout": [True, False, -1, 0, 1.5, "0", "-1", "1.5", "", None, [1]],
    "customers_prune": ["", "maybe", 2, None, {}, "\ud800"],
    "customers_fleet": ["x" * 64, "-a", None, ["a"]],
    "customers_ingress_class": ["a_b", ".a", "a" * 254, "", True],
    "customers_ingress_from": [
        [{"ipBlock": {"cidr": cidr}}] for cidr in (10, "10", "10.0.0.1", "10.0.0.0/33", "10.0.0.0/255.0.0.0", None)
    ],
    "customers_metrics_from": [
        [{"ipBlock": {"cidr": "10.0.0.0/8", "except": [cidr]}}]
        for cidr in ("11.0.0.0/16", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "10.1.0.0")
    ],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG_FLEET.items() for value in values])
def test_a_wrong_setting_of_the_fleet_has_one_fault(name: str, value: object) -> None:
    (fault,) = preflight.customer_faults(CUSTOMER | {name: value})
    assert fault.startswith(name)


def test_another_ingress_class_needs_to_be_told_who_may_call() -> None:
    given = CUSTOMER | {"customers_ingress_class": "nginx.example.com"}
    assert preflight.customer_faults(given | {"customers_ingress_from": [{"podSelector": {}}]}) == []
    (fault,) = preflight.customer_faults(given)
    assert fault.startswith("customers_ingress_from: is missing; customers_ingress_class is nginx.example.com, and")


@pytest.mark.parametrize("package", ["jsonschema", "kubernetes"])
def test_a_controller_without_a_package_is_told(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None if name == package else name)
    (fault,) = preflight.customer_faults(CUSTOMER)
    assert f"has no package {package}; install it with pip install -r requirements.txt" in fault


@pytest.mark.parametrize("prune", [True, "true", "yes", 1, "on"])
def test_nobody_left_is_told_when_pruning(prune: object) -> None:
    told = ["customers: is empty; with customers_prune it would remove every customer; write at least one"]
    assert preflight.customer_faults({"customers_prune": prune}) == told
    assert preflight.customer_faults({"customers": {}, "customers_prune": prune}) == told
    assert preflight.customer_faults({"customers": None, "customers_prune": prune}) == told


@pytest.mark.parametrize("prune", [False, "false", "no", 0])
def test_nobody_is_a_fault_without_pruning_too(prune: object) -> None:
    (fault,) = preflight.customer_faults({"customers": {}, "customers_prune": prune})
    assert fault == 'customers: is empty; write at least one, such as {a: {greeting: "Hi!"}}'


# Values as YAML makes them, and settings of the right names with wrong values in them.
def names(schema: object) -> Iterator[str]:
    """Every name that the schema knows, of a setting or of a part of one."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from names(part)


NAMES = sorted({*names(SCHEMA.document), "a"})
KEYS = st.sampled_from(NAMES) | st.text() | st.integers() | st.none() | st.booleans() | st.floats() | st.dates()
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.dates()
    | st.datetimes()
    | st.binary()
    | st.sampled_from(
        ["absent", "Exists", "NoExecute", "1", "64Mi", "a.example.com", "-----BEGIN CERTIFICATE-----", "/"]
    )
)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30
)
CUSTOMERS = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=6), max_size=4) | VALUES
FREE = settings(derandomize=True, max_examples=200, deadline=None, database=None)


def are_lines(faults: object) -> bool:
    return isinstance(faults, list) and all(isinstance(fault, str) and "\n" not in fault for fault in faults)


@FREE
@given(CUSTOMERS, CUSTOMERS, st.dictionaries(st.sampled_from([*SCHEMA.document["properties"]]), VALUES))
def test_nothing_that_yaml_can_say_breaks_preflight(
    customers: object, defaults: object, others: dict[str, Any]
) -> None:
    assert are_lines(preflight.customer_faults({"customers": customers, "customers_defaults": defaults} | others))


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1E", "1e18"),
        ("1E3", "1000"),
        ("1e-3", "0.001"),
        (".5Gi", "536870912"),
        ("5.", "5"),
        (0.25, "0.25"),
        ("500m", "0.5"),
        (2, "2"),
        ("-1k", "-1000"),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: object, amount: str) -> None:
    assert quantity(text) == Decimal(amount) == parse_quantity(str(text).removesuffix("."))


@pytest.mark.parametrize("text", ["", "1 Gi", "1KiB", "1K", "nan", "1_0", True, None, [1], "1Gi\n"])
def test_what_is_no_quantity_has_no_amount(text: object) -> None:
    assert quantity(text) is None
