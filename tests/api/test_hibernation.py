"""Hibernation as a user sees it: what may hibernate, what a hibernated instance may not, and that it goes on."""

from typing import Any, Final

from stead_controller.db.tables import Image, Instance
from tests.api.conftest import Api
from tests.support.clients import FAST, Account

NOT_FOR_IT: Final = "UnsupportedHibernationConfiguration"
ON: Final = {"Configured": True}


def root(**ebs: Any) -> list[dict[str, Any]]:
    return [{"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True, "VolumeSize": 4, **ebs}}]


def asked(api: Api, **changes: Any) -> dict[str, Any]:
    launch = {"ImageId": api.world.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    return launch | {"HibernationOptions": ON, "BlockDeviceMappings": root()} | changes


def configured(api: Api, *values: str) -> set[str]:
    known = [{"Name": "hibernation-options.configured", "Values": list(values)}]
    found = api.ec2.describe_instances(Filters=known)["Reservations"]
    return {one["InstanceId"] for reservation in found for one in reservation["Instances"]}


def test_which_instances_may_hibernate(api: Api) -> None:
    [made] = api.ec2.run_instances(**asked(api))["Instances"]
    [other] = api.ec2.run_instances(**asked(api, HibernationOptions={"Configured": False}))["Instances"]
    assert (made["HibernationOptions"], other["HibernationOptions"]) == (ON, {"Configured": False})
    assert configured(api, "true") == {made["InstanceId"]}
    assert configured(api, "false") == {other["InstanceId"]}
    data = api.ec2.get_launch_template_data(InstanceId=made["InstanceId"])["LaunchTemplateData"]
    assert data["HibernationOptions"] == ON
    for changes in (
        {"BlockDeviceMappings": root(Encrypted=False)},
        {"InstanceType": "m5.large"},  # 8 GiB of memory do not fit into the root volume
        {"InstanceType": "m5.large", "BlockDeviceMappings": root(VolumeSize=8)},
        {"InstanceType": "m5d.large", "BlockDeviceMappings": root(VolumeSize=20)},
        {"InstanceType": "r5.8xlarge", "BlockDeviceMappings": root(VolumeSize=400)},
    ):
        api.refused(NOT_FOR_IT, api.ec2.run_instances, **asked(api, **changes))
    api.run(lambda tx: setattr(tx.session.get_one(Image, api.world.image_id), "boot_mode", "uefi"))
    api.refused(NOT_FOR_IT, api.ec2.run_instances, **asked(api))


def test_which_types_support_it(api: Api) -> None:
    names = ["t3.micro", "m5.large", "m5d.large", "r5.8xlarge", "r5.4xlarge"]
    shown = api.ec2.describe_instance_types(InstanceTypes=names)["InstanceTypes"]
    assert {one["InstanceType"] for one in shown if one["HibernationSupported"]} == {
        "t3.micro",
        "m5.large",
        "r5.4xlarge",
    }
    known = [{"Name": "hibernation-supported", "Values": ["false"]}]
    found = api.ec2.describe_instance_types(InstanceTypes=names, Filters=known)["InstanceTypes"]
    assert {one["InstanceType"] for one in found} == {"m5d.large", "r5.8xlarge"}


def test_which_instances_are_not_hibernated(api: Api) -> None:
    stop = api.ec2.stop_instances
    plain, pending, gone = (
        api.launch(),
        api.launch(state="pending", hibernation=True, number=1),
        api.launch(state="terminated", hibernation=True, number=2),
    )
    ready = api.launch(hibernation=True, number=3)
    api.refused(NOT_FOR_IT, stop, InstanceIds=[ready, plain], Hibernate=True)
    assert "not ready to hibernate" in api.refused("UnsupportedOperation", stop, InstanceIds=[pending], Hibernate=True)
    api.refused("IncorrectInstanceState", stop, InstanceIds=[gone], Hibernate=True)
    for flag in ("Force", "SkipOsShutdown"):
        api.refused("InvalidParameterCombination", stop, InstanceIds=[ready], Hibernate=True, **{flag: True})
    api.ec2.modify_instance_attribute(InstanceId=ready, DisableApiStop={"Value": True})
    api.refused("OperationNotPermitted", stop, InstanceIds=[ready], Hibernate=True)
    api.ec2.modify_instance_attribute(InstanceId=ready, DisableApiStop={"Value": False})
    [change] = stop(InstanceIds=[ready], Hibernate=True)["StoppingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    [change] = stop(InstanceIds=[ready], Hibernate=True)["StoppingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("stopping", "stopping")


def test_an_instance_that_got_a_type_which_cannot_is_not_hibernated(api: Api) -> None:
    changed = api.launch(state="stopped", hibernation=True)
    api.ec2.modify_instance_attribute(InstanceId=changed, InstanceType={"Value": "m5d.large"})
    api.run(lambda tx: setattr(tx.session.get_one(Instance, changed), "state", "running"))
    words = api.refused(NOT_FOR_IT, api.ec2.stop_instances, InstanceIds=[changed], Hibernate=True)
    assert words == "The instance type 'm5d.large' does not support hibernation."


def test_a_hibernated_instance_keeps_its_devices_and_its_type(api: Api) -> None:
    asleep = api.launch(state="stopped", hibernation=True, memory_saved=True)
    [instance] = api.ec2.describe_instances(InstanceIds=[asleep])["Reservations"][0]["Instances"]
    volume_id = instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    modify = api.ec2.modify_instance_attribute
    api.refused("IncorrectState", api.ec2.detach_volume, VolumeId=volume_id)
    api.refused("IncorrectState", modify, InstanceId=asleep, InstanceType={"Value": "m5.large"})
    cpus = {"InstanceId": asleep, "CoreCount": 1, "ThreadsPerCore": 1}
    api.refused("IncorrectState", api.ec2.modify_instance_cpu_options, **cpus)
    subnet_id = api.world.one.subnet_ids[0]
    made = api.ec2.create_network_interface(SubnetId=subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
    plugged = api.ec2.attach_network_interface(NetworkInterfaceId=made, InstanceId=asleep, DeviceIndex=1)
    api.refused("IncorrectState", api.ec2.detach_network_interface, AttachmentId=plugged["AttachmentId"])
    modify(InstanceId=asleep, UserData={"Value": b"x"})


def test_an_instance_hibernates_and_goes_on(account: Account, image_id: str) -> None:
    ec2 = account.ec2
    launch = {"ImageId": image_id, "InstanceType": "stead.tiny", "MinCount": 1, "MaxCount": 1}
    launch |= {"HibernationOptions": ON, "BlockDeviceMappings": [{**root()[0], "DeviceName": "/dev/xvda"}]}
    [image] = ec2.describe_images(ImageIds=[image_id])["Images"]
    launch["BlockDeviceMappings"][0]["DeviceName"] = image["RootDeviceName"]
    instance_id = ec2.run_instances(**launch)["Instances"][0]["InstanceId"]

    def wait(state: str) -> dict[str, Any]:
        ec2.get_waiter(f"instance_{state}").wait(InstanceIds=[instance_id], WaiterConfig=FAST)
        shown: dict[str, Any] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        return shown

    wait("running")
    for resumed in (1, 2):
        ec2.stop_instances(InstanceIds=[instance_id], Hibernate=True)
        assert wait("stopped")["StateReason"]["Code"] == "Client.UserInitiatedHibernate"
        ec2.start_instances(InstanceIds=[instance_id])
        assert "StateReason" not in wait("running")
        output = ec2.get_console_output(InstanceId=instance_id, Latest=True)["Output"]
        assert f"start {resumed + 1}, boot 1" in output
        assert output.count("resumed") == resumed
    ec2.stop_instances(InstanceIds=[instance_id])
    assert wait("stopped")["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    ec2.start_instances(InstanceIds=[instance_id])
    wait("running")
    assert ec2.get_console_output(InstanceId=instance_id, Latest=True)["Output"].count("resumed") == 2
    ec2.stop_instances(InstanceIds=[instance_id], Hibernate=True)
    ec2.terminate_instances(InstanceIds=[instance_id])
    wait("terminated")
