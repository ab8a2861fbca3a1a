"""Network interfaces through boto3: made, addressed, attached, detached and deleted, and what is refused."""

import ipaddress
from typing import Any

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Host, HostResource, Instance, InterfaceAddress, NetworkInterface, Vpc, VpcHost
from stead_controller.desired import desired_state
from stead_controller.hosts import reports
from stead_proto.v1 import desired_pb2
from stead_proto.v1 import host_pb2 as pb
from tests.api.conftest import Api
from tests.support.rows import NOW

ABSENT_GROUP = "sg-00000000000000000"


def create(api: Api, **changes: Any) -> dict[str, Any]:
    params = {"SubnetId": api.world.one.subnet_ids[0]} | changes
    made: dict[str, Any] = api.ec2.create_network_interface(**params)["NetworkInterface"]
    return made


def shown(api: Api, interface_id: str) -> dict[str, Any]:
    (found,) = api.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface_id])["NetworkInterfaces"]
    return dict(found)


def addresses(interface: dict[str, Any]) -> list[str]:
    return [one["PrivateIpAddress"] for one in interface["PrivateIpAddresses"]]


def sent(api: Api, kind: int, resource_id: str) -> desired_pb2.Resource | None:
    """What the world's host is sent of a resource; None when nothing, or its removal."""

    def read(tx: Any) -> bytes | None:
        row = tx.session.get(HostResource, (api.world.host_id, kind, resource_id))
        return row.body if row is not None else None

    body = api.run(read)
    return desired_pb2.Resource.FromString(body) if body is not None else None


def report(api: Api, kind: int, resource_id: str, condition: int, revision: int = 1 << 40) -> None:
    """Let the world's host report that a resource is as it was sent at a revision, which is the last one."""
    status = pb.ResourceStatus(
        kind=desired_pb2.Kind.ValueType(kind),
        id=resource_id,
        revision=revision,
        condition=pb.Condition.ValueType(condition),
    )
    api.run(reports.apply_progress, [(api.world.host_id, [status])], NOW)


def test_an_interface_has_what_was_asked(api: Api) -> None:
    group = api.ec2.create_security_group(GroupName="web", Description="d", VpcId=api.world.one.vpc_id)["GroupId"]
    made = create(
        api,
        PrivateIpAddress="172.31.0.77",
        SecondaryPrivateIpAddressCount=2,
        Groups=[group],
        Description="spare",
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "Name", "Value": "spare"}]}],
    )
    assert (made["Status"], made["Description"], made["InterfaceType"]) == ("available", "spare", "interface")
    assert made["Groups"] == [{"GroupId": group, "GroupName": "web"}]
    assert made["TagSet"] == [{"Key": "Name", "Value": "spare"}]
    assert made["SourceDestCheck"] is True
    assert (made["RequesterId"], made["RequesterManaged"]) == (api.world.one.caller.user_id, False)
    assert made["PrivateIpAddress"] == "172.31.0.77"
    assert len(set(addresses(made))) == 3
    assert [one["Primary"] for one in made["PrivateIpAddresses"]] == [True, False, False]
    assert shown(api, made["NetworkInterfaceId"]) == made
    (found,) = api.ec2.describe_network_interfaces(
        Filters=[{"Name": "addresses.private-ip-address", "Values": [addresses(made)[2]]}]
    )["NetworkInterfaces"]
    assert found["NetworkInterfaceId"] == made["NetworkInterfaceId"]


def test_without_groups_it_is_in_the_default_group(api: Api) -> None:
    assert create(api)["Groups"] == [{"GroupId": api.world.one.group_id, "GroupName": "default"}]


