"""`stead`: all its commands."""

import errno
import importlib
import sys
from typing import Final

import click

from stead_cli import version
from stead_cli.errors import CliError

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)

# In the order in which a new user needs them. Each is in the module of its name, which is loaded when it is used.
_NAMES: Final = (
    "up",
    "join",
    "down",
    "demo",
    "env",
    "status",
    "top",
    "doctor",
    "logs",
    "events",
    "support-bundle",
    "account",
    "quota",
    "bill",
    "price",
    "type",
    "key",
    "certificate",
    "host",
    "console",
    "instance",
    "placement",
    "image",
    "blocks",
    "upgrade",
    "backup",
    "database",
    "recover",
    "unclaimed",
    "net",
    "rig",
    "release",
    "test",
    "version",
    "completion",
)


class _InOrder(click.Group):
    """A click group that lists its commands in this order, and loads only the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        del ctx
        return list(_NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None when no command has this name."""
        del ctx
        if cmd_name not in _NAMES:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"stead_cli.{name}"), name)
        return command


def _show_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        version.show()
        ctx.exit()


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show version and commit.",
)
def cli() -> None:
    """Stead: a private EC2 for your own machines.

    Begin with `./stead demo`. Then: eval "$(./stead env)" and use aws, boto3, Terraform.
    """


def main() -> None:
    """Run the command line."""
    try:
        cli(prog_name="stead")
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        where = f" for {error.filename}" if error.filename else ""
        failure = CliError(f"there is no room left on the disk{where}: {error.strerror}", "make room, see: df -h")
        failure.show()
        sys.exit(failure.exit_code)


if __name__ == "__main__":
    main()
