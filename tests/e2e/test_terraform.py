"""Terraform's example on a whole cloud, over HTTPS: its guests are real, and the one that people reach answers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import outside_clients
from tests.support.clients import FAST
from tests.support.own_resources import own_resources
from tests.support.real_cloud import User
from tests.support.terraform import SECONDS, Terraform

# The boot of a guest that nobody asks anything costs as much as that of another: those behind have nothing to boot, nor has
# the one that stands by for the group.
OVERRIDE = """
resource "aws_instance" "front" {{
  cpu_core_count       = 1
  cpu_threads_per_core = 1
}}
resource "aws_instance" "back" {{
  ami = "{blank}"
}}
resource "aws_launch_template" "front" {{
  image_id = "{blank}"
}}
"""


@pytest.fixture
def blank(user: User) -> Iterator[str]:
    """An image of an empty disk."""
    ec2 = user.ec2
    zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    volume_id = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig=FAST)
    ec2.delete_volume(VolumeId=volume_id)
    image_id = ec2.register_image(
        Name="blank",
        RootDeviceName="/dev/sda1",
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}],
    )["ImageId"]
    yield image_id
    ec2.deregister_image(ImageId=image_id)
    ec2.delete_snapshot(SnapshotId=snapshot_id)


@pytest.mark.client("terraform")
@pytest.mark.timeout(SECONDS)
def test_a_site_of_real_guests(user: User, blank: str, tmp_path: Path) -> None:
    if why := outside_clients.why_missing("terraform"):
        pytest.skip(why)
    before = own_resources(user.account)
    terraform = Terraform(tmp_path, user.account, OVERRIDE.format(blank=blank))
    added, _, _ = terraform.apply()
    terraform.plan_is_empty()
    login = replace(user.login(terraform.outputs["machines"][0]), key_file=terraform.key)
    said = login.run("until test -s /var/tmp/word; do sleep 1; done; cat /var/tmp/word", 120)  # by its user data
    assert said.strip() == "front"
    assert terraform.destroy() == added
    assert own_resources(user.account) == before