def test_a_repeated_client_token_makes_nothing_more(api: Api) -> None:
    first = create(api, ClientToken="once")
    assert create(api, ClientToken="once")["NetworkInterfaceId"] == first["NetworkInterfaceId"]
    api.refused("IdempotentParameterMismatch", lambda: create(api, ClientToken="once", Description="other"))


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("InvalidParameterValue", {"PrivateIpAddress": "10.0.0.1"}),
        ("InvalidParameterValue", {"PrivateIpAddress": "172.31.0.3"}),
        ("InvalidParameterValue", {"PrivateIpAddress": "172.31.15.255"}),
        ("InvalidParameterValue", {"PrivateIpAddress": "nonsense"}),
        ("InvalidIPAddress.InUse", {"PrivateIpAddress": "172.31.0.4"}),
        (
            "InvalidIPAddress.InUse",
            {"PrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.4", "Primary": False}]},
        ),
        (
            "InvalidParameterCombination",
            {"PrivateIpAddresses": [{"PrivateIpAddress": "172.31.0.9"}], "SecondaryPrivateIpAddressCount": 1},
        ),
        ("PrivateIpAddressLimitExceeded", {"SecondaryPrivateIpAddressCount": 50}),
        ("InvalidGroup.NotFound", {"Groups": [ABSENT_GROUP]}),
        ("InvalidSubnetID.NotFound", {"SubnetId": "subnet-00000000000000000"}),
        ("InvalidParameterValue", {"Ipv6AddressCount": 1}),
        ("InvalidParameterValue", {"Description": "x" * 256}),
        ("UnsupportedOperation", {"InterfaceType": "efa"}),
        ("UnsupportedOperation", {"Ipv4PrefixCount": 1}),
    ],
)
def test_a_bad_request_is_refused_and_changes_no_row(api: Api, code: str, changes: dict[str, Any]) -> None:
    api.launch()
    api.refused(code, lambda: create(api, **changes))


def test_attach_and_detach_of_a_running_instance(api: Api) -> None:
    instance_id = api.launch()
    interface_id = create(api)["NetworkInterfaceId"]
    attachment_id = api.ec2.attach_network_interface(
        NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=1
    )["AttachmentId"]
    now = shown(api, interface_id)
    assert (now["Status"], now["Attachment"]["Status"]) == ("in-use", "attaching")
    assert now["Attachment"]["DeleteOnTermination"] is False
    machine = sent(api, desired_pb2.KIND_MACHINE, instance_id)
    assert machine is not None
    assert [one.device_index for one in machine.machine.interfaces] == [0, 1]
    assert sent(api, desired_pb2.KIND_INTERFACE, interface_id) is not None
    report(api, desired_pb2.KIND_MACHINE, instance_id, pb.CONDITION_READY)
    assert shown(api, interface_id)["Attachment"]["Status"] == "attached"
    (instance,) = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    assert [one["Attachment"]["DeviceIndex"] for one in instance["NetworkInterfaces"]] == [0, 1]

    api.refused("InvalidParameterValue", api.ec2.delete_network_interface, NetworkInterfaceId=interface_id)
    api.ec2.detach_network_interface(AttachmentId=attachment_id)
    assert shown(api, interface_id)["Attachment"]["Status"] == "detaching"
    machine = sent(api, desired_pb2.KIND_MACHINE, instance_id)
    assert machine is not None
    assert [one.device_index for one in machine.machine.interfaces] == [0]
    assert sent(api, desired_pb2.KIND_INTERFACE, interface_id) is None
    report(api, desired_pb2.KIND_INTERFACE, interface_id, pb.CONDITION_ABSENT, revision=0)
    assert shown(api, interface_id)["Attachment"]["Status"] == "detaching"  # that was an earlier word
    report(api, desired_pb2.KIND_INTERFACE, interface_id, pb.CONDITION_ABSENT)
    now = shown(api, interface_id)
    assert now["Status"] == "available"
    assert "Attachment" not in now
    api.ec2.delete_network_interface(NetworkInterfaceId=interface_id)
    api.refused(
        "InvalidNetworkInterfaceID.NotFound",
        api.ec2.describe_network_interfaces,
        NetworkInterfaceIds=[interface_id],
    )
    assert api.run(lambda tx: list(tx.session.scalars(select(InterfaceAddress.interface_id)))) == [
        api.run(lambda tx: tx.session.scalar(select(NetworkInterface.id)))
    ]


