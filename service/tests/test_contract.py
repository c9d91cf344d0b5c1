"""The HTTP contract, row by row, in process. Expected bodies are written out."""

import logging

import falcon
import pytest
from falcon import testing

from greeter.api import create_app
from greeter.settings import load
from greeter.state import State

JSON = "application/json"
PROBLEM = "application/problem+json"
PATHS = ("/", "/healthz", "/readyz")


def client_for(greeting: str = "Hi!", state: State | None = None) -> testing.TestClient:
    """Return a client of an application that greets with `greeting`."""
    settings = load({"GREETING": greeting, "CUSTOMER_NAME": "a"})
    return testing.TestClient(create_app(settings, state or State()))


@pytest.mark.parametrize(
    ("greeting", "body"),
    [
        ("Hi!", b'{"response":"Hi!"}'),
        ("Dear Sir or Madam!", b'{"response":"Dear Sir or Madam!"}'),
        ("Moin!", b'{"response":"Moin!"}'),
        (
            "Grüß Gott, 世界",
            b'{"response":"Gr\xc3\xbc\xc3\x9f Gott, \xe4\xb8\x96\xe7\x95\x8c"}',
        ),
        ("\N{WAVING HAND SIGN}", b'{"response":"\xf0\x9f\x91\x8b"}'),
        ('Say "hi"', b'{"response":"Say \\"hi\\""}'),
        ("back\\slash", b'{"response":"back\\\\slash"}'),
        ("</script>&{{ x }}", b'{"response":"</script>&{{ x }}"}'),
        (" spaces stay ", b'{"response":" spaces stay "}'),
    ],
)
def test_greeting_is_exactly_the_body(greeting: str, body: bytes) -> None:
    result = client_for(greeting).simulate_get("/")
    assert result.status_code == 200
    assert result.headers["content-type"] == JSON
    assert result.headers["content-length"] == str(len(body))
    assert result.content == body


def test_query_and_accept_do_not_change_the_greeting() -> None:
    result = client_for().simulate_get("/", query_string="x=1", headers={"Accept": "text/xml"})
    assert (result.status_code, result.headers["content-type"]) == (200, JSON)
    assert result.content == b'{"response":"Hi!"}'


@pytest.mark.parametrize(
    ("path", "body"),
    [("/healthz", b'{"status":"ok"}'), ("/readyz", b'{"status":"ready"}')],
)
def test_probes_answer_200(path: str, body: bytes) -> None:
    result = client_for().simulate_get(path)
    assert (result.status_code, result.headers["content-type"]) == (200, JSON)
    assert result.content == body


def test_draining_takes_away_readiness_and_nothing_else() -> None:
    state = State()
    client = client_for(state=state)
    state.draining = True
    readiness = client.simulate_get("/readyz")
    assert (readiness.status_code, readiness.content) == (503, b'{"status":"draining"}')
    assert client.simulate_head("/readyz").status_code == 503
    assert client.simulate_get("/healthz").status_code == 200
    assert client.simulate_get("/").content == b'{"response":"Hi!"}'


@pytest.mark.parametrize("path", PATHS)
def test_head_has_the_headers_of_get_and_no_body(path: str) -> None:
    client = client_for()
    head, get = client.simulate_head(path), client.simulate_get(path)
    assert head.status_code == 200
    assert head.content == b""
    assert dict(head.headers) == dict(get.headers)


@pytest.mark.parametrize("path", ["/nope", "/healthz/", "/readyz/x", "/metrics", "/%00", "/..", "/HEALTHZ"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_paths_are_404(method: str, path: str) -> None:
    result = client_for().simulate_request(method, path)
    assert (result.status_code, result.headers["content-type"]) == (404, PROBLEM)
    assert result.content == b'{"title":"Not Found","status":404}'


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_405_and_name_the_allowed(method: str, path: str) -> None:
    result = client_for().simulate_request(method, path)
    assert (result.status_code, result.headers["content-type"]) == (405, PROBLEM)
    assert result.headers["allow"] == "GET, HEAD"
    assert result.content == b'{"title":"Method Not Allowed","status":405}'


def test_errors_ignore_a_wish_for_xml() -> None:
    result = client_for().simulate_get("/nope", headers={"Accept": "application/xml"})
    assert result.content == b'{"title":"Not Found","status":404}'


def test_an_unexpected_exception_has_the_same_shape(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def on_get(self, _req: falcon.Request, _resp: falcon.Response) -> None:
            raise RuntimeError("the reason stays inside")

    app = create_app(load({"GREETING": "Hi!", "CUSTOMER_NAME": "a"}), State())
    app.add_route("/broken", Broken())
    with caplog.at_level(logging.CRITICAL):
        result = testing.TestClient(app).simulate_get("/broken")
    assert (result.status_code, result.headers["content-type"]) == (500, PROBLEM)
    assert result.content == b'{"title":"Internal Server Error","status":500}'
