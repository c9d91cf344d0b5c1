"""What a process is told from outside: environment variables, read and checked once."""

import functools
import ipaddress
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

_GREETING_BYTES = 1024
_GREETING_ALLOWED = f"1 to {_GREETING_BYTES} bytes of UTF-8 text, not blank, without control characters"
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_ALLOWED = "a DNS-1123 label: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit"
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_VERSION_ALLOWED = "1 to 128 of A-Z, a-z, 0-9 and '._+-', beginning with a letter, digit or '_'"
_NUMBER = re.compile(r"[0-9]{1,6}")
_SHOWN_CHARACTERS = 40


class SettingsError(Exception):
    """One or more settings are missing or bad; `str()` gives one line per fault.

    Attributes:
        faults: For every fault a line that names the variable, what is wrong and what is allowed.
    """

    def __init__(self, faults: list[str]) -> None:
        """Keep the faults, in the order in which the settings are documented."""
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Checked settings of one process.

    Attributes:
        greeting: The text that every answer carries, 1 to 1024 bytes in UTF-8.
        customer_name: Whose greeter this is, a DNS-1123 label.
        port: TCP port to listen on, 1024 to 65535.
        drain_seconds: How long the process keeps serving after SIGTERM, 0 to 20 seconds.
        workers: Number of worker processes.
        metrics_port: TCP port of the metrics, 1024 to 65535, not that of the greeting.
        access_log: Which requests are logged: "requests" (all but probes and metrics), "all" or "off".
        address: The IP address to listen on; "" for all that the host has.
        version: What the image was built from, for the metrics.
    """

    greeting: str
    customer_name: str
    port: int
    drain_seconds: int
    workers: int
    metrics_port: int
    access_log: str
    address: str
    version: str


@functools.cache
def from_environment() -> Settings:
    """Load the settings of this process, once.

    Raises:
        SettingsError: A variable is missing or has a value that is not allowed.
    """
    return load(os.environ)


def load(environ: Mapping[str, str]) -> Settings:
    """Turn environment variables into settings.

    Args:
        environ: Variables by name, as `os.environ` holds them (undecodable bytes as surrogates).

    Raises:
        SettingsError: With every fault there is, not only the first.
    """
    reader = _Reader(environ)
    settings = Settings(
        greeting=reader.greeting("GREETING"),
        customer_name=reader.matching("CUSTOMER_NAME", _LABEL, _LABEL_ALLOWED),
        # Below 1024 a process without capabilities may not listen.
        port=reader.number("PORT", default=8080, lowest=1024, highest=65535),
        # 20 s of draining and 8 s for the last requests fit into Kubernetes' grace period of 30 s.
        drain_seconds=reader.number("DRAIN_SECONDS", default=5, lowest=0, highest=20),
        workers=reader.number("WORKERS", default=1, lowest=1, highest=16),
        metrics_port=reader.number("METRICS_PORT", default=9090, lowest=1024, highest=65535),
        access_log=reader.choice("ACCESS_LOG", "requests", "all", "off"),
        address=reader.address("ADDRESS"),
        version=reader.matching("GREETER_VERSION", _VERSION, _VERSION_ALLOWED, default="dev"),
    )
    if settings.port == settings.metrics_port:
        reader.faults.append(f"METRICS_PORT is {settings.port}, as PORT is; allowed: any other port from 1024 to 65535")
    if reader.faults:
        raise SettingsError(reader.faults)
    return settings


class _Reader:
    """Reads variables one by one and collects the faults.

    A method that finds a fault returns a placeholder, which nobody gets to see: `load` raises.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.faults: list[str] = []

    def greeting(self, name: str) -> str:
        """Return the text of a required greeting."""
        value = self._environ.get(name)
        if value is None:
            return self._refuse(name, "is not set", _GREETING_ALLOWED)
        try:
            # Back to the bytes of the environment: whatever the locale, they are to be UTF-8.
            encoded = os.fsencode(value)
            text = encoded.decode("utf-8")
        except UnicodeError:
            return self._refuse(name, "is not UTF-8", _GREETING_ALLOWED)
        if not text.strip():
            return self._refuse(name, "is blank", _GREETING_ALLOWED)
        if len(encoded) > _GREETING_BYTES:
            return self._refuse(name, f"is {len(encoded)} bytes long", _GREETING_ALLOWED)
        for character in text:
            if unicodedata.category(character) == "Cc":
                fault = f"holds the control character U+{ord(character):04X}"
                return self._refuse(name, fault, _GREETING_ALLOWED)
        return text

    def matching(self, name: str, pattern: re.Pattern[str], allowed: str, *, default: str | None = None) -> str:
        """Return a text of one form; without a default it is required."""
        value = self._environ.get(name, default)
        if value is None:
            return self._refuse(name, "is not set", allowed)
        if not pattern.fullmatch(value):
            return self._refuse(name, f"is {_shown(value)}", allowed)
        return value

    def choice(self, name: str, *words: str) -> str:
        """Return one of the words, the first unless told."""
        value = self._environ.get(name, words[0])
        return value if value in words else self._refuse(name, f"is {_shown(value)}", ", ".join(words))

    def address(self, name: str) -> str:
        """Return an optional IP address."""
        value = self._environ.get(name, "")
        try:
            return value and str(ipaddress.ip_address(value))
        except ValueError:
            return self._refuse(name, f"is {_shown(value)}", "an IPv4 or IPv6 address")

    def number(self, name: str, *, default: int, lowest: int, highest: int) -> int:
        """Return an optional whole number within its bounds."""
        value = self._environ.get(name)
        if value is None:
            return default
        if _NUMBER.fullmatch(value) and lowest <= int(value) <= highest:
            return int(value)
        self._refuse(name, f"is {_shown(value)}", f"a whole number from {lowest} to {highest}")
        return default

    def _refuse(self, name: str, fault: str, allowed: str) -> str:
        self.faults.append(f"{name} {fault}; allowed: {allowed}")
        return ""


def _shown(value: str) -> str:
    """Quote a refused value so that it stays short and on one line, whatever it holds."""
    if len(value) > _SHOWN_CHARACTERS:
        return f"{value[:_SHOWN_CHARACTERS]!r}... ({len(value)} characters)"
    return repr(value)