def test_force_does_not_wait_for_a_host_that_is_down(api: Api) -> None:
    """Of one that is up the interface might still be in use."""
    instance_id = api.launch()
    interface_id = create(api)["NetworkInterfaceId"]
    attached = {"NetworkInterfaceId": interface_id, "InstanceId": instance_id, "DeviceIndex": 1}
    detach = {"AttachmentId": api.ec2.attach_network_interface(**attached)["AttachmentId"]}
    for force in (False, True):
        api.ec2.detach_network_interface(**detach, Force=force)
        assert shown(api, interface_id)["Attachment"]["Status"] == "detaching"
    api.run(lambda tx: setattr(tx.session.get_one(Host, api.world.host_id), "state", "down"))
    api.ec2.detach_network_interface(**detach)
    assert shown(api, interface_id)["Attachment"]["Status"] == "detaching"
    api.ec2.detach_network_interface(**detach, Force=True)
    assert shown(api, interface_id)["Status"] == "available"


def test_what_cannot_be_attached_or_detached(api: Api) -> None:
    instance_id = api.launch()
    (primary,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    here = create(api)["NetworkInterfaceId"]
    elsewhere = create(api, SubnetId=api.world.one.subnet_ids[1])["NetworkInterfaceId"]
    many = create(api, SecondaryPrivateIpAddressCount=5)["NetworkInterfaceId"]

    def attach(interface_id: str, index: int) -> Any:
        return lambda: api.ec2.attach_network_interface(
            NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=index
        )

    api.refused("InvalidNetworkInterface.InUse", attach(primary["NetworkInterfaceId"], 1))
    api.refused("InvalidParameterValue", attach(here, 0))
    api.refused("InvalidParameterValue", attach(here, -1))
    for state in ("pending", "shutting-down"):
        api.run(lambda tx, state=state: setattr(tx.session.get_one(Instance, instance_id), "state", state))
        api.refused("IncorrectState", attach(here, 1))
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "running"))
    queues = {"NetworkInterfaceId": here, "InstanceId": instance_id, "DeviceIndex": 1, "EnaQueueCount": 2}
    api.refused("UnsupportedOperation", api.ec2.attach_network_interface, **queues)
    api.refused("InvalidParameterCombination", attach(elsewhere, 1))
    api.refused("PrivateIpAddressLimitExceeded", attach(many, 1))
    attach(here, 1)()
    third = create(api)["NetworkInterfaceId"]
    api.refused("AttachmentLimitExceeded", attach(third, 2))
    api.refused(
        "OperationNotPermitted",
        api.ec2.detach_network_interface,
        AttachmentId=primary["Attachment"]["AttachmentId"],
    )
    api.refused(
        "InvalidAttachmentID.NotFound",
        api.ec2.detach_network_interface,
        AttachmentId="eni-attach-00000000000000000",
    )


def test_secondary_addresses_are_assigned_moved_and_unassigned(api: Api) -> None:
    first, second = create(api)["NetworkInterfaceId"], create(api)["NetworkInterfaceId"]
    answer = api.ec2.assign_private_ip_addresses(NetworkInterfaceId=first, PrivateIpAddresses=["172.31.0.99"])
    assert answer["AssignedPrivateIpAddresses"] == [{"PrivateIpAddress": "172.31.0.99"}]
    taken = {"NetworkInterfaceId": second, "PrivateIpAddresses": ["172.31.0.99"]}
    api.refused("InvalidIPAddress.InUse", api.ec2.assign_private_ip_addresses, **taken)
    eip = api.ec2.allocate_address()["AllocationId"]
    api.ec2.associate_address(AllocationId=eip, NetworkInterfaceId=first, PrivateIpAddress="172.31.0.99")
    api.ec2.assign_private_ip_addresses(**taken, AllowReassignment=True)
    assert addresses(shown(api, first)) == [shown(api, first)["PrivateIpAddress"]]
    moved = shown(api, second)["PrivateIpAddresses"][1]
    assert (moved["PrivateIpAddress"], moved["Association"]["AllocationId"]) == ("172.31.0.99", eip)
    api.refused(
        "InvalidParameterValue",
        api.ec2.unassign_private_ip_addresses,
        NetworkInterfaceId=second,
        PrivateIpAddresses=[shown(api, second)["PrivateIpAddress"]],
    )
    api.ec2.unassign_private_ip_addresses(NetworkInterfaceId=second, PrivateIpAddresses=["172.31.0.99"])
    assert len(addresses(shown(api, second))) == 1
    (address,) = api.ec2.describe_addresses()["Addresses"]
    assert "AssociationId" not in address
    primary = shown(api, second)["PrivateIpAddress"]
    api.refused(
        "InvalidIPAddress.InUse",
        api.ec2.assign_private_ip_addresses,
        NetworkInterfaceId=first,
        PrivateIpAddresses=[primary],
        AllowReassignment=True,
    )
    for wrong in ({}, {"PrivateIpAddresses": ["172.31.0.98"], "SecondaryPrivateIpAddressCount": 1}):
        code = "InvalidParameterCombination" if wrong else "MissingParameter"
        api.refused(code, api.ec2.assign_private_ip_addresses, NetworkInterfaceId=first, **wrong)


