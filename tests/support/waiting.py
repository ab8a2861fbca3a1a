"""Waiting for a condition with a deadline: the only place where tests sleep."""

import time
from collections.abc import Callable


def wait_for[Found](
    condition: Callable[[], Found | None],
    what: str,
    seconds: float = 20.0,
    poll: float = 0.05,
    *,
    explain: Callable[[], str] | None = None,
) -> Found:
    """Return the first value that is neither None, False nor empty; fail, saying what was awaited, when time is over.

    The last look begins after the deadline: a machine that had no time for us meanwhile makes nothing fail. `explain`
    is asked for more when it was in vain.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > deadline
        found = condition()
        if found:
            return found
        if is_last:
            why = f"\n{explain()}" if explain is not None else ""
            raise AssertionError(f"waited {seconds:g} s in vain until {what}{why}")
        time.sleep(poll)
