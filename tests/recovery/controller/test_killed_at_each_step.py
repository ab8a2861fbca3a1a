"""FAULTS 1: the controller is killed at each step of the life of an instance, its volumes, addresses, groups
and images, and nothing comes of it.

Each step is died of once (`tests/support/mortal_controller.py`); the user goes on as a careful client does: a call that
was not answered is repeated with its client token, or it is looked whether it was done. In the end there is nothing,
neither in the API nor on the hosts, and at no time were there two of anything.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NotConnected

from tests.support.cloud import Cloud
from tests.support.remains import nothing_remains
from tests.support.waiting import wait_for

PATIENCE: Final = 40.0  # for what takes several deaths; each one that is late is reported alone


class Client:
    """A careful client of a cloud that dies now and then."""

    def __init__(self, cloud: Cloud, ec2: Any) -> None:
        self.cloud = cloud
        self.ec2 = ec2

    def ask(self, name: str, done: Callable[[], bool] | None = None, **parameters: Any) -> dict[str, Any]:
        """Call until there is an answer; `done` tells of a call without one whether it has been done nevertheless."""
        was_lost = False
        while True:
            try:
                answer: dict[str, Any] = getattr(self.ec2, name)(**parameters)
            except (NotConnected, HTTPClientError):
                wait_for(self.cloud.answers, "a controller answers again", PATIENCE)
                if done is not None and done():
                    return {}
                was_lost = True
            except ClientError:
                # What was done without an answer may have been under way when we looked, and over when we asked again.
                if was_lost and done is not None and done():
                    return {}
                raise
            else:
                return answer

    def instance(self) -> dict[str, Any]:
        """Describe the only instance there may be."""
        found = [each for group in self.ask("describe_instances")["Reservations"] for each in group["Instances"]]
        assert len(found) == 1, found
        return dict(found[0])

    def is_in(self, state: str) -> bool:
        """Tell whether the instance is in a state."""
        return bool(self.instance()["State"]["Name"] == state)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for what takes the hosts some time."""
        wait_for(condition, what, PATIENCE)


@pytest.fixture
def mortal(own_cloud: Callable[..., Cloud]) -> Cloud:
    """A cloud with two simulated hosts and an image, whose controller dies from now on."""
    cloud = own_cloud(hosts=2)
    cloud.add_image()
    return cloud


def test_nothing_is_lost_doubled_or_left(mortal: Cloud) -> None:
    account, deaths = mortal.new_account(), mortal.folder / "deaths"
    die_from_now_on(mortal, deaths)
    client = Client(mortal, account.client("ec2", connect_timeout=2))
    instance_id = launch(client)
    volume_id = use_a_volume(client, instance_id)
    snapshot_id = keep_a_copy(client, volume_id)
    be_reached(client, instance_id)
    rest(client, instance_id)
    keep_an_image(client, instance_id)
    end(client, instance_id, volume_id, snapshot_id)
    only_its_memory_is_left(client)
    nothing_remains(mortal)
    died_of = deaths.read_text(encoding="ascii").splitlines()
    assert len(died_of) == len(set(died_of))
    # Of a commit that came only once, such as two reports in one, there is no other side.
    sides = [{name.partition(" ")[2] for name in died_of if name.startswith(side)} for side in ("before ", "after ")]
    both, sent = sides[0] & sides[1], [name for name in died_of if name.startswith("sent ")]
    assert [name for name in both if "insert:instances" in name and "insert:network_interfaces" in name]
    assert [name for name in sides[0] | sides[1] if "delete:network_interfaces" in name]
    assert (len(both) >= 15, len(sent) >= 8) == (True, True), died_of


def die_from_now_on(cloud: Cloud, deaths: Path) -> None:
    """Run the cloud's controller so that it dies of each step."""
    cloud.controller.stop()
    command = [sys.executable, "-m", "tests.support.mortal_controller", deaths, *cloud.controller.command[1:]]
    cloud.controller = replace(cloud.controller, command=command, log=cloud.folder / "mortal.log", process=None)
    cloud.start_controller()


def launch(client: Client) -> str:
    """Launch an instance with a further volume."""
    image = client.ask("describe_images")["Images"][0]
    client.ask(
        "run_instances",
        ImageId=image["ImageId"],
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        ClientToken="the-only-one",
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}],
    )
    client.wait(lambda: client.is_in("running"), "it runs")
    return str(client.instance()["InstanceId"])


def use_a_volume(client: Client, instance_id: str) -> str:
    """Make a volume and attach it."""
    zone = client.instance()["Placement"]["AvailabilityZone"]
    made = client.ask("create_volume", AvailabilityZone=zone, Size=1, ClientToken="another")
    volume_id = str(made["VolumeId"])

    def volume() -> dict[str, Any]:
        return dict(client.ask("describe_volumes", VolumeIds=[volume_id])["Volumes"][0])

    client.wait(lambda: volume()["State"] == "available", "the volume is there")
    client.ask(
        "attach_volume",
        lambda: bool(volume()["Attachments"]),
        VolumeId=volume_id,
        InstanceId=instance_id,
        Device="/dev/sdg",
    )
    client.wait(lambda: [each["State"] for each in volume()["Attachments"]] == ["attached"], "it is attached")
    return volume_id


