"""Access keys as they are looked up for each request: opened once, and looked at again after a second."""

import time
from typing import Final

from stead_controller.db.session import Database
from stead_controller.resources.accounts import OpenedKey, open_key
from stead_controller.sealing import Sealer

_SECONDS: Final = 1.0  # a deleted key is refused within this time on every controller (FAULTS: EC2 credentials)
_MOST: Final = 10_000


class KeyCache:
    """Finds access keys; bounded, and never older than a second."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        """Take where the keys are kept, and what opens them."""
        self._database = database
        self._sealer = sealer
        self._known: dict[str, tuple[float, OpenedKey | None]] = {}

    async def find(self, access_key_id: str) -> OpenedKey | None:
        """Give a key with its secret in clear; None when there is none."""
        known = self._known.get(access_key_id)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        key = await self._database.run(lambda tx: open_key(tx, self._sealer, access_key_id), writes=False)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[access_key_id] = (time.monotonic() + _SECONDS, key)
        return key
