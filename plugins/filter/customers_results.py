"""What has become of the objects that were sent to a cluster, in lines for people."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

NAMESPACE_PREFIX = "customer-"


def failures(sent: Sequence[Any], answer: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the API refused.

    Args:
        sent: The objects given to kubernetes.core.k8s; a customer's name stands for the Secret of their certificate.
        answer: What the module returned, or a skipped task did.

    Returns:
        ``customer``, ``object`` and ``message``, the API's own words, of each that was refused.
    """
    result = answer.get("result") or {}
    # Of one object the module answers without a list.
    results = result["results"] if len(sent) > 1 and "results" in result else [answer]
    found = []
    for each, outcome in zip(sent, results, strict=False):
        if "error" in outcome:
            said = re.search(r'"message":\s*("(?:[^"\\]|\\.)*")', outcome["error"]["msg"])
            message = json.loads(said[1]) if said else outcome["error"]["msg"]
            found.append({**_named(each), "message": str(message)})
    # Without the namespace the API refuses everything in it: the one line that says why is enough.
    lost = {each["customer"] for each in found if each["object"].startswith("Namespace ")}
    following = {(name, f'namespaces "{NAMESPACE_PREFIX}{name}" not found') for name in lost}
    return [each for each in found if (each["customer"], each["message"]) not in following]


def _named(sent: str | Mapping[str, Any]) -> dict[str, str]:
    if isinstance(sent, str):
        return {"customer": sent, "object": "TLS certificate"}
    metadata = sent["metadata"]
    namespace = metadata.get("namespace", metadata["name"])
    return {"customer": namespace.removeprefix(NAMESPACE_PREFIX), "object": f"{sent['kind']} {metadata['name']}"}


def problems(refused: Sequence[Mapping[str, str]], waited: Mapping[str, Any], seconds: int) -> list[str]:
    """One line, or more with what explains it, for everything that is not as declared.

    Args:
        refused: See `failures`.
        waited: What customers_wait returned, or a skipped task did.
        seconds: How long it has waited.
    """
    lines = [f"- {each['customer']}: {each['object']}: {each['message']}" for each in refused]
    for name in waited.get("missing", []):
        lines.append(f"- {name}: not rolled out within {seconds} s")
        lines += [f"    {reason}" for reason in waited.get("reasons", {}).get(name, [])]
    lines += [f"- namespace {name}: still being removed after {seconds} s" for name in waited.get("staying", [])]
    return lines + ([f"- {waited['silent']}"] if waited.get("silent") else [])


class FilterModule:
    """The filters under the names that playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → filter."""
        return {"customers_failures": failures, "customers_problems": problems}
