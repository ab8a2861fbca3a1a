"""`stead blocks`: the store that holds the blocks of snapshots and images."""

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stead_cli import settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import bytes_text, output_option, say, show_json, show_rows
from stead_proto.v1 import operator_pb2 as pb


@click.group()
def blocks() -> None:
    """Look after the blocks of snapshots and images."""


@blocks.command("scrub")
@output_option
def scrub(output: str) -> None:
    """Read every block anew, check it, and name what is damaged and which snapshots need it.

    Files that a kill has left and that nothing needs are removed. Ends with status 1 when a block is damaged.
    """
    found = _scrub(Operator(settings.load()))
    rows = [
        {"block": damage.digest.hex(), "snapshots": " ".join(damage.snapshot_ids), "error": damage.error}
        for damage in found.damaged
    ]
    if output == "json":
        show_json(
            {
                "blocks": found.blocks_done,
                "bytes": found.bytes_done,
                "orphans_removed": found.orphans_removed,
                "bad_blocks": found.bad_blocks,
                "damaged": rows,
            }
        )
    else:
        checked = f"{found.blocks_done} blocks ({bytes_text(found.bytes_done)}) were read and checked"
        say(f"{checked}; {found.orphans_removed} files that nothing needs were removed")
        if rows:
            show_rows(rows, ("block", "snapshots", "error"), output)
    if found.bad_blocks:
        raise CliError(
            f"{found.bad_blocks} blocks are missing or corrupt",
            "restore their files from a copy of the store, or snapshot the same disks anew: what is the same mends it",
        )


def _scrub(operator: Operator) -> pb.ScrubBlocksResponse:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("blocks", total=None)
        return operator.scrub_blocks(
            lambda seen: bar.update(task, completed=seen.blocks_done, total=max(seen.blocks, seen.blocks_done))
        )
