"""A cloud with one resource of each type in it, and for each operation a request about them that is good."""

import base64
import hashlib
import ipaddress
import json
from typing import Any, Final

from stead_controller.db.tables import IamMfaDevice, Instance
from tests.api import cloudwatch_requests, fleet_requests, instance_requests, scaling_requests, sns_requests
from tests.api.conftest import Api
from tests.api.cost_requests import COSTS, COSTS_BESIDE, COSTS_OF, add_costs, build_budgets
from tests.api.identity import trust
from tests.support import rows

Named = dict[str, Any]
POLICY: Final = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
BLOCK: Final = bytes(512 * 1024)
SSH_KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
PASSWORD: Final = "Pass-word-1234!"
_IMPORT: Final = {"Format": "RAW", "UserBucket": {"S3Bucket": "exchange", "S3Key": "disk"}}


def build(api: Api) -> Named:
    """Make one resource of each type for the first tenant; gives ids and names by what requests call them."""
    guests = _guests(api)
    return {
        "image": api.world.image_id,
        **guests,
        **_network(api, guests["instance"]),
        **_identity(api, guests["instance"]),
        **_policies(api),
    }


def _guests(api: Api) -> Named:
    ec2, account = api.ec2, api.world.one.caller.account_id
    instance = api.launch(number=1)
    stopped = api.launch(number=2, state="stopped")

    def add(tx: Any) -> Named:
        snapshot = rows.snapshot(account)
        image = rows.image(account_id=account, name="own", public=False)
        tx.session.add_all([snapshot, image])
        tx.session.flush()
        tx.session.add_all([rows.image_device(image), rows.image_snapshot(image)])
        tx.session.add(lent := rows.image(account_id=api.world.other.caller.account_id, name="lent", public=False))
        add_costs(tx, account)
        tx.session.flush()
        data = rows.volume(tx.session.get_one(Instance, instance), api.world, device_name="/dev/sdp")
        tx.session.add(data)
        named = {"snapshot": snapshot.id, "own_image": image.id, "lent_image": lent.id, "data_volume": data.id}
        return named | instance_requests.build(tx, tx.session.get_one(Instance, instance))

    named = api.run(add)
    api.other.modify_image_attribute(ImageId=named["lent_image"], LaunchPermission={"Add": [{"UserId": account}]})
    found = ec2.describe_volumes(Filters=[{"Name": "attachment.device", "Values": ["/dev/sda1"]}])["Volumes"]
    free = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, VolumeType="gp3")
    ec2.create_key_pair(KeyName="own", KeyType="ed25519")
    ec2.enable_serial_console_access()
    (key,) = ec2.describe_key_pairs()["KeyPairs"]
    return named | {
        **fleet_requests.build(api), **cloudwatch_requests.build(api), **scaling_requests.build(api), **sns_requests.build(api), **build_budgets(api),
        "instance": instance,
        "stopped": stopped,
        "root_of_stopped": next(one["VolumeId"] for one in found if one["Attachments"][0]["InstanceId"] == stopped),
        "bare_instance": api.launch(number=3),
        "volume": next(one["VolumeId"] for one in found if one["Attachments"][0]["InstanceId"] == instance),
        "free_volume": free["VolumeId"],
        "key_id": key["KeyPairId"],
        "import_image": ec2.import_image(DiskContainers=[_IMPORT])["ImportTaskId"],
        "import_snapshot": ec2.import_snapshot(DiskContainer=_IMPORT)["ImportTaskId"],
    }  # fmt: skip


def _network(api: Api, instance_id: str) -> Named:
    named = _addresses(api)
    return named | _ways(api, named) | _rules(api, named) | _spare(api, named, instance_id)


def _further(prefix: str, number: int) -> str:
    """Give the /64 that comes so many after one: its text has no zeroes to replace where a group is all zero."""
    first = ipaddress.IPv6Network(prefix)
    return str(ipaddress.IPv6Network((int(first.network_address) + (number << 64), 64)))


def _addresses(api: Api) -> Named:
    """Blocks, subnets, an interface and what it has."""
    ec2, vpc, subnet = api.ec2, api.world.one.vpc_id, api.world.one.subnet_ids[0]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    block = ec2.associate_vpc_cidr_block(VpcId=vpc, AmazonProvidedIpv6CidrBlock=True)["Ipv6CidrBlockAssociation"]
    spare = ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock="100.64.0.0/16")["CidrBlockAssociation"]
    prefix = block["Ipv6CidrBlock"].replace("/56", "/64")
    subnet_block = ec2.associate_subnet_cidr_block(SubnetId=subnet, Ipv6CidrBlock=prefix)["Ipv6CidrBlockAssociation"]
    group = ec2.create_security_group(GroupName="own", Description="d", VpcId=vpc)["GroupId"]
    interface = ec2.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]["NetworkInterfaceId"]
    added = ec2.assign_private_ip_addresses(NetworkInterfaceId=interface, SecondaryPrivateIpAddressCount=1)
    allocation = ec2.allocate_address()
    used = ec2.allocate_address()["AllocationId"]
    reserved = ec2.create_subnet_cidr_reservation(SubnetId=subnet, Cidr="172.31.15.0/28", ReservationType="explicit")
    return {
        "vpc": vpc,
        "empty_vpc": ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"],
        "subnet": subnet,
        "alone": ec2.create_subnet(VpcId=vpc, CidrBlock="100.64.0.0/24")["Subnet"]["SubnetId"],
        "group": group,
        "interface": interface,
        "secondary": added["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"],
        "ipv6": ec2.assign_ipv6_addresses(NetworkInterfaceId=interface, Ipv6AddressCount=1)["AssignedIpv6Addresses"][0],
        "allocation": allocation["AllocationId"],
        "address": allocation["PublicIp"],
        "association": ec2.associate_address(AllocationId=used, NetworkInterfaceId=interface)["AssociationId"],
        "reservation": reserved["SubnetCidrReservation"]["SubnetCidrReservationId"],
        "spare_block": spare["AssociationId"],
        "subnet_block": subnet_block["AssociationId"],
        "ipv6_prefix": prefix,
    }


