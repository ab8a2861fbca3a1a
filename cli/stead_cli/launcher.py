"""The launcher at the top of the checkout, which runs the tests and prints the version of Stead."""

import os
import sys
from typing import NoReturn

from stead_cli.settings import CHECKOUT


def run(*arguments: str) -> NoReturn:
    """Replace this process by `./stead` with these arguments (exec)."""
    sys.stdout.flush()
    program = str(CHECKOUT / "stead")
    os.execv(program, [program, *arguments])
