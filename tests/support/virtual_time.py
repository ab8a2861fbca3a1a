"""An event loop whose time is only counted: what sleeps is due at once, in its order."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, override


class _Selector(selectors.DefaultSelector):
    """Does not wait, and tells how long it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if ready := super().select(0 if timeout is not None else None):
            return ready
        self.waited += timeout or 0.0
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop that begins at zero seconds; only for work without threads, which need real time."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._counted = _Selector()
        super().__init__(self._counted)

    @override
    def time(self) -> float:
        return self._counted.waited


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Do work in its own time, and give what it returns."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)


async def passes(seconds: float) -> None:
    """Let so much of the counted time pass; whatever is due until then happens."""
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    await asyncio.sleep(seconds)
