"""The cores and threads of instances through boto3: as their type has them, or fewer."""

import pytest

from stead_controller.db.tables import Host, HostResource, Instance
from stead_proto.v1 import desired_pb2 as desired


def launch(api, name, cores=None, threads=None, **changes):
    params = {"ImageId": api.world.image_id, "InstanceType": name, "MinCount": 1, "MaxCount": 1} | changes
    given = {"CoreCount": cores, "ThreadsPerCore": threads}
    options = {key: value for key, value in given.items() if value is not None}
    if options:
        params["CpuOptions"] = options
    return params


def options_of(api, instance_id):
    (reservation,) = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return tuple(reservation["Instances"][0]["CpuOptions"].values())


def wanted(api, instance_id):
    """The vCPUs and threads of each core that its host has to make."""
    key = (api.world.host_id, int(desired.KIND_MACHINE), instance_id)
    machine = desired.Resource.FromString(api.run(lambda tx: tx.session.get_one(HostResource, key).body)).machine
    return machine.vcpus, machine.threads_per_core


def stop(api, instance_id):
    def change(tx):
        tx.session.get_one(Instance, instance_id).state = "stopped"

    api.run(change)


@pytest.mark.parametrize(
    ("name", "asked", "shown", "made"),
    [
        ("m5.2xlarge", (None, None), (4, 2), (8, 2)),
        ("m5.2xlarge", (2, 2), (2, 2), (4, 2)),
        ("m5.2xlarge", (4, 1), (4, 1), (4, 1)),
        ("t2.medium", (None, None), (2, 1), (2, 1)),
        ("stead.tiny", (None, None), (1, 1), (1, 1)),
    ],
)
def test_an_instance_has_the_cores_and_threads_that_were_asked_for(api, name, asked, shown, made):
    (instance,) = api.ec2.run_instances(**launch(api, name, *asked))["Instances"]
    assert tuple(instance["CpuOptions"].values()) == shown
    assert options_of(api, instance["InstanceId"]) == shown
    assert wanted(api, instance["InstanceId"]) == made


def test_its_host_and_its_account_give_only_these_vcpus(api):
    def reserved(tx):
        return tx.session.get_one(Host, api.world.host_id).cpus_reserved

    before = api.run(reserved)
    api.ec2.run_instances(**launch(api, "m5.2xlarge", 2, 1))
    assert api.run(reserved) == before + 2


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ((3, 2), "InvalidParameterValue", "Value (3) for parameter coreCount is invalid"),
        ((1, 2), "InvalidParameterValue", "An instance of the type m5.2xlarge can have 2, 4."),
        ((0, 2), "InvalidParameterValue", "Value (0) for parameter coreCount is invalid"),
        ((2, 3), "InvalidParameterValue", "Value (3) for parameter threadsPerCore is invalid"),
        ((2, None), "MissingParameter", "you must specify both CoreCount and ThreadsPerCore"),
        ((None, 1), "MissingParameter", "you must specify both CoreCount and ThreadsPerCore"),
    ],
)
def test_what_a_type_does_not_allow_is_refused(api, asked, code, words):
    assert words in api.refused(code, api.ec2.run_instances, **launch(api, "m5.2xlarge", *asked))
    instance_id = api.ec2.run_instances(**launch(api, "m5.2xlarge"))["Instances"][0]["InstanceId"]
    stop(api, instance_id)
    given = {"CoreCount": asked[0], "ThreadsPerCore": asked[1]}
    given = {key: value for key, value in given.items() if value is not None}
    assert words in api.refused(code, api.ec2.modify_instance_cpu_options, InstanceId=instance_id, **given)
    assert options_of(api, instance_id) == (4, 2)


def test_a_stopped_instance_is_given_others(api):
    instance_id = api.ec2.run_instances(**launch(api, "m5.2xlarge"))["Instances"][0]["InstanceId"]
    change = {"InstanceId": instance_id, "CoreCount": 2, "ThreadsPerCore": 1}
    api.refused("IncorrectInstanceState", api.ec2.modify_instance_cpu_options, **change)
    stop(api, instance_id)
    shown = api.ec2.modify_instance_cpu_options(**change)
    assert (shown["InstanceId"], shown["CoreCount"], shown["ThreadsPerCore"]) == (instance_id, 2, 1)
    assert options_of(api, instance_id) == (2, 1)
    assert wanted(api, instance_id) == (2, 1)
    api.refused("MissingParameter", api.ec2.modify_instance_cpu_options, InstanceId=instance_id)


def test_another_type_has_its_own(api):
    instance_id = api.ec2.run_instances(**launch(api, "m5.2xlarge", 2, 1))["Instances"][0]["InstanceId"]
    stop(api, instance_id)
    api.ec2.modify_instance_attribute(InstanceId=instance_id, InstanceType={"Value": "m5.xlarge"})
    assert options_of(api, instance_id) == (2, 2)
    assert wanted(api, instance_id) == (4, 2)


def test_another_type_must_have_room_for_the_addresses(api):
    instance_id = api.ec2.run_instances(**launch(api, "m5.large"))["Instances"][0]["InstanceId"]
    (interface,) = api.ec2.describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}]
    )["NetworkInterfaces"]
    api.ec2.assign_private_ip_addresses(
        NetworkInterfaceId=interface["NetworkInterfaceId"], SecondaryPrivateIpAddressCount=2
    )
    stop(api, instance_id)
    modify = api.ec2.modify_instance_attribute
    api.refused("PrivateIpAddressLimitExceeded", modify, InstanceId=instance_id, InstanceType={"Value": "t3.micro"})
    modify(InstanceId=instance_id, InstanceType={"Value": "t3.small"})


def test_a_template_has_them_too(api):
    data = {"ImageId": api.world.image_id, "InstanceType": "m5.2xlarge"}
    made = api.ec2.create_launch_template(
        LaunchTemplateName="half", LaunchTemplateData=data | {"CpuOptions": {"CoreCount": 2, "ThreadsPerCore": 1}}
    )
    assert "Warning" not in made
    (instance,) = api.ec2.run_instances(LaunchTemplate={"LaunchTemplateName": "half"}, MinCount=1, MaxCount=1)[
        "Instances"
    ]
    assert wanted(api, instance["InstanceId"]) == (2, 1)
    data_of = api.ec2.get_launch_template_data(InstanceId=instance["InstanceId"])["LaunchTemplateData"]
    assert data_of["CpuOptions"] == {"CoreCount": 2, "ThreadsPerCore": 1}
    wrong = api.ec2.create_launch_template(
        LaunchTemplateName="wrong", LaunchTemplateData=data | {"CpuOptions": {"CoreCount": 3, "ThreadsPerCore": 1}}
    )
    assert [error["Code"] for error in wrong["Warning"]["Errors"]] == ["InvalidParameterValue"]
