"""A kubeconfig and the API behind it, as the customers' plugins use them, over HTTP."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from ansible_collections.greeter.fleet.plugins.module_utils.kubernetes_api import (
    Cluster,
    ClusterError,
    ForbiddenError,
    TransientError,
    UnreachableError,
)
from kubernetes.config import kube_config

KINDS = {"resources": [{"kind": "Namespace", "name": "namespaces"}, {"kind": "Secret", "name": "secrets"}]}
FORBIDDEN = 'secrets is forbidden: User "ci" cannot list resource "secrets" in API group "" at the cluster scope'


class Api(ThreadingHTTPServer):
    """Knows the token "good" and holds a namespace.

    Attributes:
        answers: Path → status and message, where that is not the namespace.
        seen: The paths and tokens of all requests.
    """

    def __init__(self) -> None:
        """Listen on a loopback port."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, str]] = {}
        self.seen: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers as an API does."""

    server: Api

    def do_GET(self) -> None:
        """Refuse, or list what there is."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.server.seen.append((self.path, token))
        status, message = self.server.answers.get(self.path.partition("?")[0], (200, ""))
        if token != "good":
            anonymous = 'User "system:anonymous" cannot get path "/api/v1"'
            status, message = (401, "Unauthorized") if token else (403, anonymous)
        items = [{"metadata": {"name": "customer-a"}}]
        body = KINDS if self.path == "/api/v1" else {"metadata": {}, "items": items}
        text = json.dumps({"message": message} if message else body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    """A running server."""
    with Api() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


Write = Callable[..., str]


@pytest.fixture
def kubeconfig(api: Api, tmp_path: Path) -> Write:
    """A function that writes a kubeconfig with a context of its own for each user, and returns its path."""

    def write(**users: dict[str, Any]) -> str:
        path = tmp_path / "kubeconfig"
        content = {
            "clusters": [{"name": "here", "cluster": {"server": api.url}}],
            "users": [{"name": name, "user": user} for name, user in users.items()],
            "contexts": [{"name": f"as-{name}", "context": {"cluster": "here", "user": name}} for name in users],
            "current-context": f"as-{next(iter(users))}",
        }
        path.write_text(yaml.safe_dump(content))
        return str(path)

    return write


def names(cluster: Cluster) -> list[str]:
    """The namespaces that are there."""
    return [found["metadata"]["name"] for found in cluster.objects("v1", "Namespace")]


def program(folder: Path, *lines: str) -> Path:
    """A credential plugin."""
    path = folder / "login"
    path.write_text("\n".join(["#!/bin/sh", *lines]))
    path.chmod(0o755)
    return path


def plugin(command: str, **more: object) -> dict[str, Any]:
    """A user whose credentials a plugin gives."""
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command, **more}}


def credential(**status: str) -> str:
    """The line of a plugin that gives these."""
    found = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": status}
    return f"echo '{json.dumps(found)}'"


def refusal(kubeconfig: str, context: str = "") -> str:
    """What is said of a kubeconfig that does not do; that it is not there at all would be something else."""
    with pytest.raises(ClusterError) as caught:
        names(Cluster(kubeconfig, context))
    assert not isinstance(caught.value, TransientError)
    return str(caught.value)


def test_a_context_is_the_current_one_or_the_one_that_is_named(kubeconfig: Write, api: Api) -> None:
    path = kubeconfig(old={"token": "worse"}, new={"token": "good"})
    cluster = Cluster(path, "as-new")
    assert (names(cluster), cluster.context) == (["customer-a"], "as-new")
    assert refusal(path) == (
        f"the cluster at {api.url} refuses the user old (context as-old of {path}): it does not know such credentials; "
        "renew them, or set customers_context to another context"
    )


def test_what_is_asked_is_all_that_is_asked(kubeconfig: Write, api: Api) -> None:
    names(Cluster(kubeconfig(ci={"token": "good"})))
    assert [path for path, _ in api.seen] == ["/api/v1", "/api/v1/namespaces?limit=500"]


