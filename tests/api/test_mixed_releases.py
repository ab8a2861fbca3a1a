"""Controllers and agents of this release and of the one before work with each other, and an upgrade goes one by one.

The earlier release's programs are those of its wheel, run by this machine's Python with today's libraries.
"""

import base64
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.api.releases import wheels
from tests.support.clients import Account
from tests.support.cloud import Cloud
from tests.support.processes import BIN, clean_environment
from tests.support.waiting import wait_for

pytestmark = pytest.mark.story

RELEASES = Path(__file__).parent / "releases"


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, str]]:
    """The environment of the programs of each release."""
    folder = tmp_path_factory.mktemp("previous")
    made = {"previous": wheels.unpack(wheels.newest(RELEASES), folder), "present": clean_environment()}
    for kind, environment in made.items():
        ask = "import stead_agent, stead_controller, stead_proto; print(stead_agent, stead_controller, stead_proto)"
        said = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
        assert said.stdout.count(f"'{folder}/stead_") == (3 if kind == "previous" else 0), said.stdout
    return made


class MixedCloud(Cloud):
    """A cloud whose programs may be of different releases."""

    def begin(self, controller: Mapping[str, str]) -> None:
        """Start a controller of a release, which makes or upgrades its database by itself."""
        self.controller.environment = controller
        self.controller.start()
        wait_for(self.answers, "the controller answers", 60)

    def simulate(self, agents: Mapping[str, str], count: int) -> None:
        """Start agents of a release, whose hosts keep what they have, and wait until they are up."""
        self.agents_environment = agents
        self.add_hosts(count, keep=True)

    def go_on_with_controller(self, controller: Mapping[str, str]) -> None:
        """Put a controller of another release in the place of this one."""
        self.controller.stop()
        now = time.time()
        self.begin(controller)
        self._wait_for_hosts(now)

    def go_on_with_agents(self, agents: Mapping[str, str]) -> None:
        """Put agents of another release in the place of these."""
        for simulator in self.simulators:
            simulator.stop()
            simulator.environment = agents
            simulator.start()
        self._wait_for_hosts(time.time())

    def _wait_for_hosts(self, since: float) -> None:
        def all_are_back() -> bool:
            return all(host.state == "up" and host.last_seen > since for host in self.operator.list_hosts())

        wait_for(all_are_back, "all hosts are back", 60)


@pytest.fixture
def mixed(tmp_path: Path) -> Iterator[MixedCloud]:
    made = MixedCloud(tmp_path)
    yield made
    made.stop()


def instance(account: Account, instance_id: str) -> Any:
    return account.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def wait_for_state(account: Account, instance_ids: list[str], state: str) -> None:
    def all_are() -> bool:
        return all(instance(account, each)["State"]["Name"] == state for each in instance_ids)

    wait_for(all_are, f"they are {state}", 60)


def launch(account: Account, image_id: str, count: int = 1) -> list[str]:
    made = account.ec2.run_instances(
        ImageId=image_id,
        InstanceType="t3.micro",
        MinCount=count,
        MaxCount=count,
        UserData="#!/bin/sh\n",
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2, "DeleteOnTermination": True}}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "mixed"}]}],
    )["Instances"]
    ids = [each["InstanceId"] for each in made]
    wait_for_state(account, ids, "running")
    return ids


