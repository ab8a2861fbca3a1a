"""A cloud of an earlier release becomes files: its database as SQL, and what that release said of it.

Run it in a clone of the release, with that clone's environment: `.venv/bin/python …/tests/api/releases/make.py FOLDER`. It starts
the release's own controller and simulated hosts, fills two accounts by boto3, ends the hosts, makes changes that they
have not heard of, and kills the controller. The keys in it open nothing but what is in it.
"""

import base64
import hashlib
import json
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))  # the release's own tests: what stands below as `tests.support` is theirs
sys.path.append(str(Path(__file__).parent))

from describing import BLOCKS, answers_to, calls_of

from stead_cli import cloud as programs
from stead_cli import processes
from tests.support.cloud import Cloud
from tests.support.waiting import wait_for

ZONE = "us-east-1a"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
READS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}],
}


def named(kind: str, name: str) -> list[dict[str, Any]]:
    """A request's tags for what it makes."""
    return [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}, {"Key": "team", "Value": "old"}]}]


class Maker:
    """Fills one account."""

    def __init__(self, account: Any, other: Any, image_id: str) -> None:
        """Take the account, another one to share with, and the image to launch."""
        self.account, self.other, self.image_id = account, other, image_id
        self.ec2 = account.ec2
        self.iam = account.client("iam")

    def state(self, volume_id: str) -> str:
        """A volume's state."""
        return str(self.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"])

    def instance_state(self, instance_id: str) -> str:
        """An instance's state."""
        found = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        return str(found["State"]["Name"])

    def complete(self, snapshot_id: str) -> str:
        """Wait for a snapshot."""

        def is_complete() -> bool:
            return self.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["State"] == "completed"

        wait_for(is_complete, f"{snapshot_id} is complete")
        return snapshot_id

    def network(self) -> None:
        """A VPC with two subnets, and one that peers with it."""
        ec2 = self.ec2
        self.vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16", TagSpecifications=named("vpc", "old"))["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        self.front = ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.7.1.0/24", AvailabilityZone=ZONE)["Subnet"][
            "SubnetId"
        ]
        self.back = ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.7.2.0/24", AvailabilityZone=ZONE)["Subnet"][
            "SubnetId"
        ]
        ec2.modify_subnet_attribute(SubnetId=self.front, MapPublicIpOnLaunch={"Value": True})
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        table = ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        ec2.associate_route_table(RouteTableId=table, SubnetId=self.front)
        address = ec2.allocate_address(Domain="vpc")["AllocationId"]
        nat = ec2.create_nat_gateway(SubnetId=self.front, AllocationId=address)["NatGateway"]["NatGatewayId"]
        inner = ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=inner, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
        ec2.associate_route_table(RouteTableId=inner, SubnetId=self.back)
        options = [{"Key": "domain-name", "Values": ["old.example"]}, {"Key": "ntp-servers", "Values": ["10.7.0.9"]}]
        dhcp = ec2.create_dhcp_options(DhcpConfigurations=options)["DhcpOptions"]["DhcpOptionsId"]
        ec2.associate_dhcp_options(DhcpOptionsId=dhcp, VpcId=self.vpc)
        acl = ec2.create_network_acl(VpcId=self.vpc)["NetworkAcl"]["NetworkAclId"]
        ec2.create_network_acl_entry(
            NetworkAclId=acl, RuleNumber=110, Protocol="6", RuleAction="allow", Egress=False, CidrBlock="10.0.0.0/8",
            PortRange={"From": 22, "To": 22},
        )  # fmt: skip
        peer = ec2.create_vpc(CidrBlock="10.8.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
        block = ec2.describe_vpcs(VpcIds=[peer])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
        ec2.create_subnet(VpcId=peer, CidrBlock="10.8.1.0/24", Ipv6CidrBlock=block.replace("/56", "/64"))
        ec2.create_flow_logs(
            ResourceIds=[self.vpc], ResourceType="VPC", TrafficType="REJECT", LogGroupName="old",
            DeliverLogsPermissionArn=f"arn:aws:iam::{self.account.account_id}:role/worker",
        )  # fmt: skip
        peering = ec2.create_vpc_peering_connection(VpcId=self.vpc, PeerVpcId=peer)["VpcPeeringConnection"]
        ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering["VpcPeeringConnectionId"])
        ec2.create_route(
            RouteTableId=inner,
            DestinationCidrBlock="10.8.0.0/16",
            VpcPeeringConnectionId=peering["VpcPeeringConnectionId"],
        )

    def groups(self) -> None:
        """Groups that name addresses, a prefix list and each other."""
        ec2 = self.ec2
        prefixes = ec2.create_managed_prefix_list(
            PrefixListName="offices", MaxEntries=5, AddressFamily="IPv4", Entries=[{"Cidr": "192.0.2.0/24", "Description": "one"}]
        )["PrefixList"]["PrefixListId"]  # fmt: skip
        self.web = ec2.create_security_group(GroupName="web", Description="web", VpcId=self.vpc)["GroupId"]
        self.data = ec2.create_security_group(
            GroupName="data", Description="data", VpcId=self.vpc, TagSpecifications=named("security-group", "data")
        )["GroupId"]
        ranges = {
            "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}],
            "PrefixListIds": [{"PrefixListId": prefixes}],
        }
        ec2.authorize_security_group_ingress(
            GroupId=self.web, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, **ranges}]
        )
        pairs = {"UserIdGroupPairs": [{"GroupId": self.web}]}
        ec2.authorize_security_group_ingress(
            GroupId=self.data, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, **pairs}]
        )

    def identity(self) -> None:
        """A user in a group, a role for instances, an own policy in two versions."""
        iam = self.iam
        iam.create_user(UserName="ana", Path="/people/", Tags=[{"Key": "team", "Value": "old"}])
        iam.create_group(GroupName="readers")
        iam.add_user_to_group(UserName="ana", GroupName="readers")
        policy = iam.create_policy(PolicyName="reads", PolicyDocument=json.dumps(READS))["Policy"]["Arn"]
        iam.create_policy_version(PolicyArn=policy, PolicyDocument=json.dumps(READS), SetAsDefault=True)
        iam.attach_group_policy(GroupName="readers", PolicyArn=policy)
        self.ana = iam.create_access_key(UserName="ana")["AccessKey"]
        iam.create_role(RoleName="worker", AssumeRolePolicyDocument=json.dumps(TRUST), Description="in guests")
        iam.put_role_policy(RoleName="worker", PolicyName="inline", PolicyDocument=json.dumps(READS))
        iam.create_instance_profile(InstanceProfileName="worker")
        iam.add_role_to_instance_profile(InstanceProfileName="worker", RoleName="worker")

    def instances(self) -> None:
        """Some that run, one that is stopped; interfaces and addresses."""
        ec2 = self.ec2
        ec2.create_key_pair(KeyName="old", KeyType="ed25519")
        request = {"ImageId": self.image_id, "KeyName": "old", "MinCount": 1, "MaxCount": 1}
        first = ec2.run_instances(
            **request, InstanceType="t3.micro", SubnetId=self.front, SecurityGroupIds=[self.web],
            UserData="#!/bin/sh\necho old\n", IamInstanceProfile={"Name": "worker"},
            TagSpecifications=named("instance", "first") + named("volume", "of first"),
            BlockDeviceMappings=[
                {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3, "VolumeType": "gp3", "DeleteOnTermination": False}},
                {"DeviceName": "/dev/sdg", "Ebs": {"VolumeSize": 5, "VolumeType": "io2", "Iops": 300, "Encrypted": True}},
            ],
        )  # fmt: skip
        second = ec2.run_instances(
            **request, InstanceType="c5d.large", SubnetId=self.back, SecurityGroupIds=[self.data]
        )
        third = ec2.run_instances(**request, InstanceType="t3.nano", SubnetId=self.front, SecurityGroupIds=[self.web])
        self.first, self.second, self.third = (made["Instances"][0]["InstanceId"] for made in (first, second, third))
        for each in (self.first, self.second, self.third):
            wait_for(lambda it=each: self.instance_state(it) == "running", f"{each} runs")
        ec2.stop_instances(InstanceIds=[self.third])
        wait_for(lambda: self.instance_state(self.third) == "stopped", f"{self.third} is stopped")
        ec2.modify_instance_attribute(InstanceId=self.second, DisableApiTermination={"Value": True})
        ec2.create_tags(Resources=[self.second], Tags=[{"Key": "made", "Value": "before"}])
        extra = ec2.create_network_interface(
            SubnetId=self.back, Groups=[self.data], Description="extra", PrivateIpAddresses=[
                {"PrivateIpAddress": "10.7.2.77", "Primary": True}, {"PrivateIpAddress": "10.7.2.78", "Primary": False},
            ],
        )["NetworkInterface"]["NetworkInterfaceId"]  # fmt: skip
        ec2.attach_network_interface(NetworkInterfaceId=extra, InstanceId=self.second, DeviceIndex=1)
        address = ec2.allocate_address(Domain="vpc", TagSpecifications=named("elastic-ip", "of extra"))["AllocationId"]
        ec2.associate_address(AllocationId=address, NetworkInterfaceId=extra, PrivateIpAddress="10.7.2.78")
        ec2.allocate_address(Domain="vpc")

    def volumes(self) -> None:
        """Volumes apart from instances, snapshots, images; shared ones too."""
        ec2 = self.ec2
        self.loose = ec2.create_volume(
            AvailabilityZone=ZONE, Size=2, VolumeType="gp2", TagSpecifications=named("volume", "loose")
        )["VolumeId"]
        moved = ec2.create_volume(AvailabilityZone=ZONE, Size=1, VolumeType="gp3", Encrypted=True)["VolumeId"]
        for each in (self.loose, moved):
            wait_for(lambda it=each: self.state(it) == "available", f"{each} is available")
        ec2.attach_volume(VolumeId=moved, InstanceId=self.second, Device="/dev/sdh")
        wait_for(lambda: self.state(moved) == "in-use", f"{moved} is in use")
        ec2.modify_volume(VolumeId=moved, Size=8, Iops=3500)

        def is_modified() -> bool:
            found = ec2.describe_volumes_modifications(VolumeIds=[moved])["VolumesModifications"]
            return bool(found[0]["ModificationState"] == "completed")

        wait_for(is_modified, f"{moved} is modified")
        mine = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [self.first]}])["Volumes"]
        for volume in mine:
            self.complete(ec2.create_snapshot(VolumeId=volume["VolumeId"], Description="one")["SnapshotId"])
        both = ec2.create_snapshots(InstanceSpecification={"InstanceId": self.second}, Description="both")["Snapshots"]
        for each in both:
            self.complete(each["SnapshotId"])
        shared = next(each["SnapshotId"] for each in both if not each["Encrypted"])
        ec2.modify_snapshot_attribute(
            SnapshotId=shared, Attribute="createVolumePermission", OperationType="add", UserIds=[self.other.account_id]
        )
        copy = ec2.copy_snapshot(SourceSnapshotId=shared, SourceRegion="us-east-1", Encrypted=True)["SnapshotId"]
        self.complete(copy)
        self.written = self.complete(self.direct())
        self.images()
        self.account.client("dlm").create_lifecycle_policy(
            ExecutionRoleArn=f"arn:aws:iam::{self.account.account_id}:role/worker", Description="daily", State="DISABLED",
            PolicyDetails={
                "ResourceTypes": ["VOLUME"], "TargetTags": [{"Key": "team", "Value": "old"}],
                "Schedules": [{"Name": "daily", "CreateRule": {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["03:00"]},
                               "RetainRule": {"Count": 3}}],
            },
        )  # fmt: skip
        ec2.enable_ebs_encryption_by_default()

    def direct(self) -> str:
        """A snapshot that a client writes: blocks 0 and 3 of 1 GiB."""
        ebs = self.account.client("ebs")
        tags = [{"Key": "team", "Value": "old"}]
        made = ebs.start_snapshot(VolumeSize=1, Description="written", Tags=tags)["SnapshotId"]
        for index, block in BLOCKS.items():
            ebs.put_snapshot_block(
                SnapshotId=made, BlockIndex=index, BlockData=block, DataLength=len(block), ChecksumAlgorithm="SHA256",
                Checksum=base64.b64encode(hashlib.sha256(block).digest()).decode(),
            )  # fmt: skip
        ebs.complete_snapshot(SnapshotId=made, ChangedBlocksCount=len(BLOCKS))
        return str(made)

    def images(self) -> None:
        """Images of instances, one of them shared, and a copy that is deprecated and disabled."""
        ec2 = self.ec2
        shared = ec2.create_image(InstanceId=self.third, Name="shared")["ImageId"]
        made = ec2.create_image(InstanceId=self.first, Name="made", Description="of first", NoReboot=True)["ImageId"]
        self.available(shared)
        self.available(made)
        ec2.modify_image_attribute(ImageId=shared, LaunchPermission={"Add": [{"UserId": self.other.account_id}]})
        copy = ec2.copy_image(Name="copied", SourceImageId=made, SourceRegion="us-east-1")["ImageId"]
        self.available(copy)
        ec2.enable_image_deprecation(ImageId=copy, DeprecateAt="2034-05-06T07:08:00Z")
        ec2.disable_image(ImageId=copy)

    def available(self, image_id: str) -> None:
        """Wait for an image."""

        def is_available() -> bool:
            return bool(self.ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"] == "available")

        wait_for(is_available, f"{image_id} is available")

    def unheard(self) -> None:
        """Changes of which no host hears, since none is there."""
        ec2 = self.ec2
        ec2.create_tags(Resources=[self.first], Tags=[{"Key": "unheard", "Value": "yes"}])
        ec2.authorize_security_group_ingress(
            GroupId=self.web, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="198.51.100.0/24"
        )
        ec2.start_instances(InstanceIds=[self.third])
        ec2.attach_volume(VolumeId=self.loose, InstanceId=self.second, Device="/dev/sdi")


def main(target: Path) -> None:
    """Make the cloud and write its files."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        cloud = Cloud(Path(temporary))
        cloud.start_controller()
        try:
            cloud.add_hosts(2)
            other = cloud.new_account("other")
            account = cloud.new_account("old")
            made = Maker(account, other, cloud.add_image())
            account.client("s3").create_bucket(Bucket="old-things")
            for step in (made.network, made.groups, made.identity, made.instances, made.volumes):
                step()
            for simulator in cloud.simulators:
                simulator.stop()
            cloud.simulators.clear()
            made.unheard()
            users = {"old": account, "other": other}
            answers = {name: answers_to(user, calls_of(user)) for name, user in users.items()}
            keys = {name: [user.account_id, user.access_key_id, user.secret_access_key] for name, user in users.items()}
            keys["ana"] = [account.account_id, made.ana["AccessKeyId"], made.ana["SecretAccessKey"]]
            cloud.controller.kill()
        finally:
            cloud.stop()
            processes.stop(programs.object_store_program(cloud.settings))
        _write(cloud.settings.controller_dir, target, {"accounts": keys, "told": answers, "made": _ids(made)})


def _ids(made: Maker) -> dict[str, str]:
    names = ("vpc", "front", "back", "web", "data", "first", "second", "third", "loose", "written", "image_id")
    return {name: getattr(made, name) for name in names}


def _write(controller_dir: Path, target: Path, about: dict[str, Any]) -> None:
    [file] = controller_dir.glob("*.sqlite")
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        lines = [line for line in connection.iterdump() if not line.startswith('INSERT INTO "audit')]
    connection.close()
    (target / "cloud.sql").write_text("\n".join(lines) + "\n", encoding="utf-8")
    about["master_key"] = (controller_dir / "master.key").read_bytes().hex()
    blocks = controller_dir / "blocks"
    files = (path for path in sorted(blocks.rglob("*")) if path.is_file())
    about["blocks"] = {str(path.relative_to(blocks)): base64.b64encode(path.read_bytes()).decode() for path in files}
    (target / "cloud.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
