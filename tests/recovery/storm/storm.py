"""A storm over a rig: rounds of requests and faults, each followed by a rest in which everything must be as answered."""

import contextlib
import random
import re
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from tests.recovery.storm import drift, faults, left, observed
from tests.recovery.storm.churn import READ_SECONDS, Churn
from tests.recovery.storm.faults import FAULTS, NothingThereError, Scene
from tests.recovery.storm.history import History
from tests.recovery.storm.keeper import Keeper, end_connections
from tests.recovery.storm.model import Model
from tests.recovery.storm.requests import DEVICES, Choices
from tests.support.real_cloud import ONE_PROCESSOR
from tests.support.rig import RigUser, TestRig
from tests.support.waiting import wait_for

SETTLED: Final = 60.0  # everything must have settled so soon after the last fault
PATIENCE: Final = 240.0  # for how long it is waited for all the same, to know whether it ever does
_LONGER: Final = 300.0  # seconds
_DISK_BYTES: Final = 768 << 20
_PERSONS: Final = 3
_ZONE: Final = "us-east-1a"
_NAME: Final = re.compile(r"\b[a-z]+-\d+\b")  # of a resource, or of a host


@dataclass(frozen=True)
class Plan:
    """How long a storm is, on how many hosts, and what its chance begins with."""

    seed: int
    minutes: float
    hosts: int = 2
    least_faults: int = 3  # a slow machine has the time for them that it needs, up to _LONGER
    faults_a_round: int = 8
    kinds: tuple[str, ...] = tuple(FAULTS)


@dataclass
class Report:
    """What came of a storm."""

    plan: Plan
    history: History
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    blocks: int = 0
    settled: list[float] = field(default_factory=list)  # seconds, of each round
    violations: list[str] = field(default_factory=list)

    @property
    def late(self) -> int:
        """In how many rounds it took too long until everything had settled."""
        return sum(seconds > SETTLED for seconds in self.settled)

    def text(self) -> str:
        """All of it, for a reader; with the faults and what is known of the violations, if there are any."""
        befell = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        refusals = ", ".join(f"{count} {code}" for code, count in sorted(self.refused.items()))
        times = sorted(self.settled) or [0.0]
        lines = [
            f"seed {self.plan.seed}, {self.plan.hosts} hosts, {self.plan.minutes:g} minutes",
            f"faults: {self.faults.total()} ({befell})",
            f"calls: {self.acknowledged} acknowledged, {self.lost} whose answer was lost, refused: {refusals or 'none'}",
            f"blocks that guests synced: {self.blocks}",
            f"settled after {times[len(times) // 2]:.1f} s in the median, {times[-1]:.1f} s at most",
            f"settled after more than {SETTLED:.0f} s: {self.late} of {len(self.settled)} times",
            f"violations: {len(self.violations)}",
            *self.violations,
        ]
        if self.violations:
            lines += ["the faults:", *self.history.lines("fault"), f"the whole history: {self.history.path}"]
        return "\n".join(lines)


