"""Waiting for a condition with a deadline: the only place where tests sleep."""

import time
from collections.abc import Callable


def wait_for[Found](
    condition: Callable[[], Found | None], what: str, seconds: float = 20.0, poll: float = 0.05
) -> Found:
    """Return the first value that is neither None, False nor empty; fail, saying what was awaited, when time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain until {what}")
        time.sleep(poll)
