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


class ApiError(OSError):
    """The API server answered with a status that is no success."""


class Api:
    """One API server, called with a client certificate; each call has a connection of its own."""

    def __init__(self, host: str, authority: Path, certificate: Path, key: Path) -> None:
        """Load the certificates; `host` is `address:port`."""
        self._host = host
        self._tls = ssl.create_default_context(cafile=authority)
        self._tls.load_cert_chain(certificate, key)

    def _open(
        self, method: str, path: str, body: Object | None = None, timeout: float = 10
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(self._host, context=self._tls, timeout=timeout)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/merge-patch+json"})
        response = connection.getresponse()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiError(f"{method} {path}: {response.status} {response.read(300)!r}")
        return response

    def get(self, path: str) -> Object:
        """Get an object or a list."""
        answer: Object = json.load(self._open("GET", path))
        return answer

    def ready(self) -> bool:
        """Say whether the API server is ready."""
        return self._open("GET", "/readyz").status == http.HTTPStatus.OK

    def patch(self, path: str, body: Object) -> None:
        """Merge `body` into an object."""
        self._open("PATCH", path, body).read()

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
