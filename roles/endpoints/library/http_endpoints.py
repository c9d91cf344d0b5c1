#!/usr/bin/python
"""Ansible module: call many virtual hosts and compare what they answer."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: http_endpoints
short_description: Call many virtual hosts and compare what they answer
description:
  - Sends C(GET /) to every endpoint, all side by side, until each has answered as expected or the time is over.
  - Changes nothing, in check mode neither.
options:
  endpoints:
    description: What to call, and what must come back.
    type: list
    elements: dict
    required: true
    suboptions:
      host: {description: The host name to ask for., type: str, required: true}
      address: {description: The address to connect to., type: str, required: true}
      port: {description: The TCP port to connect to., type: int, default: 80}
      body: {description: The exact body that must come back with status 200., type: str, required: true}
  timeout:
    description: Seconds until every endpoint must have answered as expected.
    type: int
    default: 60
  connections:
    description: How many endpoints are called at the same time.
    type: int
    default: 16
author: [the greeter fleet's maintainers]
"""

EXAMPLES = r"""
- name: Call the hello host through one node
  http_endpoints:
    endpoints:
      - {host: hello.example.com, address: 192.0.2.1, body: '{"response":"Hi!"}'}
"""

RETURN = r"""
endpoints:
  description: Every endpoint with what it answered last, in the order given.
  type: list
  elements: dict
  returned: always
  sample: [{host: hello.example.com, address: 192.0.2.1, port: 80, status: 200, answer: '{"response":"Hi!"}'}]
"""

# One request may take this many seconds; an ingress that drops a connection must not use up the whole time.
REQUEST_SECONDS = 5.0
PAUSE_SECONDS = 0.5


def call(endpoint: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Send one ``GET /``; return ``status``, ``answer`` (its body) and ``error`` (empty if there was an answer)."""
    connection = http.client.HTTPConnection(endpoint["address"], endpoint["port"], timeout=seconds)
    try:
        connection.request("GET", "/", headers={"Host": endpoint["host"]})
        response = connection.getresponse()
        return {"status": response.status, "answer": response.read().decode("utf-8", "replace"), "error": ""}
    except (OSError, http.client.HTTPException) as error:
        return {"status": 0, "answer": "", "error": str(error) or type(error).__name__}
    finally:
        connection.close()


def as_expected(endpoint: dict[str, Any]) -> bool:
    """Whether the endpoint's last answer is the one it must give."""
    return bool(endpoint["status"] == http.HTTPStatus.OK and endpoint["answer"] == endpoint["body"])


def watch(endpoint: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Call ``endpoint`` until it answers as expected or the monotonic clock has passed ``deadline``; at least once."""
    while True:
        seen = endpoint | call(endpoint, REQUEST_SECONDS)
        if as_expected(seen) or time.monotonic() + PAUSE_SECONDS >= deadline:
            return seen
        time.sleep(PAUSE_SECONDS)


def fault(endpoint: dict[str, Any]) -> str:
    """Say in one line what came back instead of the expected answer."""
    got = endpoint["error"] or f"{endpoint['status']} {endpoint['answer']!r}"
    where = f"{endpoint['host']} through {endpoint['address']}:{endpoint['port']}"
    return f"- {where}: expected 200 {endpoint['body']!r}, got {got}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "host": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "default": 80},
                    "body": {"type": "str", "required": True},
                },
            },
            "timeout": {"type": "int", "default": 60},
            "connections": {"type": "int", "default": 16},
        },
        supports_check_mode=True,
    )
    deadline = time.monotonic() + module.params["timeout"]
    with ThreadPoolExecutor(module.params["connections"]) as pool:
        seen = list(pool.map(lambda endpoint: watch(endpoint, deadline), module.params["endpoints"]))
    faults = [fault(endpoint) for endpoint in seen if not as_expected(endpoint)]
    if faults:
        count = f"{len(faults)} of {len(seen)} endpoints did not answer as expected"
        module.fail_json(msg="\n".join([f"{count} within {module.params['timeout']} s:", *faults]), endpoints=seen)
    module.exit_json(changed=False, endpoints=seen)


if __name__ == "__main__":
    main()
