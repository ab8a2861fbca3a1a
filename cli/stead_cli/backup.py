"""`stead backup`: copies of the controller's state in a folder or bucket, which bring it back on any machine."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stead_cli import backup_keys, backup_place, backup_timer, cloud, processes, release, settings
from stead_cli.backup_keys import Given
from stead_cli.backup_place import Place
from stead_cli.errors import CliError
from stead_cli.output import output_option, say, show_json, show_rows
from stead_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

_COLUMNS: Final = ("id", "made", "blocks", "size", "buckets", "metrics", "keys", "release")
_MIB: Final = 1 << 20
_STORES: Final = (("buckets", "object-store"), ("metrics", "metrics"))  # as a backup names what it has of them

_id = click.argument("backup_id", metavar="[ID]", default="latest")
_without_buckets = click.option("--without-buckets", is_flag=True, help="Leave the objects of buckets out.")
_without_metrics = click.option("--without-metrics", is_flag=True, help="Leave metrics out.")


@click.group()
def backup() -> None:
    """Copy the controller's state into a folder or an S3 bucket, and bring it back."""


@backup.command()
@backup_place.at()
@backup_keys.sealing
@_without_buckets
@_without_metrics
@output_option
def create(
    place: Place,
    passphrase_file: Path | None,
    recipients: tuple[str, ...],
    recipients_file: Path | None,
    output: str,
    **without: bool,
) -> None:
    """Make a backup while Stead runs: database, snapshots, images, buckets, metrics, keys, records of calls.

    What the place has from earlier backups is not copied again. Disks of volumes are not in it.
    """
    cloud.require_root("making a backup")
    seal = backup_keys.seal(passphrase_file, recipients, recipients_file, is_new=place.may_be_new)
    _make(_own_cloud(), place, seal, output, _left_out(**without))


@backup.command("list")
@backup_place.at()
@output_option
def list_backups(place: Place, output: str) -> None:
    """List the backups of a place, the oldest first."""
    found = run(["list", *place.words])["backups"]
    show_rows(found if output == "json" else [_row(one) for one in found], _COLUMNS, output, empty="no backups")


@backup.command()
@backup_place.at()
@_id
@backup_keys.opening
@output_option
def verify(place: Place, backup_id: str, passphrase_file: Path | None, identity_file: Path | None, output: str) -> None:
    """Read all of a backup, by default the latest; exit with 1 if something is missing or damaged.

    Its keys are opened where their passphrase or identity is given, too.
    """
    opener = backup_keys.opener(passphrase_file, identity_file, is_needed=False)
    found = run(["verify", *place.words, backup_id], opener)
    if output == "json":
        show_json(found)
    for fault in found["faults"] if output != "json" else ():
        click.echo(fault)
    if found["faults"]:
        raise CliError(f"backup {found['backup']['id']} is not whole", "restore an earlier one, or make another")
    say(f"backup {found['backup']['id']} is whole")


@backup.command()
@backup_place.at()
@_id
@backup_keys.opening
@_without_buckets
@_without_metrics
def restore(
    place: Place, backup_id: str, passphrase_file: Path | None, identity_file: Path | None, **without: bool
) -> None:
    """Bring a backup back, by default the latest, where there is no controller's state; then: ./stead up.

    Hosts keep what was made since the backup: see docs/operate/backup-and-upgrade.md.
    """
    cloud.require_root("restoring a backup")
    chosen = _own_cloud()
    program = cloud.controller_program(chosen)
    if processes.find(program) is not None:
        raise CliError("the controller runs", "stop it: ./stead down")
    opener = backup_keys.opener(passphrase_file, identity_file, is_needed=True)
    to_file = [f"--database-url={settings.FILE}"] if chosen.database_url == settings.FILE else []
    with cloud.exclusively(chosen):
        done = run(
            [
                "restore",
                *place.words,
                backup_id,
                *_state_options(chosen),
                *to_file,
                *_left_out(**without),
            ],
            opener,
        )
    brought = settings.load()  # by now also what the backup says
    if chosen.database_url:
        brought.remember()  # it is in another place than the settings of a cloud that was here say
    restored = done["restored"]
    say(f"backup {done['backup']['id']} is in {chosen.controller_dir}: {restored['blocks']} blocks; next: ./stead up")
    bucket = done["backup"]["bucket"]
    if bucket and bucket != brought.bucket:
        say(
            f"its blocks are in the bucket {bucket}: STEAD_BLOCK_BUCKET={bucket} STEAD_BLOCK_ENDPOINT=…"
            " STEAD_BLOCK_KEY_FILE=… ./stead up"
        )
    for file in restored["damaged"]:
        say(f"the backup does not have all of {file}: zeros are where something is missing")
    if restored["missing"]:
        raise CliError(
            f"the backup lacks {len(restored['missing'])} blocks",
            "./stead up, then ./stead blocks scrub names what needs them",
        )


