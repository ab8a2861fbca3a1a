"""Thousands of lives on simulated hosts, with random kills: nothing is given twice, oversubscribed or left, and nothing grows."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from stead_agent.simulated.world import Objects
from stead_agent.simulated.world_file import read
from stead_proto.tls import Identity
from stead_proto.v1 import desired_pb2 as pb
from tests.recovery.lives import held
from tests.recovery.lives.clouds import Clouds
from tests.recovery.lives.slope import Sample, grown, per_thousand
from tests.recovery.lives.users import Lives, User, shapes
from tests.support import kills
from tests.support.cloud import Cloud, HostSize
from tests.support.memory import memory_of
from tests.support.waiting import wait_for

PATIENCE: Final = 300.0  # until all is in order, after the last call and the last kill
OVERCOMMIT: Final = 0.05  # of volumes: with the size of simulated disks, so few that instances wait for instance store
SIZE: Final = HostSize(cpus=4, memory=32 << 30, devices=["10de:1eb8"])
USERS: Final = 4
WATCHED_SECONDS: Final = 0.5
MOST_EACH: Final = 16  # instances: together some more than there is room for
SETTINGS: Final = (
    "--request-rate-factor=0",
    "--terminated-kept-seconds=1",
    "--address-rest-seconds=1",
    "--audit-events=1000",
    f"--volume-overcommit={OVERCOMMIT}",
)
# By how much figures may grow in a thousand lives. What begins with none of these names is shown, and not judged.
LIMITS: Final = {"rows of ": 0.0, "files of ": 0.0, "lasting rows of ": 4000.0}
LIMITS_OF_PROCESSES: Final = {"open files of ": 0.5, "threads of ": 0.5, "MiB of ": 0.5}
# What was used stays for ever, in a line for each use that has ended: of an instance, its volumes and its public address.
_LASTING: Final = {"usage_lines"}
# Counted, and not judged: client tokens are remembered for some minutes here, of records of calls as many as the settings say, a controller
# until its end is some minutes ago, and there is a row for each start of one, each file of its records, each day of an account's use of
# a kind, and each kind of fact.
_BOUNDED: Final = {
    "cloud_facts",
    "controllers",
    "client_tokens",
    "audit_events",
    "audit_event_resources",
    "revision_leaps",
    "usage_files",
    "usage_days",
    "usage_days_mark",
}
_NO_BASE: Final = f"kind != {pb.KIND_BASE}"  # of images, which hosts get one after the other, and keep
_UNLOOKED: Final = _LASTING | _BOUNDED | {"alembic_version"}


@dataclass(frozen=True)
class Plan:
    """How many lives, in rounds of how many, with how many kills in each round; the last `quiet` rounds have none."""

    seed: int
    lives: int
    round: int = 500
    kills: int = 4
    quiet: int = 0
    away: float = 1.0  # seconds at most until what was killed is started again
    minutes: float = 0.0  # of rounds with kills and of those without together; 0: until so many lived
    controllers: int = 1
    is_shared: bool = False  # the database is PostgreSQL
    traces: bool = False  # allocations of controllers
    processes: int = 2  # of simulated hosts
    hosts: int = 2  # of each process


@dataclass
class Report:
    """What came of it."""

    plan: Plan
    lives: Lives = field(default_factory=Lives)
    kills: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)  # with nothing there, after each round
    quiet: list[Sample] = field(default_factory=list)  # of processes that nobody killed meanwhile
    files: list[frozenset[str]] = field(default_factory=list)  # of controllers and agents, at each of `samples`
    looks: int = 0  # into the database, while instances lived and programs were killed
    seconds: float = 0.0

    def judge(self) -> None:
        """Add what has grown to the violations. The first sample is of a cloud where some things are not yet there."""
        self.violations += grown(self.samples[1:], LIMITS)
        self.violations += grown(self.quiet[1:], LIMITS_OF_PROCESSES)

    def text(self) -> str:
        """All of it, for a reader."""
        killed = ", ".join(f"{count} {what}" for what, count in sorted(self.kills.items()))
        refused = ", ".join(f"{count} {code}" for code, count in sorted(self.lives.refused.items()))
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.lives.kinds.items()))
        lines = [
            (
                f"seed {self.plan.seed}: {self.lives.launched} lives in {self.seconds:.0f} s on"
                f" {self.plan.processes * self.plan.hosts} simulated hosts"
            ),
            f"of these: {kinds}",
            f"killed: {killed or 'nothing'}; answers lost: {self.lives.lost}; refused: {refused or 'nothing'}",
            f"looked while they lived: {self.looks} times",
        ]
        for what, samples in (("with kills", self.samples), ("without kills", self.quiet)):
            for name in sorted(samples[-1].figures) if samples else ():
                first, last = samples[0].figures.get(name, 0.0), samples[-1].figures[name]
                if first != last:
                    slope = per_thousand(samples[1:], name)
                    lines.append(f"{what}: {name}: {first:g} to {last:g}, {slope:+.3g} in a thousand lives")
        if self.files and (more := self.files[-1] - self.files[0]):
            lines.append(f"files that were not there at first: {', '.join(sorted(more))}")
        return "\n".join([*lines, f"violations: {len(self.violations)}", *self.violations])

    def failure(self) -> str:
        """What is wrong, in the first line: a summary of a run often has no other; then all of it."""
        return f"{'; '.join(self.violations)}\n{self.text()}"


@dataclass
class Story:
    """A cloud whose instances live and whose programs are killed."""

    plan: Plan
    clouds: Clouds
    report: Report
    chance: random.Random
    users: list[User] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        """The one with hosts."""
        return self.clouds.first

    def begin(self) -> None:
        """Add hosts, accounts and placement groups."""
        for _ in range(self.plan.processes):
            self.cloud.add_hosts(self.plan.hosts, SIZE, keep=True)
        image_id = self.cloud.add_image()
        for number in range(USERS):
            account = self.cloud.new_account(f"user-{number}")
            ends = [each.endpoint for each in self.clouds.all]
            ends = ends[number % len(ends) :] + ends[: number % len(ends)]
            clients = [replace(account, endpoint=each).client("ec2", connect_timeout=2) for each in ends]
            ec2 = clients[0]
            ec2.create_placement_group(GroupName="spread", Strategy="spread")
            ec2.create_placement_group(GroupName="parts", Strategy="partition", PartitionCount=3)
            chance = random.Random(self.chance.random())
            choices = shapes("spread", "parts")
            self.users.append(User(f"user-{number}", clients, image_id, choices, MOST_EACH, chance, self.report.lives))

    def run(self, say: Callable[[str], None]) -> None:
        """Rounds until as many lived as planned, or something is wrong."""
        each_kind = [kills.kinds(cloud, self.chance, self.plan.away) for cloud in self.clouds.all]
        kinds = chain.from_iterable(zip(*each_kind, strict=True))
        rounds = max(1, self.plan.lives // self.plan.round)
        began = time.monotonic()
        for number in range(rounds):
            part = (time.monotonic() - began) / 60 / self.plan.minutes if self.plan.minutes else 0.0
            if part >= 1.0:
                break
            is_quiet = number >= rounds - self.plan.quiet or part >= 1.0 - self.plan.quiet / rounds
            self._round(number, 0 if is_quiet else self.plan.kills, kinds)
            if is_quiet:
                self.report.quiet.append(Sample(self.report.lives.launched, self._processes()))
            say(f"{self.report.lives.launched} lives, {self.report.kills.total()} kills{self._told(is_quiet=is_quiet)}")
            if self.report.violations:
                return
        self.report.judge()

    def _told(self, *, is_quiet: bool) -> str:
        """What processes have, in words, where it was measured."""
        figures = self.report.quiet[-1].figures if is_quiet else {}
        return "".join(f", {name} {figure:.4g}" for name, figure in figures.items())

    # --- a round

    def _round(self, number: int, kills_in_it: int, kinds: Iterator[Callable[[], str]]) -> None:
        """Let all live for a while with some kills, look while they are there, end them, and look what is left."""
        lives = self.report.lives
        first, lives.wanted = lives.launched, (number + 1) * self.plan.round
        moments = sorted(self.chance.sample(range(first, max(lives.wanted, first + kills_in_it)), k=kills_in_it))
        threads = [threading.Thread(target=user.live, name=user.name) for user in self.users]
        ended = threading.Event()
        threads.append(threading.Thread(target=self._watch, args=(ended,), name="watcher"))
        for thread in threads:
            thread.start()
        try:
            for moment in moments:
                wait_for(partial(self._has_come, moment), "instances live", 600)
                self.report.kills[next(kinds)()] += 1
        except BaseException:
            lives.abandoned = True
            raise
        finally:
            for thread in threads[:-1]:
                thread.join()
            ended.set()
            threads[-1].join()
        if lives.failures:
            raise lives.failures[0]
        self._await(self._out_of_order)
        for user in self.users:
            user.end_all()
        self._await(lambda: [*self._out_of_order(), *self._left()])
        self.report.samples.append(Sample(lives.launched, self._rows() | self._files()))

    def _watch(self, ended: threading.Event) -> None:
        """Look again and again, until the round has ended, for what is wrong at any moment."""
        try:
            while not ended.wait(WATCHED_SECONDS):
                with self.clouds.opened(_UNLOOKED) as database:
                    self.report.violations += held.at_any_time(database, OVERCOMMIT)
                self.report.looks += 1
        except Exception as failure:  # a thread has nobody to raise it to: who waits for all raises it
            self.report.lives.failures.append(failure)

    def _has_come(self, moment: int) -> bool:
        """Tell whether so many were launched, or no more will be."""
        return self.report.lives.launched >= moment or self.report.lives.is_over

    def _await(self, wrong: Callable[[], list[str]]) -> None:
        """Wait until nothing is wrong; what still is at the deadline are violations, and the first ones are the last."""
        if self.report.violations:
            return
        try:
            wait_for(lambda: not wrong(), "all is in order", PATIENCE, poll=0.2)
        except AssertionError:
            self.report.violations += wrong()

    def _out_of_order(self) -> list[str]:
        expected: set[str] = set().union(*(user.living for user in self.users))
        worlds = self._worlds()
        with self.clouds.opened(_UNLOOKED) as database:
            there = held.living(database)
            return [
                *(f"{each} is there, and nobody has it" for each in sorted(there - expected)),
                *(f"{each} is gone, and nobody terminated it" for each in sorted(expected - there)),
                *held.in_database(database, OVERCOMMIT),
                *held.on_hosts(database, worlds),
                *held.held_twice(worlds),
            ]

    def _left(self) -> list[str]:
        with self.clouds.opened(_UNLOOKED) as database:
            return held.left(database, self._worlds())

    def _worlds(self) -> Mapping[str, Objects]:
        """What each host has, by its id, as its process last wrote it down."""
        folders = [
            folder
            for number in range(self.plan.processes)
            for folder in (self.cloud.folder / f"simulated-{number}").glob("simulated-*")
        ]
        return {Identity.load(folder).peer.name: read(folder / "world.pickle", Objects()) for folder in folders}

    # --- figures

    def _rows(self) -> dict[str, float]:
        """How many rows each table has."""
        found = self.clouds.counts({"host_resources": _NO_BASE})
        return {figure_of(name): float(count) for name, count in found.items()}

    def _files(self) -> dict[str, float]:
        """How many files there are, without the records of calls and those of metrics, and how large databases are."""
        agents = [child.log.parent for child in self.cloud.simulators]
        controllers = [cloud.settings.controller_dir for cloud in self.clouds.all]
        folders = {"agents": agents, "controllers": controllers}
        found = {f"KiB of {name}": size / 1024 for name, size in self.clouds.database_bytes().items()}
        names: list[str] = []
        for name, parts in folders.items():
            aside = {part / each for part in parts for each in ("audit", "metrics")}
            paths = [path for part in parts for path in part.rglob("*") if aside.isdisjoint(path.parents)]
            lasting = [str(path.relative_to(self.cloud.folder)) for path in paths if not path.name.endswith(".draft")]
            found[f"files of {name}"] = float(len(lasting))
            names += lasting
            sizes = [path.stat().st_size for path in paths if path.suffix in (".sqlite", ".pickle")]
            found[f"KiB of {name}"] = sum(sizes) / 1024
        self.report.files.append(frozenset(names))
        # VictoriaMetrics writes one each few seconds, and puts many together now and then.
        found["metrics' files"] = float(sum(1 for part in controllers for _ in (part / "metrics").rglob("*")))
        return found

    def _processes(self) -> dict[str, float]:
        """Memory without SQLite's, open files and threads of each process."""
        pids: dict[str, int] = {}
        found: dict[str, float] = {}
        for number, cloud in enumerate(self.clouds.all):
            pids[name := f"controller {number}"] = cloud.controller.serving
            found |= {f"{what} of {name}": figure for what, figure in self.clouds.memory(cloud).items()}
        for number, simulator in enumerate(self.cloud.simulators):
            assert simulator.process is not None
            pids[f"agents {number}"] = simulator.process.pid
        for name, pid in pids.items():
            process = Path(f"/proc/{pid}")
            # SQLite's pages and statements are bounded by settings, and grow with a database that is small until then.
            found[f"MiB of {name}"] = memory_of(pid)["Anonymous"] - found.get(f"SQLite in MiB of {name}", 0.0)
            found[f"open files of {name}"] = float(len(list((process / "fd").iterdir())))
            found[f"threads of {name}"] = float(len(list((process / "task").iterdir())))
        return found


def figure_of(table: str) -> str:
    """Name the figure of a table's rows, which says whether they may grow."""
    if table in _LASTING:
        return f"lasting rows of {table}"
    return f"bounded rows of {table}" if table in _BOUNDED else f"rows of {table}"


def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _text: None) -> Report:
    """Make a cloud in a folder, let instances live as planned, and stop it."""
    report = Report(plan)
    began = time.monotonic()
    try:
        with Clouds(folder, SETTINGS, plan.controllers, plan.is_shared, plan.traces).run() as clouds:
            story = Story(plan, clouds, report, random.Random(plan.seed))
            story.begin()
            story.run(say)
    finally:
        report.seconds = time.monotonic() - began
    return report
