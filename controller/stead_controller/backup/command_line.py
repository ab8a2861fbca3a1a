"""`stead-controller backup`: prints a line of JSON for each step, so that `stead backup` can show it."""

import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stead_controller import clock
from stead_controller.errors import SteadError

if TYPE_CHECKING:
    from stead_controller.backup.keys import Opener, Seal
    from stead_controller.backup.repository import Repository
    from stead_controller.backup.stores import Store

    type Open = Callable[[], Repository]

_LOOK_SECONDS: Final = 0.2
_state_dir = click.option("--state-dir", type=click.Path(path_type=Path), required=True, help="Where all state is.")
_settings_file = click.option("--settings-file", type=click.Path(path_type=Path), help="The settings of `stead up`.")
_without_buckets = click.option("--without-buckets", is_flag=True, help="Leave objects of buckets out.")
_without_metrics = click.option("--without-metrics", is_flag=True, help="Leave metrics out.")


_passphrase_file = click.option(
    "--passphrase-file",
    type=click.File("rb"),
    help="A file whose first line is the passphrase of the keys; - is standard input.",
)
_identity_file = click.option(
    "--identity-file", type=click.File("rb"), help="A file of age-keygen, for keys of recipients; - is standard input."
)


def _at_a_place(function: Callable[..., None]) -> Callable[..., None]:
    """Add the argument and the options that name where backups are; the function gets what opens it."""

    @functools.wraps(function)
    def with_place(
        place: str, endpoint_url: str, region: str, ca_bundle: Path | None, key_file: Path | None, **rest: Any
    ) -> None:
        def open_it() -> "Repository":
            from stead_controller.backup.place import Access, opened  # noqa: PLC0415 - see create

            return opened(place, Access(endpoint_url, region, ca_bundle, key_file))

        function(open_it, **rest)

    file = click.Path(path_type=Path, dir_okay=False)
    for add in (
        click.option(
            "--key-file", type=file, help="Id and secret of an access key, a line each; else as aws finds it."
        ),
        click.option("--ca-bundle", type=file, help="The authority of the S3 server's certificate."),
        click.option("--region", default="", help="The S3 server's region."),
        click.option("--endpoint-url", default="", help="The S3 server; otherwise Amazon's."),
        click.argument("place", metavar="FOLDER|s3://BUCKET/PREFIX"),
    ):
        with_place = add(with_place)
    return with_place


@click.group(context_settings={"auto_envvar_prefix": "STEAD"})
def backup() -> None:
    """Copy the controller's state into a folder or an S3 bucket, and bring it back."""


@backup.command()
@_at_a_place
@_state_dir
@_settings_file
@_passphrase_file
@click.option("--recipient", "recipients", multiple=True, help="A public key of age for which the keys are sealed.")
@click.option("--release", default="", help="What the backup says of the release that made it.")
@click.option("--database-url", default="", help="As `run` has it, where the state is on a server.")
@click.option("--block-bucket", default="", help="As `run` has it: blocks stay in this bucket.")
@_without_buckets
@_without_metrics
def create(open_it: "Open", **options: Any) -> None:
    """Make a backup, while the controller runs or not."""
    from stead_controller.backup import create as making  # noqa: PLC0415 - loaded by the command that needs it

    def work() -> dict[str, Any]:
        source = making.Source(
            options["state_dir"].absolute(),
            options["release"],
            options["block_bucket"],
            options["settings_file"],
            options["database_url"],
            _stores(**options),
        )
        seal = _seal(options["passphrase_file"], options["recipients"])
        manifest = making.create(source, open_it(), seal, clock.now(), _show())
        return {"backup": asdict(manifest)}

    _run(work)


@backup.command()
@_state_dir
@click.option("--database-url", default="", help="As `run` has it, where the state is on a server.")
@click.argument("target")
def move_database(state_dir: Path, database_url: str, target: str) -> None:
    """Copy the database, which nobody uses, to an empty one: TARGET is the URL of a server's, or sqlite: the file."""
    from stead_controller.backup import other_database  # noqa: PLC0415 - loaded by the command that needs it

    def work() -> dict[str, Any]:
        other_database.copy(state_dir.absolute(), database_url or other_database.FILE, target, _show())
        return {}

    _run(work)


@backup.command("list")
@_at_a_place
def list_backups(open_it: "Open") -> None:
    """List the backups of a place, the oldest first."""

    def work() -> dict[str, Any]:
        repository = open_it()
        return {"backups": [asdict(repository.manifest(one)) for one in repository.ids()]}

    _run(work)


