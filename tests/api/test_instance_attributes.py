"""Attributes of instances through boto3: shown, changed, sent to the host."""

import base64

import pytest
from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import HostResource, SecurityGroup, VpcResource
from stead_controller.desired import desired_state
from stead_controller.hosts import reports
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support.rows import NOW

ABSENT = "i-00000000000000000"
ATTRIBUTES = {
    "blockDeviceMapping": "BlockDeviceMappings",
    "disableApiStop": "DisableApiStop",
    "disableApiTermination": "DisableApiTermination",
    "ebsOptimized": "EbsOptimized",
    "enaSupport": "EnaSupport",
    "enclaveOptions": "EnclaveOptions",
    "groupSet": "Groups",
    "instanceInitiatedShutdownBehavior": "InstanceInitiatedShutdownBehavior",
    "instanceType": "InstanceType",
    "kernel": "KernelId",
    "productCodes": "ProductCodes",
    "ramdisk": "RamdiskId",
    "rootDeviceName": "RootDeviceName",
    "sourceDestCheck": "SourceDestCheck",
    "sriovNetSupport": "SriovNetSupport",
    "userData": "UserData",
}


@pytest.fixture
def instance_id(api):
    """A stopped instance which its host has been sent."""
    instance_id = api.launch(state="stopped", user_data=b"#!/bin/sh\n")
    api.run(desired_state.refresh_instance, instance_id)
    return instance_id


def attribute(api, instance_id, name):
    return api.ec2.describe_instance_attribute(InstanceId=instance_id, Attribute=name)[ATTRIBUTES[name]]


def sent(api, kind, resource_id):
    """What the host is sent of one resource."""
    table = VpcResource if kind == pb.KIND_MAPPING else HostResource
    query = select(table.body).where(table.resource_id == resource_id, table.kind == kind)
    (body,) = api.run(lambda tx: tx.session.scalars(query).all())
    return pb.Resource.FromString(body)


def sent_revision(api, instance_id):
    """The revision at which its host was last sent an instance's machine."""
    key = (api.world.host_id, pb.KIND_MACHINE, instance_id)
    return api.run(lambda tx: tx.session.get_one(HostResource, key).revision)


def report(api, instance_id, revision=None, condition=host_pb2.CONDITION_READY):
    """Have an instance's host say what became of its machine, as it was sent last or at an earlier revision."""
    if revision is None:
        revision = sent_revision(api, instance_id)
    said = host_pb2.ResourceStatus(kind=pb.KIND_MACHINE, id=instance_id, revision=revision, condition=condition)
    api.run(reports.apply_progress, [(api.world.host_id, [said])], NOW)


def add_group(api, tenant, name):
    group_id = ids.new_id("security-group")
    group = SecurityGroup(
        id=group_id,
        account_id=tenant.caller.account_id,
        vpc_id=tenant.vpc_id,
        name=name,
        description=name,
        created=NOW,
    )
    api.run(lambda tx: tx.session.add(group))
    return group_id


def test_every_attribute_is_shown(api, instance_id):
    shown = {
        name: api.ec2.describe_instance_attribute(InstanceId=instance_id, Attribute=name).get(member)
        for name, member in ATTRIBUTES.items()
    }
    assert base64.b64decode(shown["userData"]["Value"]) == b"#!/bin/sh\n"
    assert shown["instanceType"] == {"Value": "t3.micro"}
    assert shown["groupSet"] == [{"GroupId": api.world.one.group_id, "GroupName": "default"}]
    assert shown["sourceDestCheck"] == {"Value": True}
    assert shown["disableApiTermination"] == shown["disableApiStop"] == {"Value": False}
    assert shown["instanceInitiatedShutdownBehavior"] == {"Value": "stop"}
    assert shown["rootDeviceName"] == {"Value": "/dev/sda1"}
    assert shown["blockDeviceMapping"][0]["Ebs"]["DeleteOnTermination"] is True
    api.refused(
        "InvalidParameterValue", api.ec2.describe_instance_attribute, InstanceId=instance_id, Attribute="colour"
    )