def change_all(account: Account, instance_id: str) -> None:
    """Change what a host has of an instance and of its VPC, and see that the host did so."""
    ec2 = account.ec2
    shown = instance(account, instance_id)
    zone, vpc_id, subnet_id = shown["Placement"]["AvailabilityZone"], shown["VpcId"], shown["SubnetId"]
    group_id = shown["SecurityGroups"][0]["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}
    ec2.authorize_security_group_ingress(GroupId=group_id, **rule)
    volume_id = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    volume = partial(_volume, account, volume_id)
    ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdg")
    wait_for(lambda: volume()["Attachments"][0]["State"] == "attached", "the volume is attached", 60)
    ec2.detach_volume(VolumeId=volume_id)
    wait_for(lambda: volume()["State"] == "available", "the volume is detached", 60)
    ec2.delete_volume(VolumeId=volume_id)
    interface_id = ec2.create_network_interface(SubnetId=subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=1)
    address = ec2.allocate_address()["AllocationId"]
    gateway_id = ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=address)["NatGateway"]["NatGatewayId"]
    gateway = partial(_state_of_gateway, account, gateway_id)
    wait_for(lambda: gateway() == "available", "the NAT gateway is there", 60)
    ec2.delete_nat_gateway(NatGatewayId=gateway_id)
    wait_for(lambda: gateway() == "deleted", "the NAT gateway is gone", 60)
    ec2.release_address(AllocationId=address)
    other = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    ec2.create_vpc_peering_connection(VpcId=vpc_id, PeerVpcId=other)
    ec2.revoke_security_group_ingress(GroupId=group_id, **rule)
    ec2.stop_instances(InstanceIds=[instance_id])
    wait_for_state(account, [instance_id], "stopped")
    ec2.modify_instance_attribute(InstanceId=instance_id, UserData={"Value": b"other"})
    ec2.start_instances(InstanceIds=[instance_id])
    wait_for_state(account, [instance_id], "running")
    data = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(data) == b"other"


def _volume(account: Account, volume_id: str) -> Any:
    return account.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]


def _state_of_gateway(account: Account, gateway_id: str) -> Any:
    return account.ec2.describe_nat_gateways(NatGatewayIds=[gateway_id])["NatGateways"][0]["State"]


def end_all(cloud: Cloud, account: Account) -> None:
    """Terminate all instances; hosts have nothing of them then."""
    reservations = account.ec2.describe_instances()["Reservations"]
    ids = [each["InstanceId"] for reservation in reservations for each in reservation["Instances"]]
    account.ec2.terminate_instances(InstanceIds=ids)
    wait_for_state(account, ids, "terminated")
    wait_for(lambda: not account.ec2.describe_volumes()["Volumes"], "their disks are gone", 60)
    wait_for(lambda: not any(_used(host) for host in cloud.operator.list_hosts()), "hosts have all their room", 60)


def _used(host: Any) -> int:
    return int(host.memory_reserved)


class Guests:
    """Instances that run from their launch on, whatever is exchanged below them."""

    def __init__(self, account: Account, image_id: str) -> None:
        """Launch none."""
        self._account, self._image_id = account, image_id
        self._begun: dict[str, Any] = {}

    def launch(self, count: int) -> None:
        """Launch some more."""
        for each in launch(self._account, self._image_id, count):
            self._begun[each] = instance(self._account, each)["LaunchTime"]

    def require_unnoticed(self) -> None:
        """Fail if one does not run since it was launched."""
        for each, at in self._begun.items():
            shown = instance(self._account, each)
            assert (shown["State"]["Name"], shown["LaunchTime"]) == ("running", at)

    def change_last(self) -> None:
        """Change all that a host has of the youngest, which is one of these no longer."""
        change_all(self._account, self._begun.popitem()[0])


def test_all_works_at_each_step_there_and_back_and_no_guest_notices(
    mixed: MixedCloud, environments: Mapping[str, Mapping[str, str]]
) -> None:
    """An upgrade goes controller first. Who goes back to the release before keeps what was made since."""
    previous, present = environments["previous"], environments["present"]
    mixed.begin(previous)
    mixed.simulate(previous, 2)
    account = mixed.first_account
    guests = Guests(account, mixed.add_image())
    guests.launch(2)

    mixed.go_on_with_controller(present)
    guests.require_unnoticed()
    guests.change_last()  # made by the release before
    mixed.simulate(previous, 1)
    guests.launch(2)

    mixed.go_on_with_agents(present)
    guests.require_unnoticed()
    guests.launch(2)

    mixed.controller.stop()
    state = f"--state-dir={mixed.settings.controller_dir}"
    done = subprocess.run(
        [BIN / "stead-controller", "database", "downgrade", state],
        env=present,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mixed.go_on_with_controller(previous)
    guests.require_unnoticed()
    guests.change_last()  # made by this release
    mixed.simulate(present, 1)
    guests.launch(2)
    guests.require_unnoticed()
    end_all(mixed, account)
