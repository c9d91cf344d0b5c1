"""The secret that nodes join by, in the forms K3s gives and takes."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from launcher.config import Config, ConfigError

FULL = re.compile(r"K10(?P<digest>[0-9a-f]{64})::(?:server|node):(?P<secret>\S+)")


def digest_of(authority: str) -> str:
    """Give the sha256 of a CA's PEM text, by which a token names the cluster it is for."""
    return hashlib.sha256(authority.encode()).hexdigest()


@dataclass(frozen=True)
class Token:
    """A token; its `digest` is empty where only the secret was given."""

    secret: str
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> "Token":
        """Read `K10<sha256 of the CA>::server:<secret>`, or the secret alone.

        Raises:
            ConfigError: when it begins as the long form and goes on otherwise.
        """
        found = FULL.fullmatch(text.strip())
        if found:
            return cls(found["secret"], found["digest"])
        if text.startswith("K10") and "::" in text:
            raise ConfigError("invalid token format")
        return cls(text.strip())

    @property
    def bootstrap_id(self) -> str:
        """The public half of the bootstrap token that the API server knows for the secret."""
        return self._derived("id")[:6]

    @property
    def bootstrap_secret(self) -> str:
        """The secret half of it."""
        return self._derived("secret")[:16]

    def _derived(self, purpose: str) -> str:
        return hashlib.sha256(f"{purpose} {self.secret}".encode()).hexdigest()

    def fits(self, authority: str) -> bool:
        """Say whether it is for the cluster with this CA; a secret alone cannot tell."""
        return self.digest in ("", digest_of(authority))

    def written_for(self, authority: str) -> str:
        """Give it in the long form, with the line end of a file."""
        return f"K10{digest_of(authority)}::server:{self.secret}\n"


def given(config: Config) -> Token | None:
    """Give the configured token, if there is one.

    Raises:
        ConfigError: when the file it should lie in cannot be read, or the token is none.
    """
    text, file = config.text("token"), config.text("token-file")
    if not text and file:
        try:
            text = Path(file).read_text()
        except OSError as error:
            raise ConfigError(f"the token cannot be read: {error}") from error
    return Token.parse(text) if text.strip() else None


def of_server(config: Config, kept: Path) -> Token | None:
    """Give the token of a server: the configured one, else the one it has `kept`, else none yet.

    Raises:
        ConfigError: when both are there and differ.
    """
    wanted = given(config)
    known = Token.parse(kept.read_text()) if kept.exists() else None
    if wanted and known and wanted.secret != known.secret:
        raise ConfigError("bootstrap data already found and encrypted with different token")
    return wanted or known
