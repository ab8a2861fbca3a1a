"""A controller that cleans up each half second instead of each quarter of a minute, so that little has to be awaited.

It remembers client tokens for five minutes instead of a day: with all of them its database would grow during a whole
run, and with it what SQLite caches of that, so that nobody could tell what else grows.

python -m tests.recovery.lives.brief_controller run --state-dir=…        (the controller's own command line)
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from stead_controller import controller
from stead_controller.__main__ import cli
from stead_controller.request import client_tokens
from stead_controller.workflows import housekeeping
from tests.support import held_memory

_TOKENS_LIFETIME: Final = timedelta(minutes=5)  # longer than anybody here repeats a call

if __name__ == "__main__":
    setattr(controller, "_HOUSEKEEPING_SECONDS", 0.5)  # noqa: B010 - mypy knows that it is final
    for module in (client_tokens, housekeeping):
        setattr(module, "LIFETIME", _TOKENS_LIFETIME)  # noqa: B010 - the same
    held_memory.listen(Path(sys.argv[1]))
    cli(sys.argv[2:])
