"""`stead completion`: a script with which a shell completes commands and options of `stead`."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what a SHELL reads.

    bash and zsh by: source <(stead completion bash); fish by: stead completion fish | source.

    zsh and fish ask the `stead` of the PATH: as root, ln -s "$PWD/stead" /usr/local/bin/stead
    """
    found = get_completion_class(shell)
    assert found is not None  # click knows these three
    click.echo(found(ctx.find_root().command, {}, "stead", "_STEAD_COMPLETE").source())
