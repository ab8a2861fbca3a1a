"""A controller that cleans up each half second instead of each quarter of a minute, so that little has to be awaited.

python -m tests.recovery.lives.brief_controller run --state-dir=…        (the controller's own command line)
"""

from stead_controller import controller
from stead_controller.__main__ import cli

if __name__ == "__main__":
    setattr(controller, "_HOUSEKEEPING_SECONDS", 0.5)  # noqa: B010 - mypy knows that it is final
    cli()