def test_a_stopped_instance_gets_another_type(api, instance_id):
    api.ec2.modify_instance_attribute(InstanceId=instance_id, InstanceType={"Value": "m5.large"})
    assert attribute(api, instance_id, "instanceType") == {"Value": "m5.large"}
    machine = sent(api, pb.KIND_MACHINE, instance_id).machine
    assert (machine.vcpus, machine.memory) == (2, 8 << 30)
    api.ec2.modify_instance_attribute(InstanceId=instance_id, Attribute="instanceType", Value="stead.tiny")
    assert attribute(api, instance_id, "instanceType") == {"Value": "stead.tiny"}
    modify = api.ec2.modify_instance_attribute
    api.refused("InvalidInstanceAttributeValue", modify, InstanceId=instance_id, InstanceType={"Value": "m5.gigantic"})


def test_user_data_of_a_stopped_instance(api, instance_id):
    modify = api.ec2.modify_instance_attribute
    modify(InstanceId=instance_id, UserData={"Value": b"\x00binary\xff"})
    assert base64.b64decode(attribute(api, instance_id, "userData")["Value"]) == b"\x00binary\xff"
    assert sent(api, pb.KIND_MACHINE, instance_id).machine.metadata.user_data == b"\x00binary\xff"
    modify(InstanceId=instance_id, Attribute="userData", Value=base64.b64encode(b"text").decode())
    assert base64.b64decode(attribute(api, instance_id, "userData")["Value"]) == b"text"
    api.refused("InvalidParameterValue", modify, InstanceId=instance_id, Attribute="userData", Value="not base64!")
    api.refused("InvalidParameterValue", modify, InstanceId=instance_id, UserData={"Value": b"x" * 16385})
    modify(InstanceId=instance_id, UserData={"Value": b""})
    answer = api.ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
    assert answer["UserData"] == {}


def test_what_needs_a_stopped_instance_is_refused_for_a_running_one(api):
    running = api.launch()
    for change in (
        {"InstanceType": {"Value": "m5.large"}},
        {"UserData": {"Value": b"x"}},
        {"EbsOptimized": {"Value": True}},
    ):
        api.refused("IncorrectInstanceState", api.ec2.modify_instance_attribute, InstanceId=running, **change)


def test_protections_and_shutdown_behavior_of_a_running_instance(api):
    running = api.launch()
    modify = api.ec2.modify_instance_attribute
    modify(InstanceId=running, DisableApiTermination={"Value": True})
    modify(InstanceId=running, DisableApiStop={"Value": True})
    modify(InstanceId=running, Attribute="instanceInitiatedShutdownBehavior", Value="terminate")
    assert attribute(api, running, "disableApiTermination") == {"Value": True}
    assert attribute(api, running, "instanceInitiatedShutdownBehavior") == {"Value": "terminate"}
    api.refused("OperationNotPermitted", api.ec2.terminate_instances, InstanceIds=[running])
    api.refused("OperationNotPermitted", api.ec2.stop_instances, InstanceIds=[running])
    modify(InstanceId=running, Attribute="disableApiTermination", Value="False")
    assert attribute(api, running, "disableApiTermination") == {"Value": False}
    api.refused(
        "InvalidParameterValue", modify, InstanceId=running, InstanceInitiatedShutdownBehavior={"Value": "explode"}
    )
    api.refused("InvalidParameterValue", modify, InstanceId=running, Attribute="disableApiStop", Value="maybe")


