"""Interface endpoints through boto3: made, changed, shown, deleted; their interfaces, names and services."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stead_controller.catalog import ids
from stead_controller.db.tables import HostResource, VpcEndpointInterface
from stead_controller.desired.redraw import redraw
from stead_controller.hosts import reports
from stead_controller.resources.network import vpc_endpoint_access, vpc_endpoint_services
from stead_controller.resources.operators import host_records
from stead_controller.settings import Settings
from stead_controller.workflows.housekeeping import clean_up
from stead_proto.v1 import desired_pb2, host_pb2
from tests.api.conftest import Api
from tests.api.test_network_interfaces import report, sent, shown
from tests.api.topology import with_network
from tests.support import rows
from tests.support.clients import Account
from tests.support.rows import NOW
from tests.support.waiting import wait_for

EC2 = "com.amazonaws.us-east-1.ec2"
OWN_NAME = "ec2.us-east-1.amazonaws.com"
KIND = desired_pb2.KIND_ENDPOINT_INTERFACE


def create(api: Api, *subnets: int, **changes: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"VpcId": api.world.one.vpc_id, "ServiceName": EC2, "VpcEndpointType": "Interface"}
    if subnets:
        params["SubnetIds"] = [api.world.one.subnet_ids[number] for number in subnets]
    made: dict[str, Any] = api.ec2.create_vpc_endpoint(**params | changes)["VpcEndpoint"]
    return made


def refused(api: Api, code: str, *subnets: int, **changes: Any) -> str:
    params: dict[str, Any] = {"VpcId": api.world.one.vpc_id, "ServiceName": EC2, "VpcEndpointType": "Interface"}
    if subnets:
        params["SubnetIds"] = [api.world.one.subnet_ids[number] for number in subnets]
    return api.refused(code, api.ec2.create_vpc_endpoint, **params | changes)


def show(api: Api, endpoint_id: str) -> dict[str, Any]:
    (found,) = api.ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint_id])["VpcEndpoints"]
    return dict(found)


def here(api: Api) -> int:
    """The subnet of the zone that has a host."""
    zones = [one["AvailabilityZone"] for one in subnets_of(api)]
    return zones.index("us-east-1a")


def subnets_of(api: Api) -> list[dict[str, Any]]:
    found = api.ec2.describe_subnets(SubnetIds=api.world.one.subnet_ids)["Subnets"]
    return sorted(found, key=lambda one: api.world.one.subnet_ids.index(one["SubnetId"]))


def ready(api: Api, made: dict[str, Any]) -> None:
    for interface_id in made["NetworkInterfaceIds"]:
        report(api, KIND, interface_id, host_pb2.CONDITION_READY)


def sent_names(api: Api, endpoint_id: str) -> dict[str, tuple[list[str], bool]]:
    found = with_network(api, desired_pb2.KIND_VPC_ENDPOINT, endpoint_id).vpc_endpoint.interface_names
    return {one.name: (list(one.addresses), one.is_private) for one in found}


def test_an_endpoint_is_made_with_its_interface(api: Api) -> None:
    group = api.ec2.create_security_group(GroupName="api", Description="x")["GroupId"]
    tags = [{"ResourceType": "vpc-endpoint", "Tags": [{"Key": "Name", "Value": "api"}]}]
    made = create(api, here(api), SecurityGroupIds=[group], TagSpecifications=tags)
    endpoint_id, (interface_id,) = made["VpcEndpointId"], made["NetworkInterfaceIds"]
    own = made["DnsEntries"][0]["DnsName"]
    zonal = own.replace(".ec2.", "-us-east-1a.ec2.", 1)
    assert own.startswith(f"{endpoint_id}-")
    assert own.endswith(".ec2.us-east-1.vpce.amazonaws.com")
    assert made == {
        "VpcEndpointId": endpoint_id,
        "VpcEndpointType": "Interface",
        "VpcId": api.world.one.vpc_id,
        "ServiceName": EC2,
        "ServiceRegion": "us-east-1",
        "State": "pending",
        "PolicyDocument": made["PolicyDocument"],
        "RouteTableIds": [],
        "SubnetIds": [api.world.one.subnet_ids[here(api)]],
        "Groups": [{"GroupId": group, "GroupName": "api"}],
        "IpAddressType": "ipv4",
        "DnsOptions": {"DnsRecordIpType": "ipv4"},
        "PrivateDnsEnabled": True,
        "RequesterManaged": False,
        "NetworkInterfaceIds": [interface_id],
        "DnsEntries": [{"DnsName": own}, {"DnsName": zonal}, {"DnsName": OWN_NAME}],
        "CreationTimestamp": made["CreationTimestamp"],
        "Tags": [{"Key": "Name", "Value": "api"}],
        "OwnerId": api.world.one.caller.account_id,
    }
    interface = shown(api, interface_id)
    assert (interface["InterfaceType"], interface["Status"]) == ("vpc_endpoint", "in-use")
    assert (interface["RequesterManaged"], interface["RequesterId"]) == (True, "amazon-aws")
    assert interface["Description"] == f"VPC Endpoint Interface {endpoint_id}"
    assert interface["Groups"] == [{"GroupId": group, "GroupName": "api"}]
    assert interface["Attachment"]["InstanceOwnerId"] == "amazon-aws"
    on_host, plugged = sent(api, desired_pb2.KIND_INTERFACE, interface_id), sent(api, KIND, interface_id)
    assert on_host is not None
    assert plugged is not None
    assert (list(on_host.interface.security_group_ids), on_host.interface.unfiltered) == ([group], False)
    assert plugged.endpoint_interface.endpoint_id == endpoint_id


def test_it_is_available_with_its_names_when_its_host_says_so(api: Api) -> None:
    made = create(api, here(api))
    endpoint_id, (interface_id,) = made["VpcEndpointId"], made["NetworkInterfaceIds"]
    own, zonal, _ = (one["DnsName"] for one in made["DnsEntries"])
    address = shown(api, interface_id)["PrivateIpAddress"]
    assert sent_names(api, endpoint_id) == {}  # until somebody answers there

    ready(api, made)
    assert show(api, endpoint_id) == made | {"State": "available"}
    assert sent_names(api, endpoint_id) == {
        own: ([address], False),
        zonal: ([address], False),
        OWN_NAME: ([address], True),
    }
    sent_endpoint = with_network(api, desired_pb2.KIND_VPC_ENDPOINT, endpoint_id).vpc_endpoint
    assert (sent_endpoint.service, list(sent_endpoint.addresses), list(sent_endpoint.names)) == ("ec2", [], [])
    assert (list(sent_endpoint.ports), sent_endpoint.controller_port) == ([80, 443, 8773, 8774], 8777)


def test_its_end(api: Api) -> None:
    group = api.ec2.create_security_group(GroupName="api", Description="x")["GroupId"]
    tags = [{"ResourceType": "vpc-endpoint", "Tags": [{"Key": "Name", "Value": "api"}]}]
    made = create(api, here(api), SecurityGroupIds=[group], TagSpecifications=tags)
    endpoint_id, (interface_id,) = made["VpcEndpointId"], made["NetworkInterfaceIds"]
    ready(api, made)
    assert api.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])["Unsuccessful"] == []
    ended = show(api, endpoint_id)
    assert (ended["State"], ended["NetworkInterfaceIds"]) == ("deleting", [])
    ready(api, made)  # a late word of its host
    assert show(api, endpoint_id) == ended
    assert sent(api, KIND, interface_id) is None
    assert sent(api, desired_pb2.KIND_INTERFACE, interface_id) is None
    assert sent_names(api, endpoint_id) == {}
    assert api.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])["Unsuccessful"] == []
    change = {"VpcEndpointId": endpoint_id, "ResetPolicy": True}
    api.refused("IncorrectState", api.ec2.modify_vpc_endpoint, **change)
    api.refused("DependencyViolation", api.ec2.delete_security_group, GroupId=group)
    report(api, KIND, interface_id, host_pb2.CONDITION_ABSENT)
    api.refused("InvalidVpcEndpointId.NotFound", api.ec2.describe_vpc_endpoints, VpcEndpointIds=[endpoint_id])
    assert api.ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    assert api.ec2.describe_tags()["Tags"] == []
    api.ec2.delete_security_group(GroupId=group)


def test_its_interfaces_are_not_the_users(api: Api) -> None:
    made = create(api, here(api))
    ready(api, made)
    (interface_id,) = made["NetworkInterfaceIds"]
    interface = shown(api, interface_id)
    ec2 = api.ec2
    api.refused("InvalidParameterValue", ec2.delete_network_interface, NetworkInterfaceId=interface_id)
    attachment = interface["Attachment"]["AttachmentId"]
    message = api.refused("OperationNotPermitted", ec2.detach_network_interface, AttachmentId=attachment)
    assert message == "You are not allowed to manage 'ela-attach' attachments."
    change = {"NetworkInterfaceId": interface_id, "Groups": [api.world.one.group_id]}
    api.refused("OperationNotPermitted", ec2.modify_network_interface_attribute, **change)
    more = {"NetworkInterfaceId": interface_id, "SecondaryPrivateIpAddressCount": 1}
    api.refused("OperationNotPermitted", ec2.assign_private_ip_addresses, **more)
    six = {"NetworkInterfaceId": interface_id, "Ipv6AddressCount": 1}
    api.refused("OperationNotPermitted", ec2.assign_ipv6_addresses, **six)
    less = {"NetworkInterfaceId": interface_id, "PrivateIpAddresses": ["172.31.0.9"]}
    api.refused("OperationNotPermitted", ec2.unassign_private_ip_addresses, **less)
    allocation = ec2.allocate_address()["AllocationId"]
    params = {"NetworkInterfaceId": interface_id, "AllocationId": allocation}
    api.refused("OperationNotPermitted", ec2.associate_address, **params)
    found = ec2.describe_network_interfaces(
        Filters=[
            {"Name": "interface-type", "Values": ["vpc_endpoint"]},
            {"Name": "attachment.instance-owner-id", "Values": ["amazon-aws"]},
            {"Name": "requester-managed", "Values": ["true"]},
        ]
    )["NetworkInterfaces"]
    assert found == [interface]


def test_without_groups_it_is_in_the_default_group_and_without_subnets_nowhere(api: Api) -> None:
    made = create(api)
    assert [one["GroupName"] for one in made["Groups"]] == ["default"]
    assert (made["State"], made["NetworkInterfaceIds"], made["SubnetIds"]) == ("available", [], [])
    assert sent_names(api, made["VpcEndpointId"]) == {}
    api.ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])
    assert api.ec2.describe_vpc_endpoints()["VpcEndpoints"] == []


def test_an_address_may_be_asked_for(api: Api) -> None:
    subnet = api.world.one.subnet_ids[here(api)]
    block = subnets_of(api)[here(api)]["CidrBlock"]
    address = block.partition("/")[0].rpartition(".")[0] + ".77"
    made = create(api, SubnetConfigurations=[{"SubnetId": subnet, "Ipv4": address}])
    assert made["SubnetIds"] == [subnet]
    assert shown(api, made["NetworkInterfaceIds"][0])["PrivateIpAddress"] == address
    params = {"PrivateDnsEnabled": False, "SubnetConfigurations": [{"SubnetId": subnet, "Ipv4": address}]}
    refused(api, "InvalidIPAddress.InUse", **params)
    again = {"VpcEndpointId": made["VpcEndpointId"], "SubnetConfigurations": params["SubnetConfigurations"]}
    api.refused("UnsupportedOperation", api.ec2.modify_vpc_endpoint, **again)


def test_subnets_are_added_and_removed(api: Api) -> None:
    near = here(api)
    far = 1 - near
    first, second = api.world.one.subnet_ids[near], api.world.one.subnet_ids[far]
    made = create(api, near)
    endpoint_id = made["VpcEndpointId"]
    ready(api, made)
    modify = api.ec2.modify_vpc_endpoint
    modify(VpcEndpointId=endpoint_id, AddSubnetIds=[second, first])
    found = show(api, endpoint_id)
    assert (found["State"], sorted(found["SubnetIds"])) == ("pending", sorted([first, second]))
    assert len(found["DnsEntries"]) == 4
    assert len(sent_names(api, endpoint_id)[OWN_NAME][0]) == 1  # nobody answers at the new one yet
    modify(VpcEndpointId=endpoint_id, RemoveSubnetIds=[first])
    left = show(api, endpoint_id)
    assert left["SubnetIds"] == [second]
    (going,) = made["NetworkInterfaceIds"]
    assert shown(api, going)["Status"] == "in-use"  # its host has not said that it is gone
    report(api, KIND, going, host_pb2.CONDITION_ABSENT)
    api.refused("InvalidNetworkInterfaceID.NotFound", api.ec2.describe_network_interfaces, NetworkInterfaceIds=[going])
    message = api.refused("InvalidParameter", modify, VpcEndpointId=endpoint_id, RemoveSubnetIds=[first])
    assert first in message


def test_groups_are_added_and_removed(api: Api) -> None:
    made = create(api, here(api))
    endpoint_id, (interface_id,) = made["VpcEndpointId"], made["NetworkInterfaceIds"]
    default = made["Groups"][0]["GroupId"]
    group = api.ec2.create_security_group(GroupName="api", Description="x")["GroupId"]
    modify = api.ec2.modify_vpc_endpoint
    modify(VpcEndpointId=endpoint_id, AddSecurityGroupIds=[group], RemoveSecurityGroupIds=[default])
    assert [one["GroupId"] for one in show(api, endpoint_id)["Groups"]] == [group]
    on_host = sent(api, desired_pb2.KIND_INTERFACE, interface_id)
    assert on_host is not None
    assert list(on_host.interface.security_group_ids) == [group]
    mapping = with_network(api, desired_pb2.KIND_MAPPING, interface_id).mapping
    assert list(mapping.security_group_ids) == [group]
    last = {"VpcEndpointId": endpoint_id, "RemoveSecurityGroupIds": [group]}
    assert "at least one" in api.refused("InvalidParameter", modify, **last)
    absent = {"VpcEndpointId": endpoint_id, "RemoveSecurityGroupIds": [default]}
    assert default in api.refused("InvalidParameter", modify, **absent)
    nowhere = {"VpcEndpointId": endpoint_id, "AddSecurityGroupIds": ["sg-00000000000000000"]}
    api.refused("InvalidGroup.NotFound", modify, **nowhere)


def test_a_group_of_an_endpoint_without_subnets_is_in_use(api: Api) -> None:
    group = api.ec2.create_security_group(GroupName="api", Description="x")["GroupId"]
    create(api, SecurityGroupIds=[group])
    api.refused("DependencyViolation", api.ec2.delete_security_group, GroupId=group)


def test_private_dns_needs_names_in_the_vpc_and_one_endpoint_of_a_service(api: Api) -> None:
    vpc = api.world.one.vpc_id
    first = create(api, here(api))
    ready(api, first)
    message = refused(api, "InvalidParameter", here(api))
    assert message == (
        f"private-dns-enabled cannot be set because there is already a conflicting DNS domain for {OWN_NAME} "
        f"in the VPC {vpc}"
    )
    second = create(api, here(api), PrivateDnsEnabled=False)
    assert (second["PrivateDnsEnabled"], len(second["DnsEntries"])) == (False, 2)
    other = create(api, here(api), ServiceName="com.amazonaws.us-east-1.sts")
    assert other["DnsEntries"][-1] == {"DnsName": "sts.us-east-1.amazonaws.com"}
    modify = api.ec2.modify_vpc_endpoint
    params = {"VpcEndpointId": second["VpcEndpointId"], "PrivateDnsEnabled": True}
    api.refused("InvalidParameter", modify, **params)
    modify(VpcEndpointId=first["VpcEndpointId"], PrivateDnsEnabled=False)
    assert OWN_NAME not in sent_names(api, first["VpcEndpointId"])
    api.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": False})
    message = api.refused("InvalidParameter", modify, **params)
    assert message == (
        "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true "
        f"for {vpc}"
    )
    api.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    modify(**params)
    assert show(api, second["VpcEndpointId"])["PrivateDnsEnabled"]


def test_an_endpoint_that_is_being_deleted_leaves_its_name_to_the_next(api: Api) -> None:
    first = create(api, here(api))
    ready(api, first)
    api.ec2.delete_vpc_endpoints(VpcEndpointIds=[first["VpcEndpointId"]])
    assert create(api, here(api))["PrivateDnsEnabled"]


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("InvalidParameter", {"VpcEndpointType": "Gateway"}),
        ("InvalidServiceName", {"ServiceName": "com.amazonaws.us-east-1.iam"}),
        ("InvalidServiceName", {"ServiceName": "com.amazonaws.eu-west-1.sts"}),
        ("InvalidSubnetID.NotFound", {"SubnetIds": ["subnet-00000000000000000"]}),
        ("InvalidGroup.NotFound", {"SecurityGroupIds": ["sg-00000000000000000"]}),
        ("InvalidParameter", {"RouteTableIds": ["rtb-00000000000000000"]}),
        ("InvalidParameter", {"DnsOptions": {"PrivateDnsOnlyForInboundResolverEndpoint": True}}),
        ("UnsupportedOperation", {"IpAddressType": "ipv6"}),
        ("UnsupportedOperation", {"SubnetConfigurations": [{"SubnetId": "subnet-1", "Ipv6": "fd00::5"}]}),
        ("MissingParameter", {"SubnetConfigurations": [{"Ipv4": "10.0.0.5"}]}),
        ("InvalidPolicyDocument", {"PolicyDocument": "{"}),
    ],
)
def test_what_is_refused(api: Api, code: str, changes: dict[str, Any]) -> None:
    refused(api, code, **changes)


def test_there_is_one_subnet_of_a_zone_and_none_of_another_vpc(api: Api) -> None:
    made = create(api, here(api))
    where = {"AvailabilityZone": "us-east-1a"}
    more = api.ec2.create_subnet(VpcId=api.world.one.vpc_id, CidrBlock="172.31.128.0/24", **where)["Subnet"]["SubnetId"]
    params = {"VpcEndpointId": made["VpcEndpointId"], "AddSubnetIds": [more]}
    message = api.refused("DuplicateSubnetsInSameZone", api.ec2.modify_vpc_endpoint, **params)
    assert message == (
        f"Found another VPC endpoint subnet in the availability zone of {more}. VPC endpoint subnets should be in "
        "different availability zones supported by the VPC endpoint service."
    )
    vpc = api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    foreign = api.ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", **where)["Subnet"]["SubnetId"]
    both = {"PrivateDnsEnabled": False, "SubnetIds": [foreign]}
    assert "different networks" in refused(api, "InvalidParameter", **both)


def test_a_subnet_of_ipv6_only_is_refused(api: Api) -> None:
    vpc = api.ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("/56", "/64")
    subnet = api.ec2.create_subnet(VpcId=vpc["VpcId"], Ipv6CidrBlock=block, Ipv6Native=True)["Subnet"]["SubnetId"]
    params = {"VpcId": vpc["VpcId"], "SubnetIds": [subnet], "PrivateDnsEnabled": False}
    assert "IPv6 only" in refused(api, "InvalidParameter", **params)


def test_what_it_stands_on_is_in_use(api: Api) -> None:
    vpc = api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    where = {"VpcId": vpc, "CidrBlock": "10.0.0.0/24", "AvailabilityZone": "us-east-1a"}
    subnet = api.ec2.create_subnet(**where)["Subnet"]["SubnetId"]
    made = create(api, VpcId=vpc, SubnetIds=[subnet], PrivateDnsEnabled=False)
    ready(api, made)
    api.refused("DependencyViolation", api.ec2.delete_subnet, SubnetId=subnet)
    api.refused("DependencyViolation", api.ec2.delete_vpc, VpcId=vpc)
    api.ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])
    api.refused("DependencyViolation", api.ec2.delete_subnet, SubnetId=subnet)
    report(api, KIND, made["NetworkInterfaceIds"][0], host_pb2.CONDITION_ABSENT)
    api.ec2.delete_subnet(SubnetId=subnet)
    api.ec2.delete_vpc(VpcId=vpc)


def test_the_quota_is_of_one_vpc(api: Api) -> None:
    for _ in range(50):
        create(api, PrivateDnsEnabled=False)
    assert "50" in refused(api, "VpcEndpointLimitExceeded", PrivateDnsEnabled=False)
    vpc = api.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    create(api, VpcId=vpc, PrivateDnsEnabled=False)
    s3 = {"ServiceName": "com.amazonaws.us-east-1.s3", "VpcEndpointType": "Gateway"}
    assert create(api, **s3)["State"] == "available"  # gateway endpoints are counted apart


def test_services(api: Api) -> None:
    ask = api.ec2.describe_vpc_endpoint_services
    by_type = [{"Name": "service-type", "Values": ["Interface"]}]
    found = ask(Filters=by_type)
    codes = [name.rpartition(".")[2] for name in found["ServiceNames"]]
    assert codes == ["iam", "cloudtrail", "dlm", "ebs", "ec2", "s3", "servicequotas", "ssm", "sts"]
    (detail,) = [one for one in found["ServiceDetails"] if one["ServiceName"] == EC2]
    assert detail == {
        "ServiceName": EC2,
        "ServiceId": "vpce-svc-ec2",
        "ServiceType": [{"ServiceType": "Interface"}],
        "ServiceRegion": "us-east-1",
        "AvailabilityZoneIds": ["use1-az1", "use1-az2"],
        "AvailabilityZones": ["us-east-1a", "us-east-1b"],
        "Owner": "amazon",
        "BaseEndpointDnsNames": ["ec2.us-east-1.vpce.amazonaws.com"],
        "PrivateDnsName": OWN_NAME,
        "PrivateDnsNames": [{"PrivateDnsName": OWN_NAME}],
        "PrivateDnsNameVerificationState": "verified",
        "VpcEndpointPolicySupported": True,
        "AcceptanceRequired": False,
        "ManagesVpcEndpoints": False,
        "Tags": [],
        "SupportedIpAddressTypes": ["ipv4"],
    }


def test_a_zone_without_a_host_waits_for_one(api: Api) -> None:
    far = 1 - here(api)
    made = create(api, far)
    (interface_id,) = made["NetworkInterfaceIds"]
    assert api.run(lambda tx: tx.session.get_one(VpcEndpointInterface, interface_id).host_id) is None

    def add_host(tx: Any) -> str:
        other = rows.host(hostname="second", zone="us-east-1b")
        tx.session.add(other)
        return str(other.id)

    other = api.run(add_host)
    api.run(clean_up, Settings(Path("/nowhere")), NOW)
    key = (other, int(KIND), interface_id)
    assert api.run(lambda tx: tx.session.get_one(HostResource, key).body) is not None
    assert show(api, made["VpcEndpointId"])["State"] == "pending"
    api.ec2.delete_vpc_endpoints(VpcEndpointIds=[create(api, far, PrivateDnsEnabled=False)["VpcEndpointId"]])


def test_what_was_never_on_a_host_is_gone_at_once(api: Api) -> None:
    made = create(api, 1 - here(api))
    api.ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])
    assert api.ec2.describe_vpc_endpoints()["VpcEndpoints"] == []
    assert api.ec2.describe_network_interfaces()["NetworkInterfaces"] == []


def test_an_interface_moves_when_its_host_is_given_up(api: Api) -> None:
    made = create(api, here(api))
    going = create(api, here(api), PrivateDnsEnabled=False)
    ready(api, made)
    ready(api, going)
    api.ec2.delete_vpc_endpoints(VpcEndpointIds=[going["VpcEndpointId"]])

    def add_host(tx: Any) -> str:
        other = rows.host(hostname="second")
        tx.session.add(other)
        return str(other.id)

    other = api.run(add_host)
    api.run(host_records.remove_host, api.world.cloud, api.world.host_id, NOW, lost=False)
    (interface_id,) = made["NetworkInterfaceIds"]
    key = (other, int(KIND), interface_id)
    assert api.run(lambda tx: tx.session.get_one(HostResource, key).body) is not None
    (left,) = api.ec2.describe_vpc_endpoints()["VpcEndpoints"]  # what was being deleted is gone with the host
    assert left == made | {"State": "available"}  # as EC2 says it of one whose interface is being moved
    assert sent_names(api, made["VpcEndpointId"]) == {}


def test_what_a_host_fails_at_is_shown(api: Api) -> None:
    made = create(api, here(api))
    (interface_id,) = made["NetworkInterfaceIds"]
    status = host_pb2.ResourceStatus(kind=KIND, id=interface_id, condition=host_pb2.CONDITION_FAILED, error="no room")
    api.run(reports.apply_progress, [(api.world.host_id, [status])], NOW + timedelta(seconds=1))
    error = show(api, made["VpcEndpointId"])["LastError"]
    assert error == {"Code": "InternalError", "Message": f"The interface {interface_id} could not be created"}
    ready(api, made)
    assert "LastError" not in show(api, made["VpcEndpointId"])


def test_only_a_home_of_its_interfaces_brings_what_came_by_it(api: Api) -> None:
    made = create(api, here(api))
    admit = vpc_endpoint_access.admit
    via = api.run(admit, api.world.host_id, made["VpcEndpointId"])
    assert (via.endpoint_id, via.vpc_id, via.service) == (made["VpcEndpointId"], api.world.one.vpc_id, "ec2")
    nowhere = create(api, PrivateDnsEnabled=False)["VpcEndpointId"]
    assert api.run(admit, api.world.host_id, nowhere) is None
    assert api.run(admit, ids.new_id("host"), made["VpcEndpointId"]) is None


def test_a_new_version_of_the_messages_is_sent_again(api: Api) -> None:
    """What hosts were sent of it is lost here, and comes back; of what is being deleted nothing does."""
    made, going = create(api, here(api)), create(api, here(api), PrivateDnsEnabled=False)
    api.ec2.delete_vpc_endpoints(VpcEndpointIds=[going["VpcEndpointId"]])
    (remaining,), (gone,) = made["NetworkInterfaceIds"], going["NetworkInterfaceIds"]
    key = (api.world.host_id, int(KIND), remaining)

    def lose(tx: Any) -> None:
        tx.session.delete(tx.session.get_one(HostResource, key))

    api.run(lose)
    assert sent(api, KIND, remaining) is None
    asyncio.run(redraw(api.database))
    again = sent(api, KIND, remaining)
    assert again is not None
    assert again.endpoint_interface.endpoint_id == made["VpcEndpointId"]
    assert sent(api, KIND, gone) is None


def test_what_hosts_say_of_others_and_too_early_counts_for_nothing(api: Api) -> None:
    made = create(api, here(api))
    (interface_id,) = made["NetworkInterfaceIds"]
    report(api, KIND, interface_id, host_pb2.CONDITION_ABSENT)  # it is wanted
    assert show(api, made["VpcEndpointId"]) == made
    ready_at = host_pb2.ResourceStatus(kind=KIND, id=interface_id, revision=1 << 40, condition=host_pb2.CONDITION_READY)

    def add_host(tx: Any) -> str:
        other = rows.host(hostname="second")
        tx.session.add(other)
        return str(other.id)

    api.run(reports.apply_progress, [(api.run(add_host), [ready_at])], NOW)
    assert show(api, made["VpcEndpointId"])["State"] == "pending"


def test_names_in_the_certificate_of_the_apis() -> None:
    """Clients by HTTPS verify the service's own name, and those of endpoints."""
    found = vpc_endpoint_services.host_names("eu-west-1")
    for code in ("cloudtrail", "dlm", "ebs", "ec2", "servicequotas", "ssm", "sts"):
        assert {f"{code}.eu-west-1.amazonaws.com", f"*.{code}.eu-west-1.vpce.amazonaws.com"} <= set(found)
    assert {"s3.eu-west-1.amazonaws.com", "*.s3.eu-west-1.amazonaws.com"} <= set(found)


