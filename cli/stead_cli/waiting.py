"""Waiting for a condition with a deadline."""

import time
from collections.abc import Callable
from typing import Final

from stead_cli.errors import CliError

_POLL: Final = 0.05


def wait_for[Found](
    condition: Callable[[], Found | None], timeout: float, failure: Callable[[], CliError], poll: float = _POLL
) -> Found:
    """Return the first value that is neither None nor False; raise the error of `failure` at the deadline."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise failure()
        time.sleep(poll)
