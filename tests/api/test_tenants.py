"""No operation shows a tenant anything of another's resources: each id is answered exactly like an absent one.

The matrix is made from the table of operations and botocore's model: every parameter that takes ids is tried with the
other tenant's id, an absent one and a deleted one's form; a new operation is covered when it is built.
"""

import itertools
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from botocore.model import ListShape, StructureShape

from stead_controller.aws import operations, unbuilt
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.protocol.codec import WireError
from stead_controller.aws.protocol.models import load_service
from stead_controller.catalog.nouns import OF_TYPE
from stead_controller.resources.policy_keys import resource_facts
from tests.api.conftest import serving
from tests.api.identity import trust
from tests.api.other_accounts import answer, answered_alike, read_of_other_accounts, statements
from tests.api.other_tasks import their_tasks
from tests.api.their_fleet import their_fleet
from tests.support import rows

operations.load()

# The resource type that a parameter's ids are of, by the parameter's name; None: it takes ids of any type.
ID_PARAMETERS = {
    "AllocationId": "elastic-ip",
    "AllocationIds": "elastic-ip",
    "AttachmentId": "network-interface-attachment",
    "AssociationId": "network-acl-association",
    "AssociationIds": "iam-instance-profile-association",
    "CapacityReservationId": "capacity-reservation",
    "CapacityReservationIds": "capacity-reservation",
    "HostId": "dedicated-host",
    "HostIds": "dedicated-host",
    "FleetId": "fleet",
    "FleetIds": "fleet",
    "SpotInstanceRequestIds": "spot-instances-request",
    "FlowLogIds": "vpc-flow-log",
    "DestinationPrefixListId": "prefix-list",
    "DhcpOptionsId": "dhcp-options",
    "DhcpOptionsIds": "dhcp-options",
    "EgressOnlyInternetGatewayId": "egress-only-internet-gateway",
    "EgressOnlyInternetGatewayIds": "egress-only-internet-gateway",
    "GatewayId": "internet-gateway",
    "GroupId": "security-group",
    "GroupIds": "security-group",
    "Groups": "security-group",
    "ImageId": "image",
    "ImageIds": "image",
    "ExportImageTaskIds": "export-image-task",
    "ImportTaskId": "import-image-task",
    "ImportTaskIds": "import-image-task",
    "SourceImageId": "image",
    "InstanceId": "instance",
    "InstanceIds": "instance",
    "InternetGatewayId": "internet-gateway",
    "InternetGatewayIds": "internet-gateway",
    "KeyName": "key-name",
    "KeyNames": "key-name",
    "KeyPairIds": "key-pair",
    "LaunchTemplateId": "launch-template",
    "LaunchTemplateIds": "launch-template",
    "LaunchTemplateName": "launch-template-name",
    "LaunchTemplateNames": "launch-template-name",
    "NatGatewayId": "natgateway",
    "NatGatewayIds": "natgateway",
    "NetworkAclId": "network-acl",
    "NetworkAclIds": "network-acl",
    "NetworkInsightsAnalysisId": "network-insights-analysis",
    "NetworkInsightsAnalysisIds": "network-insights-analysis",
    "NetworkInsightsPathId": "network-insights-path",
    "NetworkInsightsPathIds": "network-insights-path",
    "NetworkInterfaceId": "network-interface",
    "NetworkInterfaceIds": "network-interface",
    "PeerVpcId": "vpc",
    "PrefixListId": "prefix-list",
    "PrefixListIds": "prefix-list",
    "ReplaceRootVolumeTaskIds": "replace-root-volume-task",
    "InstanceEventId": "instance-event",
    "InstanceEventWindowId": "instance-event-window",
    "InstanceEventWindowIds": "instance-event-window",
    "ResourceIds": "vpc",
    "Resources": None,
    "RouteTableId": "route-table",
    "RouteTableIds": "route-table",
    "SecurityGroupIds": "security-group",
    "SecurityGroupRuleIds": "security-group-rule",
    "SnapshotId": "snapshot",
    "SnapshotIds": "snapshot",
    "SourceSnapshotId": "snapshot",
    "SubnetCidrReservationId": "subnet-cidr-reservation",
    "SubnetId": "subnet",
    "SubnetIds": "subnet",
    "VolumeId": "volume",
    "VolumeIds": "volume",
    "VpcId": "vpc",
    "VpcIds": "vpc",
    "AddRouteTableIds": "route-table",
    "AddSecurityGroupIds": "security-group",
    "AddSubnetIds": "subnet",
    "RemoveRouteTableIds": "route-table",
    "RemoveSecurityGroupIds": "security-group",
    "RemoveSubnetIds": "subnet",
    "VpcEndpointId": "vpc-endpoint",
    "VpcEndpointIds": "vpc-endpoint",
    "VpcPeeringConnectionId": "vpc-peering-connection",
    "VpcPeeringConnectionIds": "vpc-peering-connection",
}
# Where the operation decides what a parameter's ids are of.
ID_PARAMETERS_OF = {
    ("DescribeImportSnapshotTasks", "ImportTaskIds"): "import-snapshot-task",
    ("DescribePlacementGroups", "GroupIds"): "placement-group",
    ("ModifyInstancePlacement", "GroupId"): "placement-group",
    ("DisassociateAddress", "AssociationId"): "elastic-ip-association",
    ("DisassociateIamInstanceProfile", "AssociationId"): "iam-instance-profile-association",
    ("DisassociateRouteTable", "AssociationId"): "route-table-association",
    ("DisassociateSubnetCidrBlock", "AssociationId"): "subnet-cidr-association",
    ("DisassociateVpcCidrBlock", "AssociationId"): "vpc-cidr-association",
    ("ReplaceIamInstanceProfileAssociation", "AssociationId"): "iam-instance-profile-association",
    ("ReplaceRouteTableAssociation", "AssociationId"): "route-table-association",
}
# What is a name, not an id.
NAMES = ("key-name", "launch-template-name")
# Not ids of a tenant's resources, or of resources that nobody has yet.
NO_TENANTS_IDS = {
    "AvailabilityZoneId",
    "DestinationAvailabilityZoneId",
    "CarrierGatewayId",
    "AssetIds",  # of Outposts
    "Ipv4IpamPoolId",
    "Ipv6IpamPoolId",
    "LocalGatewayId",
    "QuoteId",
    "TransitGatewayId",
    "ConnectionNotificationId",
    "ConversionTaskIds",
    "ExclusionIds",
    "ExportTaskIds",  # of instances
    "NetworkInterfacePermissionIds",
    "PoolIds",  # of addresses of IPv6 that somebody brought
    "LinkedGroupId",  # refused whatever they are
    "ParentGroupId",
    "ServiceIds",
    "AssociatedSubnetIds",  # refused whatever they are
    "CustomerOwnedIpv4Pool",
    "IpamPoolId",
    "OwnerIds",  # accounts
    "PeerOwnerId",
    "KernelId",
    "KmsKeyId",
    "MetricCategoryIds",  # refused whatever they are
    "KeyPairId",  # of DeleteKeyPair, which succeeds for all
    "RamdiskId",
    "RestorableByUserIds",  # accounts
    "SecondaryAllocationIds",  # refused whatever they are
    "SourceSecurityGroupOwnerId",
    "UserIds",  # accounts
    "ZoneIds",
}
# Filters whose values are found by an index without an account after those that are not the caller's own are left out,
# which a plan does not tell.
BY_ANOTHER_INDEX = {("DescribeInstances", "group-id"), ("DescribeNetworkInterfaces", "group-id")}
# How the codes of what is absent end.
ABSENT_CODES = ("NotFound", "NotFoundException", "InvalidConversionTaskId", "InvalidPlacementGroup.Unknown")
# Operations that answer success to the absent, and so to another's.
SILENT = {
    ("DeleteKeyPair", "KeyName"),
    ("CreateKeyPair", "KeyName"),
    ("ImportKeyPair", "KeyName"),
    ("CreateLaunchTemplate", "LaunchTemplateName"),
    *((name, "HostIds") for name in ("ModifyHosts", "ReleaseHosts")),  # say so too: test_dedicated_hosts.py
    ("DeleteFleets", "FleetIds"),  # says of each why not, as test_fleets.py looks at
    ("DeleteVpcEndpoints", "VpcEndpointIds"),  # says of each why not, as test_vpc_endpoints.py looks at
}
# Refused as not supported, whatever the ids are.
REFUSED = {
    ("AssociateRouteTable", "GatewayId"),
    ("CreateNatGateway", "VpcId"),
    *((name, "VpcEndpointId") for name in ("CreateRoute", "ReplaceRoute")),  # of load balancers of gateways
}
S3 = "com.amazonaws.us-east-1.s3"
SAMPLES = {
    "InstanceCount": 1,
    "InstancePlatform": "Linux/UNIX",
    "Attribute": "description",
    "ImageId": None,
    "MaxCount": 1,
    "MinCount": 1,
    "PublicKeyMaterial": b"x",
    "Tags": [{"Key": "a", "Value": "b"}],
}
ATTRIBUTES = {
    "DescribeInstanceAttribute": "userData",
    "DescribeVolumeAttribute": "autoEnableIO",
    "DescribeVpcAttribute": "enableDnsSupport",
    "ResetImageAttribute": "launchPermission",
    "DescribeSnapshotAttribute": "createVolumePermission",
    "ModifySnapshotAttribute": "createVolumePermission",
    "ResetInstanceAttribute": "sourceDestCheck",
    "ResetSnapshotAttribute": "createVolumePermission",
}
NEEDED = {
    "ModifyInstanceCpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1},
    "CreateCapacityReservation": {"AvailabilityZone": "us-east-1a"},
    "ModifyInstanceCapacityReservationAttributes": {
        "CapacityReservationSpecification": {"CapacityReservationPreference": "none"}
    },
    "ModifyInstancePlacement": {"GroupName": ""},
    "AssociateIamInstanceProfile": {"IamInstanceProfile": {"Name": "own"}},
    "ReplaceIamInstanceProfileAssociation": {"IamInstanceProfile": {"Name": "own"}},
    "ExportImage": {"DiskImageFormat": "VHD", "S3ExportLocation": {"S3Bucket": "exchange"}},
    "CopyImage": {"SourceRegion": "us-east-1", "Name": "a copy"},
    "CreateImage": {"Name": "an image"},
    "EnableImageDeprecation": {"DeprecateAt": "2033-05-04T05:06:07Z"},
    "ModifyImageAttribute": {"Description": {"Value": "x"}},
    "AttachVolume": {"Device": "/dev/sdf"},
    "ModifyInstanceEventStartTime": {
        "InstanceEventId": "instance-event-00000000000000009",
        "NotBefore": datetime(2097, 1, 1, tzinfo=UTC),
    },
    "AssociateInstanceEventWindow": {"AssociationTarget": {"InstanceTags": [{"Key": "a", "Value": "b"}]}},
    "DisassociateInstanceEventWindow": {"AssociationTarget": {"InstanceTags": [{"Key": "a", "Value": "b"}]}},
    "CreateVolume": {"AvailabilityZone": "us-east-1a"},
    "ModifyVolume": {"Size": 9},
    "ModifyVolumeAttribute": {"AutoEnableIO": {"Value": True}},
    "CreateSecurityGroup": {"Description": "d", "GroupName": "n"},
    "ModifyInstanceAttribute": {"DisableApiStop": {"Value": True}},
    "ModifyPrivateDnsNameOptions": {"EnableResourceNameDnsARecord": True},
    "CreateVpcPeeringConnection": {"PeerVpcId": "vpc-00000000000000000"},
    "ModifyVpcPeeringConnectionOptions": {"RequesterPeeringConnectionOptions": {}},
    "CopySnapshot": {"SourceRegion": "us-east-1"},
    "RestoreSnapshotTier": {"PermanentRestore": True},
    "ModifySnapshotAttribute": {"CreateVolumePermission": {"Add": [{"Group": "all"}]}},
    "CreateFlowLogs": {"ResourceType": "VPC", "TrafficType": "ALL", "LogGroupName": "n"},
    "ModifySecurityGroupRules": {"SecurityGroupRules": []},
    "CreateLaunchTemplateVersion": {"LaunchTemplateData": {"InstanceType": "t3.nano"}},
    "DeleteLaunchTemplateVersions": {"Versions": ["1"]},
    "ModifyLaunchTemplate": {"DefaultVersion": "1"},
}
PERMISSION = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}


