"""When access keys and roles were last used: noted in memory at each call, written periodically in one batch."""

from datetime import datetime
from functools import partial
from itertools import batched
from typing import Final

from stead_controller.db.session import Database
from stead_controller.request.caller import Caller
from stead_controller.resources.iam import access_keys
from stead_controller.resources.iam.access_keys import KeyUse

_AT_ONCE: Final = 500  # in one transaction, which blocks all other writers


class KeyUses:
    """The last use of each key and role since the last write; lost when the controller is killed before the next."""

    def __init__(self, database: Database, region: str) -> None:
        """Take the database and the region of the services."""
        self._database = database
        self._region = region
        self._noted: dict[str, KeyUse] = {}

    def note(self, caller: Caller, service: str, at: datetime) -> None:
        """Note a call; a session counts as a use of its role only."""
        if caller.kind == "role":
            self._noted[caller.principal_id] = KeyUse("", caller.principal_id, service, self._region, at)
        elif caller.session is None:
            self._noted[caller.access_key_id] = KeyUse(caller.access_key_id, "", service, self._region, at)

    async def write(self) -> None:
        """Write what was noted since the last time."""
        noted, self._noted = self._noted, {}
        for some in batched(noted.values(), _AT_ONCE):
            await self._database.run(partial(access_keys.write_uses, uses=some))
