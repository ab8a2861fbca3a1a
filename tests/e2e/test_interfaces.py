"""A real guest gets and loses network interfaces while it runs."""

import subprocess
from typing import Any

from stead_agent.network.interface import tap_name
from tests.support.real_cloud import RealCloud, User
from tests.support.waiting import wait_for


def shown(user: User, interface_id: str) -> dict[str, Any]:
    (found,) = user.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface_id])["NetworkInterfaces"]
    return dict(found)


def limited_by(interface_id: str) -> str:
    """What tc(8) of this host says of where the packets of an interface go first: the shapers of its instance."""
    found = ""
    for hook in ("egress", "ingress"):
        command = ["tc", "filter", "show", "dev", tap_name(interface_id), hook]
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        found += "".join(line.strip() for line in shown.splitlines() if "Redirect to device" in line)
    return found


def repairs(cloud: RealCloud, interface_id: str) -> list[str]:
    """The lines of the agent's log that say of an interface's tap that it was repaired."""
    lines = cloud.agent.log_file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if "repaired" in line and tap_name(interface_id) in line]


def test_a_launch_repairs_nothing(real_cloud: RealCloud, guest_owner: User, guest: str) -> None:
    [interface] = guest_owner.describe(guest)["NetworkInterfaces"]
    assert limited_by(interface["NetworkInterfaceId"])
    assert repairs(real_cloud, interface["NetworkInterfaceId"]) == []


def test_an_interface_comes_and_goes_while_the_guest_runs(real_cloud: RealCloud, guest_owner: User, guest: str) -> None:
    user, instance_id = guest_owner, guest
    machine = user.connect(instance_id)
    made = user.ec2.create_network_interface(SubnetId=user.describe(instance_id)["SubnetId"])["NetworkInterface"]
    interface_id, mac = made["NetworkInterfaceId"], made["MacAddress"]
    attached = user.ec2.attach_network_interface(NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=1)
    wait_for(lambda: shown(user, interface_id)["Attachment"]["Status"] == "attached", "the interface is attached", 60)
    addresses = "cat /sys/class/net/*/address"
    wait_for(lambda: mac in machine.run(addresses), "the guest sees the interface", 60, poll=0.5)

    user.ec2.detach_network_interface(AttachmentId=attached["AttachmentId"])
    wait_for(lambda: shown(user, interface_id)["Status"] == "available", "the interface is available", 60)
    assert mac not in machine.run(addresses)
    assert repairs(real_cloud, interface_id) == []
    user.ec2.delete_network_interface(NetworkInterfaceId=interface_id)


def test_an_interface_of_another_vpc_has_that_vpcs_network(guest_owner: User, guest: str) -> None:
    user, instance_id = guest_owner, guest
    machine = user.connect(instance_id)
    zone = user.describe(instance_id)["Placement"]["AvailabilityZone"]
    vpc_id = user.ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnet = user.ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.77.1.0/24", AvailabilityZone=zone)["Subnet"]
    subnet_id = subnet["SubnetId"]
    made = user.ec2.create_network_interface(SubnetId=subnet_id)["NetworkInterface"]
    interface_id, address = made["NetworkInterfaceId"], made["PrivateIpAddress"]
    attached = user.ec2.attach_network_interface(NetworkInterfaceId=interface_id, InstanceId=instance_id, DeviceIndex=1)
    wait_for(lambda: address in machine.run("ip -4 addr"), "the other VPC's DHCP gives the address", 90, poll=0.5)
    primary = user.describe(instance_id)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    wait_for(lambda: limited_by(interface_id), "the new interface is limited", 30)
    assert limited_by(interface_id) == limited_by(primary), "both share the bandwidth of the instance"

    user.ec2.detach_network_interface(AttachmentId=attached["AttachmentId"])
    wait_for(lambda: shown(user, interface_id)["Status"] == "available", "the interface is available", 60)
    user.ec2.delete_network_interface(NetworkInterfaceId=interface_id)
    user.ec2.delete_subnet(SubnetId=subnet_id)
    user.ec2.delete_vpc(VpcId=vpc_id)