def id_parameters():
    """Every (operation, parameter) whose values name resources."""
    for service, name in sorted(OPERATIONS):
        if service != "ec2" or name in unbuilt.ABSENT:  # of which nobody has one
            continue
        shape = load_service("ec2").operation(name).input_shape
        for member, kind in shape.members.items():
            looks_like_ids = member.endswith(("Id", "Ids")) or member in ID_PARAMETERS
            scalars = kind.member if isinstance(kind, ListShape) else kind
            if looks_like_ids and not isinstance(scalars, StructureShape) and member not in NO_TENANTS_IDS:
                yield name, member


MATRIX = sorted(set(id_parameters()) - SILENT - REFUSED)


def test_every_parameter_of_ids_is_known():
    assert sorted({member for _, member in MATRIX} - set(ID_PARAMETERS)) == []


@pytest.fixture(scope="module")
def api(tmp_path_factory, api_database):
    """One endpoint for all: a refused call changes nothing, as each test checks."""
    with serving(tmp_path_factory.mktemp("tenants"), *api_database) as served:
        yield served


@pytest.fixture(scope="module")
def own(api):
    """What the caller has: an instance with its interface, an address, a role in an instance profile, parts of a VPC.

    They are asked for once: each request needs some of them.
    """
    api.ec2.allocate_address()
    role_in_profile(api, api.world.one, "own")
    instance_id = api.launch(number=1)
    attached = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
    (interface,) = api.ec2.describe_network_interfaces(Filters=attached)["NetworkInterfaces"]
    (table,) = api.ec2.describe_route_tables()["RouteTables"]
    (gateway,) = api.ec2.describe_internet_gateways()["InternetGateways"]
    return SimpleNamespace(
        instance_id=instance_id,
        interface_id=interface["NetworkInterfaceId"],
        table_id=table["RouteTableId"],
        association_id=table["Associations"][0]["RouteTableAssociationId"],
        gateway_id=gateway["InternetGatewayId"],
    )


