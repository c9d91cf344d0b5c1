"""The few requests that the customers' modules send to a Kubernetes API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, new_client_from_config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, NotFoundError
from urllib3.exceptions import HTTPError

Object = dict[str, Any]

# So many objects come with one answer: a whole fleet in one would have to fit into memory, here and at the server.
PAGE = 500


class ClusterError(Exception):
    """The cluster could not be asked; ``unreachable`` if nothing answered at all."""

    def __init__(self, message: str, unreachable: bool = False) -> None:
        """Keep what to tell people."""
        super().__init__(message)
        self.unreachable = unreachable


class Cluster:
    """A Kubernetes API, reached by a kubeconfig.

    Every method raises `ClusterError` when the API cannot be reached or refuses.
    """

    def __init__(self, kubeconfig: str) -> None:
        """Connect by the current context of the file ``kubeconfig``."""
        self._kinds: dict[str, dict[str, Object]] = {}
        self.url = ""
        try:
            client = new_client_from_config(config_file=kubeconfig, persist_config=False)
            self.url = client.configuration.host
            self._client = DynamicClient(client)
        except (ConfigException, OSError) as error:
            raise ClusterError(f"the kubeconfig {kubeconfig} cannot be used: {error}", unreachable=True) from error
        except (ApiException, HTTPError) as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> ClusterError:
        if isinstance(error, HTTPError):
            reason = getattr(error, "reason", None) or error
            return ClusterError(f"the cluster at {self.url} does not answer: {reason}", unreachable=True)
        return ClusterError(f"the cluster at {self.url} refuses: {message(error)}")

    def _get(self, path: str, **query: str | int) -> bytes:
        try:
            answer = self._client.request("get", path, query_params=list(query.items()), serialize=False)
        except NotFoundError:
            raise
        except (ApiException, DynamicApiError, HTTPError) as error:
            raise self._told(error) from error
        return bytes(answer.data)

    def _kind(self, api_version: str, kind: str) -> Object | None:
        if api_version not in self._kinds:
            root = "apis" if "/" in api_version else "api"
            try:
                resources = json.loads(self._get(f"/{root}/{api_version}"))["resources"]
            except NotFoundError:
                resources = []
            self._kinds[api_version] = {
                resource["kind"]: {"path": f"/{root}/{api_version}", **resource}
                for resource in resources
                if "/" not in resource["name"]
            }
        return self._kinds[api_version].get(kind)

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the API knows objects of this kind."""
        return self._kind(api_version, kind) is not None

    def all(
        self, api_version: str, kind: str, labels: str = "", namespace: str = "", fields: str = ""
    ) -> Iterator[Object]:
        """Every object of a kind, of all namespaces unless one is given; none if the kind is not served.

        Args:
            api_version: Such as ``apps/v1``.
            kind: Such as ``Deployment``.
            labels: A label selector.
            namespace: Only this one's objects.
            fields: A field selector.
        """
        resource = self._kind(api_version, kind)
        if resource is None:
            return
        within = f"/namespaces/{quote(namespace)}" if namespace else ""
        more = ""
        while True:
            query = {"labelSelector": labels, "fieldSelector": fields, "continue": more}
            page = json.loads(
                self._get(
                    f"{resource['path']}{within}/{resource['name']}",
                    limit=PAGE,
                    **{name: value for name, value in query.items() if value},
                )
            )
            for item in page["items"]:
                yield {"apiVersion": api_version, "kind": kind, **item}
            more = page["metadata"].get("continue", "")
            if not more:
                return

    def one(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        """One object of a kind that is served; None if there is no such object."""
        resource = self._kind(api_version, kind) or {}
        within = f"/namespaces/{quote(namespace)}" if namespace else ""
        try:
            return dict(json.loads(self._get(f"{resource['path']}{within}/{resource['name']}/{quote(name)}")))
        except NotFoundError:
            return None

    def log(self, namespace: str, pod: str, container: str, previous: bool, lines: int) -> list[str]:
        """The last ``lines`` of what a container wrote, of the run before if ``previous``; none if there is no log."""
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log"
        try:
            text = self._get(path, container=container, previous=str(previous).lower(), tailLines=lines)
            return text.decode("utf-8", "replace").splitlines()
        except (NotFoundError, ClusterError):  # no such container yet, or its log is gone
            return []


def message(error: Exception) -> str:
    """What the API itself said, out of an exception of its client."""
    body = getattr(error, "body", None) or b""
    try:
        return str(json.loads(body)["message"])
    except (KeyError, TypeError, ValueError):
        return str(getattr(error, "reason", "") or error)
