"""A controller's disk is lost, with a backup and without: what it does not know it learns from the host; guests notice nothing."""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from stead_cli.ssh import Login
from tests.support import adoption_story, box, halting_image
from tests.support.clients import FAST, Account
from tests.support.lost_state import lose
from tests.support.postgresql import PostgresqlServer
from tests.support.real_cloud import RealCloud, User, qemu_process_of
from tests.support.waiting import wait_for

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@pytest.mark.timeout(1200)  # a cloud of its own with several guests, beside other tests
def test_a_cloud_comes_back_with_a_backup_and_without_any(tmp_path: Path) -> None:
    box.run_in_another(_lose_it_and_recover, tmp_path)


def _lose_it_and_recover(folder: Path) -> None:
    with contextlib.ExitStack() as ends:
        database = PostgresqlServer.empty_database(ends)
        cloud = RealCloud()
        ends.callback(cloud.purge)
        cloud.up()
        before = folder / "backed-up"
        before.mkdir()
        adoption_story.tell(cloud, before)
        _story(cloud, folder, database)


def _story(cloud: RealCloud, folder: Path, database: str) -> None:
    """Lose a controller whose state is in a file, and recover it there, and then in another database if there is one."""
    user = User(cloud, cloud.new_account(), folder)
    front, back = _two_subnets(user)
    [outer] = user.run(SubnetId=front)
    [inner] = user.run(SubnetId=back, ImageId=halting_image.add(cloud.operator, folder))
    address = user.ec2.allocate_address(Domain="vpc")
    user.ec2.associate_address(InstanceId=outer, AllocationId=address["AllocationId"])
    volume_id = _another_volume(user, outer)
    endpoint_id = _endpoint(user, outer)
    _allow_ssh(user, outer)
    logins = {outer: user.login(outer)}
    before = _seen(user, logins, (outer, inner))

    cloud.stead_well("key", "rotate")  # the host keeps what the first version sealed
    saved = folder / "saved.key"
    saved.touch(mode=0o600)
    saved.write_bytes((cloud.settings.controller_dir / "master.key").read_bytes())
    cloud.kill(cloud.controller)
    lose(cloud.settings.controller_dir)
    refused = cloud.stead("up")
    assert refused.returncode != 0
    assert "./stead recover" in refused.stderr
    assert not cloud.settings.controller_dir.exists()
    cloud.stead_well("recover", timeout=400)
    wait_for(lambda: outer in _unclaimed(cloud), "the host says what it has", 60, explain=cloud.log_ends)
    assert "--master-key-file" in cloud.stead("unclaimed", "adopt", outer).stderr
    cloud.stead_well("down")
    cloud.settings.controller_dir.rename(folder / "without the key")
    cloud.database = database
    cloud.stead_well("recover", "--master-key-file", str(saved), timeout=400)
    wait_for(lambda: {outer, inner} <= set(_unclaimed(cloud)), "the host says what it has", 60, explain=cloud.log_ends)
    assert (cloud.settings.controller_dir / "stead.sqlite").exists() == (not database)
    listed = json.loads(cloud.stead_well("unclaimed", "list", "--output", "json"))
    assert {outer, inner} <= {each["id"] for each in listed}
    adopted = json.loads(cloud.stead_well("unclaimed", "adopt", "--all", "--output", "json"))
    assert {outer, inner} <= {each["id"] for each in adopted if each["adopted"]}
    wait_for(lambda: not set(_unclaimed(cloud)) & {outer, inner, volume_id}, "all of it is known", 60)
    assert json.loads(cloud.stead_well("recover", "--all-joined", "--output", "json")) == {"awaited": True}

    user.account = _again(cloud, user.account.account_id)
    user.ec2 = user.account.ec2
    user.wait("instance_running", [outer, inner])
    assert _seen(user, logins, (outer, inner)) == before
    halting_image.instead_of_further_boots(logins[outer].run)  # adoption_story.py sees such a guest boot
    user.ec2.stop_instances(InstanceIds=[outer])
    user.wait("instance_stopped", [outer])
    user.ec2.start_instances(InstanceIds=[outer])
    user.wait("instance_running", [outer])
    assert qemu_process_of(outer) is not None
    assert user.describe(outer)["PublicIpAddress"] == address["PublicIp"]
    assert _state(user, endpoint_id) == "available"
    user.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
    user.ec2.terminate_instances(InstanceIds=[inner], SkipOsShutdown=True)
    user.terminate([outer, inner])
    user.ec2.delete_volume(VolumeId=volume_id)
    wait_for(lambda: not _left(cloud, (outer, inner, volume_id)), "nothing is left", 60, explain=cloud.log_ends)
    assert [qemu_process_of(each) for each in (outer, inner)] == [None, None]