@pytest.fixture(scope="module")
def theirs(api):
    """The other tenant's ids, by resource type."""
    instance_id = api.launch(api.world.other, metadata_tags=True)
    material = api.other.create_key_pair(KeyName="theirs", KeyType="ed25519")
    api.other.create_tags(Resources=[instance_id], Tags=[{"Key": "a", "Value": "b"}])

    def private_image(tx):
        image = rows.image(account_id=api.world.other.caller.account_id, public=False)
        tx.session.add(image)
        return image.id

    def snapshot(tx):
        row = rows.snapshot(api.world.other.caller.account_id)
        tx.session.add(row)
        return row.id

    (volume,) = api.other.describe_volumes()["Volumes"]

    (interface,) = api.other.describe_network_interfaces()["NetworkInterfaces"]
    allocation_id = api.other.allocate_address()["AllocationId"]
    association = api.other.associate_address(AllocationId=allocation_id, InstanceId=instance_id)
    rules = api.other.describe_security_group_rules()["SecurityGroupRules"]
    listed = api.other.create_managed_prefix_list(PrefixListName="n", AddressFamily="IPv4", MaxEntries=1)
    peering = api.other.create_vpc_peering_connection(VpcId=api.world.other.vpc_id, PeerVpcId=api.world.other.vpc_id)
    flow_logs = api.other.create_flow_logs(
        ResourceIds=[api.world.other.vpc_id], ResourceType="VPC", TrafficType="ALL", LogGroupName="n"
    )
    topology = their_topology(api)
    path = api.other.create_network_insights_path(
        Source=instance_id, DestinationIp="203.0.113.1", Protocol="tcp", ClientToken="p"
    )["NetworkInsightsPath"]["NetworkInsightsPathId"]
    analysis = api.other.start_network_insights_analysis(NetworkInsightsPathId=path, ClientToken="a")
    (acl,) = api.other.describe_network_acls()["NetworkAcls"]
    return {
        "iam-instance-profile-association": their_profile(api, instance_id),
        "elastic-ip": allocation_id,
        "elastic-ip-association": association["AssociationId"],
        "image": api.run(private_image),
        **their_tasks(api, instance_id),
        "instance": instance_id,
        **topology,
        "key-name": "theirs",
        "key-pair": material["KeyPairId"],
        "natgateway": their_gateway(api),
        "network-acl": acl["NetworkAclId"],
        "network-acl-association": acl["Associations"][0]["NetworkAclAssociationId"],
        "network-insights-analysis": analysis["NetworkInsightsAnalysis"]["NetworkInsightsAnalysisId"],
        "network-insights-path": path,
        "network-interface": interface["NetworkInterfaceId"],
        "network-interface-attachment": interface["Attachment"]["AttachmentId"],
        **their_fleet(api),
        "prefix-list": listed["PrefixList"]["PrefixListId"],
        "security-group": api.world.other.group_id,
        "security-group-rule": next(rule["SecurityGroupRuleId"] for rule in rules if not rule["IsEgress"]),
        "snapshot": api.run(snapshot),
        "subnet": api.world.other.subnet_ids[0],
        "volume": volume["VolumeId"],
        "vpc": api.world.other.vpc_id,
        "vpc-flow-log": flow_logs["FlowLogIds"][0],
        "vpc-peering-connection": peering["VpcPeeringConnection"]["VpcPeeringConnectionId"],
    }