def _ways(api: Api, named: Named) -> Named:
    """Gateways, route tables and peerings."""
    ec2, vpc, world = api.ec2, named["vpc"], api.world
    attached = ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])
    gateway = attached["InternetGateways"][0]["InternetGatewayId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="203.0.113.0/24", GatewayId=gateway)
    peering = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=named["empty_vpc"])["VpcPeeringConnection"]
    far = ec2.create_vpc_peering_connection(
        VpcId=vpc, PeerVpcId=world.other.vpc_id, PeerOwnerId=world.other.caller.account_id
    )["VpcPeeringConnection"]
    nat = ec2.create_nat_gateway(SubnetId=named["subnet"], ConnectivityType="private")["NatGateway"]
    egress_only = ec2.create_egress_only_internet_gateway(VpcId=vpc)["EgressOnlyInternetGateway"]
    path = ec2.create_network_insights_path(
        Source=named["interface"], DestinationIp="203.0.113.1", Protocol="tcp", ClientToken="p"
    )["NetworkInsightsPath"]["NetworkInsightsPathId"]
    analysis = ec2.start_network_insights_analysis(NetworkInsightsPathId=path, ClientToken="a")
    return {
        "free_gateway": ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"],
        "gateway": gateway,
        "table": table,
        "table_association": ec2.associate_route_table(RouteTableId=table, SubnetId=named["alone"])["AssociationId"],
        "unused_table": ec2.create_route_table(VpcId=named["empty_vpc"])["RouteTable"]["RouteTableId"],
        "peering": peering["VpcPeeringConnectionId"],
        "far_peering": far["VpcPeeringConnectionId"],
        "endpoint": ec2.create_vpc_endpoint(VpcId=named["empty_vpc"], ServiceName=_S3)["VpcEndpoint"]["VpcEndpointId"],
        "nat": nat["NatGatewayId"],
        "egress_only": egress_only["EgressOnlyInternetGatewayId"],
        "path": path,
        "analysis": analysis["NetworkInsightsAnalysis"]["NetworkInsightsAnalysisId"],
    }


def _rules(api: Api, named: Named) -> Named:
    """Rules of groups, ACLs, DHCP options, prefix lists and flow logs."""
    ec2, vpc, group = api.ec2, named["vpc"], named["group"]
    of_group = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "UserIdGroupPairs": [{"GroupId": group}]}
    rule = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[_THERE])["SecurityGroupRules"][0]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[of_group])
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[_THERE, of_group])
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    ec2.create_network_acl_entry(NetworkAclId=acl, **_ENTRY)
    of_subnet = [{"Name": "association.subnet-id", "Values": [named["subnet"]]}]
    associations = ec2.describe_network_acls(Filters=of_subnet)["NetworkAcls"][0]["Associations"]
    in_acl = next(one for one in associations if one["SubnetId"] == named["subnet"])
    options = ec2.create_dhcp_options(DhcpConfigurations=[{"Key": "domain-name", "Values": ["x.test"]}])
    listed = ec2.create_managed_prefix_list(
        PrefixListName="own", AddressFamily="IPv4", MaxEntries=2, Entries=[{"Cidr": "10.0.0.0/8"}]
    )
    flow_log = ec2.create_flow_logs(ResourceIds=[vpc], ResourceType="VPC", TrafficType="ALL", LogGroupName="n")
    return {
        "rule": rule["SecurityGroupRuleId"],
        "acl": acl,
        "acl_association": in_acl["NetworkAclAssociationId"],
        "options": options["DhcpOptions"]["DhcpOptionsId"],
        "list": listed["PrefixList"]["PrefixListId"],
        "flow_log": flow_log["FlowLogIds"][0],
    }


