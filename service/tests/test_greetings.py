"""What preflight lets pass is what the service takes: no greeting may fail only when its pod starts."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from preflight_checks.customers import greeting_fault

from greeter.settings import SettingsError, load


def served(greeting: str) -> bool:
    try:
        return load({"GREETING": greeting, "CUSTOMER_NAME": "a"}).greeting == greeting
    except SettingsError:
        return False


@settings(derandomize=True, max_examples=300, deadline=None, database=None)
@given(st.one_of(st.text(max_size=40), st.text(min_size=250, max_size=1100)))
@example("")
@example(" \u00a0\u3000")
@example("x" * 1024)
@example("x" * 1025)
@example("ü" * 513)
@example("two\nlines")
@example("c1 \x85")
@example("half \ud83d")
@example("\u200b")
def test_preflight_and_service_agree(greeting: str) -> None:
    assert (greeting_fault(greeting) is None) == served(greeting)