def their_gateway(api):
    """A NAT gateway of the other tenant."""
    subnet = api.world.other.subnet_ids[0]
    return api.other.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")["NatGateway"]["NatGatewayId"]


def their_profile(api, instance_id):
    """The association of an instance of the other tenant with an instance profile."""
    role_in_profile(api, api.world.other, "theirs")
    made = api.other.associate_iam_instance_profile(InstanceId=instance_id, IamInstanceProfile={"Name": "theirs"})
    return made["IamInstanceProfileAssociation"]["AssociationId"]


def role_in_profile(api, tenant, name):
    """A role and an instance profile of the same name."""
    iam = api.client(tenant, "iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust())
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def their_topology(api):
    """What the other tenant's VPC consists of."""
    vpc_id, subnet_id = api.world.other.vpc_id, api.world.other.subnet_ids[0]
    ec2 = api.other
    options = ec2.create_dhcp_options(DhcpConfigurations=[{"Key": "domain-name", "Values": ["x.test"]}])
    (gateway,) = ec2.describe_internet_gateways()["InternetGateways"]
    (table,) = ec2.describe_route_tables()["RouteTables"]
    block = ec2.associate_vpc_cidr_block(VpcId=vpc_id, AmazonProvidedIpv6CidrBlock=True)["Ipv6CidrBlockAssociation"]
    prefix = block["Ipv6CidrBlock"].replace("/56", "/64")
    subnet_block = ec2.associate_subnet_cidr_block(SubnetId=subnet_id, Ipv6CidrBlock=prefix)
    reservation = ec2.create_subnet_cidr_reservation(SubnetId=subnet_id, Cidr=prefix, ReservationType="explicit")
    endpoint = ec2.create_vpc_endpoint(VpcId=vpc_id, ServiceName=S3)["VpcEndpoint"]
    egress_only = ec2.create_egress_only_internet_gateway(VpcId=vpc_id)["EgressOnlyInternetGateway"]
    return {
        "dhcp-options": options["DhcpOptions"]["DhcpOptionsId"],
        "egress-only-internet-gateway": egress_only["EgressOnlyInternetGatewayId"],
        "internet-gateway": gateway["InternetGatewayId"],
        "route-table": table["RouteTableId"],
        "route-table-association": table["Associations"][0]["RouteTableAssociationId"],
        "subnet-cidr-association": subnet_block["Ipv6CidrBlockAssociation"]["AssociationId"],
        "subnet-cidr-reservation": reservation["SubnetCidrReservation"]["SubnetCidrReservationId"],
        "vpc-cidr-association": block["AssociationId"],
        "vpc-endpoint": endpoint["VpcEndpointId"],
    }


def own_topology(api, operation, member, own):
    """What an operation on a VPC's parts needs of the caller's own beside the parameter in question."""
    table_id, gateway_id = own.table_id, own.gateway_id
    destination = {} if member == "DestinationPrefixListId" else {"DestinationCidrBlock": "10.0.0.0/8"}
    if member == "EgressOnlyInternetGatewayId":
        destination = {"DestinationIpv6CidrBlock": "::/0"}
    target = {} if member not in ("RouteTableId", "DestinationPrefixListId") else {"GatewayId": gateway_id}
    needed = {
        "AssociateDhcpOptions": {"VpcId": api.world.one.vpc_id, "DhcpOptionsId": "default"},
        "AssociateRouteTable": {"RouteTableId": table_id, "SubnetId": api.world.one.subnet_ids[0]},
        "AssociateSubnetCidrBlock": {"Ipv6CidrBlock": "fd00::/64"},
        "AssociateVpcCidrBlock": {"CidrBlock": "100.64.0.0/16"},
        "AttachInternetGateway": {
            "InternetGatewayId": gateway_id,
            "VpcId": api.world.one.vpc_id,
        },
        "CreateRoute": {"RouteTableId": table_id, **destination, **target},
        "CreateSubnet": {"CidrBlock": "10.0.0.0/24"},
        "CreateSubnetCidrReservation": {"Cidr": "172.31.0.16/28", "ReservationType": "prefix"},
        "DeleteRoute": {"RouteTableId": table_id, **destination},
        "ModifySubnetAttribute": {"MapPublicIpOnLaunch": {"Value": False}},
        "ModifyVpcAttribute": {"EnableDnsHostnames": {"Value": True}},
        "ModifyVpcTenancy": {"InstanceTenancy": "default"},
        "ReplaceRoute": {"RouteTableId": table_id, **destination, **target},
        "ReplaceRouteTableAssociation": {"RouteTableId": table_id, "AssociationId": own.association_id},
    }
    needed["DetachInternetGateway"] = needed["AttachInternetGateway"]
    return needed.get(operation, {})


def own_resources(api, operation, own):
    """What an operation needs of the caller's own beside the parameter in question."""
    interface_id, instance_id = own.interface_id, own.instance_id
    match operation:
        case "AssociateAddress":
            (address,) = api.ec2.describe_addresses()["Addresses"]
            return {"AllocationId": address["AllocationId"]}
        case "AttachNetworkInterface":
            return {"NetworkInterfaceId": interface_id, "InstanceId": instance_id, "DeviceIndex": 1}
        case "AttachVolume" | "DetachVolume":
            (volume,) = api.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [instance_id]}])[
                "Volumes"
            ]
            return {"VolumeId": volume["VolumeId"], "InstanceId": instance_id}
        case "AssignIpv6Addresses":
            return {"Ipv6AddressCount": 1}
        case "AssignPrivateIpAddresses":
            return {"SecondaryPrivateIpAddressCount": 1}
        case "CreateNatGateway":
            (address,) = api.ec2.describe_addresses()["Addresses"]
            return {"AllocationId": address["AllocationId"], "SubnetId": api.world.one.subnet_ids[0]}
        case "CreateReplaceRootVolumeTask" | "ModifyInstanceEventStartTime":
            return {"InstanceId": instance_id}
        case "CreateNetworkInterface":
            return {"SubnetId": api.world.one.subnet_ids[0]}
        case "ModifyNetworkInterfaceAttribute":
            return {"NetworkInterfaceId": interface_id}
        case "ResetNetworkInterfaceAttribute":
            return {"SourceDestCheck": "true"}
    return {}