def _spare(api: Api, named: Named, instance_id: str) -> Named:
    """What nothing else uses, so that it can be attached, detached and deleted."""
    ec2, vpc, subnet, prefix = api.ec2, named["vpc"], named["subnet"], named["ipv6_prefix"]
    free = {
        "free_interface": ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"],
        "free_group": ec2.create_security_group(GroupName="free", Description="d", VpcId=vpc)["GroupId"],
        "free_subnet": ec2.create_subnet(VpcId=vpc, CidrBlock="100.64.1.0/24")["Subnet"]["SubnetId"],
        "free_ipv6": prefix.replace("::/64", "::99"),
        "free_prefix": _further(prefix, 1),
        "lone_vpc": ec2.create_vpc(CidrBlock="10.12.0.0/16", InstanceTenancy="dedicated")["Vpc"]["VpcId"],
        "gated_vpc": ec2.create_vpc(CidrBlock="10.13.0.0/16")["Vpc"]["VpcId"],
        "spare_gateway": ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"],
        "free_path": ec2.create_network_insights_path(
            Source=named["interface"], DestinationIp="203.0.113.9", Protocol="tcp", ClientToken="q"
        )["NetworkInsightsPath"]["NetworkInsightsPathId"],
        "empty_block": ec2.associate_vpc_cidr_block(VpcId=named["empty_vpc"], CidrBlock="10.20.0.0/16")[
            "CidrBlockAssociation"
        ]["AssociationId"],
    }
    ec2.attach_internet_gateway(InternetGatewayId=free["spare_gateway"], VpcId=free["gated_vpc"])
    far_prefix = _further(prefix, 2)
    far = ec2.associate_subnet_cidr_block(SubnetId=free["free_subnet"], Ipv6CidrBlock=far_prefix)
    peering = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=free["gated_vpc"])["VpcPeeringConnection"]
    active = peering["VpcPeeringConnectionId"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=active)
    second = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    attached = ec2.attach_network_interface(NetworkInterfaceId=second, InstanceId=instance_id, DeviceIndex=1)
    return free | {
        "active": active,
        "far_subnet_block": far["Ipv6CidrBlockAssociation"]["AssociationId"],
        "attachment": attached["AttachmentId"],
        "attached_interface": second,
    }