def test_the_type_of_the_instance_limits_the_addresses(api: Api) -> None:
    api.launch()
    (primary,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    interface_id = primary["NetworkInterfaceId"]
    api.ec2.assign_private_ip_addresses(NetworkInterfaceId=interface_id, SecondaryPrivateIpAddressCount=1)
    resource = sent(api, desired_pb2.KIND_INTERFACE, interface_id)
    assert resource is not None
    assert list(resource.interface.secondary_addresses) == addresses(shown(api, interface_id))[1:]
    api.refused(
        "PrivateIpAddressLimitExceeded",
        api.ec2.assign_private_ip_addresses,
        NetworkInterfaceId=interface_id,
        SecondaryPrivateIpAddressCount=1,
    )


def test_attributes_are_changed_one_at_a_time(api: Api) -> None:
    api.launch()
    (primary,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    interface_id, attachment = primary["NetworkInterfaceId"], primary["Attachment"]["AttachmentId"]
    modify = api.ec2.modify_network_interface_attribute
    modify(NetworkInterfaceId=interface_id, Description={"Value": "eth0"})
    modify(NetworkInterfaceId=interface_id, SourceDestCheck={"Value": False})
    keep = {"AttachmentId": attachment, "DeleteOnTermination": False}
    modify(NetworkInterfaceId=interface_id, Attachment=keep)
    group = api.ec2.create_security_group(GroupName="web", Description="d", VpcId=api.world.one.vpc_id)["GroupId"]
    modify(NetworkInterfaceId=interface_id, Groups=[group])
    now = shown(api, interface_id)
    assert (now["Description"], now["SourceDestCheck"]) == ("eth0", False)
    assert now["Attachment"]["DeleteOnTermination"] is False
    assert [one["GroupId"] for one in now["Groups"]] == [group]
    resource = sent(api, desired_pb2.KIND_INTERFACE, interface_id)
    assert resource is not None
    assert (resource.interface.source_dest_check, list(resource.interface.security_group_ids)) == (False, [group])
    api.ec2.reset_network_interface_attribute(NetworkInterfaceId=interface_id, SourceDestCheck="true")
    assert shown(api, interface_id)["SourceDestCheck"] is True

    api.refused("InvalidParameterCombination", modify, NetworkInterfaceId=interface_id)
    api.refused(
        "InvalidParameterCombination",
        modify,
        NetworkInterfaceId=interface_id,
        Description={"Value": "x"},
        SourceDestCheck={"Value": True},
    )
    api.refused("InvalidGroup.NotFound", modify, NetworkInterfaceId=interface_id, Groups=[ABSENT_GROUP])
    wrong = {"AttachmentId": "eni-attach-00000000000000000", "DeleteOnTermination": True}
    api.refused("InvalidAttachmentID.NotFound", modify, NetworkInterfaceId=interface_id, Attachment=wrong)


def test_an_automatic_public_address_is_given_and_taken_live(api: Api) -> None:
    instance_id = api.launch()
    (primary,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    interface_id = primary["NetworkInterfaceId"]
    api.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface_id, AssociatePublicIpAddress=True)
    public = shown(api, interface_id)["Association"]["PublicIp"]
    (instance,) = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    assert instance["PublicIpAddress"] == public
    api.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface_id, AssociatePublicIpAddress=False)
    assert "Association" not in shown(api, interface_id)


def test_instances_are_found_by_the_addresses_of_their_interfaces(api: Api) -> None:
    api.launch(number=1)
    instance_id = api.launch(public_address="198.18.0.9")
    api.run(lambda tx: setattr(tx.session.get_one(Vpc, api.world.one.vpc_id), "dns_hostnames", True))
    (found,) = api.ec2.describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}]
    )["NetworkInterfaces"]
    interface_id = found["NetworkInterfaceId"]
    api.ec2.assign_private_ip_addresses(NetworkInterfaceId=interface_id, PrivateIpAddresses=["172.31.0.99"])
    eip = api.ec2.allocate_address()
    association = api.ec2.associate_address(
        AllocationId=eip["AllocationId"], NetworkInterfaceId=interface_id, PrivateIpAddress="172.31.0.99"
    )["AssociationId"]
    elastic_name = f"ec2-{eip['PublicIp'].replace('.', '-')}.compute-1.amazonaws.com"
    name = "ec2-198-18-0-9.compute-1.amazonaws.com"
    for filter_name, value, count in [
        ("dns-name", name, 1),
        ("dns-name", elastic_name, 0),
        ("network-interface.public-dns-name", name, 1),
        ("network-interface.addresses.private-ip-address", "172.31.0.99", 1),
        ("network-interface.addresses.primary", "false", 1),
        ("network-interface.addresses.primary", "true", 2),
        ("network-interface.addresses.association.public-dns-name", elastic_name, 1),
        ("network-interface.addresses.association.allocation-id", eip["AllocationId"], 1),
        ("network-interface.addresses.association.association-id", association, 1),
        ("network-interface.addresses.association.public-ip", eip["PublicIp"], 1),
        ("network-interface.addresses.association.ip-owner-id", api.world.one.caller.account_id, 1),
        ("network-interface.association.ip-owner-id", "amazon", 1),
        ("network-interface.association.allocation-id", eip["AllocationId"], 0),
        ("network-interface.association.public-ip", "198.18.0.9", 1),
        ("network-interface.ipv6-addresses.ipv6-address", "*", 0),
        ("ipv6-address", "*", 0),
    ]:
        answer = api.ec2.describe_instances(Filters=[{"Name": filter_name, "Values": [value]}])
        instances = [one["InstanceId"] for each in answer["Reservations"] for one in each["Instances"]]
        assert len(instances) == count, (filter_name, value)
        assert count != 1 or instances == [instance_id]