@backup.command()
@backup_place.at(required=False)
@backup_keys.sealing
@click.option("--at", default="03:30", help="The time of day, by this machine's clock.", show_default=True)
@click.option("--keep", type=click.IntRange(min=1), default=14, help="How many stay.", show_default=True)
@_without_buckets
@_without_metrics
@click.option("--off", is_flag=True, help="End the schedule; backups stay.")
def schedule(
    place: Place | None,
    passphrase_file: Path | None,
    recipients: tuple[str, ...],
    *,
    recipients_file: Path | None,
    at: str,
    keep: int,
    off: bool,
    **without: bool,
) -> None:
    """Make a backup each day, by a timer of systemd, and one now; without a place show what is scheduled."""
    cloud.require_root("scheduling backups")
    chosen = _own_cloud()
    if off:
        say("the schedule has ended" if backup_timer.remove(chosen) else "nothing was scheduled")
        return
    if place is None:
        show_json(backup_timer.shown(chosen))
        return
    if passphrase_file is None and recipients_file is None and not recipients:
        raise CliError(
            "a schedule needs the passphrase, or recipients",
            "write it into a file that only root may read; or: --recipient age1…",
        )
    seal = backup_keys.seal(passphrase_file, recipients, recipients_file, is_new=False)
    left_out = _left_out(**without)
    wanted = backup_timer.Schedule(
        place.lasting(),
        passphrase_file.absolute() if passphrase_file else None,
        at,
        keep,
        tuple(left_out),
        recipients=recipients,
        recipients_file=recipients_file.absolute() if recipients_file else None,
    )
    backup_timer.check(wanted)
    _make(chosen, place, seal, "table", left_out)  # what would fail at night fails now
    backup_timer.begin(chosen, wanted)
    say(f"backups are made each day at {at}: systemctl list-timers {backup_timer.name(chosen)}")


@backup.command()
@backup_place.at()
@click.option("--keep", type=click.IntRange(min=1), required=True, help="How many of the newest backups stay.")
def prune(place: Place, keep: int) -> None:
    """Remove old backups, and the blocks that only they need."""
    done = run(["prune", *place.words, f"--keep={keep}"])
    say(f"{len(done['removed'])} backups removed, and {done['blocks']} blocks")


def _left_out(*, without_buckets: bool, without_metrics: bool) -> list[str]:
    """The options that leave something out, as the controller's program has them, too."""
    return ["--without-buckets"] * without_buckets + ["--without-metrics"] * without_metrics


def _make(chosen: Settings, place: Place, seal: Given, output: str, options: Sequence[str]) -> None:
    """Make a backup, and show it."""
    bucket = [f"--block-bucket={chosen.bucket}"] if chosen.bucket else []
    arguments = [f"--release={release.current()}", *_state_options(chosen), *bucket, *options]
    made = run(["create", *place.words, *arguments], seal)["backup"]
    if made["unreadable"]:
        say(f"{len(made['unreadable'])} blocks are damaged in the store: ./stead blocks scrub names what needs them")
    _show(made, output)


def _own_cloud() -> Settings:
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    return chosen


def _state_options(chosen: Settings) -> list[str]:
    files = [f"--state-dir={chosen.controller_dir}", f"--settings-file={chosen.memory_file}"]
    return [*files, *cloud.database_options(chosen)]


def run(arguments: list[str], given: Given | None = None) -> dict[str, Any]:
    """Run the controller's program for backups, show how far it is, and return its last line; raises CliError."""
    given = given or Given()
    command = [str(cloud.BIN / "stead-controller"), "backup", *arguments, *given.options]
    last: dict[str, Any] = {}
    with ExitStack() as stack:
        show = _bar(stack)
        process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        )
        if process.stdin is None or process.stdout is None:
            raise CliError("stead-controller cannot be run")
        process.stdin.write(given.secret)
        process.stdin.close()
        for line in process.stdout:
            last = json.loads(line)
            if "step" in last:
                show(last["step"], last["done"], last["of"])
    if "error" in last or process.returncode != 0:
        raise CliError(str(last.get("error") or f"stead-controller ended with {process.returncode}"))
    return last


def _bar(stack: ExitStack) -> "Callable[[str, int, int], None]":
    """Show each step as a bar on a terminal; otherwise nothing, as the result says it all."""
    if not sys.stderr.isatty():
        return lambda _step, _done, _of: None
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second, needed only on a terminal
    from rich.progress import Progress, TaskID  # noqa: PLC0415 - as above

    progress = stack.enter_context(Progress(console=Console(stderr=True)))
    tasks: dict[str, TaskID] = {}

    def show(step: str, done: int, of: int) -> None:
        if step not in tasks:
            tasks[step] = progress.add_task(step, total=of)
        progress.update(tasks[step], completed=done, total=of)

    return show


def _show(made: dict[str, Any], output: str) -> None:
    if output == "json":
        show_json(made)
    else:
        show_rows([_row(made)], _COLUMNS, output)


def _row(made: dict[str, Any]) -> dict[str, str]:
    blocks = f"in {made['bucket']}" if made["bucket"] else str(made["blocks"])
    return {
        "id": made["id"],
        "made": f"{datetime.fromtimestamp(made['made'], UTC):%Y-%m-%d %H:%M:%S}",
        "blocks": blocks,
        "size": _size(made["block_bytes"]),
        **{name: _size(made.get("stores", {}).get(store)) for name, store in _STORES},
        "keys": " ".join(f"{one[:12]}…" for one in made["recipients"]) or "passphrase",
        "release": made["release"],
    }


def _size(count: int | None) -> str:
    return "" if count is None else f"{count / _MIB:.1f} MiB"
