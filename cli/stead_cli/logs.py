"""`stead logs`: what controller and agent wrote."""

import os

import click

from stead_cli import settings
from stead_cli.errors import CliError


@click.command()
@click.argument("program", type=click.Choice(["controller", "agent"]))
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on.")
@click.option("--lines", "-n", default=50, show_default=True, help="How many lines from the end.")
def logs(program: str, *, follow: bool, lines: int) -> None:
    """Show the end of a program's log."""
    path = settings.load().log_dir / f"{program}.log"
    if not path.exists():
        raise CliError(f"there is no log yet at {path}", "start the cloud: sudo ./stead up")
    if not os.access(path, os.R_OK):
        raise CliError(f"you may not read {path}", f"sudo ./stead logs {program}")
    command = ["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), str(path)]
    os.execvp("tail", command)
