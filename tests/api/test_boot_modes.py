"""By which firmware images want to boot and instances do, through boto3."""

import pytest

from stead_controller.db.tables import Host, HostResource, Image, Instance
from stead_proto.v1 import desired_pb2 as pb


@pytest.fixture
def boots_by(api):
    """Let the world's image boot by a mode."""

    def change(mode):
        api.run(lambda tx: setattr(tx.session.get_one(Image, api.world.image_id), "boot_mode", mode))

    return change


def run(api):
    params = {"ImageId": api.world.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    return api.ec2.run_instances(**params)["Instances"][0]["InstanceId"]


def found(api, **filters):
    asked = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
    answer = api.ec2.describe_instances(Filters=asked)
    return [instance for one in answer["Reservations"] for instance in one["Instances"]]


@pytest.mark.parametrize(
    ("mode", "current"), [("legacy-bios", "legacy-bios"), ("uefi", "uefi"), ("uefi-preferred", "uefi")]
)
def test_an_instance_shows_what_its_image_says_and_its_host_learns_by_what_it_boots(api, boots_by, mode, current):
    boots_by(mode)
    instance_id = run(api)
    (instance,) = found(api)
    assert (instance["BootMode"], instance["CurrentInstanceBootMode"]) == (mode, current)
    body = api.run(lambda tx: tx.session.get_one(HostResource, (api.world.host_id, pb.KIND_MACHINE, instance_id)).body)
    assert pb.Resource.FromString(body).machine.boot_mode == current


def test_instances_are_found_by_both(api, boots_by):
    ids = {}
    for mode in ("legacy-bios", "uefi", "uefi-preferred"):
        boots_by(mode)
        ids[mode] = run(api)

    def by(**filters):
        return {instance["InstanceId"] for instance in found(api, **filters)}

    assert by(boot_mode="uefi") == {ids["uefi"]}
    assert by(boot_mode="uefi-preferred") == {ids["uefi-preferred"]}
    assert by(current_instance_boot_mode="uefi") == {ids["uefi"], ids["uefi-preferred"]}
    assert by(current_instance_boot_mode="legacy-bios") == {ids["legacy-bios"]}


@pytest.mark.parametrize("mode", ["uefi", "uefi-preferred"])
def test_where_no_host_has_the_firmware_a_launch_is_refused_and_says_why(api, boots_by, mode):
    boots_by(mode)
    api.run(lambda tx: setattr(tx.session.get_one(Host, api.world.host_id), "uefi", False))
    assert "UEFI" in api.refused("InsufficientInstanceCapacity", lambda: run(api))
    boots_by("legacy-bios")
    run(api)


def test_a_stopped_instance_needs_the_firmware_of_its_host_to_start(api, boots_by):
    boots_by("uefi")
    instance_id = run(api)

    def stop(tx):
        tx.session.get_one(Instance, instance_id).state = "stopped"
        tx.session.get_one(Host, api.world.host_id).uefi = False

    api.run(stop)
    start = {"InstanceIds": [instance_id]}
    assert "UEFI" in api.refused("InsufficientInstanceCapacity", api.ec2.start_instances, **start)
    api.run(lambda tx: setattr(tx.session.get_one(Host, api.world.host_id), "uefi", True))
    assert api.ec2.start_instances(**start)["StartingInstances"][0]["CurrentState"]["Name"] == "pending"


@pytest.mark.parametrize(
    ("mode", "override", "shown"),
    [("uefi-preferred", {}, "uefi-preferred"), ("legacy-bios", {"BootModeOverride": "uefi"}, "uefi")],
)
def test_an_image_of_an_instance_says_the_same_or_uefi_if_that_is_asked(api, mode, override, shown):
    instance_id = api.launch()
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "boot_mode", mode))
    image_id = api.ec2.create_image(InstanceId=instance_id, Name="mine", **override)["ImageId"]
    assert api.ec2.describe_images(ImageIds=[image_id])["Images"][0]["BootMode"] == shown


def test_an_image_of_an_instance_has_no_other_override(api):
    asked = {"InstanceId": api.launch(), "Name": "mine", "BootModeOverride": "legacy-bios"}
    api.refused("InvalidParameterValue", api.ec2.create_image, **asked)