def test_source_dest_check(api, instance_id):
    (interface,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    api.ec2.modify_instance_attribute(InstanceId=instance_id, SourceDestCheck={"Value": False})
    assert attribute(api, instance_id, "sourceDestCheck") == {"Value": False}
    with_network = sent(api, pb.KIND_INTERFACE, interface["NetworkInterfaceId"])
    assert with_network.interface.source_dest_check is False
    api.ec2.reset_instance_attribute(InstanceId=instance_id, Attribute="sourceDestCheck")
    assert attribute(api, instance_id, "sourceDestCheck") == {"Value": True}
    reset = api.ec2.reset_instance_attribute
    api.refused("UnsupportedOperation", reset, InstanceId=instance_id, Attribute="kernel")
    api.refused("InvalidParameterValue", reset, InstanceId=instance_id, Attribute="userData")


def test_security_groups_of_a_running_instance(api, instance_id):
    web = add_group(api, api.world.one, "web")
    modify = api.ec2.modify_instance_attribute
    modify(InstanceId=instance_id, Groups=[web, web])
    assert attribute(api, instance_id, "groupSet") == [{"GroupId": web, "GroupName": "web"}]
    (interface,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert sent(api, pb.KIND_INTERFACE, interface["NetworkInterfaceId"]).interface.security_group_ids == [web]
    assert sent(api, pb.KIND_MAPPING, interface["NetworkInterfaceId"]).mapping.security_group_ids == [web]
    many = [add_group(api, api.world.one, f"g{number}") for number in range(5)]
    modify(InstanceId=instance_id, Groups=many)
    api.refused("SecurityGroupsPerInterfaceLimitExceeded", modify, InstanceId=instance_id, Groups=[*many, web])
    api.refused("InvalidGroup.NotFound", modify, InstanceId=instance_id, Groups=[api.world.other.group_id])
    api.refused("InvalidGroup.NotFound", modify, InstanceId=instance_id, Groups=["sg-00000000000000000"])
    far = api.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    there = api.ec2.create_security_group(GroupName="there", Description="d", VpcId=far)["GroupId"]
    said = api.refused("InvalidGroup.NotFound", modify, InstanceId=instance_id, Groups=[there])
    assert "belong to different networks" in said
    said = api.refused(
        "InvalidParameter",
        api.ec2.run_instances,
        ImageId=api.world.image_id,
        MinCount=1,
        MaxCount=1,
        SecurityGroupIds=[web, there],
    )
    assert said.startswith(f"Security group {there} and subnet subnet-")
    api.refused("InvalidGroupId.Malformed", modify, InstanceId=instance_id, Groups=["default"])
    api.refused("MissingParameter", modify, InstanceId=instance_id, Attribute="groupSet")


def test_delete_on_termination(api, instance_id):
    modify = api.ec2.modify_instance_attribute
    keep = {"DeviceName": "/dev/sda1", "Ebs": {"DeleteOnTermination": False}}
    modify(InstanceId=instance_id, BlockDeviceMappings=[keep])
    (mapping,) = attribute(api, instance_id, "blockDeviceMapping")
    assert mapping["Ebs"]["DeleteOnTermination"] is False
    other = {"DeviceName": "/dev/sdx", "Ebs": {"DeleteOnTermination": True}}
    back = {**keep, "Ebs": {"DeleteOnTermination": True}}
    api.refused("InvalidInstanceAttributeValue", modify, InstanceId=instance_id, BlockDeviceMappings=[back, other])


def test_one_attribute_at_a_time(api, instance_id):
    modify = api.ec2.modify_instance_attribute
    api.refused("InvalidParameterCombination", modify, InstanceId=instance_id)
    both = {"DisableApiStop": {"Value": True}, "DisableApiTermination": {"Value": True}}
    api.refused("InvalidParameterCombination", modify, InstanceId=instance_id, **both)
    mixed = {"Attribute": "instanceType", "Value": "m5.large", "DisableApiStop": {"Value": True}}
    api.refused("InvalidParameterCombination", modify, InstanceId=instance_id, **mixed)
    api.refused("MissingParameter", modify, InstanceId=instance_id, Attribute="instanceType")
    api.refused("InvalidParameterValue", modify, InstanceId=instance_id, Attribute="colour", Value="red")
    api.refused("InvalidParameterValue", modify, InstanceId=instance_id, Attribute="colour")
    api.refused("UnsupportedOperation", modify, InstanceId=instance_id, Kernel={"Value": "aki-1"})


def test_ebs_optimized(api, instance_id):
    modify = api.ec2.modify_instance_attribute
    modify(InstanceId=instance_id, EbsOptimized={"Value": True})
    assert attribute(api, instance_id, "ebsOptimized") == {"Value": True}
    api.refused("Unsupported", modify, InstanceId=instance_id, InstanceType={"Value": "t2.micro"})
    modify(InstanceId=instance_id, EnaSupport={"Value": True})
    modify(InstanceId=instance_id, EbsOptimized={"Value": False})
    modify(InstanceId=instance_id, InstanceType={"Value": "t2.micro"})
    api.refused("Unsupported", modify, InstanceId=instance_id, EbsOptimized={"Value": True})


def test_instances_that_ended_or_are_not_ours(api, instance_id):
    ended = api.launch(number=1, state="terminated")
    change = {"DisableApiTermination": {"Value": True}}
    api.refused("IncorrectInstanceState", api.ec2.modify_instance_attribute, InstanceId=ended, **change)
    for call, params in [
        (api.other.modify_instance_attribute, change),
        (api.other.describe_instance_attribute, {"Attribute": "userData"}),
        (api.other.reset_instance_attribute, {"Attribute": "sourceDestCheck"}),
        (api.other.modify_instance_metadata_options, {"HttpTokens": "required"}),
    ]:
        of_theirs = api.refused("InvalidInstanceID.NotFound", call, InstanceId=instance_id, **params)
        of_nothing = api.refused("InvalidInstanceID.NotFound", call, InstanceId=ABSENT, **params)
        assert of_theirs.replace(instance_id, "X") == of_nothing.replace(ABSENT, "X")
        api.refused("InvalidInstanceID.Malformed", call, InstanceId="i-1", **params)


def test_metadata_options(api, instance_id):
    modify = api.ec2.modify_instance_metadata_options
    answer = modify(InstanceId=instance_id, HttpTokens="required", HttpPutResponseHopLimit=3)
    assert answer["InstanceMetadataOptions"]["HttpTokens"] == "required"
    (reservation,) = api.ec2.describe_instances()["Reservations"]
    assert reservation["Instances"][0]["MetadataOptions"] == {
        "State": "pending",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 3,
        "HttpEndpoint": "enabled",
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": "disabled",
    }
    options = sent(api, pb.KIND_MACHINE, instance_id).machine.metadata.options
    assert (options.tokens_required, options.hop_limit) == (True, 3)
    api.refused("InvalidParameterValue", modify, InstanceId=instance_id, HttpPutResponseHopLimit=65)
    api.refused("InvalidParameterValue", modify, InstanceId=instance_id, HttpEndpoint="perhaps")
    changed = modify(InstanceId=instance_id, HttpProtocolIpv6="enabled")["InstanceMetadataOptions"]
    assert changed["HttpProtocolIpv6"] == "enabled"
    by_option = [{"Name": "metadata-options.http-protocol-ipv6", "Values": ["enabled"]}]
    (found,) = api.ec2.describe_instances(Filters=by_option)["Reservations"][0]["Instances"]
    assert found["InstanceId"] == instance_id
    api.ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "with space", "Value": "1"}])
    modify(InstanceId=instance_id, HttpPutResponseHopLimit=4)
    assert not sent(api, pb.KIND_MACHINE, instance_id).machine.metadata.tags, "which the guest is not to be shown"
    api.refused("InvalidParameterValue", modify, InstanceId=instance_id, InstanceMetadataTags="enabled")
    api.ec2.delete_tags(Resources=[instance_id], Tags=[{"Key": "with space"}])
    modify(InstanceId=instance_id, InstanceMetadataTags="enabled")
    api.ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "Name", "Value": "web"}])
    assert dict(sent(api, pb.KIND_MACHINE, instance_id).machine.metadata.tags) == {"Name": "web"}


