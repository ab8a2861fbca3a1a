"""`stead database`: where the controller's state is, a file or a PostgreSQL server, and moving it."""

from dataclasses import replace

import click

from stead_cli import backup, cloud, processes, settings
from stead_cli.errors import CliError
from stead_cli.output import json_or, output_option, say
from stead_cli.settings import FILE


@click.group()
def database() -> None:
    """Move the controller's state to a PostgreSQL server, to another one, or back to a file."""


@database.command()
@click.argument("target", metavar="URL|sqlite")
@output_option
def copy(target: str, output: str) -> None:
    """Copy the state to an empty database, row by row, and use that from the next `stead up` on.

    URL is postgresql+psycopg://USER@HOST/DATABASE, as STEAD_DATABASE_URL has it; sqlite is the file. All controllers
    are stopped meanwhile, guests run on. Each row is read again where it was written. What was copied stays: a
    server's database as it is, a file under another name.
    """
    cloud.require_root("copying the database")
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    if target != FILE:
        settings.check_database(target, "the URL")
    if chosen.controller_address or not (chosen.controller_dir / "ca.pem").exists():
        raise CliError("no controller has its state on this machine")
    after = replace(chosen, database_url=target)
    with cloud.exclusively(chosen):
        if processes.find(cloud.controller_program(chosen)) is not None:
            raise CliError("the controller uses the database", "stop it first; guests run on: ./stead down")
        state = f"--state-dir={chosen.controller_dir}"
        backup.run(["move-database", state, *cloud.database_options(chosen), target])
        after.remember()
    json_or(output, {"database": target}, lambda: say(f"The state is in {target}. Go on by: ./stead up"))
