"""OpenID Connect issuers that AssumeRoleWithWebIdentity trusts, as the operator lists them in files.

Each `*.json` of the folder is `{"issuer": "https://…", "jwks": {"keys": […]}}`, the key set being what the issuer
publishes (RFC 7517). Nothing is ever fetched: a new key is trusted when the operator has put it into the file, which
is read again as soon as it has changed.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_log = logging.getLogger(__name__)

_MOST_BYTES: Final = 1 << 20

type Keys = Sequence[Mapping[str, Any]]
"""JSON Web Keys."""


class BadIssuer(ValueError):
    """A file that does not define an issuer; the message is for the operator."""


@dataclass(slots=True)
class OidcIssuers:
    """The issuers of a folder, which need not exist; without a folder there are none. Thread-safe."""

    folder: Path | None = None
    _known: dict[Path, tuple[tuple[int, int], str, Keys]] = field(default_factory=dict)

    def keys_of(self, issuer: str) -> Keys | None:
        """Return the keys of an issuer by its URL; None when the operator has not listed it."""
        if self.folder is None or not self.folder.is_dir():
            return None
        found: list[Mapping[str, Any]] = []
        is_known = False
        for path in sorted(self.folder.glob("*.json")):
            named, keys = self._read(path)
            if named == issuer:
                is_known = True
                found += keys
        return found if is_known else None

    def _read(self, path: Path) -> tuple[str, Keys]:
        """Read a file if it has changed; one that cannot be read defines no issuer, and is logged once."""
        try:
            about = path.stat()
        except OSError:
            return "", ()  # it was just removed
        version = (about.st_mtime_ns, about.st_size)
        known = self._known.get(path)
        if known is None or known[0] != version:
            try:
                issuer, keys = read(path.read_bytes()[:_MOST_BYTES])
            except (OSError, BadIssuer) as error:
                _log.error("oidc_issuer_not_read", extra={"path": str(path), "reason": str(error)})
                issuer, keys = "", ()
            known = self._known[path] = (version, issuer, keys)
        return known[1], known[2]


def read(content: bytes) -> tuple[str, Keys]:
    """Return the issuer that a file defines and its keys; raises BadIssuer."""
    try:
        named = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadIssuer(f"it is no JSON: {error}") from error
    issuer = named.get("issuer") if isinstance(named, dict) else None
    if not isinstance(issuer, str) or not issuer.startswith("https://"):
        raise BadIssuer('it has no "issuer" that begins with https://')
    jwks = named.get("jwks")
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise BadIssuer('it has no "jwks" with a list of "keys"')
    return issuer, keys
