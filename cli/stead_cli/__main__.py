"""`stead`: all its commands."""

import click

from stead_cli.account import account
from stead_cli.blocks import blocks
from stead_cli.demo import demo
from stead_cli.doctor import doctor
from stead_cli.down import down
from stead_cli.env import env
from stead_cli.host import host
from stead_cli.image import image
from stead_cli.key import key
from stead_cli.logs import logs
from stead_cli.net import net
from stead_cli.quota import quota
from stead_cli.rig import rig
from stead_cli.status import status
from stead_cli.up import up

_COMMANDS: tuple[click.Command, ...] = (
    up,
    down,
    demo,
    env,
    status,
    doctor,
    logs,
    account,
    quota,
    key,
    host,
    image,
    blocks,
    net,
    rig,
)


class _InOrder(click.Group):
    """A group that lists its commands in the order in which a newcomer meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in the order of their entry."""
        del ctx
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Stead: a private EC2 for your own machines.

    Begin with `sudo ./stead demo`. Then: eval "$(./stead env)" and use aws, boto3, Terraform.
    `sudo ./stead test` runs all tests.
    """


for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Enter at the command line."""
    cli(prog_name="stead")


if __name__ == "__main__":
    main()
