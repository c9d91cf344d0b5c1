"""The few requests that the customers' plugins send to a Kubernetes API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from ansible_collections.greeter.fleet.plugins.module_utils import kubeconfig as files
from kubernetes.config import kube_config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, NotFoundError
from urllib3.exceptions import HTTPError

Object = dict[str, Any]

# The API returns at most this many objects at once: a whole fleet in one answer would have to fit into its memory.
PAGE_SIZE = 500


# Seconds to connect, and to wait for a part of an answer: a server that has lost its power never says so.
TIMEOUTS = (5, 30)
# Answers of an API that is busy, or not yet there behind its load balancer: the same request may be answered later.
TOO_MANY_REQUESTS, SERVER_ERRORS = 429, 500
UNAUTHORIZED, FORBIDDEN = 401, 403
# How Kubernetes says which right is missing, whatever asks for it.
MISSING_RIGHT = re.compile(r'User "([^"]*)" cannot (\w+) resource "([^"]+)" in API group "([^"]*)"')
ANONYMOUS = 'User "system:anonymous"'


class ClusterError(Exception):
    """The API refuses a request."""


class TransientError(ClusterError):
    """The API cannot answer now; it may when it is asked again."""


class UnreachableError(TransientError):
    """Nothing answers at all."""


class ForbiddenError(ClusterError):
    """The user lacks a right: a verb and a resource, such as ``list networkpolicies.networking.k8s.io``."""

    def __init__(self, user: str, right: str) -> None:
        """Say who lacks which right."""
        super().__init__(f"{user} may not {right}; grant it as docs/rights.yaml does")
        self.user, self.right = user, right

    @classmethod
    def of_all(cls, errors: Iterable[ForbiddenError]) -> ForbiddenError:
        """All that one user lacks, in one line."""
        user, rights = "", dict[str, None]()
        for error in errors:
            user, rights[error.right] = error.user, None
        return cls(user, ", ".join(rights))


def missing_right(message: str) -> ForbiddenError | None:
    """The right that an API's message says is missing, if it does: webhooks forbid in words of their own."""
    if not (found := MISSING_RIGHT.search(message)):
        return None
    user, verb, resource, group = found.groups()
    return ForbiddenError(user, f"{verb} {resource}{group and '.'}{group}")


class Cluster:
    """A Kubernetes API, reached by a kubeconfig.

    Every method raises `ClusterError` when the API cannot be reached or refuses.

    Attributes:
        url: The API's address.
        context: The context of the kubeconfig that is used.
    """

    def __init__(self, kubeconfig: str, context: str = "") -> None:
        """Use a context of the file ``kubeconfig``, the current one if none is named. Nothing is asked yet."""
        # API version → kind → its name in paths. Kept for no longer than this object: other kinds may be served later.
        self._kinds: dict[str, dict[str, str]] = {}
        try:
            self._access = files.choose(kubeconfig, context)
            client = files.connect(self._access)
        except files.MissingKubeconfigError as error:
            raise UnreachableError(str(error)) from error
        except files.KubeconfigError as error:
            raise ClusterError(str(error)) from error
        self.url, self.context = client.configuration.host, self._access.context
        # The library's own discovery would ask more, and keep it in a file that everybody may write.
        self._client = DynamicClient(client, discoverer=lambda *_: None)

    def close(self) -> None:
        """End the connections, and remove the files with the user's key that the library has made.

        Those it would remove itself at the end of the process, but a task's process on the controller has no such end.
        """
        self._client.client.close()
        kube_config._cleanup_temp_files()

    def _error(self, error: DynamicApiError | HTTPError) -> ClusterError:
        if isinstance(error, HTTPError):
            return UnreachableError(f"the cluster at {self.url} does not answer: {getattr(error, 'reason', error)}")
        words = str(error.summary())
        if error.status == UNAUTHORIZED or ANONYMOUS in words:
            words = f"the cluster at {self.url} refuses {self._access}: it does not know such credentials"
            return ClusterError(f"{words}; renew them, or set customers_context to another context")
        if error.status == FORBIDDEN and (forbidden := missing_right(words)):
            return forbidden
        if error.status >= SERVER_ERRORS or error.status == TOO_MANY_REQUESTS:
            return TransientError(f"the cluster at {self.url} cannot answer now: {words}")
        return ClusterError(f"the cluster at {self.url} refuses: {words}")

    def _get(self, path: str, **query: str | int) -> bytes:
        given = [(name, value) for name, value in query.items() if value != ""]
        try:
            # Without serialize=False the client would make an object of every field, which takes far longer.
            answer = self._client.request("get", path, query_params=given, serialize=False, _request_timeout=TIMEOUTS)
            return bytes(answer.data)
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
        except ForbiddenError:
            raise
        except (NotFoundError, ClusterError):  # no such container yet, or its log is gone
            return []
