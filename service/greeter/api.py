"""The HTTP contract: resources, errors, and the application made of them."""

import json
from collections.abc import Callable
from typing import Any

import falcon

from greeter.settings import Settings
from greeter.state import State

ROUTE = "greeter.route"
"""Key of the WSGI environment under which a request's route template is left for the server."""

PROBLEM = "application/problem+json"
"""The type of every error's body (RFC 9457)."""

_ALLOWED_METHODS = ("GET", "HEAD")


def create_app(settings: Settings, state: State) -> falcon.App[falcon.Request, falcon.Response]:
    """Build the WSGI application.

    Args:
        settings: Checked settings; the greeting is rendered here, once.
        state: Read by every readiness request.
    """
    app = _bare_app()
    app.add_route("/", Greeting(settings.greeting))
    app.add_route("/healthz", Liveness())
    app.add_route("/readyz", Readiness(state))
    return app


def create_metrics_app(render: Callable[[], bytes]) -> falcon.App[falcon.Request, falcon.Response]:
    """Build the WSGI application of the metrics' port.

    Args:
        render: Gives the metrics as they are now, in Prometheus' text format.
    """
    app = _bare_app()
    app.add_route("/metrics", Metrics(render))
    return app


def _bare_app() -> falcon.App[falcon.Request, falcon.Response]:
    app: falcon.App[falcon.Request, falcon.Response] = falcon.App(middleware=[_Gate()])
    app.set_error_serializer(_serialize_error)
    return app


class Greeting:
    """`/`: the customer's greeting."""

    def __init__(self, greeting: str) -> None:
        """Render the body once: it is the same for every request."""
        self._body = _render({"response": greeting})

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with `{"response":"<greeting>"}`."""
        resp.data = self._body

    on_head = on_get


class Liveness:
    """`/healthz`: the process can serve."""

    _body = b'{"status":"ok"}'

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200: to get here at all is the proof."""
        resp.data = self._body

    on_head = on_get


class Readiness:
    """`/readyz`: the process wants more requests."""

    _ready = b'{"status":"ready"}'
    _draining = b'{"status":"draining"}'

    def __init__(self, state: State) -> None:
        """Watch the state of the process."""
        self._state = state

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200, or 503 once the process has been told to stop."""
        if self._state.draining:
            resp.status = falcon.HTTP_503
            resp.data = self._draining
        else:
            resp.data = self._ready

    on_head = on_get


class Metrics:
    """`/metrics`: what the process has done, in Prometheus' text format."""

    def __init__(self, render: Callable[[], bytes]) -> None:
        """Ask `render` for every answer."""
        self._render = render

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with the metrics."""
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = self._render()

    on_head = on_get


class _Gate:
    """What holds for every request: which paths and methods exist."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Refuse a path of another spelling: Falcon would take `//healthz` for `/healthz`."""
        if req.path.startswith("//"):
            raise falcon.HTTPNotFound

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, _resource: object, _params: dict[str, Any]
    ) -> None:
        """Refuse a method on a path that exists; a path that does not is a 404 whatever the method.

        By itself Falcon answers OPTIONS with 200 and a method it has never heard of with 400.
        """
        req.env[ROUTE] = req.uri_template
        if req.method not in _ALLOWED_METHODS:
            raise falcon.HTTPMethodNotAllowed(_ALLOWED_METHODS)


def _serialize_error(_req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """Give every error the shape of RFC 9457, `{"title":"Not Found","status":404}`.

    Falcon would otherwise let the Accept header choose between JSON and XML.
    """
    code = falcon.http_status_to_code(error.status)
    resp.content_type = PROBLEM
    resp.data = problem(code)


def problem(status: int) -> bytes:
    """Return the body of an error."""
    return _render({"title": falcon.code_to_http_status(status).partition(" ")[2], "status": status})


def _render(document: dict[str, str | int]) -> bytes:
    """Return compact JSON in UTF-8, with non-ASCII characters as they are."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
