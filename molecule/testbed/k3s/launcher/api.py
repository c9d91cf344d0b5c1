"""A small client of the Kubernetes API: get, patch and follow."""

import http.client
import json
import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty for cluster-wide objects) and name."""


def key_of(item: Object) -> Key:
    """Give the key of an object."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def internal_ip(node: Object) -> str:
    """Give the address that other nodes reach a node by, empty where it has not said yet."""
    addresses = node.get("status", {}).get("addresses") or []
    return next((each["address"] for each in addresses if each["type"] == "InternalIP"), "")


def trusting(authority: Path | None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Give the TLS of a client that trusts one CA, or for want of one anybody, and may show a certificate."""
    context = ssl.create_default_context(cafile=authority)
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


class ApiError(OSError):
    """The API server answered with a status that is no success, or with what cannot be right."""

    def __init__(self, message: str, status: int = 0) -> None:
        """Take the HTTP status, if it is that."""
        super().__init__(message)
        self.status = status


class Api:
    """One API server; each call has a connection of its own."""

    def __init__(self, host: str, tls: ssl.SSLContext, token: str = "") -> None:
        """Take what to call, `address:port`, and what to show there: a certificate (in `tls`) or a token."""
        self._host = host
        self._tls = tls
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def _open(
        self, method: str, path: str, body: Object | None = None, kind: str = "json", timeout: float = 10
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(self._host, context=self._tls, timeout=timeout)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, self._headers | {"Content-Type": f"application/{kind}"})
        response = connection.getresponse()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiError(f"{method} {path}: {response.status} {response.read(300)!r}", response.status)
        return response

    def get(self, path: str) -> Object:
        """Get an object or a list."""
        answer: Object = json.load(self._open("GET", path))
        return answer

    def ready(self) -> bool:
        """Say whether the API server is ready."""
        return self._open("GET", "/readyz").status == http.HTTPStatus.OK

    def create(self, path: str, body: Object) -> None:
        """Add an object to a list."""
        self._open("POST", path, body).read()

    def patch(self, path: str, body: Object) -> None:
        """Merge `body` into an object."""
        self._open("PATCH", path, body, "merge-patch+json").read()

    def follow(self, path: str, changed: Callable[[dict[Key, Object]], None]) -> None:
        """Keep a list of objects up to date for ever and hand it over after each change."""
        while True:
            try:
                self._follow_once(path, changed)
            except (OSError, ValueError, http.client.HTTPException) as error:
                log.info("watching %s again after: %r", path, error)
                time.sleep(1)

    def _follow_once(self, path: str, changed: Callable[[dict[Key, Object]], None]) -> None:
        listed = self.get(path)
        items = {key_of(item): item for item in listed["items"]}
        changed(dict(items))
        version = listed["metadata"]["resourceVersion"]
        query = f"{path}{'&' if '?' in path else '?'}watch=1&allowWatchBookmarks=true&resourceVersion={version}"
        # Bookmarks come about once a minute: silence for longer means that the connection is dead.
        for line in self._open("GET", query, timeout=150):
            event = json.loads(line)
            match event["type"]:
                case "ADDED" | "MODIFIED":
                    items[key_of(event["object"])] = event["object"]
                case "DELETED":
                    items.pop(key_of(event["object"]), None)
                case "BOOKMARK":
                    continue
                case _:
                    return
            changed(dict(items))
