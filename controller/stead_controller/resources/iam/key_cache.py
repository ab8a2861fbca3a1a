"""A cache of access keys for the look-up in each request: an entry is valid for a second."""

import hashlib
import time
from typing import Final

from stead_controller.db.session import Database
from stead_controller.request import session_tokens
from stead_controller.resources.iam.accounts import OpenedKey, open_key
from stead_controller.resources.iam.sessions import open_session
from stead_controller.secrets.sealing import Sealer

_SECONDS: Final = 1.0  # every controller refuses a deleted key within this time (FAULTS: EC2 credentials)
_MOST: Final = 10_000


class KeyCache:
    """Finds access keys; its size is bounded, and entries are never older than a second."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        """Take the database with the keys, and the sealer that opens them."""
        self._database = database
        self._sealer = sealer
        self._known: dict[tuple[str, bytes], tuple[float, OpenedKey | None]] = {}

    async def find(self, access_key_id: str, session_token: str | None = None) -> OpenedKey | None:
        """Return a key with its secret in clear text; None when there is none, or the token is not that of the key."""
        entry = (access_key_id, hashlib.sha256((session_token or "").encode("utf-8", "surrogateescape")).digest())
        known = self._known.get(entry)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        key = await self._read(access_key_id, session_token)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[entry] = (time.monotonic() + _SECONDS, key)
        return key

    async def _read(self, access_key_id: str, session_token: str | None) -> OpenedKey | None:
        if session_token is None:
            return await self._database.run(lambda tx: open_key(tx, self._sealer, access_key_id), writes=False)
        opened = session_tokens.open_token(self._sealer, access_key_id, session_token)
        if opened is None:
            return None
        return await self._database.run(lambda tx: open_session(tx, access_key_id, opened), writes=False)
