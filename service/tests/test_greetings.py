"""What preflight lets pass is what the service takes: no greeting may fail only when its pod starts."""

from ansible_collections.greeter.fleet.plugins.plugin_utils.customers import SCHEMA
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
    assert (not SCHEMA.faults({"customers": {"a": {"greeting": greeting}}})) == served(greeting)