def test_metadata_options_are_applied_when_the_host_has_said_so(api, instance_id):
    def shown():
        [found] = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
        return found["MetadataOptions"]["State"]

    def found(state):
        asked = [{"Name": "metadata-options.state", "Values": [state]}]
        return [one["Instances"][0]["InstanceId"] for one in api.ec2.describe_instances(Filters=asked)["Reservations"]]

    modify = api.ec2.modify_instance_metadata_options
    assert (shown(), found("applied"), found("pending")) == ("applied", [instance_id], [])
    before = sent_revision(api, instance_id)
    answer = modify(InstanceId=instance_id, HttpTokens="required")
    assert answer["InstanceMetadataOptions"]["State"] == "pending"
    assert (shown(), found("applied"), found("pending")) == ("pending", [], [instance_id])
    report(api, instance_id, before)  # of what it was sent before
    report(api, instance_id, condition=host_pb2.CONDITION_FAILED)
    assert shown() == "pending"
    report(api, instance_id)
    assert (shown(), found("applied")) == ("applied", [instance_id])
    # Nothing that the host would have to do, or to answer.
    assert modify(InstanceId=instance_id, HttpTokens="required")["InstanceMetadataOptions"]["HttpTokens"] == "required"
    assert shown() == "applied"


def test_whether_it_is_recovered_is_changed_and_shown(api, instance_id):
    change = api.ec2.modify_instance_maintenance_options

    def shown():
        found = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        return found["MaintenanceOptions"]["AutoRecovery"]

    assert shown() == "default"
    done = change(InstanceId=instance_id, AutoRecovery="disabled")
    assert (done["InstanceId"], done["AutoRecovery"]) == (instance_id, "disabled")
    assert "RebootMigration" not in done
    assert shown() == "disabled"
    for value, ids_found in (("disabled", [instance_id]), ("default", [])):
        asked = [{"Name": "maintenance-options.auto-recovery", "Values": [value]}]
        found = api.ec2.describe_instances(Filters=asked)["Reservations"]
        assert [each["InstanceId"] for one in found for each in one["Instances"]] == ids_found
    assert change(InstanceId=instance_id, RebootMigration="default")["RebootMigration"] == "default"
    assert shown() == "disabled"
    assert change(InstanceId=instance_id, AutoRecovery="default")["AutoRecovery"] == "default"
    assert shown() == "default"
    api.refused("DryRunOperation", change, InstanceId=instance_id, AutoRecovery="disabled", DryRun=True)
    api.refused("InvalidParameterValue", change, InstanceId=instance_id, AutoRecovery="perhaps")
    both = {"AutoRecovery": "disabled", "RebootMigration": "disabled"}
    api.refused("UnsupportedOperation", change, InstanceId=instance_id, **both)
    api.refused("MissingParameter", change, InstanceId=instance_id)
    api.refused("InvalidInstanceID.NotFound", change, InstanceId=ABSENT, AutoRecovery="default")
    elsewhere = api.other.modify_instance_maintenance_options
    api.refused("InvalidInstanceID.NotFound", elsewhere, InstanceId=instance_id, AutoRecovery="disabled")


def test_what_is_meant_of_one_interface_is_refused_of_an_instance_with_several(api, instance_id):
    subnet = api.world.one.subnet_ids[0]
    spare = api.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    api.ec2.attach_network_interface(NetworkInterfaceId=spare, InstanceId=instance_id, DeviceIndex=1)
    expected = (
        f"There are multiple interfaces attached to instance '{instance_id}'. Please specify an interface ID for the "
        "operation instead."
    )
    for name in ("groupSet", "sourceDestCheck"):
        describe = api.ec2.describe_instance_attribute
        assert api.refused("InvalidInstanceID", describe, InstanceId=instance_id, Attribute=name) == expected
    modify = api.ec2.modify_instance_attribute
    for change in ({"Groups": ["nonsense"]}, {"SourceDestCheck": {"Value": False}}):
        assert api.refused("InvalidInstanceID", modify, InstanceId=instance_id, **change) == expected
