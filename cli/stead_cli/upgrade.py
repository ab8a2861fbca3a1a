"""`stead upgrade`: another commit of the checkout runs this machine's part of the cloud, or the former one again."""

import contextlib
import fcntl
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import click

from stead_cli import cloud, enrolment, processes, release, settings
from stead_cli.checkout import Checkout, Commit
from stead_cli.errors import CliError
from stead_cli.output import json_or, output_option, say, say_heading
from stead_cli.settings import CHECKOUT, Settings, replace_text
from stead_cli.steps import Steps

_NOTE: Final = "upgraded.json"
_STDERR: Final = 2  # our own output is the result alone


@dataclass(frozen=True, slots=True)
class Note:
    """What the last upgrade began with, in a file, so that it can be gone back to."""

    before: str  # commit
    branch: str
    revision: str  # of the database; empty where this machine has no controller
    to: str
    to_branch: str
    is_done: bool = False


@click.command()
@click.argument("to", default="")
@click.option("--back", is_flag=True, help="Run what ran before the last upgrade, with all that was made since.")
@output_option
def upgrade(to: str, output: str, *, back: bool) -> None:
    """Run the commit, tag or branch TO of this checkout, by default what `git fetch` has brought of its branch.

    Guests run on. If the programs of TO do not start, those of before run again, with the database as it was.
    """
    cloud.require_root("an upgrade")
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    if release.installed_version() is not None:
        raise CliError(
            "this is an installed release, and no checkout", "with another release's file: ansible/README.md"
        )
    if back and to:
        raise CliError("--back takes no commit: it goes to what ran before")
    work = _Upgrade(chosen, Checkout(CHECKOUT), Steps())
    work.require_running()
    with work.alone():
        before = work.checkout.present()
        work.checkout.require_clean()
        after = work.back() if back else work.forward(to)
    shown = {"from": before.hash, "to": after.hash, "seconds": round(work.steps.seconds, 1)}
    json_or(output, shown, lambda: say(f"Stead runs as of {after.short}, after {work.steps.seconds:.1f} s."))


@dataclass(frozen=True, slots=True)
class _Upgrade:
    chosen: Settings
    checkout: Checkout
    steps: Steps

    def require_running(self) -> None:
        """Raise CliError where nothing of the cloud runs here: nobody would see whether the new one works."""
        program = cloud.agent_program(self.chosen) if self._is_host_alone else cloud.controller_program(self.chosen)
        if processes.find(program) is None:
            raise CliError(f"Stead does not run on this machine: no {program.name}", "start it before: ./stead up")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other upgrades of this machine out meanwhile; raises CliError where one goes on."""
        with (self.chosen.run_dir / "upgrade.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CliError("another upgrade goes on here", "wait until it is done") from None
            yield

    def forward(self, to: str) -> Commit:
        """Run another commit; raises CliError when it does not start, after the former one was started again."""
        present, noted = self.checkout.present(), self._noted()
        killed = noted if noted and not noted.is_done and present.hash == noted.to else None
        wanted = Commit(killed.to, killed.to_branch) if killed and not to else self.checkout.find(to)
        begun = None
        if killed is not None:  # the way back leads to where it began
            begun = replace(killed, to=wanted.hash, to_branch=wanted.branch)
        elif wanted.hash != present.hash:
            begun = Note(present.hash, present.branch, self._newest(), wanted.hash, wanted.branch)
        if begun is not None:
            self._write(begun)
        say_heading(f"Upgrading Stead on this machine to {wanted.short}")
        self._move(wanted.hash)
        try:
            self._start()
        except (CliError, KeyboardInterrupt) as error:
            if begun is None:
                raise
            self._go_back(begun)
            raise CliError(
                f"{wanted.short} does not run here, and {begun.before[:12]} runs again: {error}",
                "./stead logs controller",
            ) from error
        self.checkout.settle(wanted)
        if begun is not None:
            self._write(replace(begun, is_done=True))
        return wanted

    def back(self) -> Commit:
        """Run what ran before the last upgrade; raises CliError."""
        noted = self._noted()
        if noted is None or self.checkout.present().hash != noted.to:
            raise CliError(
                "nothing says what ran here before", "docs/operate/backup-and-upgrade.md: going back by hand"
            )
        say_heading(f"Going back to {noted.before[:12]}")
        self._go_back(noted)
        return Commit(noted.before, noted.branch)

    def _go_back(self, noted: Note) -> None:
        """Have the database as the former commit has it, by the newer one's migrations, and run that."""
        if noted.revision and self._revision() not in ("", noted.revision):
            with self.steps.step("the database is as before"):
                processes.stop(cloud.controller_program(self.chosen))
                self._controller("database", "downgrade", *self._state, noted.revision)
        self._move(noted.before)
        self.checkout.settle(Commit(noted.before, noted.branch), moves=False)
        self._start()

    def _move(self, commit: str) -> None:
        with self.steps.step(f"the checkout is at {commit[:12]}"):
            self.checkout.move(commit)

    def _start(self) -> None:
        """Start the programs of what is checked out, by its own launcher, which installs what it needs."""
        words = ["join", self.chosen.controller_address] if self._is_host_alone else ["up", *self._without_host]
        with self.steps.step("its programs run"):
            done = subprocess.run(
                [str(CHECKOUT / "stead"), *words], stdin=subprocess.DEVNULL, stdout=_STDERR, check=False
            )
            if done.returncode != 0:
                raise CliError(f"`stead {words[0]}` failed, see above")

    @property
    def _is_host_alone(self) -> bool:
        return bool(self.chosen.controller_address)

    @property
    def _without_host(self) -> list[str]:
        return [] if enrolment.is_enrolled(self.chosen) else ["--no-host"]

    @property
    def _state(self) -> list[str]:
        return [f"--state-dir={self.chosen.controller_dir}", *cloud.database_options(self.chosen)]

    def _newest(self) -> str:
        """The database's revision that the programs of what is checked out use."""
        return "" if self._is_host_alone else self._controller("database", "newest")

    def _revision(self) -> str:
        """The database's revision; empty where programs that do not start have not changed it either."""
        try:
            return self._controller("database", "revision", *self._state)
        except CliError as error:
            say(f"the new programs cannot read the database: {error}")
            return ""

    def _controller(self, *words: str) -> str:
        command: Sequence[str | Path] = [cloud.BIN / "stead-controller", *words]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CliError(f"stead-controller {words[0]} {words[1]}: {done.stderr.strip()[-1000:]}")
        return done.stdout.strip()

    @property
    def _note_file(self) -> Path:
        return note_file(self.chosen)

    def _noted(self) -> Note | None:
        try:
            return Note(**json.loads(self._note_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def _write(self, note: Note) -> None:
        replace_text(self._note_file, json.dumps(asdict(note), indent=2) + "\n")


def note_file(chosen: Settings) -> Path:
    """The file that says what ran before the last upgrade."""
    return chosen.state_dir / _NOTE
