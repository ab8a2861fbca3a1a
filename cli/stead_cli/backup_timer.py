"""The timer of systemd by which backups are made each day."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_cli import backup_keys, cloud, installed, services, units
from stead_cli.backup_place import Place
from stead_cli.errors import CliError
from stead_cli.settings import Settings

_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d\Z")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A backup each day at a time, such as 03:30, with options of `create`; after it the newest `keep` stay.

    Its keys are sealed by the passphrase of a file, or for recipients, of a file that is read each time, too.
    """

    place: Place
    passphrase_file: Path | None
    at: str
    keep: int
    options: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    recipients_file: Path | None = None

    @property
    def seal(self) -> list[str | Path]:
        """The options of `create` that say what seals the keys."""
        files = (("--passphrase-file", self.passphrase_file), ("--recipients-file", self.recipients_file))
        named: list[str | Path] = [f"--recipient={one}" for one in self.recipients]
        return named + [word for option, file in files if file is not None for word in (option, file)]


def name(chosen: Settings) -> str:
    """Name the timer of a cloud."""
    return chosen.unit("backup").removesuffix(".service") + ".timer"


def check(wanted: Schedule) -> None:
    """Raise CliError for a schedule that cannot be, or should not."""
    words = " ".join(map(str, (*wanted.place.words, *wanted.seal)))
    if not services.has_systemd():
        raise CliError(
            "there is no systemd here, so no timer",
            f"cron: 30 3 * * * {installed.lasting(cloud.BIN / 'stead')} backup create {words}",
        )
    if not _TIME.match(wanted.at):
        raise CliError(f"{wanted.at} is no time of day", "--at 03:30")
    if wanted.place.key_file is not None:
        backup_keys.require_private(wanted.place.key_file)
    elif wanted.place.is_bucket:
        raise CliError(
            "a schedule needs the access key of the bucket in a file",
            "id and secret, a line each, in a file that only root may read: --key-file FILE",
        )
    if wanted.passphrase_file is not None:
        backup_keys.require_private(wanted.passphrase_file)
    if wanted.recipients_file is not None:  # who may add one reads all later backups
        backup_keys.require_private(wanted.recipients_file, others=0o022)


def begin(chosen: Settings, wanted: Schedule) -> None:
    """Start the timer, or replace it."""
    stead: list[str | Path] = [installed.lasting(cloud.BIN / "stead"), "backup"]
    commands: tuple[list[str | Path], ...] = (
        [*stead, "create", *wanted.place.words, *wanted.seal, *wanted.options],
        [*stead, "prune", *wanted.place.words, "--keep", str(wanted.keep)],
    )
    about = f"Stead backup into {wanted.place}, each day at {wanted.at}, of which {wanted.keep} stay"
    services.write(
        chosen.unit("backup"),
        units.backup_unit(
            about, commands, chosen.state_dir, has_network=bool(chosen.server_url) or wanted.place.is_bucket
        ),
    )
    services.start(name(chosen), units.backup_timer(about, wanted.at))


def remove(chosen: Settings) -> bool:
    """Remove the timer, and end a backup that is being made by it; tell whether there was one."""
    there = services.is_there(name(chosen))
    services.remove(name(chosen))
    services.remove(chosen.unit("backup"))
    return there


def shown(chosen: Settings) -> dict[str, str]:
    """Return what is scheduled, when the next backup is made, and how the last one by the timer went."""
    if not services.is_there(name(chosen)):
        return {}
    timer = services.properties(name(chosen), "Description", "NextElapseUSecRealtime", "LastTriggerUSec")
    last = services.properties(chosen.unit("backup"), "Result")
    return {
        "schedule": timer["Description"],
        "next": timer["NextElapseUSecRealtime"],
        "last": timer["LastTriggerUSec"],
        "last_result": last["Result"] if timer["LastTriggerUSec"] else "",
    }
