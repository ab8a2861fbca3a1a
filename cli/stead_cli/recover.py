"""`stead recover`: a new controller for a cloud whose controller is lost and of which there is no backup."""

from pathlib import Path

import click

from stead_cli import cloud, processes, saved_key, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import json_or, output_option, say, say_heading
from stead_cli.settings import Settings
from stead_cli.steps import Steps
from stead_cli.up import bring_up

_NAMED_AFTER_THE_LOSS = (
    "  1. hosts that are other machines: stead host token here, stead join --again there",
    "  2. ./stead unclaimed list, then ./stead unclaimed adopt --all, or remove",
    "  3. ./stead account list, then a new key for each account: ./stead account create-key ACCOUNT",
    "  4. once all have joined, so that public addresses are given out again: ./stead recover --all-joined",
)


@click.command()
@click.option("--no-host", is_flag=True, help="The controller alone: all hosts are other machines.")
@click.option(
    "--master-key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A copy of the former master.key, which only root may read: encrypted volumes and TPMs come back, too.",
)
@click.option(
    "--all-joined",
    is_flag=True,
    help="Only say that all hosts have joined: public addresses are given out again, and further hosts join.",
)
@output_option
def recover(master_key_file: Path | None, output: str, *, no_host: bool, all_joined: bool) -> None:
    """Begin a new controller where the former one and all its backups are lost; guests run on, and do not notice.

    It has a new CA, and a database that knows nothing: hosts say what they have, and you adopt it.
    """
    cloud.require_root("recovering a cloud")
    chosen = settings.load()
    if all_joined:
        _end(chosen, output)
        return
    cloud.refuse_rig(chosen)
    _require_loss(chosen, is_host=not no_host)
    master_key = saved_key.read(master_key_file) if master_key_file is not None else None
    say_heading("A new controller for what hosts have")
    with cloud.exclusively(chosen):
        if master_key is not None:
            saved_key.require_no_other(chosen, master_key)
        result = bring_up(chosen, Steps(), (), is_host=not no_host, recovers=True, master_key=master_key)
    found = [each.id for each in Operator(chosen).list_unclaimed()]
    host_id = result.host.id if result.host is not None else None

    def lines() -> None:
        say(f"The new controller answers: {chosen.https_endpoint}. Next:")
        for line in _NAMED_AFTER_THE_LOSS:
            say(line)

    json_or(output, {"endpoint": chosen.https_endpoint, "host_id": host_id, "unclaimed": found}, lines)


def _end(chosen: Settings, output: str) -> None:
    """Say that no further host is to join."""
    awaited = Operator(chosen).end_return()
    text = "public addresses are given out again, and further hosts may join" if awaited else "no hosts were awaited"
    json_or(output, {"awaited": awaited}, lambda: say(text))


def _require_loss(chosen: Settings, *, is_host: bool) -> None:
    """Refuse to begin anew where a controller's state is, or where this machine has nothing to bring back."""
    if chosen.controller_address:
        raise CliError(f"this machine is a host of the cloud at {chosen.controller_address}", "see: stead join --again")
    if (chosen.controller_dir / "ca.pem").exists():
        raise CliError(
            f"a controller's state is in {chosen.controller_dir}",
            "it starts by: ./stead up; a backup is put back by: ./stead backup restore; else move it away first",
        )
    if processes.find(cloud.controller_program(chosen)) is not None:
        raise CliError("the controller runs", "stop it: ./stead down")
    if is_host and not (chosen.agent_dir / "identity.pem").exists():
        raise CliError(
            "this machine was no host of a cloud", "of others: ./stead recover --no-host; a new cloud: ./stead up"
        )
