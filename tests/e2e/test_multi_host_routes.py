"""Route tables across three hosts, with real guests: public and private subnets, NAT gateways, peering."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest

from stead_cli import ssh
from tests.support.real_cloud import FAST
from tests.support.rig import RigUser, TestRig
from tests.support.town import ANYWHERE, Inhabitant, Vpc, allow, caller_of, listening, new_vpc
from tests.support.waiting import wait_for

FAR = "203.0.113.1"


@dataclass
class Town:
    """A VPC with a public and a private subnet, a guest on each host."""

    rig: TestRig
    user: RigUser
    vpc: Vpc
    public: str
    private: str
    west: Inhabitant  # public subnet, host 1
    east: Inhabitant  # public subnet, host 2
    hidden: Inhabitant  # private subnet, host 3


@pytest.fixture(scope="module")
def town(session_rig: TestRig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Guests that may be looked at by all tests of this file; what a test changes it changes back."""
    user = RigUser(session_rig, session_rig.new_account(), tmp_path_factory.mktemp("routed"), rig=session_rig)
    try:
        yield _found(session_rig, user)
    finally:
        user.terminate_all()


def _found(rig: TestRig, user: RigUser) -> Town:
    one, two, three = rig.hosts
    vpc = new_vpc(user, "10.10.0.0/16")
    public, private = vpc.subnet("10.10.1.0/24", public=True), vpc.subnet("10.10.2.0/24", public=False)
    west, east = vpc.launch(one, public, "10.10.1.10"), vpc.launch(two, public, "10.10.1.11")
    hidden = vpc.launch(three, private, "10.10.2.10")
    for guest in (west, east):
        guest.booted()
    hidden.bastion = west
    hidden.booted()
    return Town(rig, user, vpc, public, private, west, east, hidden)


def test_public_and_private_subnets(town: Town) -> None:
    assert town.hidden.public_address == ""
    assert town.west.reaches(FAR)
    assert town.west.who_is(town.hidden.address) == town.hidden.id
    assert town.hidden.who_is(town.east.address) == town.east.id
    assert not town.hidden.reaches(FAR)
    with listening(town.rig.internet, FAR, 8080) as server, ThreadPoolExecutor(1) as pool:
        seen = pool.submit(caller_of, server)
        town.west.tries(f"timeout 5 nc {FAR} 8080 </dev/null")
        assert seen.result() == town.west.public_address


def test_nat_gateway_is_the_way_out_of_a_private_subnet(town: Town) -> None:
    """On host 1 or wherever it is, for a guest on host 3; nobody outside begins anything with it or the guest."""
    ec2, table = town.user.ec2, town.vpc.table_of(town.private)
    elastic = ec2.allocate_address(Domain="vpc")
    nat = ec2.create_nat_gateway(SubnetId=town.public, AllocationId=elastic["AllocationId"])["NatGateway"][
        "NatGatewayId"
    ]
    try:
        ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig=FAST)
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE, NatGatewayId=nat)
        with listening(town.rig.internet, FAR, 8081) as server, ThreadPoolExecutor(1) as pool:
            seen = pool.submit(caller_of, server)
            town.hidden.tries(f"timeout 8 nc {FAR} 8081 </dev/null")
            assert seen.result() == elastic["PublicIp"]
        assert town.hidden.reaches(FAR)
        assert not ssh.answers(elastic["PublicIp"])
        assert town.hidden.who_is(town.east.address) == town.east.id
    finally:
        with suppress(ec2.exceptions.ClientError):  # it may never have been made
            ec2.delete_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE)
        ec2.delete_nat_gateway(NatGatewayId=nat)
        ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[nat], WaiterConfig=FAST)
        ec2.release_address(AllocationId=elastic["AllocationId"])
    assert not town.hidden.reaches(FAR)


def test_peered_vpcs_talk_where_routes_say_so(town: Town) -> None:
    """Routes on both sides open the way, for the subnets that have them, until the peering is gone."""
    user, ec2 = town.user, town.user.ec2
    vpc = new_vpc(user, "10.20.0.0/16")
    subnet = vpc.subnet("10.20.1.0/24", public=True)
    allow(user, vpc.group, "-1", 0, town.vpc.cidr)
    allow(user, town.vpc.group, "-1", 0, vpc.cidr)
    peer = vpc.launch(town.rig.hosts[2], subnet, "10.20.1.10").booted()
    assert not town.west.reaches(peer.address)
    peering = ec2.create_vpc_peering_connection(VpcId=town.vpc.id, PeerVpcId=vpc.id)["VpcPeeringConnection"][
        "VpcPeeringConnectionId"
    ]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    tables = ((town.vpc.table_of(town.public), vpc.cidr), (vpc.table_of(subnet), town.vpc.cidr))
    for table, block in tables:
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=block, VpcPeeringConnectionId=peering)
    wait_for(lambda: town.west.who_is(peer.address) == peer.id, "the peer on another host is reached", 15)
    assert peer.who_is(town.east.address) == town.east.id
    assert town.east.who_is(peer.address) == peer.id
    # The private subnet's table has no such route.
    assert not town.hidden.reaches(peer.address)
    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    wait_for(lambda: not town.west.reaches(peer.address), "the way is closed", 15)
    for table, block in tables:
        ec2.delete_route(RouteTableId=table, DestinationCidrBlock=block)
    user.terminate([peer.id])
