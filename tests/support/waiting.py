"""Waiting for a condition with a deadline: the only place where tests sleep."""

import time
from collections.abc import Callable
from typing import Final

_SLOWER: Final = 5.0  # than the idle machine that deadlines are written for
_LEAST_SECONDS: Final = 30.0  # of any deadline: a machine may do something else for a while
_MOST_SECONDS: Final = (
    240.0  # of one that is longer for that: a test's own deadline (pyproject.toml) is not far from it
)
_POLL: Final = 0.05
_LATER: Final = 0.05  # of the time waited so far, by which something may be noticed later
_LONGEST_POLL: Final = 0.5


def wait_for[Found](
    condition: Callable[[], Found | None],
    what: str,
    seconds: float = 20.0,
    poll: float = _POLL,
    *,
    explain: Callable[[], str] | None = None,
) -> Found:
    """Return the condition's first truthy value; at the deadline fail, naming `what` was awaited.

    `seconds` are those of an idle machine: a short deadline is made longer, since nothing may fail for being slow; 0 is one
    look. The last check begins after the deadline, so that a busy machine that did not run us meanwhile causes no failure.
    `explain` is called for details of a failure.

    It looks each `poll` seconds, and more and more seldom, since a look may cost as much as what is awaited, and delay it.
    Who gives a shorter one than the default has it kept: a benchmark measures by it.
    """
    if seconds:
        seconds = max(seconds, _LEAST_SECONDS, min(_SLOWER * seconds, _MOST_SECONDS))
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        is_last = waited > seconds
        found = condition()
        if found:
            return found
        if is_last:
            why = f"\n{explain()}" if explain is not None else ""
            raise AssertionError(f"waited {seconds:g} s in vain until {what}{why}")
        time.sleep(poll if poll < _POLL else max(poll, min(_LATER * waited, _LONGEST_POLL)))