@dataclass
class Storm:
    """A rig in a storm."""

    plan: Plan
    rig: TestRig
    folder: Path
    report: Report
    user: RigUser
    churn: Churn
    scene: Scene
    keepers: list[Keeper] = field(default_factory=list)

    @property
    def model(self) -> Model:
        return self.churn.model

    def note(self, what: str, text: str) -> None:
        self.report.history.note(what, text)

    def run(self) -> None:
        """Rounds until the time is over; then everything is deleted."""
        for host in self.rig.hosts:
            self._add_keeper(host.number)
        self._rest()
        end = time.monotonic() + 60 * self.plan.minutes
        while time.monotonic() < end or (self._is_too_calm() and time.monotonic() < end + _LONGER):
            self._round(end)
            self._rest()
        self._delete_everything()

    # --- guests that keep what they wrote

    def _add_keeper(self, number: int) -> None:
        """A guest on a host, with a disk of its own; the second one's was first another's, so its home is elsewhere."""
        name, ledger = f"keeper-{number}", f"ledger-{number}"
        with self.rig.only(self.rig.hosts[number - 1]):
            tags: Any = [*_tags("instance", name), *_tags("volume", f"{name}/disk")]
            (instance_id,) = self.user.run(wait=False, TagSpecifications=tags)
        self.user.wait("instance_running", [instance_id])
        made = self.user.ec2.create_volume(AvailabilityZone=_ZONE, Size=1, TagSpecifications=_tags("volume", ledger))[
            "VolumeId"
        ]
        for user in (*(keeper.instance_id for keeper in self.keepers[:1]), instance_id):
            self.user.ec2.attach_volume(VolumeId=made, InstanceId=user, Device=f"/dev/sd{DEVICES[number]}")
            wait_for(partial(self._is_attached, made, user), f"{made} is attached", 120, poll=0.5)
            if user != instance_id:
                self.user.connect(user)  # its kernel runs, so it releases the disk
                self.user.ec2.detach_volume(VolumeId=made)
                wait_for(lambda: not self._attachments(made), f"{made} is detached", 120, poll=0.5)
        self.keepers.append(Keeper(self.user, name, instance_id, made, self.report.history))
        # It is neither stopped nor detached by anybody, so what it is now is what it must be later.
        self.model.resources |= {
            each: facts for each, facts in observed.take(self.user.ec2).items() if each in (name, ledger)
        }

    def _attachments(self, volume_id: str) -> list[Any]:
        return list(self.user.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["Attachments"])

    def _is_attached(self, volume_id: str, instance_id: str) -> bool:
        return [(each["InstanceId"], each["State"]) for each in self._attachments(volume_id)] == [
            (instance_id, "attached")
        ]

    # --- a round

    def _is_too_calm(self) -> bool:
        """Tell whether too little happened so far for a storm to prove anything."""
        report = self.report
        return report.faults.total() < self.plan.least_faults or not report.acknowledged or not report.blocks

    def _round(self, end: float) -> None:
        self.churn.begin(_PERSONS)
        for keeper in self.keepers:
            keeper.begin()
        try:
            for _ in range(self.plan.faults_a_round):
                if time.monotonic() < end or self.report.faults.total() < self.plan.least_faults:
                    self._strike()
        finally:
            self.churn.pause()
            for keeper in self.keepers:
                keeper.pause()

    def _strike(self) -> None:
        """Let one fault befall the rig, one that has something to befall."""
        name = faults.choose(self.scene.chance, list(self.plan.kinds))
        self.scene.moment(2.5)
        self.note("fault", f"{name} …")
        try:
            what = FAULTS[name](self.scene)
        except NothingThereError as nothing:
            self.note("fault", f"{name}: nothing there ({nothing})")
            return
        self.report.faults[name] += 1
        self.note("fault", f"{name}: {what}")

    # --- rest

    def _rest(self) -> None:
        """Wait until everything is as it was acknowledged; what is not is a violation, and taken as it is from then on."""
        began = time.monotonic()
        seen: dict[str, Any] = {}
        last: list[str] = []

        def differences() -> list[str]:
            nonlocal last
            seen.clear()
            seen.update(observed.take(self.user.ec2))
            found = [*self.model.differences(seen), *self._out_of_order()]
            if found != last:
                self.note("look", f"after {time.monotonic() - began:.1f} s: {found}")
            last = found
            return found

        with contextlib.suppress(AssertionError):  # looked at below
            wait_for(lambda: not differences(), "all is as acknowledged", PATIENCE, poll=1.0)
        wrong = differences()
        self.report.settled.append(time.monotonic() - began)
        self.note("look", f"settled after {self.report.settled[-1]:.1f} s: {wrong or 'all is as acknowledged'}")
        for line in wrong:
            self.report.violations.append(f"{line}\n{self.report.history.about(_NAME.findall(line))}")
        self.model.resources = seen if wrong else self.model.resources
        self.model.settle(seen)
        for keeper in self.keepers:
            self.report.violations += keeper.missing()
        self._count()

    def _out_of_order(self) -> list[str]:
        """What is wrong on hosts with what their guests need; hosts that do not answer are not in order either."""
        wrong = [
            f"{host.name}: {fault}"
            for host in self.rig.hosts
            for fault in drift.faults_of(host.place.run("sh", "-c", drift.OBSERVED).stdout)
        ]
        for keeper in self.keepers:
            try:
                self.user.console(keeper.instance_id)
            except ClientError as error:
                wrong.append(f"{keeper.name} has no console: {error}")
        return wrong

    def _count(self) -> None:
        self.report.acknowledged, self.report.lost = self.churn.acknowledged, self.churn.lost
        self.report.refused = self.churn.refused
        self.report.blocks = sum(len(keeper.written) for keeper in self.keepers)
        self.report.violations += self.churn.violations
        self.churn.violations.clear()

    def _delete_everything(self) -> None:
        """Delete what there is, in the order in which EC2 lets one, and wait until it is gone."""
        ec2 = self.user.ec2
        end_connections(self.keepers)
        self.user.terminate_all()
        for image in ec2.describe_images(Owners=["self"])["Images"]:
            ec2.deregister_image(ImageId=image["ImageId"], DeleteAssociatedSnapshots=True)
        for address in ec2.describe_addresses()["Addresses"]:
            ec2.release_address(AllocationId=address["AllocationId"])
        for snapshot in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
            ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
        for volume in ec2.describe_volumes()["Volumes"]:
            if volume["State"] != "deleting":
                wait_for(
                    partial(self._is_free, volume["VolumeId"]), f"{volume['VolumeId']} is free", PATIENCE, poll=0.5
                )
                ec2.delete_volume(VolumeId=volume["VolumeId"])
        for group in ec2.describe_security_groups()["SecurityGroups"]:
            if group["GroupName"] != "default":
                ec2.delete_security_group(GroupId=group["GroupId"])
        with contextlib.suppress(AssertionError):  # looked at below
            wait_for(lambda: not observed.take(ec2), "everything is gone", PATIENCE, poll=1.0)
        self.report.violations += [f"{name} is still there: {dict(it)}" for name, it in observed.take(ec2).items()]

    def _is_free(self, volume_id: str) -> bool:
        found = self.user.ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": [volume_id]}])["Volumes"]
        return all(volume["State"] == "available" for volume in found)