def own_endpoint(api, operation, member):
    """What an operation on VPC endpoints needs: of the type that has the member."""
    params = {"VpcId": api.world.one.vpc_id, "ServiceName": S3}
    if "Subnet" in member or "SecurityGroup" in member:
        service = {"ServiceName": "com.amazonaws.us-east-1.ec2", "VpcEndpointType": "Interface"}
        params |= service | {"PrivateDnsEnabled": False}
    if operation == "CreateVpcEndpoint":
        return params
    return {"VpcEndpointId": api.ec2.create_vpc_endpoint(**params)["VpcEndpoint"]["VpcEndpointId"]}


def request(api, operation, member, value, own):
    """Good parameters of an operation, but for one."""
    shape = load_service("ec2").operation(operation).input_shape
    params = {name: SAMPLES.get(name) for name in shape.required_members}
    params |= NEEDED.get(operation, {})
    if operation in ATTRIBUTES:
        params["Attribute"] = ATTRIBUTES[operation]
    if operation == "RunInstances":
        params |= {"ImageId": api.world.image_id, "InstanceType": "stead.tiny"}
    if "SecurityGroupRules" not in operation and "SecurityGroup" in operation and "IpPermissions" in shape.members:
        params |= {"GroupId": api.world.one.group_id}
        if member != "SecurityGroupRuleIds":
            params["IpPermissions"] = [PERMISSION]
    if operation == "ModifyInstancePlacement" and member in ("GroupId", "HostId"):
        params = {"InstanceId": own.instance_id}
    if operation == "ModifyInstanceAttribute" and member != "InstanceId":
        params = {"InstanceId": own.instance_id}
    if operation == "ModifyNetworkInterfaceAttribute" and member == "NetworkInterfaceId":
        params["Description"] = {"Value": "x"}
    if operation == "CreateVpcPeeringConnection" and member == "PeerVpcId":
        params["VpcId"] = api.world.one.vpc_id
    if operation == "ReplaceNetworkAclAssociation" and member == "NetworkAclId":
        acls = api.ec2.describe_network_acls()["NetworkAcls"]
        params["AssociationId"] = acls[0]["Associations"][0]["NetworkAclAssociationId"]
    params |= own_resources(api, operation, own)
    if operation in ("CreateVpcEndpoint", "ModifyVpcEndpoint"):
        params |= own_endpoint(api, operation, member)
    params |= own_topology(api, operation, member, own)
    kind = shape.members[member]
    return params | {member: [value] if isinstance(kind, ListShape) else value}


