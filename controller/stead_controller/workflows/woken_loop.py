"""A loop that is woken: it does a round soon after each wake, and one when time alone has made something due."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

_log = logging.getLogger(__name__)

SECONDS: Final = 1.0
"""After which a round that failed is tried again."""


def _nothing() -> None:
    pass


def always() -> bool:
    """Tell that this controller may do what one alone may do, as in a cloud with one controller."""
    return True


class WokenLoop:
    """Rounds, one after the other; no wake is lost, also not one during a round."""

    def __init__(self, name: str, *, pause: float = 0.0, leads: Callable[[], bool] = always) -> None:
        """Take the name for logs; `pause` is the time in seconds after a round in which wakes become one round.

        While this controller does not lead there is no round; the first one after that counts as woken.
        """
        self._name = name
        self._leads = leads
        self._pause = pause
        self._awake = asyncio.Event()
        self._woken = True
        self._loop: asyncio.AbstractEventLoop | None = None

    def wake(self, note: Callable[[], None] = _nothing) -> None:
        """Begin a round soon, after `note` on the loop's thread; called in any thread, nothing before `run`."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake, note)

    def wake_in(self, seconds: float) -> None:
        """Begin a round in so many seconds, if none is earlier; called on the loop's thread."""
        asyncio.get_running_loop().call_later(seconds, self._wake, _nothing)

    async def look(self) -> None:
        """Begin a round because something is due; called on the loop's thread."""
        self._awake.set()

    async def run(self, play: Callable[[bool], Awaitable[None]]) -> None:
        """Do rounds until cancelled; `play` is told whether it was woken, as the first is, or something is just due.

        A round that fails is logged, and the next one, a second later at most, is told the same again.
        """
        self._loop = asyncio.get_running_loop()
        while True:
            woken, self._woken = self._woken, False
            self._awake.clear()
            seconds = None
            try:
                if self._leads():
                    await play(woken)
                else:
                    self._woken = True
            except Exception:  # the loop must survive a database that is unavailable for a while
                _log.exception("loop_not_run", extra={"loop": self._name})
                self._woken |= woken
                seconds = SECONDS
            await asyncio.sleep(self._pause)
            with contextlib.suppress(TimeoutError):  # then it is time to try again
                await asyncio.wait_for(self._awake.wait(), seconds)

    def _wake(self, note: Callable[[], None]) -> None:
        note()
        self._woken = True
        self._awake.set()
