"""The launcher at the top of the checkout, which runs the tests and says which Stead is here."""

import os
import sys
from typing import NoReturn

from stead_cli.settings import CHECKOUT


def run(*arguments: str) -> NoReturn:
    """Let `./stead` with these arguments take this process's place."""
    sys.stdout.flush()
    program = str(CHECKOUT / "stead")
    os.execv(program, [program, *arguments])
