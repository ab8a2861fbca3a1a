"""`stead upgrade`: another commit or release runs this machine's part of the cloud, or the former one again."""

import contextlib
import fcntl
import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import click

from stead_cli import cloud, enrolment, processes, release, settings
from stead_cli.checkout import Checkout, Version
from stead_cli.errors import CliError
from stead_cli.installed import Installed
from stead_cli.output import json_or, output_option, say, say_heading
from stead_cli.settings import CHECKOUT, Settings, replace_text
from stead_cli.steps import Steps

_NOTE: Final = "upgraded.json"
_STDERR: Final = 2  # our own output is the result alone


@dataclass(frozen=True, slots=True)
class Note:
    """What the last upgrade began with, in a file, so that it can be gone back to."""

    before: str  # commit, or release
    branch: str
    revision: str  # of the database; empty where this machine has no controller
    to: str
    to_branch: str
    is_done: bool = False


class _Place(Protocol):
    """Where programs are: a checkout, or releases beside each other."""

    @property
    def launcher(self) -> Path: ...
    def programs_of(self, name: str) -> Path: ...
    def present(self) -> Version: ...
    def require_clean(self) -> None: ...
    def find(self, name: str) -> Version: ...
    def former(self) -> Version | None: ...
    def move(self, name: str) -> None: ...
    def settle(self, version: Version, *, moves: bool = True) -> None: ...
    def forget_others(self, *names: str) -> None: ...


@click.command()
@click.argument("to", default="")
@click.option("--back", is_flag=True, help="Run what ran before the last upgrade, with all that was made since.")
@output_option
def upgrade(to: str, output: str, *, back: bool) -> None:
    """Run the commit, tag or branch TO of this checkout, by default what `git fetch` has brought of its branch.

    Of an installed release, TO is the file of another one, which `stead release` has made.

    Guests run on. If the programs of TO do not start, those of before run again, with the database as it was. Settings
    stay as they are: `stead up` changes them.
    """
    cloud.require_root("an upgrade")
    environment, left_out = settings.kept()
    chosen = settings.load(environment)
    cloud.refuse_rig(chosen)
    if back and to:
        raise CliError("--back takes neither commit nor file: it goes to what ran before")
    steps = Steps()
    place = Checkout(CHECKOUT) if release.installed_version() is None else Installed.here(steps)
    work = _Upgrade(chosen, place, steps, environment)
    work.require_running()
    if left_out:
        say(f"An upgrade changes no setting: {', '.join(left_out)} is for `stead up`, afterwards.")
    with work.alone():
        before = work.place.present()
        work.place.require_clean()
        after = work.back() if back else work.forward(to)
    shown = {"from": before.name, "to": after.name, "seconds": round(work.steps.seconds, 1)}
    json_or(output, shown, lambda: say(f"Stead runs as of {after.short}, after {work.steps.seconds:.1f} s."))