@pytest.mark.parametrize(("operation", "member"), MATRIX)
def test_anothers_id_is_answered_like_an_absent_one(api, theirs, own, operation, member):
    resource_type = ID_PARAMETERS_OF.get((operation, member), ID_PARAMETERS[member])
    kinds = sorted(theirs) if resource_type is None else [resource_type]
    for kind in kinds:
        if kind not in theirs or (resource_type is None and kind in NAMES):
            continue
        absent = "nobody" if kind in NAMES else f"{OF_TYPE[kind].prefix}-0{'0' * 16}"
        wire = answered_alike(
            api,
            "ec2",
            operation,
            lambda value: request(api, operation, member, value, own),
            (theirs[kind], absent),
        )
        assert wire.code.endswith(ABSENT_CODES), (operation, member, wire)


def test_filters_find_nothing_of_others(api, theirs):
    describes = [name for service, name in OPERATIONS if service == "ec2" and name.startswith("Describe")]
    leaked, unknown = [], set()  # the second: filters that an operation has not, whatever their value
    for name, (kind, value) in itertools.product(sorted(describes), theirs.items()):
        shape = load_service("ec2").operation(name).input_shape
        if "Filters" not in shape.members or shape.required_members:
            continue
        for filter_name in (f"{kind}-id", "attachment.instance-id", "group-id", "vpc-id", "subnet-id", "key-name"):
            if (name, filter_name) in unknown:
                continue
            with statements(api) as ran:
                result = answer(api, "ec2", name, {"Filters": [{"Name": filter_name, "Values": [value]}]})
            if isinstance(result, WireError) and result.message == f"The filter '{filter_name}' is invalid":
                unknown.add((name, filter_name))
            steps = read_of_other_accounts(api, value, ran)
            leaked += [
                (name, filter_name, value, step) for step in steps if (name, filter_name) not in BY_ANOTHER_INDEX
            ]
            if isinstance(result, dict) and any(isinstance(found, list) and found for found in result.values()):
                leaked.append((name, filter_name, value))
    assert leaked == []


def test_policies_learn_nothing_of_others(api, theirs):
    """What conditions may ask about is looked up before an operation is: it reads no row of another's either."""
    for kind, value in theirs.items():
        keys = ["ec2:vpc", "ec2:instanceprofile", "aws:resourcetag/a"]

        def facts(tx, kind=kind, value=value, keys=keys):
            return resource_facts.of(tx, api.world.one.caller, api.world.cloud, kind, [value], keys=keys)

        with statements(api) as ran:
            assert api.run(facts) == {value: {}}
        assert read_of_other_accounts(api, value, ran) == []
