"""The few requests that the customers' plugins send to a Kubernetes API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from kubernetes.config import ConfigException, new_client_from_config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, NotFoundError
from urllib3.exceptions import HTTPError

Object = dict[str, Any]

# The API returns at most this many objects at once: a whole fleet in one answer would have to fit into its memory.
PAGE_SIZE = 500


class ClusterError(Exception):
    """The API refuses a request."""


class UnreachableError(ClusterError):
    """Nothing answers at all."""


class Cluster:
    """A Kubernetes API, reached by a kubeconfig.

    Every method raises `ClusterError` when the API cannot be reached or refuses.
    """

    def __init__(self, kubeconfig: str) -> None:
        """Connect by the current context of the file ``kubeconfig``."""
        # API version → kind → its name in paths. Kept for no longer than this object: other kinds may be served later.
        self._kinds: dict[str, dict[str, str]] = {}
        self.url = ""
        try:
            client = new_client_from_config(config_file=kubeconfig, persist_config=False)
            self.url = client.configuration.host
            self._client = DynamicClient(client)
        except (ConfigException, OSError) as error:
            raise UnreachableError(f"the kubeconfig {kubeconfig} cannot be used: {error}") from error
        except (DynamicApiError, HTTPError) as error:
            raise self._error(error) from error

    def _error(self, error: DynamicApiError | HTTPError) -> ClusterError:
        if isinstance(error, HTTPError):
            return UnreachableError(f"the cluster at {self.url} does not answer: {getattr(error, 'reason', error)}")
        return ClusterError(f"the cluster at {self.url} refuses: {error.summary()}")

    def _get(self, path: str, **query: str | int) -> bytes:
        given = [(name, value) for name, value in query.items() if value != ""]
        try:
            # Without serialize=False the client would make an object of every field, which takes far longer.
            return bytes(self._client.request("get", path, query_params=given, serialize=False).data)
        except NotFoundError:
            raise
        except (DynamicApiError, HTTPError) as error:
            raise self._error(error) from error

    def _path(self, api_version: str, kind: str, namespace: str = "") -> str | None:
        """The path of all objects of a kind, or of those of a namespace; None if the kind is not served."""
        root = f"/{'apis' if '/' in api_version else 'api'}/{api_version}"
        if api_version not in self._kinds:
            try:
                served = json.loads(self._get(root))["resources"]
            except NotFoundError:
                served = []
            self._kinds[api_version] = {each["kind"]: each["name"] for each in served if "/" not in each["name"]}
        name = self._kinds[api_version].get(kind)
        return name and "/".join([root, *(["namespaces", quote(namespace)] if namespace else []), name])

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the API knows objects of this kind."""
        return self._path(api_version, kind) is not None

    def objects(
        self, api_version: str, kind: str, labels: str = "", namespace: str = "", fields: str = ""
    ) -> Iterator[Object]:
        """Every object of a kind, of all namespaces unless one is given; none if the kind is not served.

        Args:
            api_version: Such as ``apps/v1``.
            kind: Such as ``Deployment``.
            labels: A label selector.
            namespace: Only this one's objects.
            fields: A field selector, such as ``metadata.name=greeter``.
        """
        path = self._path(api_version, kind, namespace)
        query: dict[str, str | int] = {"limit": PAGE_SIZE, "labelSelector": labels, "fieldSelector": fields}
        while path:
            page = json.loads(self._get(path, **query))
            for item in page["items"]:
                yield {"apiVersion": api_version, "kind": kind, **item}
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return

    def log(self, namespace: str, pod: str, container: str, previous: bool, lines: int) -> list[str]:
        """The last ``lines`` of what a container wrote, of the run before if ``previous``; none if there is no log."""
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log"
        try:
            text = self._get(path, container=container, previous=str(previous).lower(), tailLines=lines)
            return text.decode("utf-8", "replace").splitlines()
        except (NotFoundError, ClusterError):  # no such container yet, or its log is gone
            return []
