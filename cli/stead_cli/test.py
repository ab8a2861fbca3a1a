"""`stead test`: the checkout's own tests, which the launcher runs."""

import click

from stead_cli import launcher


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--quick", is_flag=True, help="Only what needs no guests: tests/house, unit and api.")
@click.option("--ceph", is_flag=True, help="Install what a Ceph cluster is made of first (200 MB).")
@click.option("--postgresql", is_flag=True, help="Install PostgreSQL first (60 MB), which also starts a server.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST'S ARGUMENTS]...")
def test(*, quick: bool, ceph: bool, postgresql: bool, arguments: tuple[str, ...]) -> None:
    """Run all tests, or those of the paths given; in a box, so that a cloud of this machine is not touched."""
    chosen = {"--ceph": ceph, "--postgresql": postgresql, "--quick": quick}
    options = (name for name in chosen if chosen[name])
    launcher.run("test", *options, *arguments)
