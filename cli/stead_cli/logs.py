"""`stead logs`: what controller, agent, object store and the engine of metrics wrote."""

import os
from typing import Final

import click

from stead_cli import cloud, settings
from stead_cli.errors import CliError

_USES: Final = {
    "object-store": "aws s3 mb s3://NAME",
    "metrics": "five minutes after an instance has",
}


@click.command()
@click.argument("program", type=click.Choice(["controller", "agent", "object-store", "metrics"]))
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on.")
@click.option("--lines", "-n", default=50, show_default=True, help="How many lines from the end.")
def logs(program: str, *, follow: bool, lines: int) -> None:
    """Show the end of a program's log."""
    chosen = settings.load()
    path = chosen.log_dir / f"{program}.log"
    own = {each.name: each.log_file for each in cloud.started_by_controller(chosen)}
    if program in own:
        path = own[program]
        if not path.exists() and os.access(path.parent.parent, os.X_OK):
            raise CliError(f"there is no log yet at {path}", f"it is started when it is first used: {_USES[program]}")
    elif not path.exists():
        raise CliError(f"there is no log yet at {path}", "start the cloud: ./stead up")
    if not os.access(path, os.R_OK):
        raise CliError(f"you may not read {path}", f"as root: ./stead logs {program}")
    command = ["tail", f"--lines={lines}", *(["--follow=name", "--retry"] if follow else []), str(path)]
    os.execvp("tail", command)