def test_a_type_with_too_few_interfaces_is_refused(api: Api) -> None:
    instance_id = api.launch(instance_type="t3.medium")
    for index in (1, 2):
        interface_id = create(api)["NetworkInterfaceId"]
        api.ec2.attach_network_interface(NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=index)
    api.run(lambda tx: setattr(tx.session.get_one(Instance, instance_id), "state", "stopped"))
    api.refused(
        "AttachmentLimitExceeded",
        api.ec2.modify_instance_attribute,
        InstanceId=instance_id,
        InstanceType={"Value": "t3.micro"},
    )


def test_listed_addresses_without_a_primary_one_are_secondary(api: Api) -> None:
    vpc_id = api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = api.ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.0.0/28")["Subnet"]["SubnetId"]
    asked = [f"10.0.0.{number}" for number in range(4, 14)]  # all but the last
    made = create(api, SubnetId=subnet, PrivateIpAddresses=[{"PrivateIpAddress": one} for one in asked])
    assert made["PrivateIpAddress"] == "10.0.0.14"
    assert sorted(addresses(made)) == sorted([*asked, "10.0.0.14"])
    api.refused("InvalidIPAddress.InUse", lambda: create(api, SubnetId=subnet, PrivateIpAddress="10.0.0.14"))


def test_private_names_are_those_of_a_vpc_with_host_names(api: Api) -> None:
    instance_id = api.launch()
    (interface,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    name = "ip-" + interface["PrivateIpAddress"].replace(".", "-") + ".ec2.internal"

    def found(member: str, describe: Any, filter_name: str) -> int:
        return len(describe(Filters=[{"Name": filter_name, "Values": [name]}])[member])

    for params in (True, False):
        api.ec2.modify_vpc_attribute(VpcId=api.world.one.vpc_id, EnableDnsHostnames={"Value": params})
        one = shown(api, interface["NetworkInterfaceId"])
        instance = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        expected = name if params else None
        assert one.get("PrivateDnsName") == one["PrivateIpAddresses"][0].get("PrivateDnsName") == expected
        assert instance["PrivateDnsName"] == (expected or "")
        (of_instance,) = instance["NetworkInterfaces"]
        assert of_instance.get("PrivateDnsName") == expected
        assert of_instance["PrivateIpAddresses"][0].get("PrivateDnsName") == expected
        describe, instances = api.ec2.describe_network_interfaces, api.ec2.describe_instances
        assert found("NetworkInterfaces", describe, "private-dns-name") == params
        for filter_name in (
            "private-dns-name",
            "network-interface.private-dns-name",
            "network-interface.addresses.private-dns-name",
        ):
            assert found("Reservations", instances, filter_name) == params, filter_name
        nameless = instances(Filters=[{"Name": "private-dns-name", "Values": [""]}])["Reservations"]
        assert [each["Instances"][0]["InstanceId"] for each in nameless] == ([] if params else [instance_id])


def test_who_asked_for_an_interface_is_shown_and_found(api: Api) -> None:
    iam = api.client(api.world.one, "iam")
    user = iam.create_user(UserName="ana")["User"]["UserId"]
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    iam.put_user_policy(UserName="ana", PolicyName="all", PolicyDocument=policy)
    key = iam.create_access_key(UserName="ana")["AccessKey"]
    ana = api.long_term(key["AccessKeyId"], key["SecretAccessKey"])
    subnet = api.world.one.subnet_ids[0]
    hers = ana.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    launched = ana.run_instances(ImageId=api.world.image_id, InstanceType="t3.nano", MinCount=1, MaxCount=1)
    with_instance = launched["Instances"][0]["NetworkInterfaces"][0]["NetworkInterfaceId"]
    create(api)
    old = create(api)["NetworkInterfaceId"]
    api.run(lambda tx: setattr(tx.session.get_one(NetworkInterface, old), "requester_id", None))  # of an old release
    assert {shown(api, one)["RequesterId"] for one in (hers, with_instance)} == {user}
    assert shown(api, old)["RequesterId"] == api.world.one.caller.account_id

    def found(value: str) -> int:
        filters = [{"Name": "requester-id", "Values": [value]}]
        return len(api.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"])

    assert (found(user), found(api.world.one.caller.account_id), found("amazon-aws")) == (2, 2, 0)


def test_an_interface_of_another_vpc_is_attached_and_detached(api: Api) -> None:
    """See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network-interface-attachments.html."""
    instance_id = api.launch()
    api.run(desired_state.refresh_instance, instance_id)
    vpc_id = api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        api.ec2.create_subnet(VpcId=vpc_id, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=zone)["Subnet"][
            "SubnetId"
        ]
        for number, zone in enumerate(("us-east-1a", "us-east-1b"))
    ]
    far = create(api, SubnetId=subnets[1])["NetworkInterfaceId"]
    attach = api.ec2.attach_network_interface
    api.refused("InvalidParameterCombination", attach, NetworkInterfaceId=far, InstanceId=instance_id, DeviceIndex=1)
    theirs = api.other.create_network_interface(SubnetId=api.world.other.subnet_ids[0])["NetworkInterface"]
    api.refused(
        "InvalidNetworkInterfaceID.NotFound",
        attach,
        NetworkInterfaceId=theirs["NetworkInterfaceId"],
        InstanceId=instance_id,
        DeviceIndex=1,
    )
    made = create(api, SubnetId=subnets[0])
    interface_id = made["NetworkInterfaceId"]
    assert sent_vpcs(api) == {api.world.one.vpc_id}
    attached = attach(NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=1)["AttachmentId"]
    assert sent_vpcs(api) == {api.world.one.vpc_id, vpc_id}
    wanted = sent(api, desired_pb2.KIND_INTERFACE, interface_id)
    assert wanted is not None
    assert (wanted.interface.vpc_id, wanted.interface.subnet_id) == (vpc_id, subnets[0])
    instance = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert instance["VpcId"] == api.world.one.vpc_id
    assert [one["VpcId"] for one in instance["NetworkInterfaces"]] == [api.world.one.vpc_id, vpc_id]
    assert "PrivateDnsName" not in instance["NetworkInterfaces"][1]  # its VPC gives no names
    group = [{"Name": "vpc-id", "Values": [vpc_id]}]
    (default,) = api.ec2.describe_security_groups(Filters=group)["SecurityGroups"]
    assert instance["NetworkInterfaces"][1]["Groups"] == [{"GroupId": default["GroupId"], "GroupName": "default"}]
    report(api, desired_pb2.KIND_MACHINE, instance_id, pb.CONDITION_READY)
    api.ec2.detach_network_interface(AttachmentId=attached)
    report(api, desired_pb2.KIND_INTERFACE, interface_id, pb.CONDITION_ABSENT)
    assert shown(api, interface_id)["Status"] == "available"
    assert sent_vpcs(api) == {api.world.one.vpc_id}


def sent_vpcs(api: Api) -> set[str]:
    """The VPCs that the world's host is sent."""
    query = select(VpcHost.vpc_id).where(VpcHost.host_id == api.world.host_id, VpcHost.gone_revision.is_(None))
    return set(api.run(lambda tx: tx.session.scalars(query).all()))


def test_addresses_are_shown_in_the_order_in_which_an_interface_got_them(api: Api) -> None:
    """Terraform's lists of addresses (`private_ip_list`, `ipv6_address_list`) are compared in their order."""
    instance_id = api.launch(instance_type="m5.2xlarge")
    made = create(
        api,
        PrivateIpAddress="172.31.0.90",
        PrivateIpAddresses=[{"PrivateIpAddress": f"172.31.0.{last}"} for last in (80, 100)],
    )
    interface_id = made["NetworkInterfaceId"]
    api.ec2.attach_network_interface(NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=1)
    other = create(api, PrivateIpAddresses=[{"PrivateIpAddress": "172.31.0.60"}])["NetworkInterfaceId"]
    assign = api.ec2.assign_private_ip_addresses
    assign(NetworkInterfaceId=interface_id, PrivateIpAddresses=["172.31.0.70"])
    assign(NetworkInterfaceId=interface_id, PrivateIpAddresses=["172.31.0.60"], AllowReassignment=True)
    api.ec2.unassign_private_ip_addresses(NetworkInterfaceId=interface_id, PrivateIpAddresses=["172.31.0.80"])
    assign(NetworkInterfaceId=interface_id, PrivateIpAddresses=["172.31.0.75"])
    expected = [f"172.31.0.{last}" for last in (90, 100, 70, 60, 75)]
    assert addresses(shown(api, interface_id)) == expected
    assert len(addresses(shown(api, other))) == 1
    instance = api.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert addresses(instance["NetworkInterfaces"][1]) == expected
    wanted = sent(api, desired_pb2.KIND_INTERFACE, interface_id)
    assert wanted is not None
    assert list(wanted.interface.secondary_addresses) == expected[1:]


def test_ipv6_addresses_are_shown_in_the_order_in_which_an_interface_got_them(api: Api) -> None:
    subnet_id, vpc_id = api.world.one.subnet_ids[0], api.world.one.vpc_id
    made = api.ec2.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)["Ipv6CidrBlockAssociation"]
    block = ipaddress.ip_network(made["Ipv6CidrBlock"][:-3] + "/64")
    api.ec2.associate_subnet_cidr_block(SubnetId=subnet_id, Ipv6CidrBlock=str(block))
    expected = [str(block[number]) for number in (99, 50, 70)]
    interface_id = create(api, Ipv6Addresses=[{"Ipv6Address": expected[0]}])["NetworkInterfaceId"]
    api.ec2.assign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6Addresses=expected[1:])
    found = shown(api, interface_id)
    assert [one["Ipv6Address"] for one in found["Ipv6Addresses"]] == expected
    assert found["Ipv6Address"] == expected[0]