def test_a_repeated_client_token_makes_nothing_more(api: Api) -> None:
    first = create(api, here(api), ClientToken="once")
    assert create(api, here(api), ClientToken="once")["VpcEndpointId"] == first["VpcEndpointId"]
    assert len(api.ec2.describe_network_interfaces()["NetworkInterfaces"]) == 1


def test_the_command_line(account: Account) -> None:
    """With a simulated host, which says that it has the interface, and when it is gone."""
    (vpc,) = account.aws("ec2", "describe-vpcs")["Vpcs"]
    subnets = account.aws("ec2", "describe-subnets", "--filters", "Name=availability-zone,Values=us-east-1a")["Subnets"]
    place = ("--vpc-id", vpc["VpcId"], "--service-name", EC2, "--vpc-endpoint-type", "Interface")
    made = account.aws("ec2", "create-vpc-endpoint", *place, "--subnet-ids", subnets[0]["SubnetId"])["VpcEndpoint"]
    named = ("--vpc-endpoint-ids", made["VpcEndpointId"])
    ask: Any = account.ec2.describe_vpc_endpoints
    wait_for(lambda: ask()["VpcEndpoints"][0]["State"] == "available", "the endpoint is available")
    policy = json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}})
    change = ("--vpc-endpoint-id", made["VpcEndpointId"], "--policy-document", policy, "--no-private-dns-enabled")
    assert account.aws("ec2", "modify-vpc-endpoint", *change) == {"Return": True}
    (found,) = account.aws("ec2", "describe-vpc-endpoints", *named)["VpcEndpoints"]
    assert (found["PrivateDnsEnabled"], found["PolicyDocument"]) == (False, policy)
    assert account.aws("ec2", "delete-vpc-endpoints", *named) == {"Unsuccessful": []}
    wait_for(lambda: ask()["VpcEndpoints"] == [], "the endpoint is deleted")
    assert account.aws("ec2", "describe-network-interfaces")["NetworkInterfaces"] == []