def keep_a_copy(client: Client, volume_id: str) -> str:
    """Snapshot the volume, and take it from its instance."""

    def snapshots() -> list[dict[str, Any]]:
        return list(client.ask("describe_snapshots", OwnerIds=["self"])["Snapshots"])

    client.ask("create_snapshot", lambda: bool(snapshots()), VolumeId=volume_id)
    client.wait(lambda: [each["State"] for each in snapshots()] == ["completed"], "the one snapshot is complete")

    def volume() -> dict[str, Any]:
        return dict(client.ask("describe_volumes", VolumeIds=[volume_id])["Volumes"][0])

    client.ask("modify_volume", lambda: volume()["Size"] == 2, VolumeId=volume_id, Size=2)
    client.wait(lambda: volume()["Size"] == 2, "it has grown")

    def is_modified() -> bool:
        found = client.ask("describe_volumes_modifications", VolumeIds=[volume_id])["VolumesModifications"]
        return [each["ModificationState"] for each in found] == ["completed"]

    client.wait(is_modified, "its host has said so")

    def let_go() -> bool:
        return [each["State"] for each in volume()["Attachments"]] != ["attached"]

    client.ask("detach_volume", let_go, VolumeId=volume_id)
    client.wait(lambda: volume()["State"] == "available", "it is detached")
    return str(snapshots()[0]["SnapshotId"])


def be_reached(client: Client, instance_id: str) -> None:
    """Give the instance an Elastic IP address and a group of its own, and take both away."""

    def addresses() -> list[dict[str, Any]]:
        return list(client.ask("describe_addresses")["Addresses"])

    client.ask("allocate_address", lambda: bool(addresses()), Domain="vpc")
    [allocated] = addresses()
    client.ask("associate_address", AllocationId=allocated["AllocationId"], InstanceId=instance_id)
    [associated] = addresses()
    assert (associated["PublicIp"], associated["InstanceId"]) == (allocated["PublicIp"], instance_id)
    interface = client.instance()["NetworkInterfaces"][0]
    before = [group["GroupId"] for group in interface["Groups"]]

    def groups() -> list[dict[str, Any]]:
        named = [{"Name": "group-name", "Values": ["mine"]}]
        return list(client.ask("describe_security_groups", Filters=named)["SecurityGroups"])

    client.ask("create_security_group", lambda: bool(groups()), GroupName="mine", Description="x")
    [group] = groups()
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    client.ask(
        "authorize_security_group_ingress",
        lambda: bool(groups()[0]["IpPermissions"]),
        GroupId=group["GroupId"],
        IpPermissions=[ssh],
    )
    for ids in ([group["GroupId"]], before):
        client.ask("modify_network_interface_attribute", NetworkInterfaceId=interface["NetworkInterfaceId"], Groups=ids)
    client.ask("delete_security_group", lambda: not groups(), GroupId=group["GroupId"])
    client.ask(
        "disassociate_address",
        lambda: "AssociationId" not in addresses()[0],
        AssociationId=associated["AssociationId"],
    )
    client.ask("release_address", lambda: not addresses(), AllocationId=allocated["AllocationId"])


def keep_an_image(client: Client, instance_id: str) -> None:
    """Make an image of the instance, and delete it and its snapshots."""

    def images() -> list[dict[str, Any]]:
        return list(client.ask("describe_images", Owners=["self"])["Images"])

    client.ask("create_image", lambda: bool(images()), InstanceId=instance_id, Name="mine", NoReboot=True)
    client.wait(lambda: [each["State"] for each in images()] == ["available"], "the one image is available")
    [image] = images()
    client.ask("deregister_image", lambda: not images(), ImageId=image["ImageId"])
    for device in image["BlockDeviceMappings"]:
        delete_snapshot(client, device["Ebs"]["SnapshotId"])


def rest(client: Client, instance_id: str) -> None:
    """Stop and start the instance."""
    client.ask("stop_instances", InstanceIds=[instance_id])
    client.wait(lambda: client.is_in("stopped"), "it is stopped")
    client.ask("start_instances", InstanceIds=[instance_id])
    client.wait(lambda: client.is_in("running"), "it runs again")
    client.ask("reboot_instances", InstanceIds=[instance_id])


def end(client: Client, instance_id: str, volume_id: str, snapshot_id: str) -> None:
    """Let all of it go."""
    client.ask("terminate_instances", InstanceIds=[instance_id])
    client.wait(lambda: client.is_in("terminated"), "it is terminated")

    client.ask("delete_volume", lambda: gone(client, "describe_volumes", VolumeIds=[volume_id]), VolumeId=volume_id)
    delete_snapshot(client, snapshot_id)
    client.wait(lambda: not client.ask("describe_volumes")["Volumes"], "no volume is left")


def delete_snapshot(client: Client, snapshot_id: str) -> None:
    """Delete a snapshot."""
    client.ask(
        "delete_snapshot",
        lambda: gone(client, "describe_snapshots", SnapshotIds=[snapshot_id]),
        SnapshotId=snapshot_id,
    )


def gone(client: Client, name: str, **ids: Any) -> bool:
    """Tell whether an operation describes nothing of these ids."""
    try:
        return not next(iter(client.ask(name, **ids).values()))
    except client.ec2.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"]).endswith(".NotFound")


def only_its_memory_is_left(client: Client) -> None:
    """The API shows a terminated instance, and nothing else that was made."""
    assert client.is_in("terminated")
    for name in ("describe_volumes", "describe_network_interfaces", "describe_addresses"):
        found = client.ask(name)
        assert [value for key, value in found.items() if key != "ResponseMetadata" and value] == [], found
    assert client.ask("describe_snapshots", OwnerIds=["self"])["Snapshots"] == []