@dataclass(frozen=True, slots=True)
class _Upgrade:
    chosen: Settings
    place: _Place
    steps: Steps
    environment: dict[str, str]

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

    def forward(self, to: str) -> Version:
        """Run another commit; raises CliError when it does not start, after the former one was started again."""
        say_heading("Upgrading Stead on this machine")
        present, noted = self.place.present(), self._noted()
        killed = noted if noted and not noted.is_done and present.name == noted.to else None
        wanted = Version(killed.to, killed.to_branch) if killed and not to else self.place.find(to)
        begun = None
        if killed is not None:  # the way back leads to where it began
            begun = replace(killed, to=wanted.name, to_branch=wanted.branch)
        elif wanted.name != present.name:
            begun = Note(present.name, present.branch, self._newest(present.name), wanted.name, wanted.branch)
        if begun is not None:
            self._write(begun)
        self._move(wanted.name)
        try:
            self._start()
        except (CliError, KeyboardInterrupt) as error:
            if begun is None:
                raise
            self._go_back(begun)
            raise CliError(
                f"{wanted.short} does not run here, and {Version(begun.before).short} runs again: {error}",
                "./stead logs controller",
            ) from error
        self.place.settle(wanted)
        if begun is not None:
            self._write(replace(begun, is_done=True))
            self.place.forget_others(begun.before, begun.to)
        return wanted

    def back(self) -> Version:
        """Run what ran before the last upgrade; raises CliError."""
        noted, present = self._noted(), self.place.present()
        if noted is None or present.name != noted.to:
            former = self.place.former()
            if former is None:
                raise CliError(
                    "nothing says what ran here before", "docs/operate/backup-and-upgrade.md: going back by hand"
                )
            noted = Note(former.name, former.branch, self._newest(former.name), present.name, present.branch)
        say_heading(f"Going back to {Version(noted.before).short}")
        self._go_back(noted, runs_else=True)
        return Version(noted.before, noted.branch)

    def _go_back(self, noted: Note, *, runs_else: bool = False) -> None:
        """Have the database as the former commit has it, by the newer one's migrations, and run that.

        Where that cannot be, because another controller uses it or for what it has, CliError is raised; `runs_else`
        starts what ran until now again.
        """
        present = self.place.present().name
        if not noted.revision or self._revision() in ("", noted.revision):
            self._start_former(noted)
            return
        if not runs_else and not cloud.controller_health(self.chosen).answers:
            processes.stop(cloud.controller_program(self.chosen))  # which systemd starts again and again
        with self.steps.step("what undoes the database's changes is loaded"):
            undoing = self._begin(present, "database", "downgrade", *self._state, "--when-free", noted.revision)
            _await_word(undoing)
        self._start_former_while(undoing, noted, present, runs_else=runs_else)

    def _start_former_while(
        self, undoing: "subprocess.Popen[str]", noted: Note, present: str, *, runs_else: bool
    ) -> None:
        """Start what ran before beside what runs; in between, when neither serves, the database is changed."""
        failed = None
        try:
            self._start_former(noted)
        except CliError as error:
            failed = error
            if cloud.controller_health(self.chosen).answers:
                undoing.terminate()  # it waits for one that serves on
        try:
            _end(undoing)
        except CliError as error:
            self._move(present)
            if runs_else:
                self._start()
            else:
                processes.stop(cloud.controller_program(self.chosen))  # the former one, which refuses this database
            raise failed or error from error
        if failed is not None and cloud.controller_health(self.chosen).answers:
            self._move(present)  # which serves on, with the database as it needs it
            raise failed
        if failed is not None:  # it came before the database was as it needs it
            self._start()

    def _start_former(self, noted: Note) -> None:
        self._move(noted.before)
        self.place.settle(Version(noted.before, noted.branch), moves=False)
        self._start()

    def _move(self, name: str) -> None:
        with self.steps.step(f"what runs is to be {Version(name).short}"):
            self.place.move(name)

    def _start(self) -> None:
        """Start the programs of what is here now, by its own launcher, which installs what it needs."""
        words = ["join", self.chosen.controller_address] if self._is_host_alone else ["up", *self._without_host]
        with self.steps.step("its programs run"):
            done = subprocess.run(
                [self.place.launcher, *words],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,
                check=False,
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

    def _newest(self, name: str) -> str:
        """The database's revision that a version's programs use."""
        return "" if self._is_host_alone else self._controller(name, "database", "newest")

    def _revision(self) -> str:
        """The database's revision; empty where programs that do not start have not changed it either."""
        try:
            return self._controller(self.place.present().name, "database", "revision", *self._state)
        except CliError as error:
            say(f"the new programs cannot read the database: {error}")
            return ""

    def _controller(self, name: str, *words: str) -> str:
        return _end(self._begin(name, *words))

    def _begin(self, name: str, *words: str) -> "subprocess.Popen[str]":
        command: list[str | Path] = [self.place.programs_of(name) / "stead-controller", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        )

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


def _await_word(process: "subprocess.Popen[str]") -> None:
    """Wait until a program of the controller says that it has loaded all; raises CliError where it fails before."""
    if process.stdout is not None and not process.stdout.readline():
        _end(process)


def _end(process: "subprocess.Popen[str]") -> str:
    """Return what a program of the controller has said; raises CliError where it fails."""
    said, wrong = process.communicate()
    if process.returncode != 0:
        words = process.args[1:3] if isinstance(process.args, list) else []
        raise CliError(f"stead-controller {' '.join(map(str, words))}: {wrong.strip()[-1000:]}")
    return said.strip()


def note_file(chosen: Settings) -> Path:
    """The file that says what ran before the last upgrade."""
    return chosen.state_dir / _NOTE
