"""`stead`: all its commands."""

import importlib
from typing import Final

import click

# In the order in which a newcomer meets them. Each is in the module of its name, which is loaded when it is asked for.
_NAMES: Final = (
    "up",
    "down",
    "demo",
    "env",
    "status",
    "doctor",
    "logs",
    "account",
    "quota",
    "key",
    "host",
    "image",
    "blocks",
    "net",
    "rig",
)


class _InOrder(click.Group):
    """A group that lists its commands in their order, and loads the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names."""
        del ctx
        return list(_NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None when there is none of this name."""
        del ctx
        if cmd_name not in _NAMES:
            return None
        command: click.Command = getattr(importlib.import_module(f"stead_cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Stead: a private EC2 for your own machines.

    Begin with `sudo ./stead demo`. Then: eval "$(./stead env)" and use aws, boto3, Terraform.
    `sudo ./stead test` runs all tests.
    """


def main() -> None:
    """Enter at the command line."""
    cli(prog_name="stead")


if __name__ == "__main__":
    main()
