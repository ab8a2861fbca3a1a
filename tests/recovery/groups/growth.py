"""A group grows from nothing, is refreshed and shrinks to nothing again on simulated hosts, while programs are killed.

It never has more instances than it may have, launches none twice, replaces what is ended by others, has nine of ten in
service while a refresh replaces all, and tells the truth of all of it in its activities; nothing is left.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from stead_cli.operator import Operator
from tests.recovery.lives import held
from tests.support import kills
from tests.support.cloud import Cloud, HostSize
from tests.support.remains import nothing_remains
from tests.support.waiting import wait_for

GROUP: Final = "growing"
SIZE: Final = HostSize(cpus=64, memory=256 << 30)
PATIENCE: Final = 180.0
_STANDARD_VCPUS: Final = "L-1216C47A"
_SETTINGS: Final = ("--request-rate-factor=0", "--volume-overcommit=1000")
_LOOK_SECONDS: Final = 0.1
_THERE: Final = (
    "SELECT count(*) FROM instances JOIN scaling_instances ON scaling_instances.instance_id = instances.id"
    " WHERE instances.state NOT IN ('shutting-down', 'terminated')"
)
_SERVE: Final = (
    "SELECT count(*) FROM instances JOIN scaling_instances ON scaling_instances.instance_id = instances.id"
    " WHERE instances.state = 'running' AND scaling_instances.lifecycle_state = 'InService'"
)
_HEALTHY: Final = 90  # percent
_OF_NOBODY: Final = (
    "SELECT id FROM instances WHERE state NOT IN ('shutting-down', 'terminated')"
    " AND id NOT IN (SELECT instance_id FROM scaling_instances)"
)


@dataclass(frozen=True)
class Plan:
    """How many instances, of which how many are ended by others, and how many kills in each of four phases."""

    seed: int
    instances: int
    ended: int
    kills: int
    away: float = 1.0  # seconds at most until what was killed is started again
    processes: int = 2  # of simulated hosts
    hosts: int = 2  # of each process


@dataclass
class Report:
    """What came of it."""

    plan: Plan
    seconds: dict[str, float] = field(default_factory=dict)  # by phase
    kills: Counter[str] = field(default_factory=Counter)
    activities: Counter[str] = field(default_factory=Counter)
    most: int = 0
    least: int | None = None  # that served during the refresh
    looks: int = 0
    violations: list[str] = field(default_factory=list)

    def text(self) -> str:
        """All of it, for a reader."""
        phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        killed = ", ".join(f"{count} {what}" for what, count in sorted(self.kills.items()))
        told = ", ".join(f"{count} {what}" for what, count in sorted(self.activities.items()))
        return "\n".join(
            [
                f"seed {self.plan.seed}: {phases}; {self.looks} looks",
                f"at most {self.most} at once, at least {self.least} in service during the refresh",
                f"killed: {killed or 'nothing'}",
                f"activities: {told}",
                f"violations: {len(self.violations)}",
                *self.violations,
            ]
        )


@dataclass
class Story:
    """A cloud with one group."""

    plan: Plan
    cloud: Cloud
    report: Report
    chance: random.Random
    scaling: Any = None
    ec2: Any = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _refreshing: threading.Event = field(default_factory=threading.Event)

    @property
    def database(self) -> Path:
        return self.cloud.settings.controller_dir / "stead.sqlite"

    def begin(self) -> None:
        """Start all programs, and make an empty group."""
        self.cloud.start_controller()
        for _ in range(self.plan.processes):
            self.cloud.add_hosts(self.plan.hosts, SIZE, keep=True)
        Operator(self.cloud.settings).set_quota(_STANDARD_VCPUS, 100_000)
        account = self.cloud.new_account("growing")
        patient = {"connect_timeout": 2, "retries": {"mode": "standard", "total_max_attempts": 20}}
        self.ec2, self.scaling = account.client("ec2", **patient), account.client("autoscaling", **patient)
        image_id = self.cloud.add_image()
        template = {"ImageId": image_id, "InstanceType": "stead.tiny"}
        self.ec2.create_launch_template(LaunchTemplateName=GROUP, LaunchTemplateData=template)
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            LaunchTemplate={"LaunchTemplateName": GROUP},
            MinSize=0,
            MaxSize=self.plan.instances,
            AvailabilityZones=["us-east-1a"],
            DefaultCooldown=0,
        )

    def run(self, say: Callable[[str], None]) -> None:
        """Grow, lose some, be refreshed, and shrink."""
        kinds = kills.kinds(self.cloud, self.chance, self.plan.away)
        with self._watched():
            self._phase("grows", kinds, say, lambda: self._want(self.plan.instances), self.plan.instances)
            self._phase("is whole again", kinds, say, self._lose, self.plan.instances)
            self._phase("is refreshed", kinds, say, self._refresh, self.plan.instances)
            self._refreshing.clear()
            self._phase("shrinks", kinds, say, lambda: self._want(0), 0)
        self._tell()
        self.scaling.delete_auto_scaling_group(AutoScalingGroupName=GROUP)
        wait_for(self._hosts_listen, "the hosts' processes listen", 30)  # one may have been killed just now
        nothing_remains(self.cloud)

    def _hosts_listen(self) -> bool:
        try:
            return bool(self.cloud.let_happen(do="hosts"))
        except (ConnectionRefusedError, FileNotFoundError):
            return False

    def _phase(
        self,
        name: str,
        kinds: Iterator[Callable[[], str]],
        say: Callable[[str], None],
        begin: Callable[[], None],
        wanted: int,
    ) -> None:
        began = time.monotonic()
        begin()
        for _ in range(self.plan.kills):
            time.sleep(self.chance.uniform(0.0, 2 * self.plan.away))  # when it is killed is a part of the fault
            self.report.kills[next(kinds)()] += 1
        patience = PATIENCE + self.plan.instances / 2
        wait_for(lambda: self._is_settled(wanted), f"the group {name}", patience, poll=0.2, explain=self._explain)
        self.report.seconds[name] = time.monotonic() - began
        say(f"{name}: {self.report.seconds[name]:.1f} s")
        with held.opened(self.database) as database:
            strays = [found for (found,) in database.execute(_OF_NOBODY)]
        self.report.violations += [f"{stray} is there, and no group has it" for stray in strays]

    def _want(self, desired: int) -> None:
        self.scaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=desired)

    def _lose(self) -> None:
        """End some instances without asking the group."""
        lost = self.chance.sample(sorted(self._states()), self.plan.ended)
        self.ec2.terminate_instances(InstanceIds=lost)

    def _refresh(self) -> None:
        """Replace all."""
        self._refreshing.set()
        chosen = {"MinHealthyPercentage": _HEALTHY, "InstanceWarmup": 0}
        self.scaling.start_instance_refresh(AutoScalingGroupName=GROUP, Preferences=chosen)

    def _is_refreshed(self) -> bool:
        refreshes = self.scaling.describe_instance_refreshes(AutoScalingGroupName=GROUP)["InstanceRefreshes"]
        return all(one["Status"] == "Successful" for one in refreshes)

    def _states(self) -> dict[str, str]:
        [group] = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
        return {each["InstanceId"]: each["LifecycleState"] for each in group["Instances"]}

    def _is_settled(self, wanted: int) -> bool:
        """Tell whether so many instances run, all in service, and no more are in the group; ended ones leave it."""
        with held.opened(self.database) as database:
            [(going,)] = database.execute(
                "SELECT count(*) FROM instances WHERE state NOT IN ('running', 'terminated')"
            ).fetchall()
            [(running,)] = database.execute("SELECT count(*) FROM instances WHERE state = 'running'").fetchall()
        if going or running != wanted:
            return False
        states = self._states()
        return len(states) == wanted and set(states.values()) <= {"InService"} and self._is_refreshed()

    def _explain(self) -> str:
        states = Counter(self._states().values())
        latest = self.scaling.describe_scaling_activities(AutoScalingGroupName=GROUP, MaxRecords=3)["Activities"]
        return f"{dict(states)}\n{latest}"

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Look again and again how many instances there are."""

        def look() -> None:
            while not self._ended.wait(_LOOK_SECONDS):
                with held.opened(self.database) as database:
                    [(there,)] = database.execute(_THERE).fetchall()
                    [(serve,)] = database.execute(_SERVE).fetchall()
                self.report.looks += 1
                self.report.most = max(self.report.most, there)
                if self._refreshing.is_set():
                    self.report.least = serve if self.report.least is None else min(self.report.least, serve)

        thread = threading.Thread(target=look, name="looks")
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
        if self.report.most > self.plan.instances:
            self.report.violations.append(f"{self.report.most} instances, where at most {self.plan.instances} may be")
        least = -(-self.plan.instances * _HEALTHY // 100)
        if self.report.least is None or self.report.least < least:
            self.report.violations.append(f"{self.report.least} served during the refresh, where {least} must")

    def _tell(self) -> None:
        """Compare activities with what was done: each instance was launched once and ended once."""
        pages = self.scaling.get_paginator("describe_scaling_activities").paginate(AutoScalingGroupName=GROUP)
        told = [each for page in pages for each in page["Activities"]]
        verbs = Counter((each["Description"].split()[0], each["StatusCode"]) for each in told)
        self.report.activities = Counter({f"{verb} {status}": count for (verb, status), count in verbs.items()})
        wanted = 2 * self.plan.instances + self.plan.ended
        if verbs != {("Launching", "Successful"): wanted, ("Terminating", "Successful"): wanted}:
            self.report.violations.append(f"{wanted} were launched and ended, and it says: {dict(verbs)}")
        with held.opened(self.database) as database:
            [(made,)] = database.execute("SELECT count(*) FROM instances").fetchall()
        if made > wanted:
            self.report.violations.append(f"{made} instances were made, where {wanted} were wanted")


def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _text: None) -> Report:
    """Make a cloud in a folder, let its group grow and shrink as planned, and stop it."""
    report = Report(plan)
    cloud = Cloud(folder, _SETTINGS)
    try:
        story = Story(plan, cloud, report, random.Random(plan.seed))
        story.begin()
        story.run(say)
    finally:
        cloud.stop()
    return report