@backup.command()
@_at_a_place
@click.argument("backup_id", metavar="ID", default="latest")
@_passphrase_file
@_identity_file
def verify(open_it: "Open", backup_id: str, passphrase_file: Any, identity_file: Any) -> None:
    """Read all of a backup, and say what is missing or damaged."""
    from stead_controller.backup.check import check  # noqa: PLC0415 - see create

    def work() -> dict[str, Any]:
        repository = open_it()
        with repository.exclusively():
            manifest = repository.find(backup_id)
            opener = _opener(passphrase_file, identity_file)
            return {"backup": asdict(manifest), "faults": check(repository, manifest, opener, _show())}

    _run(work)


@backup.command()
@_at_a_place
@click.argument("backup_id", metavar="ID", default="latest")
@_state_dir
@_settings_file
@_passphrase_file
@_identity_file
@click.option(
    "--database-url", default="", help="An empty database of a server; sqlite: a file in the state directory."
)
@_without_buckets
@_without_metrics
def restore(open_it: "Open", backup_id: str, **options: Any) -> None:
    """Bring a backup back into a state directory that is empty, or not there."""
    from stead_controller.backup.repository import BackupError  # noqa: PLC0415 - see create
    from stead_controller.backup.restore import Target  # noqa: PLC0415 - as above
    from stead_controller.backup.restore import restore as bring_back  # noqa: PLC0415 - as above

    def work() -> dict[str, Any]:
        repository = open_it()
        with repository.exclusively():
            manifest = repository.find(backup_id)
            opener = _opener(options["passphrase_file"], options["identity_file"])
            if opener is None:
                raise BackupError("Neither a passphrase nor an identity is given.")
            target = Target(
                options["state_dir"].absolute(), options["settings_file"], options["database_url"], _stores(**options)
            )
            restored = bring_back(repository, manifest, opener, target, _show())
            return {"backup": asdict(manifest), "restored": asdict(restored)}

    _run(work)


@backup.command()
@_at_a_place
@click.option("--keep", type=click.IntRange(min=1), required=True, help="How many of the newest backups stay.")
def prune(open_it: "Open", keep: int) -> None:
    """Remove old backups, and the blocks that only they need."""
    from stead_controller.backup.prune import prune as remove_old  # noqa: PLC0415 - see create

    def work() -> dict[str, Any]:
        removed, blocks = remove_old(open_it(), keep, _show())
        return {"removed": removed, "blocks": blocks}

    _run(work)


def _run(work: Callable[[], dict[str, Any]]) -> None:
    """Print what the work returns, or `{"error"}` and exit with 1."""
    try:
        click.echo(json.dumps(work()))
    except SteadError as error:
        click.echo(json.dumps({"error": error.message}))
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(json.dumps({"error": f"{where}{error.strerror or error}"}))
        sys.exit(1)


def _stores(*, without_buckets: bool, without_metrics: bool, **_others: Any) -> "list[Store]":
    """Choose the servers whose files are wanted."""
    from stead_controller.backup.stores import BUCKETS, METRICS  # noqa: PLC0415 - see create

    return [store for store, left_out in ((BUCKETS, without_buckets), (METRICS, without_metrics)) if not left_out]


def _show() -> Callable[[str, int, int], None]:
    """Print how far the work is, a few times a second, and each end."""
    last = ("", 0.0)

    def show(step: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if step != last[0] or done == total or now - last[1] >= _LOOK_SECONDS:
            last = (step, now)
            click.echo(json.dumps({"step": step, "done": done, "of": total}))

    return show


def _seal(passphrase_file: Any, recipients: Sequence[str]) -> "Seal":
    """Say what seals the keys; raises BackupError, RecipientError."""
    from stead_controller.backup.keys import Passphrase, Recipients  # noqa: PLC0415 - see create
    from stead_controller.backup.recipients import chosen  # noqa: PLC0415 - as above
    from stead_controller.backup.repository import BackupError  # noqa: PLC0415 - as above

    if (passphrase_file is None) == (not recipients):
        raise BackupError("The keys are sealed either by a passphrase or for recipients.")
    return Recipients(chosen(recipients)) if recipients else Passphrase(_line(passphrase_file))


def _opener(passphrase_file: Any, identity_file: Any) -> "Opener | None":
    """Say what opens the keys, if anything does."""
    from stead_controller.backup.keys import Identities, Passphrase  # noqa: PLC0415 - see create

    if identity_file is not None:
        return Identities(identity_file.read().decode("utf-8", "replace"))
    return None if passphrase_file is None else Passphrase(_line(passphrase_file))


def _line(file: Any) -> bytes:
    first: bytes = file.readline()
    return first.rstrip(b"\r\n")