def _two_subnets(user: User) -> list[str]:
    """Make a VPC with a way out and two subnets, which have public addresses; return their ids."""
    vpc_id = user.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    user.ec2.create_tags(Resources=[vpc_id], Tags=[{"Key": "Name", "Value": "lost"}])
    gateway = user.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    user.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    [table] = user.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"]
    user.ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    blocks = ("10.9.1.0/24", "10.9.2.0/24")
    return [user.ec2.create_subnet(VpcId=vpc_id, CidrBlock=each)["Subnet"]["SubnetId"] for each in blocks]


def _allow_ssh(user: User, instance_id: str) -> None:
    [group] = user.describe(instance_id)["SecurityGroups"]
    user.ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"], IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )


def _endpoint(user: User, instance_id: str) -> str:
    """Make an interface endpoint in a guest's subnet, wait until it is there, and return its id."""
    shown = user.describe(instance_id)
    made = user.ec2.create_vpc_endpoint(
        VpcEndpointType="Interface",
        VpcId=shown["VpcId"],
        ServiceName="com.amazonaws.us-east-1.ec2",
        SubnetIds=[shown["SubnetId"]],
        PrivateDnsEnabled=False,
    )["VpcEndpoint"]["VpcEndpointId"]
    wait_for(lambda: _state(user, made) == "available", "the endpoint is there", 60)
    return made


def _state(user: User, endpoint_id: str) -> str:
    [shown] = user.ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint_id])["VpcEndpoints"]
    return shown["State"]


def _another_volume(user: User, instance_id: str) -> str:
    zone = user.describe(instance_id)["Placement"]["AvailabilityZone"]
    volume_id = user.ec2.create_volume(AvailabilityZone=zone, Size=1, Encrypted=True)["VolumeId"]
    user.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    user.ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    return volume_id


def _seen(user: User, logins: dict[str, Login], instance_ids: Iterable[str]) -> dict[str, Any]:
    """What must not change: boots and processes, and what EC2 shows of guests, subnets, routes and rules."""
    shown = [user.describe(each) for each in instance_ids]
    ec2: Any = user.ec2
    vpc = [{"Name": "vpc-id", "Values": [shown[0]["VpcId"]]}]
    tables = ec2.describe_route_tables(Filters=vpc)["RouteTables"]
    groups = ec2.describe_security_groups(Filters=vpc)["SecurityGroups"]
    subnets = ec2.describe_subnets(Filters=vpc)["Subnets"]
    return {
        "boots": {each: login.run(BOOT_ID) for each, login in logins.items()},
        "processes": [qemu_process_of(each["InstanceId"]) for each in shown],
        "guests": [
            (each["PrivateIpAddress"], each.get("PublicIpAddress"), each["SubnetId"], each["KeyName"], each["State"])
            for each in shown
        ],
        "disks": [sorted(disk["Ebs"]["VolumeId"] for disk in each["BlockDeviceMappings"]) for each in shown],
        "subnets": subnets,
        "routes": sorted(str(each["Routes"]) for each in tables),
        "rules": sorted(str(each["IpPermissions"]) for each in groups),
        "vpc": user.ec2.describe_vpcs(VpcIds=[shown[0]["VpcId"]])["Vpcs"],
    }


def _unclaimed(cloud: RealCloud) -> list[str]:
    return [each.id for each in cloud.operator.list_unclaimed()]


def _again(cloud: RealCloud, account_id: str) -> Account:
    """A new root key of an account that was made again."""
    made = json.loads(cloud.stead_well("account", "create-key", account_id, "--output", "json"))
    return Account(
        account_id,
        made["access_key_id"],
        made["secret_access_key"],
        endpoint=cloud.settings.https_endpoint,
        ca_file=cloud.settings.ca_file,
    )


def _left(cloud: RealCloud, ids: Iterable[str]) -> list[Path]:
    """List the files of resources, but for disks in the trash, for a while, and notes that they were removed."""
    found = [path for each in ids for path in cloud.state_dir.rglob(f"*{each}*")]
    return [path for path in found if not {"trash", "made"} & set(path.parts)]
