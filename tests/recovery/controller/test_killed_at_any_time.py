"""FAULTS 38: instances are terminated in whatever state they are, while more is asked of them, and nothing is left.

Many users at once ask what comes into their minds, without waiting for anything; each question is answered, or refused
with a reason of EC2's. Then all is ended at once: that must always do.
"""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError

from tests.support.cloud import Cloud
from tests.support.remains import nothing_remains
from tests.support.waiting import wait_for

INSTANCES: Final = 36
USERS: Final = 12
CALLS: Final = 6  # of each, before it is terminated
PATIENCE: Final = 120.0
# What EC2 answers who comes at the wrong time.
REFUSALS: Final = {
    "ConcurrentSnapshotLimitExceeded",  # on a slow machine, several snapshots of a volume are still being taken
    "IncorrectInstanceState",
    "IncorrectState",
    "IncorrectModificationState",
    "InvalidParameterValue",  # the device's name is taken
    "InvalidVolume.NotFound",
    "VolumeModificationRateExceeded",
}


@dataclass
class User:
    """Who does something to one instance after the other."""

    ec2: Any
    image_id: str
    chance: random.Random
    volumes: list[str] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)

    def live(self, _number: int) -> None:
        """Launch an instance, do to it whatever comes to mind, and terminate it."""
        launched = self.ec2.run_instances(ImageId=self.image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1)
        instance = launched["Instances"][0]
        instance_id, zone = instance["InstanceId"], instance["Placement"]["AvailabilityZone"]
        calls: list[Callable[[str], Any]] = [
            lambda it: self.ec2.stop_instances(InstanceIds=[it], Force=self.chance.random() < 0.3),
            lambda it: self.ec2.start_instances(InstanceIds=[it]),
            lambda it: self.ec2.reboot_instances(InstanceIds=[it]),
            lambda it: self.ec2.create_image(InstanceId=it, Name=f"of-{it}-{self.chance.random()}", NoReboot=True),
            lambda it: self.attach(it, zone),
            lambda it: self.detach(),
            lambda it: self.grow(),
            lambda it: self.ec2.create_snapshot(VolumeId=self.chance.choice(self.volumes or ["vol-00000000"])),
        ]
        for call in self.chance.choices(calls, k=CALLS):
            self.ask(call, instance_id)
        self.ec2.terminate_instances(InstanceIds=[instance_id])  # never refused

    def ask(self, call: Callable[[str], Any], instance_id: str) -> None:
        """Make one change, which may be refused."""
        try:
            call(instance_id)
        except ClientError as refusal:
            code = _expected(refusal, REFUSALS)
            self.refused[code] = self.refused.get(code, 0) + 1

    def attach(self, instance_id: str, zone: str) -> None:
        """Make a volume and attach it as soon as it is there."""
        volume_id = self.ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
        self.volumes.append(volume_id)
        self.ec2.attach_volume(
            VolumeId=volume_id, InstanceId=instance_id, Device=f"/dev/sd{self.chance.choice('fghi')}"
        )

    def detach(self) -> None:
        """Take some volume from wherever it is."""
        if self.volumes:
            self.ec2.detach_volume(VolumeId=self.chance.choice(self.volumes), Force=self.chance.random() < 0.2)

    def grow(self) -> None:
        """Make some volume larger."""
        if self.volumes:
            self.ec2.modify_volume(VolumeId=self.chance.choice(self.volumes), Size=self.chance.randint(2, 4))


def _expected(refusal: ClientError, codes: set[str]) -> str:
    code = str(refusal.response["Error"]["Code"])
    if code not in codes:
        raise refusal
    return code


def test_all_ends_whatever_it_was_doing(own_cloud: Callable[..., Cloud]) -> None:
    cloud = own_cloud(hosts=3)
    image_id, account = cloud.add_image(), cloud.new_account()
    users = [User(account.client("ec2"), image_id, random.Random(number)) for number in range(USERS)]
    with ThreadPoolExecutor(USERS) as pool:
        lives = [pool.submit(users[number % USERS].live, number) for number in range(INSTANCES)]
    for life in lives:
        life.result()
    ec2 = account.client("ec2")

    def all_end() -> bool:
        pages = ec2.get_paginator("describe_instances").paginate()
        found = [each for page in pages for group in page["Reservations"] for each in group["Instances"]]
        return len(found) == INSTANCES and {each["State"]["Name"] for each in found} == {"terminated"}

    wait_for(all_end, "all are terminated", PATIENCE)
    give_all_back(ec2)
    refused = sum((sum(user.refused.values()) for user in users), 0)
    assert 0 < refused < INSTANCES * CALLS
    nothing_remains(cloud)


def give_all_back(ec2: Any) -> None:
    """Delete the images, snapshots and volumes that are left, which the terminated instances must not hold."""
    for image in ec2.describe_images(Owners=["self"])["Images"]:
        ec2.deregister_image(ImageId=image["ImageId"])

    def none_is_left() -> bool:
        snapshots = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        volumes = ec2.describe_volumes()["Volumes"]
        for deleting, key, things in (
            (ec2.delete_snapshot, "SnapshotId", snapshots),
            (ec2.delete_volume, "VolumeId", volumes),
        ):
            for thing in things:
                try:
                    deleting(**{key: thing[key]})
                except ClientError as refusal:  # not yet
                    _expected(refusal, REFUSALS | {"InvalidSnapshot.InUse"})
        return not snapshots and not volumes

    wait_for(none_is_left, "no volume and no snapshot is left", PATIENCE)
