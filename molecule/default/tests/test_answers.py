"""What people get who call the customers' hosts, after one customer was added and one greeting changed."""

from __future__ import annotations

import pytest

from fleet import Answer, Fleet

ANSWERS = {
    "customer-a.parcellab.com": b'{"response":"Hi!"}',
    "customer-b.parcellab.com": b'{"response":"Dear Sir or Madam!"}',
    "customer-c.parcellab.com": b'{"response":"Moin!"}',
    "customer-fickle.parcellab.com": '{"response":"Grüß Gott, $(CUSTOMER_NAME) 👋"}'.encode(),
    "late.example.com": b'{"response":"Better late than never!"}',
}


@pytest.mark.parametrize(("host", "body"), ANSWERS.items())
def test_every_customer_answers_with_their_own_greeting(fleet: Fleet, host: str, body: bytes) -> None:
    assert fleet.get(host) == Answer(200, "application/json", body)


@pytest.mark.parametrize("host", ["customer-d.parcellab.com", "parcellab.com", "customer-late.parcellab.com"])
def test_an_unknown_host_is_not_found(fleet: Fleet, host: str) -> None:
    assert fleet.get(host).status == 404


def test_an_address_is_no_customers_host(fleet: Fleet) -> None:
    assert fleet.get(fleet.address).status == 404


def test_a_host_gives_only_its_own_answer_however_often_it_is_called(fleet: Fleet) -> None:
    for _ in range(20):
        assert {host: fleet.get(host).body for host in ANSWERS} == ANSWERS


def test_the_other_customers_pods_lived_through_the_change(fleet: Fleet, pods_before: dict[str, set[str]]) -> None:
    pods = fleet.pods()
    for untouched in ("customer-a", "customer-b", "customer-c"):
        assert len(pods[untouched]) == 1
        assert pods[untouched] == pods_before[untouched]
    assert not pods["customer-fickle"] & pods_before["customer-fickle"]
    assert "customer-late" not in pods_before
    assert len(pods["customer-late"]) == 2
