"""What this controller does when others of its cloud come and go, when it begins to lead, or loses its database."""

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from stead_controller.db.membership import LeadLost, Membership, led
from stead_controller.db.session import Database
from stead_controller.hosts.link import HostLink
from stead_controller.settings import Settings
from stead_proto.tls import write_once

_log = logging.getLogger(__name__)

BLOCKS: Final = "blocks"
BUCKETS: Final = "buckets"
HOW: Final = {
    BLOCKS: "use one bucket (STEAD_BLOCK_BUCKET), or one file system, for both",
    BUCKETS: "start all with one server for them: STEAD_OBJECT_ENDPOINT, or --object-endpoint",
}
"""How several controllers share them."""
_ELSEWHERE: Final = "elsewhere"
_NAME_FILE: Final = ".name"
_NAME_LENGTH: Final = 32
_LOOK_SECONDS: Final = 0.25
"""How late it is noticed at most that a lost database is back."""


class Rates(Protocol):
    """Limits that each controller counts for itself."""

    def share(self, controllers: int) -> None:
        """Let so many controllers together allow what one alone allows."""


class Parts(Protocol):
    """Something of which each controller uses a part of its own."""

    def take_part(self, part: int, parts: int) -> None:
        """Use one of equal parts, counted from 0."""


class Looks(Protocol):
    """A loop that only the controller that leads runs."""

    async def look(self) -> None:
        """Begin a round soon."""


class Sharing:
    """This controller among those of its cloud; one with SQLite is alone, and nothing ever changes."""

    def __init__(self, database: Database, address: str, state: Mapping[str, str]) -> None:
        """Set where hosts reach this controller, and names of what all must share; nobody is told yet."""
        self.membership = Membership(database, address, state, self._note)
        self.led = led(database, self.membership)
        self._address = address
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def trouble(self) -> str:
        """What ails this controller, for its health page; empty: nothing."""
        return "" if self.membership.has_database else "the database is away"

    def only_one(self, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Return work that is done only while this controller leads."""

        async def done() -> None:
            if self.membership.leads():
                with contextlib.suppress(LeadLost):  # another one does it now
                    await work()

        return done

    async def run(self, link: HostLink, rates: Sequence[Rates], parts: Sequence[Parts], loops: Sequence[Looks]) -> None:
        """Begin to share, and follow changes until cancelled."""
        if self.membership.is_alone:
            return
        self._loop = asyncio.get_running_loop()
        self.membership.begin()
        shown = None
        while True:
            self._changed.clear()
            others, addresses = self.membership.others, self.membership.addresses
            serves, leads = self.membership.has_database, self.membership.leads()
            if (others, addresses, serves, leads) != shown:
                shown = (others, addresses, serves, leads)
                for each in rates:
                    each.share(1 + len(others))
                for one in parts:
                    one.take_part(self.membership.rank, 1 + len(others))
                link.share([*filter(None, [self._address]), *addresses] if addresses else [], serves=serves)
                for loop in loops if leads else ():
                    await loop.look()
            # Of what else changes all are told. That the database is back, or the lead over without it, is looked for.
            lost_in = self.membership.lost_in
            with contextlib.suppress(TimeoutError):  # then it is time to see that
                await asyncio.wait_for(self._changed.wait(), lost_in if lost_in > 0 else _LOOK_SECONDS)

    def _note(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)


def names_of_state(settings: Settings) -> dict[str, str]:
    """Name the blocks and the buckets that a controller has, where others may share them."""
    if not settings.has_server:
        return {}
    blocks, is_elsewhere = settings.block_bucket, bool(settings.object_endpoint)
    return {
        BLOCKS: hashlib.sha256(blocks.encode()).hexdigest()[:_NAME_LENGTH]
        if blocks
        else _name_of(settings.block_folder),
        # One server may have several addresses, so that all that are elsewhere count as the same.
        BUCKETS: _ELSEWHERE if is_elsewhere else _name_of(settings.object_folder),
    }


def _name_of(folder: Path) -> str:
    """Return the name in a file of a folder, which is made once, by whoever comes first."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / _NAME_FILE
    write_once(file, secrets.token_hex(_NAME_LENGTH // 2).encode("ascii"))
    return file.read_text(encoding="ascii")
