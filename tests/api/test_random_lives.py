"""Lives of instances by random requests, several at a time: each gets one of EC2's answers, and nothing is left over.

A suite has few rounds; STEAD_LIVES_ROUNDS=1000 makes it a long one, and STEAD_LIVES_SEED another one.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError

from tests.support.clients import Account
from tests.support.cloud import Cloud
from tests.support.waiting import wait_for

ROUNDS: Final = int(os.environ.get("STEAD_LIVES_ROUNDS", "15"))
SEED: Final = int(os.environ.get("STEAD_LIVES_SEED", "38"))
AT_ONCE: Final = 4
ALIVE: Final = 6
WRONG: Final = frozenset({"IncorrectInstanceState"})
BUSY: Final = WRONG | {"IncorrectState", "VolumeInUse", "UnsupportedOperation"}


@dataclass
class Life:
    """An instance, and a volume that is attached and detached."""

    id: str
    root: str
    volume: str
    ended: bool = False


Ask = Callable[[Any, Life], object]
# By name: the request, and the codes that it may be refused with while others change the instance.
REQUESTS: Final[dict[str, tuple[Ask, frozenset[str]]]] = {
    "start": (lambda ec2, one: ec2.start_instances(InstanceIds=[one.id]), WRONG),
    "stop": (lambda ec2, one: ec2.stop_instances(InstanceIds=[one.id]), WRONG),
    "stop by force": (lambda ec2, one: ec2.stop_instances(InstanceIds=[one.id], Force=True), WRONG),
    "stop at once": (lambda ec2, one: ec2.stop_instances(InstanceIds=[one.id], SkipOsShutdown=True), WRONG),
    "hibernate": (
        lambda ec2, one: ec2.stop_instances(InstanceIds=[one.id], Hibernate=True),
        WRONG | {"UnsupportedOperation"},  # it is not ready for that while it is pending
    ),
    "reboot": (lambda ec2, one: ec2.reboot_instances(InstanceIds=[one.id]), WRONG),
    "monitor": (lambda ec2, one: ec2.monitor_instances(InstanceIds=[one.id]), WRONG),
    "type": (
        lambda ec2, one: ec2.modify_instance_attribute(InstanceId=one.id, InstanceType={"Value": "stead.small"}),
        BUSY,
    ),
    "shutdown behaviour": (
        lambda ec2, one: ec2.modify_instance_attribute(
            InstanceId=one.id, InstanceInitiatedShutdownBehavior={"Value": "stop"}
        ),
        WRONG,
    ),
    "attach": (
        lambda ec2, one: ec2.attach_volume(VolumeId=one.volume, InstanceId=one.id, Device="/dev/sdf"),
        BUSY,
    ),
    "detach": (lambda ec2, one: ec2.detach_volume(VolumeId=one.volume), BUSY),
    "snapshot": (
        lambda ec2, one: ec2.create_snapshot(VolumeId=one.root),
        frozenset({"IncorrectState", "InvalidVolume.NotFound"}),
    ),
    "terminate": (lambda ec2, one: ec2.terminate_instances(InstanceIds=[one.id]), frozenset()),
    "terminate at once": (
        lambda ec2, one: ec2.terminate_instances(InstanceIds=[one.id], SkipOsShutdown=True),
        frozenset(),
    ),
}
NAMES: Final = tuple(REQUESTS)
WEIGHTS: Final = tuple(1 if name.startswith("terminate") else 4 for name in NAMES)


@dataclass
class Lives:
    """All instances of a run, and what was answered."""

    ec2: Any
    image_id: str
    all: list[Life] = field(default_factory=list)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[tuple[str, str, str]] = field(default_factory=list)

    def launch(self, count: int) -> None:
        """Launch instances that may hibernate."""
        root = {"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True, "VolumeSize": 2}}
        launched = self.ec2.run_instances(
            ImageId=self.image_id,
            InstanceType="stead.tiny",
            MinCount=count,
            MaxCount=count,
            HibernationOptions={"Configured": True},
            BlockDeviceMappings=[root],
        )["Instances"]
        ids = [one["InstanceId"] for one in launched]
        attached = [{"Name": "attachment.instance-id", "Values": ids}]
        roots = {
            volume["Attachments"][0]["InstanceId"]: volume["VolumeId"]
            for volume in self.ec2.describe_volumes(Filters=attached)["Volumes"]
        }
        zone = launched[0]["Placement"]["AvailabilityZone"]
        for each in ids:
            volume = self.ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
            self.all.append(Life(each, roots[each], volume))

    def ask(self, name: str, one: Life) -> None:
        """Make a request, and note the answer."""
        act, codes = REQUESTS[name]
        code = ""
        try:
            act(self.ec2, one)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in codes:
                self.wrong.append((name, code, error.response["Error"]["Message"]))
        self.answers[name, code] += 1
        if name.startswith("terminate"):
            one.ended = True

    def states(self) -> dict[str, str]:
        """The present states by id."""
        pages = self.ec2.get_paginator("describe_instances").paginate(InstanceIds=[one.id for one in self.all])
        return {
            one["InstanceId"]: one["State"]["Name"]
            for page in pages
            for reservation in page["Reservations"]
            for one in reservation["Instances"]
        }

    def await_all(self, state: str) -> None:
        """Wait until all that were not terminated are in a state."""
        alive = [one.id for one in self.all if not one.ended]
        wait_for(lambda: {self.states()[each] for each in alive} <= {state}, f"all are {state}", 60, explain=self.said)

    def said(self) -> str:
        """All states that there are, and the answers."""
        return f"{Counter(self.states().values())} {self.answers}"


def test_random_requests_at_the_same_time(cloud: Cloud, account: Account, image_id: str) -> None:
    lives, chance = Lives(account.ec2, image_id), random.Random(SEED)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(ROUNDS):
            alive = [one for one in lives.all if not one.ended]
            if len(alive) < ALIVE // 2 + 1:
                lives.launch(ALIVE - len(alive))
                alive = [one for one in lives.all if not one.ended]
            one = chance.choice(alive)
            names = chance.choices(NAMES, WEIGHTS, k=AT_ONCE)
            list(pool.map(lives.ask, names, [one] * AT_ONCE))
    assert lives.wrong == []
    _ends_as_it_must(lives)
    _nothing_is_left(cloud, lives)


def _ends_as_it_must(lives: Lives) -> None:
    """What was terminated stays so; all others stop, start and end when that is all that is asked."""
    ended = {one.id for one in lives.all if one.ended}
    wait_for(
        lambda: {state for each, state in lives.states().items() if each in ended} <= {"terminated"},
        "what was terminated is gone",
        60,
        explain=lives.said,
    )
    alive = [one.id for one in lives.all if not one.ended]
    assert alive
    wait_for(lambda: not {"pending", "stopping"} & set(lives.states().values()), "nothing is under way", 60)
    lives.ec2.stop_instances(InstanceIds=alive)
    lives.await_all("stopped")
    lives.ec2.start_instances(InstanceIds=alive)
    lives.await_all("running")
    lives.ec2.terminate_instances(InstanceIds=alive)
    lives.await_all("terminated")


def _nothing_is_left(cloud: Cloud, lives: Lives) -> None:
    """Neither the account nor a host has anything of them but the volumes that were attached and the snapshots."""
    ec2 = lives.ec2
    mine = {one.volume for one in lives.all}

    def volumes() -> list[dict[str, Any]]:
        return [one for page in ec2.get_paginator("describe_volumes").paginate() for one in page["Volumes"]]

    wait_for(lambda: {one["VolumeId"] for one in volumes()} == mine, "roots are gone", 60)
    wait_for(lambda: {one["State"] for one in volumes()} == {"available"}, "the others are free", 60)
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    assert ec2.describe_addresses()["Addresses"] == []
    for snapshot in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
    for volume_id in mine:
        ec2.delete_volume(VolumeId=volume_id)
    ids = [one.id for one in lives.all] + [one.root for one in lives.all]

    def on_hosts() -> str:
        found = [cloud.let_happen(do="remains", host=host.id) for host in cloud.operator.list_hosts()]
        assert all(each["violations"] == [] for each in found)
        return json.dumps([each["remains"] for each in found])

    wait_for(lambda: not any(each in on_hosts() for each in ids), "no host has anything of them", 60, explain=on_hosts)
