"""Filter: which of the objects that were sent to a cluster its API has refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

NAMESPACE_PREFIX = "customer-"
# What may be taken another time: somebody else was faster, too much at once, trouble in the server.
TRANSIENT = {409, 429, 500, 502, 503, 504}


def refused(sent: Sequence[Any], answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the API refused.

    Args:
        sent: The objects given to kubernetes.core.k8s; a customer's name stands for the Secret of their certificate.
        answer: What the module returned, or a skipped task did.

    Returns:
        ``customer``, ``object`` and ``message``, the API's own words, of each that was refused, and ``again``, whether
        it may be taken another time.
    """
    result = answer.get("result") or {}
    # Of one object the module answers without a list.
    results = result["results"] if len(sent) > 1 and "results" in result else [answer]
    found: list[dict[str, Any]] = []
    for each, outcome in zip(sent, results, strict=False):
        if "error" in outcome:
            text = outcome["error"]["msg"]
            status = re.search(r'"message":\s*("(?:[^"\\]|\\.)*")', text)
            code = re.search(r'"code":\s*(\d+)', text)
            again = code is not None and int(code[1]) in TRANSIENT
            message = str(json.loads(status[1]) if status else text)
            found.append({**_named(each), "message": message + _missing_right(message, text), "again": again})
    # Without the namespace the API refuses everything in it: the one line that says why is enough.
    lost = {str(each["customer"]) for each in found if each["object"].startswith("Namespace ")}
    following = {(name, f'namespaces "{NAMESPACE_PREFIX}{name}" not found') for name in lost}
    return [each for each in found if (each["customer"], each["message"]) not in following]


def _missing_right(message: str, text: str) -> str:
    """What the API leaves out where somebody may apply an object and not create one."""
    details = re.search(r'"details":\s*(\{[^{}]*\})', text)
    if not message.endswith(" is forbidden: ") or not details:
        return ""
    what = json.loads(details[1])
    resource = ".".join(filter(None, (what.get("kind"), what.get("group"))))
    return f"the user may not create {resource}; grant it as docs/rights.yaml does"


def _named(sent: str | Mapping[str, Any]) -> dict[str, str]:
    if isinstance(sent, str):
        return {"customer": sent, "object": "Secret greeter-tls"}
    metadata = sent["metadata"]
    namespace = metadata.get("namespace", metadata["name"])
    return {"customer": namespace.removeprefix(NAMESPACE_PREFIX), "object": f"{sent['kind']} {metadata['name']}"}


class FilterModule:
    """The filter under the name that playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"customers_refused": refused}
