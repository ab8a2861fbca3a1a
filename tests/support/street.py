"""Two guests on two hosts of a rig, in one zone, which can attach the same volumes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.rig import RigUser, TestRig
from tests.support.town import Inhabitant, Vpc, default_vpc
from tests.support.waiting import wait_for


def disk(volume_id: str) -> str:
    """The path of a volume's device in a guest."""
    return f"/dev/disk/by-id/virtio-{volume_id.replace('-', '')}"


@dataclass
class Street:
    """A guest on each of two hosts, in one subnet of both IP versions, which is public."""

    rig: TestRig
    user: RigUser
    vpc: Vpc
    subnet: str
    west: Inhabitant  # on host 1
    east: Inhabitant  # on host 2

    def at_west(self, **options: Any) -> str:
        """A new volume whose home is host 1: its first user is west."""
        zone = self.user.describe(self.west.id)["Placement"]["AvailabilityZone"]
        made = self.user.ec2.create_volume(AvailabilityZone=zone, Size=1, **options)["VolumeId"]
        self.attach(made, self.west)
        return made

    def at_east(self, snapshot_id: str) -> str:
        """A new volume from a snapshot, whose first user is east."""
        zone = self.user.describe(self.east.id)["Placement"]["AvailabilityZone"]
        made = self.user.ec2.create_volume(AvailabilityZone=zone, SnapshotId=snapshot_id)["VolumeId"]
        self.attach(made, self.east, "/dev/sdg")
        return made

    def state(self, volume_id: str) -> str:
        """The EC2 state of a volume."""
        return self.user.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"]

    def attach(self, volume_id: str, guest: Inhabitant, device: str = "/dev/sdf") -> None:
        """Attach a volume and wait until the guest sees it."""
        self.user.ec2.attach_volume(VolumeId=volume_id, InstanceId=guest.id, Device=device)
        wait_for(lambda: guest.tries(f"test -b {disk(volume_id)}"), f"{guest.id} sees {volume_id}", 90, poll=0.5)

    def detach(self, volume_id: str, *, force: bool = False) -> None:
        """Detach a volume and wait until it is available."""
        self.user.ec2.detach_volume(VolumeId=volume_id, Force=force)
        wait_for(lambda: self.state(volume_id) == "available", f"{volume_id} is available", 60, poll=0.5)

    def drop(self, volume_id: str) -> None:
        """Detach a volume and delete it."""
        self.detach(volume_id)
        self.user.ec2.delete_volume(VolumeId=volume_id)

    def is_complete(self, snapshot_id: str) -> bool:
        """Tell whether a snapshot is complete; fail if it failed."""
        (found,) = self.user.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        assert found["State"] in {"pending", "completed"}, found
        assert (found["State"] == "completed") <= (found["Progress"] == "100%")
        return bool(found["State"] == "completed")

    def complete(self, snapshot_id: str) -> None:
        """Wait until a snapshot is complete."""
        wait_for(lambda: self.is_complete(snapshot_id), f"{snapshot_id} is complete", 120, poll=0.5)


@contextmanager
def new_street(rig: TestRig, folder: Path) -> Iterator[Street]:
    """Two booted guests of a new account; they, its volumes and its snapshots are removed at the end."""
    user = RigUser(rig, rig.new_account(), folder, rig=rig)
    try:
        one, two, _ = rig.hosts
        vpc, subnet = default_vpc(user, ipv6=True)
        west, east = vpc.launch(one, subnet, "172.31.0.10"), vpc.launch(two, subnet, "172.31.0.11")
        yield Street(rig, user, vpc, subnet, west.booted(), east.booted())
    finally:
        user.terminate_all()
        for volume in user.ec2.describe_volumes()["Volumes"]:
            if volume["State"] == "available":
                user.ec2.delete_volume(VolumeId=volume["VolumeId"])
        for snapshot in user.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
            user.ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
