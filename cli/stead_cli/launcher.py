"""The launcher at the top of the checkout, which runs the tests and prints the version of Stead."""

import os
import sys
from typing import NoReturn

from stead_cli.errors import CliError
from stead_cli.settings import CHECKOUT, SHIPPED


def run(*arguments: str) -> NoReturn:
    """Replace this process by `./stead` with these arguments (exec). Raises CliError where there is no checkout."""
    if SHIPPED.is_dir():
        raise CliError(f"`stead {arguments[0]}` needs a checkout, and this is installed from a release")
    sys.stdout.flush()
    program = str(CHECKOUT / "stead")
    os.execv(program, [program, *arguments])