def test_an_unknown_context_is_told_with_those_that_there_are(kubeconfig: Write) -> None:
    path = kubeconfig(a={"token": "good"}, b={"token": "good"})
    assert refusal(path, "prod") == (
        f"the kubeconfig {path} has no context prod; set customers_context to one that it has: as-a, as-b"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"current-context": ""}, "has no current context; set customers_context: as-ci"),
        ({"current-context": "prod"}, "has no context prod; set customers_context to one that it has: as-ci"),
        ({"users": []}, "names a user that is not in it: ci"),
        ({"clusters": None}, "names a cluster that is not in it: here"),
        ({"contexts": [3, {"context": {}}, {"name": "x"}]}, "holds something else than clusters and contexts"),
        ({"contexts": "s3cret"}, "holds something else than clusters and contexts"),
        ({"users": [{"name": "ci", "s3cret": {}}]}, "names a user that is not in it: ci"),
        (
            {"users": [{"name": "ci", "user": {"tokenFile": "/nowhere"}}]},
            "cannot be used: [Errno 2] No such file",
        ),
        # The library's own words hold the whole entry.
        ({"users": [{"name": "ci", "user": {"exec": None, "password": "s3cret"}}]}, "has no credentials: Invalid kube"),
    ],
)
def test_a_kubeconfig_that_lacks_something_is_told_by_name(kubeconfig: Write, change: object, words: str) -> None:
    path = Path(kubeconfig(ci={"token": "s3cret"}))
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    said = refusal(str(path))
    assert words in said
    assert str(path) in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("users:\n- token: s3cret\n  a: b: c", "is not YAML (line 3)"),
        ("- s3cret", "holds something else than clusters and contexts"),
        ("s3cret", "holds something else than clusters and contexts"),
        ("", "holds something else than clusters and contexts"),
        ("{}", "has no current context; set customers_context: none"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_told_and_not_shown(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    assert refusal(str(tmp_path / "kubeconfig")) == f"the kubeconfig {tmp_path / 'kubeconfig'} {words}"


def test_a_kubeconfig_that_is_not_there_is_a_cluster_that_is_not_there_yet(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"the kubeconfig .*/none is not there"):
        Cluster(str(tmp_path / "none"))


def test_a_credential_plugin_runs_once(kubeconfig: Write, tmp_path: Path) -> None:
    login = program(tmp_path, f"echo run >> {tmp_path}/runs", credential(token="good"))
    cluster = Cluster(kubeconfig(ci=plugin(login.name, env=[{"name": "PATH", "value": f"{tmp_path}:/bin:/usr/bin"}])))
    for _ in range(3):
        assert names(cluster) == ["customer-a"]
    assert (tmp_path / "runs").read_text() == "run\n"
    # As a path, it counts from the kubeconfig's folder.
    assert names(Cluster(kubeconfig(ci=plugin("./login")))) == ["customer-a"]


def test_a_credential_plugin_that_is_missing_is_told_by_its_name(kubeconfig: Write, api: Api) -> None:
    path = kubeconfig(ci=plugin("no-such-login"), other=plugin("./none", installHint="get it\nfrom us"))
    needs = f"the kubeconfig {path} needs the program"
    assert refusal(path) == f"{needs} no-such-login, which is not on this machine; install it"
    assert refusal(path, "as-other") == f"{needs} ./none, which is not on this machine; get it from us"
    assert api.seen == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["echo log in first >&2", "exit 3"], "exec: process returned 3. log in first"),
        (["echo s3cret"], "exec: failed to decode process output"),
        ([credential(s3cret="s3cret")], "exec: missing token or clientCertificateData field in plugin output"),
    ],
)
def test_a_credential_plugin_that_fails_is_told_in_its_own_words(
    kubeconfig: Write, tmp_path: Path, lines: list[str], words: str
) -> None:
    path = kubeconfig(ci=plugin(str(program(tmp_path, *lines))))
    said = refusal(path)
    assert said.startswith(f"the user ci (context as-ci of {path}) has no credentials: {words}")
    assert "s3cret" not in said


def test_requests_without_a_user_are_told_as_such(kubeconfig: Write) -> None:
    path = Path(kubeconfig(ci={}))
    assert f"refuses the user ci (context as-ci of {path}): it does not know such credentials" in refusal(str(path))
    content = yaml.safe_load(path.read_text())
    del content["contexts"][0]["context"]["user"]
    path.write_text(yaml.safe_dump(content))
    assert f"refuses requests without a user (context as-ci of {path})" in refusal(str(path))


def test_a_missing_right_is_a_verb_and_a_resource(kubeconfig: Write, api: Api) -> None:
    api.answers["/api/v1/namespaces"] = (403, FORBIDDEN.replace('group ""', 'group "example.com"'))
    with pytest.raises(ForbiddenError) as caught:
        names(Cluster(kubeconfig(ci={"token": "good"})))
    assert str(caught.value) == "ci may not list secrets.example.com; grant it as docs/rights.yaml does"
    # A webhook says what it likes.
    api.answers["/api/v1/namespaces"] = (403, "not on Fridays")
    assert refusal(kubeconfig(ci={"token": "good"})) == f"the cluster at {api.url} refuses: not on Fridays"


def test_a_log_that_is_not_there_is_empty_and_one_that_may_not_be_read_is_not(kubeconfig: Write, api: Api) -> None:
    cluster = Cluster(kubeconfig(ci={"token": "good"}))
    path = "/api/v1/namespaces/customer-a/pods/greeter-1/log"
    for answer in ((404, "not found"), (400, "container is waiting to start")):
        api.answers[path] = answer
        assert cluster.log("customer-a", "greeter-1", "greeter", previous=False, lines=5) == []
    api.answers[path] = (403, FORBIDDEN.replace('list resource "secrets"', 'get resource "pods/log"'))
    with pytest.raises(ForbiddenError, match="may not get pods/log"):
        cluster.log("customer-a", "greeter-1", "greeter", previous=False, lines=5)


def test_several_rights_make_one_line() -> None:
    errors = [ForbiddenError("ci", right) for right in ("list pods", "get pods/log", "list pods")]
    assert str(ForbiddenError.of_all(errors)) == "ci may not list pods, get pods/log; grant it as docs/rights.yaml does"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_api_that_is_busy_may_be_asked_again(kubeconfig: Write, api: Api, status: int) -> None:
    api.answers["/api/v1/namespaces"] = (status, "etcdserver: leader changed")
    with pytest.raises(TransientError, match="cannot answer now: etcdserver: leader changed") as caught:
        names(Cluster(kubeconfig(ci={"token": "good"})))
    # It is there: check mode must not take its customers for new.
    assert not isinstance(caught.value, UnreachableError)


def test_a_cluster_that_is_closed_leaves_no_key_behind(kubeconfig: Write, tmp_path: Path) -> None:
    login = program(tmp_path, credential(clientCertificateData="certificate", clientKeyData="key"))
    cluster = Cluster(kubeconfig(ci=plugin(str(login))))
    kept = [Path(name) for name in kube_config._temp_files.values()]
    assert sorted(path.read_text() for path in kept) == ["certificate", "key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    cluster.close()
    assert not any(path.exists() for path in kept)