def _identity(api: Api, instance_id: str) -> Named:
    iam = api.client(api.world.one, "iam")
    user = iam.create_user(UserName="own")["User"]
    iam.create_user(UserName="bare")
    iam.create_group(GroupName="own")
    iam.create_group(GroupName="bare")
    iam.add_user_to_group(GroupName="own", UserName="own")
    iam.create_role(RoleName="own", AssumeRolePolicyDocument=trust({"AWS": user["Arn"]}))
    iam.create_role(RoleName="bare", AssumeRolePolicyDocument=trust())
    for name, role in (("own", "own"), ("bare", None), ("guest", "bare")):
        iam.create_instance_profile(InstanceProfileName=name)
        if role:
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    policy = iam.create_policy(PolicyName="own", PolicyDocument=POLICY)["Policy"]["Arn"]
    bare = iam.create_policy(PolicyName="bare", PolicyDocument=POLICY)["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=POLICY)
    kinds = {"user": "UserName", "group": "GroupName", "role": "RoleName"}
    for kind, name in kinds.items():
        getattr(iam, f"attach_{kind}_policy")(**{name: "own"}, PolicyArn=policy)
        getattr(iam, f"put_{kind}_policy")(**{name: "own"}, PolicyName="inline", PolicyDocument=POLICY)
    iam.create_login_profile(UserName="own", Password=PASSWORD)
    iam.put_user_permissions_boundary(UserName="own", PermissionsBoundary=policy)
    iam.put_role_permissions_boundary(RoleName="own", PermissionsBoundary=policy)
    iam.create_role(RoleName="free", AssumeRolePolicyDocument=trust())
    used = iam.create_virtual_mfa_device(VirtualMFADeviceName="used")["VirtualMFADevice"]["SerialNumber"]

    def enable(tx: Any) -> None:
        device = tx.session.query(IamMfaDevice).filter_by(name="used").one()
        device.user_id, device.enabled = user["UserId"], rows.NOW

    api.run(enable)
    iam.create_account_alias(AccountAlias="own-alias")
    iam.update_account_password_policy(MinimumPasswordLength=8)
    iam.generate_credential_report()
    associated = api.ec2.associate_iam_instance_profile(
        InstanceId=instance_id,
        IamInstanceProfile={"Name": "guest"},
    )["IamInstanceProfileAssociation"]
    url = "https://issuer.example.com/own"
    return {
        "policy": policy,
        "bare_policy": bare,
        "user_arn": user["Arn"],
        "key": iam.create_access_key(UserName="own")["AccessKey"]["AccessKeyId"],
        "mfa": iam.create_virtual_mfa_device(VirtualMFADeviceName="own")["VirtualMFADevice"]["SerialNumber"],
        "issuer": iam.create_open_id_connect_provider(Url=url, ClientIDList=["x", "y"])["OpenIDConnectProviderArn"],
        "used_mfa": used,
        "role_arn": iam.get_role(RoleName="own")["Role"]["Arn"],
        "profile_association": associated["AssociationId"],
        "with_profile": associated["InstanceId"],
    }


def _policies(api: Api) -> Named:
    account = api.world.one.caller.account_id
    dlm = api.client(api.world.one, "dlm").create_lifecycle_policy(
        ExecutionRoleArn=f"arn:aws:iam::{account}:role/r", Description="d", State="ENABLED", PolicyDetails=LIFECYCLE
    )["PolicyId"]
    quotas = api.client(api.world.one, "service-quotas")
    quota, other_quota = quotas.list_service_quotas(ServiceCode="ec2")["Quotas"][:2]
    asked = quotas.request_service_quota_increase(
        ServiceCode="ec2", QuotaCode=quota["QuotaCode"], DesiredValue=quota["Value"] + 1
    )["RequestedQuota"]["Id"]
    ebs = api.client(api.world.one, "ebs").start_snapshot(VolumeSize=1)["SnapshotId"]
    return {
        "lifecycle": dlm,
        "lifecycle_arn": f"arn:aws:dlm:us-east-1:{account}:policy/{dlm}",
        "quota": quota["QuotaCode"],
        "other_quota": other_quota["QuotaCode"],
        "quota_request": asked,
        "pending": ebs,
    }


_S3: Final = "com.amazonaws.us-east-1.s3"
_ROLE: Final = "arn:aws:iam::111111111111:role/own"
_OTHER: Final = "222222222222"
_PERMISSION: Final = {"IpProtocol": "tcp", "FromPort": 3, "ToPort": 3, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
_THERE: Final = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
_ENTRY: Final = {"RuleNumber": 7, "Protocol": "-1", "RuleAction": "allow", "Egress": False, "CidrBlock": "10.0.0.0/8"}
_PUBLIC_KEY: Final = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd2vC5lG0mGfY8k9h3bq6yM2C5kq0B8h0m6o8t4yq1x me"
LIFECYCLE: Final[Named] = {
    "PolicyType": "EBS_SNAPSHOT_MANAGEMENT",
    "ResourceTypes": ["VOLUME"],
    "TargetTags": [{"Key": "a", "Value": "b"}],
    "Schedules": [{"Name": "s", "CreateRule": {"Interval": 12, "IntervalUnit": "HOURS"}, "RetainRule": {"Count": 1}}],
}

# What a member's value is in every operation, by its last name, unless VALUES_OF says otherwise.
# A text in braces is what `build` gives under that name.
VALUES: Final[Named] = {
    **cloudwatch_requests.VALUES, **scaling_requests.VALUES, **sns_requests.VALUES,
    "AccessKeyId": "{key}", "AccountAlias": "own-alias", "ActionNames": ["ec2:RunInstances"], "AddressFamily": "IPv4",
    "AllocationId": "{allocation}", "AllocationIds": ["{allocation}"], "AssociationId": "{association}",
    "AssumeRolePolicyDocument": trust(), "AvailabilityZone": "us-east-1a", "AvailabilityZoneId": "use1-az1",
    "AttributeName": "supported-platforms", "Cidr": "10.0.0.0/8", "CidrIp": "10.1.0.0/16", "CidrIpv6": "2001:db8::/32",
    "CidrBlock": "10.2.0.0/16", "ClientID": "x", "DestinationCidrBlock": "203.0.113.0/24",
    "DhcpOptionsId": "{options}", "DhcpOptionsIds": ["{options}"], "EgressOnlyInternetGatewayId": "{egress_only}",
    "EgressOnlyInternetGatewayIds": ["{egress_only}"], "FlowLogIds": ["{flow_log}"], "GatewayId": "{gateway}",
    "GroupId": "{group}", "GroupIds": ["{group}"], "Groups": ["{group}"], "SecurityGroupIds": ["{group}"],
    "GroupNames": ["own"], "ImageId": "{own_image}", "ImageIds": ["{own_image}"], "InstanceId": "{instance}",
    "InstanceIds": ["{instance}"], "InternetGatewayId": "{gateway}", "InternetGatewayIds": ["{gateway}"],
    "IpProtocol": "tcp", "FromPort": 2, "ToPort": 2, "KeyName": "own", "KeyNames": ["own"], "KeyPairId": "{key_id}",
    "KeyPairIds": ["{key_id}"], "LaunchTemplateId": "{launch_template}", "LaunchTemplateIds": ["{launch_template}"],
    "LaunchTemplateName": "own", "LaunchTemplateNames": ["own"], "MaxEntries": 3, "NatGatewayId": "{nat}", "NatGatewayIds": ["{nat}"],
    "NetworkAclAssociationId": "{acl_association}",
    "NetworkAclId": "{acl}", "NetworkAclIds": ["{acl}"], "NetworkInsightsAnalysisId": "{analysis}",
    "NetworkInsightsAnalysisIds": ["{analysis}"], "NetworkInsightsPathId": "{path}", "NetworkInsightsPathIds": ["{path}"],
    "NetworkInterfaceId": "{interface}", "NetworkInterfaceIds": ["{interface}"], "OpenIDConnectProviderArn": "{issuer}",
    "OwnerIds": ["self"], "Owners": ["self"], "Password": PASSWORD, "PeerVpcId": "{empty_vpc}",
    "PermissionsBoundary": "{policy}", "PolicyArn": "{policy}", "PolicyDocument": POLICY, "PolicyId": "{lifecycle}",
    "PolicyInputList": [POLICY], "PolicyName": "inline", "PolicySourceArn": "{user_arn}", "PrefixListId": "{list}",
    "PrefixListIds": ["{list}"], "Path": "/own/", "PathPrefix": "/", "QuotaCode": "{quota}", "ServiceCode": "ec2",
    "RequestId": "{quota_request}",
    "RegionNames": ["us-east-1"], "ResourceArn": "{lifecycle_arn}", "ResourceIds": ["{vpc}"], "Resources": ["{vpc}"],
    "RoleArn": "{role_arn}", "RoleSessionName": "own", "RouteTableId": "{table}", "RouteTableIds": ["{table}"],
    "SecurityGroupRuleId": "{rule}", "SecurityGroupRuleIds": ["{rule}"], "SerialNumber": "{mfa}",
    "SnapshotId": "{snapshot}", "SnapshotIds": ["{snapshot}"], "SourceRegion": "us-east-1",
    "SourceSnapshotId": "{snapshot}", "SourceImageId": "{own_image}", "Status": "Active",
    "SubnetCidrReservationId": "{reservation}", "SubnetId": "{subnet}", "SubnetIds": ["{subnet}"],
    "ThumbprintList": ["a" * 40], "Url": "https://issuer.example.com/new", "UserId": "222222222222",
    "VersionId": "v1", "VolumeId": "{volume}", "VolumeIds": ["{volume}"], "VolumeType": "gp3",
    "VpcId": "{vpc}", "VpcIds": ["{vpc}"], "VpcPeeringConnectionId": "{peering}", "VpcPeeringConnectionIds": ["{peering}"],
    "ZoneIds": ["use1-az1"], "ZoneNames": ["us-east-1a"], "MaxResults": 5, "InstanceType": "t3.micro",
    "UserName": "own", "GroupName": "own", "RoleName": "own", "InstanceProfileName": "own",
    "AuthenticationCode1": "123456", "AuthenticationCode2": "234567", "CertificateId": "x" * 24,
    "TcpEstablishedTimeout": 350, "UdpStreamTimeout": 90, "UdpTimeout": 45,
}  # fmt: skip

# What an operation needs beside what its model requires; None leaves out what the model requires.
BASES: Final[dict[str, Named]] = {
    **fleet_requests.BASES, **cloudwatch_requests.BASES, **scaling_requests.BASES, **sns_requests.BASES,
    **instance_requests.BASES, **COSTS,
    "CreateLifecyclePolicy": {"ExecutionRoleArn": _ROLE, "PolicyDetails": LIFECYCLE},
    "CompleteSnapshot": {"SnapshotId": "{pending}", "ChangedBlocksCount": 0},
    "ListChangedBlocks": {"FirstSnapshotId": "{snapshot}", "SecondSnapshotId": "{snapshot}"},
    "PutSnapshotBlock": {
        "SnapshotId": "{pending}", "BlockIndex": 0, "BlockData": BLOCK, "DataLength": len(BLOCK),
        "Checksum": base64.b64encode(hashlib.sha256(BLOCK).digest()).decode(), "ChecksumAlgorithm": "SHA256",
    },
    "AssignIpv6Addresses": {"Ipv6AddressCount": 1},
    "AssignPrivateIpAddresses": {"SecondaryPrivateIpAddressCount": 1},
    "AssociateAddress": {"AllocationId": "{allocation}", "NetworkInterfaceId": "{free_interface}"},
    "AssociateIamInstanceProfile": {"IamInstanceProfile": {"Name": "guest"}, "InstanceId": "{stopped}"},
    "AssociateRouteTable": {"RouteTableId": "{table}", "SubnetId": "{free_subnet}"},
    "AssociateSubnetCidrBlock": {"SubnetId": "{alone}", "Ipv6CidrBlock": "{free_prefix}"},
    "AssociateVpcCidrBlock": {"VpcId": "{empty_vpc}", "CidrBlock": "10.10.0.0/16"},
    "AttachInternetGateway": {"InternetGatewayId": "{free_gateway}", "VpcId": "{empty_vpc}"},
    "AttachNetworkInterface": {"NetworkInterfaceId": "{free_interface}", "DeviceIndex": 2, "InstanceId": "{stopped}"},
    "AttachVolume": {"Device": "/dev/sdf", "VolumeId": "{free_volume}"},
    "AuthorizeSecurityGroupEgress": {"IpPermissions": [_PERMISSION]},
    "AuthorizeSecurityGroupIngress": {"GroupId": "{group}", "IpPermissions": [_PERMISSION]},
    "CancelImageLaunchPermission": {"ImageId": "{lent_image}"},
    "CancelImportTask": {"ImportTaskId": "{import_image}"},
    "CopyImage": {"Name": "copy"},
    "CreateDefaultSubnet": {"AvailabilityZone": "us-east-1a"},
    "CreateDhcpOptions": {"DhcpConfigurations": [{"Key": "domain-name", "Values": ["y.test"]}]},
    "CreateFlowLogs": {"TrafficType": "ACCEPT", "LogGroupName": "m"},
    "CreateKeyPair": {"KeyName": "new"},
    "CreateNatGateway": {"SubnetId": "{subnet}", "ConnectivityType": "private"},
    "CreateNetworkAclEntry": {**_ENTRY, "RuleNumber": 8},
    "ReplaceNetworkAclEntry": _ENTRY,
    "DeleteNetworkAclEntry": {"RuleNumber": 7, "Egress": False},
    "CreateNetworkInsightsPath": {"Source": "{interface}", "DestinationIp": "203.0.113.1"},
    "CreateRoute": {"DestinationCidrBlock": "203.0.114.0/24", "GatewayId": "{gateway}"},
    "ReplaceRoute": {"DestinationCidrBlock": "203.0.113.0/24", "GatewayId": "{gateway}"},
    "DeleteRoute": {"DestinationCidrBlock": "203.0.113.0/24"},
    "CreateSecurityGroup": {"GroupName": "new", "VpcId": "{vpc}"},
    "CreateSnapshots": {"InstanceSpecification": {"InstanceId": "{instance}"}},
    "CreateSubnet": {"CidrBlock": "100.64.9.0/24"},
    "CreateSubnetCidrReservation": {"Cidr": "172.31.14.0/28"},
    "CreateTags": {"Tags": [{"Key": "a", "Value": "b"}]},
    "CreateVolume": {"AvailabilityZone": "us-east-1a", "Size": 10, "VolumeType": "gp3"},
    "CreateVpc": {"CidrBlock": "10.11.0.0/16"},
    "CreateVpcEndpoint": {"VpcId": "{vpc}", "ServiceName": _S3},
    "CreateVpcPeeringConnection": {"PeerVpcId": "{lone_vpc}"},
    "DeleteInternetGateway": {"InternetGatewayId": "{free_gateway}"},
    "DeleteKeyPair": {"KeyName": "own"},
    "DeleteNetworkInsightsPath": {"NetworkInsightsPathId": "{free_path}"},
    "DeleteNetworkInterface": {"NetworkInterfaceId": "{free_interface}"},
    "DeleteRouteTable": {"RouteTableId": "{unused_table}"},
    "DeleteSecurityGroup": {"GroupId": "{free_group}"},
    "DeleteSubnet": {"SubnetId": "{free_subnet}"},
    "DeleteVolume": {"VolumeId": "{free_volume}"},
    "DeleteVpc": {"VpcId": "{lone_vpc}"},
    "ModifyVpcTenancy": {"VpcId": "{lone_vpc}", "InstanceTenancy": "default"},
    "DescribeNetworkInterfaceAttribute": {"Attribute": "description"},
    "DescribeSecurityGroupReferences": {"GroupId": ["{group}"]},
    "DetachInternetGateway": {"InternetGatewayId": "{spare_gateway}", "VpcId": "{gated_vpc}"},
    "DetachNetworkInterface": {"AttachmentId": "{attachment}"},
    "DetachVolume": {"VolumeId": "{data_volume}"},
    "DisassociateAddress": {"AssociationId": "{association}"},
    "DisassociateIamInstanceProfile": {"AssociationId": "{profile_association}"},
    "DisassociateRouteTable": {"AssociationId": "{table_association}"},
    "DisassociateSubnetCidrBlock": {"AssociationId": "{far_subnet_block}"},
    "DisassociateVpcCidrBlock": {"AssociationId": "{empty_block}"},
    "ExportImage": {"S3ExportLocation": {"S3Bucket": "exchange"}, "DiskImageFormat": "RAW"},
    "GetDefaultCreditSpecification": {"InstanceFamily": "t3"},
    "GetInstanceTypesFromInstanceRequirements": {
        "ArchitectureTypes": ["x86_64"], "VirtualizationTypes": ["hvm"],
        "InstanceRequirements": {"VCpuCount": {"Min": 1}, "MemoryMiB": {"Min": 1}},
    },
    "ImportImage": {"DiskContainers": [_IMPORT]},
    "ImportKeyPair": {"KeyName": "new", "PublicKeyMaterial": _PUBLIC_KEY},
    "ImportSnapshot": {"DiskContainer": _IMPORT},
    "ModifyImageAttribute": {"Description": {"Value": "d"}},
    "ModifyInstanceAttribute": {"InstanceId": "{stopped}", "DisableApiStop": {"Value": True}},
    "ModifyNetworkInterfaceAttribute": {
        "NetworkInterfaceId": "{attached_interface}", "Description": {"Value": "d"}
    },
    "ModifyPrivateDnsNameOptions": {"InstanceId": "{stopped}", "EnableResourceNameDnsARecord": True},
    "ModifySecurityGroupRules": {
        "SecurityGroupRules": [
            {
                "SecurityGroupRuleId": "{rule}",
                "SecurityGroupRule": {"IpProtocol": "tcp", "FromPort": 2, "ToPort": 2, "CidrIpv4": "10.0.0.0/8"},
            }
        ]
    },
    "ModifySnapshotAttribute": {"Attribute": "createVolumePermission", "OperationType": "add", "UserIds": [_OTHER]},
    "ModifySubnetAttribute": {"MapPublicIpOnLaunch": {"Value": True}},
    "ModifyVolume": {"Size": 20},
    "ModifyVolumeAttribute": {"AutoEnableIO": {"Value": True}},
    "ModifyVpcAttribute": {"EnableDnsSupport": {"Value": True}},
    "ModifyVpcEndpoint": {"VpcEndpointId": "{endpoint}", "ResetPolicy": True},
    "ModifyVpcPeeringConnectionOptions": {
        "RequesterPeeringConnectionOptions": {"AllowDnsResolutionFromRemoteVpc": True}, "VpcPeeringConnectionId": "{active}"
    },
    "AcceptVpcPeeringConnection": {"VpcPeeringConnectionId": "{peering}"},
    "RegisterImage": {
        "Name": "new", "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "{snapshot}"}}]
    },
    "ReleaseAddress": {"AllocationId": "{allocation}"},
    "ReplaceIamInstanceProfileAssociation": {
        "IamInstanceProfile": {"Name": "guest"}, "AssociationId": "{profile_association}"
    },
    "ReplaceNetworkAclAssociation": {"AssociationId": "{acl_association}"},
    "ReplaceRouteTableAssociation": {"AssociationId": "{table_association}"},
    "ResetInstanceAttribute": {"InstanceId": "{stopped}", "Attribute": "sourceDestCheck"},
    "ResetNetworkInterfaceAttribute": {"SourceDestCheck": "true"},
    "ResetSnapshotAttribute": {"Attribute": "createVolumePermission"},
    "RevokeSecurityGroupEgress": {"IpPermissions": [_THERE]},
    "RevokeSecurityGroupIngress": {"GroupId": "{group}", "IpPermissions": [_THERE]},
    "RunInstances": {"ImageId": "{image}", "MinCount": 1, "MaxCount": 1},
    "UnassignIpv6Addresses": {"Ipv6Addresses": ["{ipv6}"]},
    "UnassignPrivateIpAddresses": {"PrivateIpAddresses": ["{secondary}"]},
    "UpdateSecurityGroupRuleDescriptionsEgress": {"GroupId": "{group}", "IpPermissions": [_THERE]},
    "UpdateSecurityGroupRuleDescriptionsIngress": {"GroupId": "{group}", "IpPermissions": [_THERE]},
    "AddRoleToInstanceProfile": {"InstanceProfileName": "bare"},
    "CreateGroup": {"GroupName": "new"},
    "CreateInstanceProfile": {"InstanceProfileName": "new"},
    "CreateLoginProfile": {"UserName": "bare", "Password": PASSWORD},
    "CreateRole": {"RoleName": "new"},
    "CreateUser": {"UserName": "new"},
    "CreatePolicy": {"PolicyName": "new"},
    "CreateVirtualMFADevice": {"VirtualMFADeviceName": "new"},
    "DeactivateMFADevice": {"UserName": "own", "SerialNumber": "{used_mfa}"},
    "ResyncMFADevice": {"UserName": "own", "SerialNumber": "{used_mfa}"},
    "DeleteAccessKey": {"UserName": "own"},
    "UpdateAccessKey": {"UserName": "own"},
    "DeleteGroup": {"GroupName": "bare"},
    "DeleteInstanceProfile": {"InstanceProfileName": "bare"},
    "DeleteLoginProfile": {"UserName": "own"},
    "GetLoginProfile": {"UserName": "own"},
    "DeletePolicy": {"PolicyArn": "{bare_policy}"},
    "DeletePolicyVersion": {"VersionId": "v2"},
    "DeleteRole": {"RoleName": "free"},
    "DeleteUser": {"UserName": "bare"},
    "UpdateAssumeRolePolicy": {"PolicyDocument": trust()},
    "RequestServiceQuotaIncrease": {"QuotaCode": "{other_quota}", "DesiredValue": 9e9},
    "GetFederationToken": {"Name": "own"},
    "SendSerialConsoleSSHPublicKey": {"SSHPublicKey": SSH_KEY}, "SendSSHPublicKey": {"InstanceOSUser": "admin", "SSHPublicKey": SSH_KEY},
    "GetParameter": {"Name": "/stead/image/name/micro-1"},
    "GetParameters": {"Names": ["/stead/image/name/micro-1"]},
    "GetParametersByPath": {"Path": "/stead"},
}  # fmt: skip

# What CreateSomething tags.
TAGGED: Final[dict[str, str]] = {
    **fleet_requests.TAGGED,
    "AllocateAddress": "elastic-ip", "AuthorizeSecurityGroupEgress": "security-group-rule",
    "AuthorizeSecurityGroupIngress": "security-group-rule", "CopyImage": "image", "CopySnapshot": "snapshot",
    "CreateDhcpOptions": "dhcp-options", "CreateEgressOnlyInternetGateway": "egress-only-internet-gateway",
    "CreateFlowLogs": "vpc-flow-log", "CreateImage": "image", "CreateInternetGateway": "internet-gateway",
    "CreateInstanceEventWindow": "instance-event-window",
    "CreateKeyPair": "key-pair", "CreateManagedPrefixList": "prefix-list", "CreateNatGateway": "natgateway",
    "CreateNetworkAcl": "network-acl", "CreateNetworkInsightsPath": "network-insights-path",
    "CreateNetworkInterface": "network-interface", "CreateReplaceRootVolumeTask": "replace-root-volume-task", "CreateRouteTable": "route-table",
    "CreateSecurityGroup": "security-group", "CreateSnapshot": "snapshot", "CreateSnapshots": "snapshot",
    "CreateSubnet": "subnet", "CreateSubnetCidrReservation": "subnet-cidr-reservation", "CreateVolume": "volume",
    "CreateVpc": "vpc", "CreateVpcEndpoint": "vpc-endpoint", "CreateVpcPeeringConnection": "vpc-peering-connection", "ExportImage": "export-image-task",
    "ImportImage": "import-image-task", "ImportKeyPair": "key-pair", "ImportSnapshot": "import-snapshot-task",
    "RegisterImage": "image", "RunInstances": "instance",
    "StartNetworkInsightsAnalysis": "network-insights-analysis",
}  # fmt: skip
_FLAT: Final = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "CidrIp": "10.0.0.0/8"}
_FLAT_OF: Final = dict.fromkeys(_FLAT, _FLAT) | {"SourceSecurityGroupOwnerId": {"SourceSecurityGroupName": "own"}}


# What a member's value is in one operation, by its path.
VALUES_OF: Final[dict[tuple[str, str], Any]] = {
    **{(operation, "TagSpecifications.ResourceType"): kind for operation, kind in TAGGED.items()},
    **fleet_requests.VALUES_OF, **instance_requests.VALUES_OF, **cloudwatch_requests.VALUES_OF,
    **scaling_requests.VALUES_OF, **sns_requests.VALUES_OF, **COSTS_OF,
    ("ListChangedBlocks", "MaxResults"): 100,
    ("SendSerialConsoleSSHPublicKey", "SerialPort"): 0,
    ("ListSnapshotBlocks", "MaxResults"): 100,
    ("ModifyInstanceAttribute", "UserData.Value"): b"eA==",
    ("ModifyImageAttribute", "Attribute"): "description",
    ("ModifyInstanceAttribute", "Attribute"): "disableApiStop",
    ("ModifyInstanceAttribute", "Value"): "true",
    ("AuthorizeSecurityGroupIngress", "SourceSecurityGroupOwnerId"): "111111111111",
    ("RevokeSecurityGroupIngress", "SourceSecurityGroupOwnerId"): "111111111111",
    ("ModifyInstanceAttribute", "BlockDeviceMappings.Ebs.VolumeId"): "{root_of_stopped}",
}  # fmt: skip

# What a structure needs where one of its members is given, by its name, or by operation and path.
COMPANIONS: Final[dict[str, Named]] = {
    "BlockDeviceMappings": {"DeviceName": "/dev/sdf"},
    "Ipv6Addresses": {"Ipv6Address": "{free_ipv6}"},
    "Ipv6Ranges": {"CidrIpv6": "2001:db8::/32"},
    "PrivateIpAddresses": {"PrivateIpAddress": "172.31.9.9"},
    "DestinationPortRange": {"FromPort": 1, "ToPort": 2},
    "SourcePortRange": {"FromPort": 1, "ToPort": 2},
    "Tags": {"Key": "a"},
    "UserIdGroupPairs": {"GroupId": "{group}"},
    **fleet_requests.COMPANIONS, **instance_requests.COMPANIONS, **cloudwatch_requests.COMPANIONS,
    **scaling_requests.COMPANIONS, **sns_requests.COMPANIONS, **COSTS_BESIDE,
    "RunInstances NetworkInterfaces": {"DeviceIndex": 0, "SubnetId": "{subnet}"},
    "RunInstances NetworkInterfaces.Ipv6Addresses": {"Ipv6Address": "{free_ipv6}"},
    "Attachment": {"AttachmentId": "{attachment}", "DeleteOnTermination": True},
    "CreateImage BlockDeviceMappings.Ebs": {"VolumeSize": 1},
    "RunInstances BlockDeviceMappings.Ebs": {"VolumeSize": 1},
    "ModifyInstanceAttribute BlockDeviceMappings": {"DeviceName": "/dev/sda1"},
    "ContextEntries": {"ContextKeyName": "aws:SourceIp"},
    "UpdateLifecyclePolicy PolicyDetails": LIFECYCLE,
    **{f"{operation} TagSpecifications": {"ResourceType": kind} for operation, kind in TAGGED.items()},
}  # fmt: skip

# Members of base requests that go where another member comes, and what that one needs instead.
INSTEAD: Final[dict[str, tuple[tuple[str, ...], dict[str, Named]]]] = {
    "AuthorizeSecurityGroupIngress": (("IpPermissions",), _FLAT_OF),
    **instance_requests.INSTEAD, **cloudwatch_requests.INSTEAD, **scaling_requests.INSTEAD, **sns_requests.INSTEAD,
    "CreateReplaceRootVolumeTask": (("SnapshotId",), {}),
    "ModifyImageAttribute": (("Description",), {"Value": {"Attribute": "description"}, "Attribute": {"Value": "d"}}),
    "ModifyInstanceAttribute": (
        ("DisableApiStop",),
        {"Value": {"Attribute": "disableApiStop"}, "Attribute": {"Value": "true"}},
    ),
    "ModifyNetworkInterfaceAttribute": (("Description",), {}),
    "ModifySnapshotAttribute": (("Attribute", "OperationType", "UserIds"), {}),
    "ModifySubnetAttribute": (("MapPublicIpOnLaunch",), {}),
    "ModifyVolumeAttribute": (("AutoEnableIO",), {}),
    "ModifyVpcAttribute": (("EnableDnsSupport",), {}),
    "RevokeSecurityGroupIngress": (("IpPermissions",), _FLAT_OF),
}  # fmt: skip

# Operations whose base request is refused here, and why.
REFUSED_BASES: Final[dict[str, str]] = {
    "AssumeRole": "root assumes no role",
    "CreateSubscriber": "a notification has the one subscriber that there can be",
    "DescribeFleetInstances": "EC2 has none of instant fleets",
    "AssumeRoleWithWebIdentity": "it needs an issuer's token",
    "ChangePassword": "root has no password here",
    "CreateDefaultSubnet": "each zone has one",
    "CreateDefaultVpc": "there is one",
    "DecodeAuthorizationMessage": "it needs a message of a refusal",
    "EnableMFADevice": "it needs two codes of this minute",
    "GetEventSelectors": "there are no trails",
    "GetInsightSelectors": "there are no trails",
    "GetSnapshotBlock": "it needs a token of ListSnapshotBlocks",
    "GetTrail": "there are no trails",
    "GetTrailStatus": "there are no trails",
    "ModifyEbsDefaultKmsKeyId": "there are no keys of one's own",
    "PutSnapshotBlock": "the store has no real time here",
    "ResyncMFADevice": "it needs two codes of this minute",
}


def filled(value: Any, named: Named) -> Any:
    """Put ids and names where braces stand."""
    if isinstance(value, str) and value.startswith("{") and value.endswith("}") and value[1:-1] in named:
        return named[value[1:-1]]
    if isinstance(value, dict):
        return {key: filled(one, named) for key, one in value.items()}
    return [filled(one, named) for one in value] if isinstance(value, list) else value