def _tags(kind: Any, name: str) -> Any:
    return [{"ResourceType": kind, "Tags": [{"Key": observed.TAG, "Value": name}]}]


def weather(plan: Plan, folder: Path) -> Report:
    """Make a rig, let a storm of this plan go over it, look what is left, and remove the rig."""
    report = Report(plan, History(folder / "history"))
    rig = TestRig(hosts_wanted=plan.hosts)
    try:
        with _small_disks(rig, folder):
            rig.up()
            before = rig.inventories()
            storm = _prepared(plan, rig, folder, report)
            try:
                storm.run()
                report.violations += left.look(rig, before, PATIENCE)
            except Exception as failure:  # whatever ends a storm early, what it saw until then is reported
                report.violations.append("it ended early: " + "".join(traceback.format_exception(failure)))
    finally:
        rig.keep_logs(folder)
        rig.down()
    return report


@contextlib.contextmanager
def _small_disks(rig: TestRig, folder: Path) -> Iterator[None]:
    """File systems of their own, which can be filled, for the state of the controller and of the agents."""
    with contextlib.ExitStack() as mounts:
        for number, place in enumerate(
            [rig.plan.cloud.controller_dir, *(host.settings.agent_dir for host in rig.hosts)]
        ):
            place.mkdir(mode=0o700, parents=True)
            file = folder / f"disk-{number}"
            with file.open("wb") as new:
                new.truncate(_DISK_BYTES)
            mounts.callback(file.unlink)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", file], check=True)
            subprocess.run(["mount", "-o", "loop", file, place], check=True)
            mounts.callback(_unmount, place)
            (place / "lost+found").rmdir()
            place.chmod(0o700 if number == 0 else 0o711)
        yield


def _unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", place], check=True)


def _prepared(plan: Plan, rig: TestRig, folder: Path, report: Report) -> Storm:
    chance = random.Random(plan.seed)
    account = rig.new_account()
    user = RigUser(rig, account, folder, rig=rig)
    (group,) = user.ec2.describe_security_groups()["SecurityGroups"]
    choices = Choices(user.image_id, _ZONE, group["GroupId"], group["VpcId"], ONE_PROCESSOR)
    asking = Churn(
        partial(account.client, "ec2", read_timeout=READ_SECONDS),
        Model(),
        choices,
        report.history,
        random.Random(chance.random()),
    )
    return Storm(plan, rig, folder, report, user, asking, Scene(rig, random.Random(chance.random())))
