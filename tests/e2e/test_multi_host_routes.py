"""Route tables across three hosts, with real guests: public and private subnets, IPv6, NAT gateways, peering."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from stead_cli import ssh
from tests.support.clients import FAST
from tests.support.rig import RigUser, TestRig
from tests.support.street import Street
from tests.support.town import ANYWHERE, Inhabitant, Vpc, allow, caller_of, fragments, listening, new_vpc
from tests.support.waiting import wait_for

FAR = "203.0.113.1"


@dataclass
class Town:
    """A VPC of both IP versions with a public and a private subnet, a guest on each host, and one without IPv4."""

    rig: TestRig
    user: RigUser
    vpc: Vpc
    public: str
    private: str
    west: Inhabitant  # of the street: public subnet, host 1
    east: Inhabitant  # of the street: public subnet, host 2
    hidden: Inhabitant  # private subnet, host 3
    lone: Inhabitant  # subnet of IPv6 only, host 3; who uses it waits until it has booted


@pytest.fixture(scope="module")
def town(street: Street) -> Iterator[Town]:
    """Guests that may be looked at by all tests of this file; what a test changes it changes back."""
    vpc, three = street.vpc, street.rig.hosts[2]
    private = vpc.subnet("172.31.240.0/24", public=False)
    hidden = vpc.launch(three, private, "172.31.240.10")
    lone = vpc.launch(three, vpc.ipv6_only_subnet(3), "")
    hidden.bastion = lone.bastion = street.west
    try:
        yield Town(
            street.rig, street.user, vpc, street.subnet, private, street.west, street.east, hidden.booted(), lone
        )
    finally:
        street.user.terminate([hidden.id, lone.id])


def test_public_and_private_subnets(town: Town) -> None:
    assert town.hidden.public_address == ""
    assert town.west.reaches(FAR, 20)
    assert town.west.who_is(town.hidden.address) == town.hidden.id
    assert town.hidden.who_is(town.east.address) == town.east.id
    assert not town.hidden.reaches(FAR)
    with listening(town.rig.internet, FAR, 8080) as server, ThreadPoolExecutor(1) as pool:
        seen = pool.submit(caller_of, server)
        town.west.gets_out(FAR, 8080)
        assert seen.result() == town.west.public_address


def test_a_private_subnet_reaches_buckets(town: Town) -> None:
    """By a gateway endpoint alone: of what its policy lets pass, nothing else, and no longer than it is there."""
    ec2, s3 = town.user.ec2, town.user.account.client("s3", read_timeout=90)
    address, port = town.rig.plan.api_address, town.rig.plan.cloud.http_port
    s3.create_bucket(Bucket="far-from-the-internet")
    s3.put_object(Bucket="far-from-the-internet", Key="k", Body=b"found it")
    inside = replace(town.user.account, endpoint=f"http://{address}:{port}").client("s3")
    by_name = replace(town.user.account, endpoint="http://s3.us-east-1.amazonaws.com").client("s3")
    what = {"Bucket": "far-from-the-internet", "Key": "k"}
    urls = [each.generate_presigned_url("get_object", Params=what) for each in (inside, by_name)]

    def gets(url: str) -> str:
        return town.hidden.run(f"wget -T 10 -qO- '{url}' 2>&1 || true")

    assert "found it" not in gets(urls[0])
    table = town.vpc.table_of(town.private)
    service = "com.amazonaws.us-east-1.s3"
    made = ec2.create_vpc_endpoint(VpcId=town.vpc.id, ServiceName=service, RouteTableIds=[table])["VpcEndpoint"]
    endpoint_id = made["VpcEndpointId"]
    try:
        for url in urls:
            wait_for(lambda url=url: gets(url) == "found it", "the object comes by the endpoint", 60, poll=1)  # type: ignore[misc]  # bound now
        assert not town.hidden.reaches(FAR)
        assert not town.hidden.tries(f"wget -T 5 -qO- http://{address}:{port}/_stead/health")
        nothing = {"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}}
        ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, PolicyDocument=json.dumps(nothing))
        assert "403" in gets(urls[0])
    finally:
        ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
    wait_for(lambda: "found it" not in gets(urls[0]), "nothing comes any more", 60, poll=1)
    assert "vpce-" not in town.hidden.host.place.run("ls", town.rig.plan.cloud.netns_dir).stdout


def test_a_private_subnet_reaches_buckets_at_an_address_of_its_own(town: Town) -> None:
    """By an interface endpoint and the names that are its own, of which there is a certificate."""
    ec2, account = town.user.ec2, town.user.account
    s3 = account.client("s3", read_timeout=90)
    s3.create_bucket(Bucket="near-the-guest")
    s3.put_object(Bucket="near-the-guest", Key="k", Body=b"found it")
    group = town.vpc.new_group("buckets")
    for port in (80, 443):
        allow(town.user, group, "tcp", port, town.vpc.cidr)
    params: dict[str, Any] = {"VpcEndpointType": "Interface", "PrivateDnsEnabled": False, "SubnetIds": [town.private]}
    service = "com.amazonaws.us-east-1.s3"
    made = ec2.create_vpc_endpoint(VpcId=town.vpc.id, ServiceName=service, SecurityGroupIds=[group], **params)
    endpoint = made["VpcEndpoint"]
    name = endpoint["DnsEntries"][0]["DnsName"].replace("*", "bucket", 1)
    plain, secure = (
        replace(account, endpoint=f"{scheme}://{name}")
        .client("s3", signature_version=version, s3={"addressing_style": "virtual"})
        .generate_presigned_url("get_object", Params={"Bucket": "near-the-guest", "Key": "k"}, ExpiresIn=3600)
        for scheme, version in (("http", "s3"), ("https", "s3v4"))
    )
    try:
        hears = f"wget -T 10 -qO- '{plain}' 2>&1 || true"
        wait_for(lambda: town.hidden.run(hears) == "found it", "the object comes by the endpoint", 60, poll=1)
        assert _hears_securely(town, town.hidden, endpoint["NetworkInterfaceIds"][0], secure).endswith("found it")
    finally:
        ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint["VpcEndpointId"]])
    wait_for(lambda: ec2.describe_vpc_endpoints()["VpcEndpoints"] == [], "nothing is left of it", 60)
    ec2.delete_security_group(GroupId=group)


def _hears_securely(town: Town, guest: Inhabitant, interface_id: str, url: str) -> str:
    """Ask an interface as a client that knows the cloud's authority, and return the answer; raises ssl.SSLError.

    The guests' image has no client that verifies certificates: the guest's SSH server makes the connection for one here.
    """
    (interface,) = town.user.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface_id])["NetworkInterfaces"]
    what, context = urlsplit(url), ssl.create_default_context(cafile=str(town.rig.plan.cloud.ca_file))
    request = f"GET {what.path}?{what.query} HTTP/1.1\r\nHost: {what.netloc}\r\nConnection: close\r\n\r\n"
    carried = guest.connection().strict_words("-W", f"{interface['PrivateIpAddress']}:443")
    here, there = socket.socketpair()
    here.settimeout(60)
    with here, subprocess.Popen(carried, stdin=there.fileno(), stdout=there.fileno()) as carrier:
        there.close()
        try:
            with context.wrap_socket(here, server_hostname=what.netloc) as secured:
                secured.sendall(request.encode())
                return b"".join(iter(lambda: secured.recv(65536), b"")).decode()
        finally:
            carrier.terminate()


def test_a_private_subnet_calls_the_api(town: Town) -> None:
    """By an interface endpoint: by the name that clients know, if its group allows it, as its policy says."""
    user, ec2, hidden = town.user, town.user.ec2, town.hidden
    ec2.modify_vpc_attribute(VpcId=town.vpc.id, EnableDnsHostnames={"Value": True})
    group = town.vpc.new_group("endpoint")
    by_name = replace(user.account, endpoint="http://ec2.us-east-1.amazonaws.com").client("ec2")
    url = by_name.generate_presigned_url("describe_vpcs", ExpiresIn=3600, HttpMethod="GET")

    def gets() -> str:
        return hidden.run(f"wget -T 5 -qO- '{url}' 2>&1 || true")

    params: dict[str, Any] = {"ServiceName": "com.amazonaws.us-east-1.ec2", "VpcEndpointType": "Interface"}
    # In one zone are all hosts of the rig; the endpoint's interface is on any of them.
    made = ec2.create_vpc_endpoint(VpcId=town.vpc.id, SubnetIds=[town.public], SecurityGroupIds=[group], **params)
    endpoint_id = made["VpcEndpoint"]["VpcEndpointId"]
    ask = ec2.describe_vpc_endpoints

    def state() -> str:
        return str(ask(VpcEndpointIds=[endpoint_id])["VpcEndpoints"][0]["State"])

    try:
        wait_for(lambda: state() == "available", "the endpoint is available", 60)
        (interface_id,) = made["VpcEndpoint"]["NetworkInterfaceIds"]
        (interface,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface_id])["NetworkInterfaces"]
        address = interface["PrivateIpAddress"]
        resolve = "nslookup ec2.us-east-1.amazonaws.com"
        wait_for(lambda: address in hidden.run(f"{resolve} || true"), "the name resolves to the interface", 60, poll=1)
        assert town.vpc.id not in gets()  # its group lets nobody in
        for port in (80, 443):
            allow(user, group, "tcp", port, town.vpc.cidr)
        wait_for(lambda: town.vpc.id in gets(), "the API answers", 60, poll=1, explain=gets)
        secure = url.replace("http:", "https:", 1)
        assert town.vpc.id in _hears_securely(town, hidden, interface_id, secure)
        with pytest.raises(ssl.SSLCertVerificationError):
            _hears_securely(town, hidden, interface_id, "https://example.com/")
        nothing = {"Statement": {"Effect": "Deny", "Principal": "*", "Action": "ec2:DescribeVpcs", "Resource": "*"}}
        ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, PolicyDocument=json.dumps(nothing))
        assert "403" in gets()
        ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, ResetPolicy=True, PrivateDnsEnabled=False)
        wait_for(lambda: address not in hidden.run(f"{resolve} || true"), "the name is the world's again", 60, poll=1)
        own = made["VpcEndpoint"]["DnsEntries"][0]["DnsName"]
        assert address in hidden.run(f"nslookup {own}")
    finally:
        ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint_id])
    wait_for(lambda: ask()["VpcEndpoints"] == [], "nothing is left of it", 60)
    for host in town.rig.hosts:
        assert "eni-" not in host.place.run("ls", town.rig.plan.cloud.netns_dir).stdout
    ec2.delete_security_group(GroupId=group)


def test_ipv6_between_hosts_and_to_metadata(town: Town) -> None:
    """Guests have by DHCPv6 the address that EC2 shows, and their gateway from the router's advertisement."""
    guests = (town.west, town.east, town.hidden)
    assert len({guest.ipv6_address for guest in guests}) == 3
    for guest in guests:
        assert f"inet6 {guest.ipv6_address}/128" in guest.run("ip -6 addr show dev eth0")
    assert "default via fe80::" in town.west.run("ip -6 route")
    assert town.west.who_is(town.east.ipv6_address) == town.east.id
    assert town.east.who_is(town.hidden.ipv6_address) == town.hidden.id
    assert town.hidden.reaches(town.west.ipv6_address, 20)
    before = fragments(town.rig)
    payload = town.rig.plan.guest_mtu - 48  # less IPv6 and ICMPv6
    assert town.west.tries(f"ping -c 3 -W 10 -s {payload} {town.east.ipv6_address}")
    assert fragments(town.rig) == before
    metadata = "export IMDS_URL='http://[fd00:ec2::254]'; IMDS_TOKEN=$(imds token) && export IMDS_TOKEN"
    for guest in (town.west, town.hidden):
        assert guest.run(f"{metadata} && imds get meta-data/instance-id").strip() == guest.id
    # A rule of the other IP version does not let it in.
    group = town.vpc.new_group("ipv4-only")
    allow(town.user, group, "-1", 0, town.vpc.cidr)
    town.user.ec2.modify_instance_attribute(InstanceId=town.east.id, Groups=[group])
    try:
        wait_for(lambda: not town.west.reaches(town.east.ipv6_address), "IPv6 is let in no more", 10)
        assert town.west.reaches(town.east.address, 20)
    finally:
        town.user.ec2.modify_instance_attribute(InstanceId=town.east.id, Groups=[town.vpc.group])
    wait_for(lambda: town.west.reaches(town.east.ipv6_address), "all is as before", 10)


def test_a_guest_without_ipv4(town: Town) -> None:
    """It has address, key and user data by IPv6 alone, is logged in to by way of another, and its groups hold."""
    user, west, east = town.user, town.west, town.east
    lone = town.lone.booted()
    assert "PrivateIpAddress" not in user.describe(lone.id)
    assert "inet " not in lone.run("ip -4 addr show dev eth0")
    assert f"inet6 {lone.ipv6_address}/128" in lone.run("ip -6 addr show dev eth0")
    assert lone.run("imds get meta-data/ipv6").strip() == lone.ipv6_address
    user.wait("instance_status_ok", [lone.id])
    for neighbour in (east, town.hidden):  # of another host, and its own
        assert lone.reaches(neighbour.ipv6_address, 20)
        assert lone.who_is(neighbour.ipv6_address) == neighbour.id
    assert west.who_is(lone.ipv6_address) == lone.id

    group = town.vpc.new_group("web-of-west")
    allow(user, group, "tcp", 80, f"{west.ipv6_address}/128")
    user.ec2.modify_instance_attribute(InstanceId=lone.id, Groups=[group])
    try:
        wait_for(lambda: not west.reaches(lone.ipv6_address), "pings are let in no more", 10)
        assert west.who_is(lone.ipv6_address) == lone.id
        assert east.who_is(lone.ipv6_address, 4) == ""
    finally:
        user.ec2.modify_instance_attribute(InstanceId=lone.id, Groups=[town.vpc.group])
    wait_for(lambda: west.reaches(lone.ipv6_address), "all is as before", 10)


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
            town.hidden.gets_out(FAR, 8081)
            assert seen.result() == elastic["PublicIp"]
        assert town.hidden.reaches(FAR, 20)
        assert not ssh.answers(elastic["PublicIp"])
        assert town.hidden.who_is(town.east.address) == town.east.id
    finally:
        with suppress(ec2.exceptions.ClientError):  # it may never have been made
            ec2.delete_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE)
        ec2.delete_nat_gateway(NatGatewayId=nat)
        ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[nat], WaiterConfig=FAST)
        ec2.release_address(AllocationId=elastic["AllocationId"])
    assert not town.hidden.reaches(FAR)


def _peer(user: RigUser, one: Vpc, two: Vpc) -> str:
    """Make a peering that both sides want; routes are not in it."""
    made = user.ec2.create_vpc_peering_connection(VpcId=one.id, PeerVpcId=two.id)["VpcPeeringConnection"]
    user.ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=made["VpcPeeringConnectionId"])
    return made["VpcPeeringConnectionId"]


def _route(vpc: Vpc, subnet: str, block: str, peering: str) -> None:
    """Lead a subnet's packets to a block into a peering."""
    table = vpc.table_of(subnet)
    vpc.user.ec2.create_route(RouteTableId=table, DestinationCidrBlock=block, VpcPeeringConnectionId=peering)


def test_peered_vpcs_talk_where_routes_say_so(town: Town) -> None:
    """Routes on both sides open the way, for the subnets that have them; who is peered with a peer is not peered."""
    user, ec2 = town.user, town.user.ec2
    second, third = new_vpc(user, "10.20.0.0/16"), new_vpc(user, "10.30.0.0/16")
    subnets = {vpc.id: vpc.subnet(f"{vpc.cidr[:5]}.1.0/24", public=True) for vpc in (second, third)}
    for vpc, others in ((town.vpc, (second, third)), (second, (town.vpc, third)), (third, (town.vpc, second))):
        for other in others:  # groups let all in: what does not arrive is not let through on its way
            allow(user, vpc.group, "-1", 0, other.cidr)
    peer = second.launch(town.rig.hosts[2], subnets[second.id], "10.20.1.10")
    far = third.launch(town.rig.hosts[0], subnets[third.id], "10.30.1.10")
    for guest in (peer, far):
        guest.booted()
    assert not town.west.reaches(peer.address)

    peering, other_peering = _peer(user, town.vpc, second), _peer(user, second, third)
    _route(town.vpc, town.public, second.cidr, peering)
    _route(second, subnets[second.id], town.vpc.cidr, peering)
    _route(second, subnets[second.id], third.cidr, other_peering)
    _route(third, subnets[third.id], second.cidr, other_peering)
    wait_for(lambda: town.west.who_is(peer.address) == peer.id, "the peer on another host is reached", 15)
    wait_for(lambda: far.who_is(peer.address) == peer.id, "and from the third VPC", 15)
    assert peer.who_is(town.east.address) == town.east.id
    assert peer.who_is(far.address) == far.id
    assert town.east.who_is(peer.address) == peer.id
    # The private subnet's table has no such route.
    assert not town.hidden.reaches(peer.address)

    # The ends have routes to each other through the second VPC, which is peered with both: it is no way.
    _route(town.vpc, town.public, third.cidr, peering)
    _route(third, subnets[third.id], town.vpc.cidr, other_peering)
    for one, two in ((town.west, far), (far, town.west), (far, town.east)):
        assert not one.reaches(two.address), f"{one.id} reaches {two.id}"
    assert town.west.who_is(peer.address) == far.who_is(peer.address) == peer.id

    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    wait_for(lambda: not town.west.reaches(peer.address), "the way is closed", 15)
    assert far.who_is(peer.address) == peer.id
    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=other_peering)
    for block in (second.cidr, third.cidr):
        ec2.delete_route(RouteTableId=town.vpc.table_of(town.public), DestinationCidrBlock=block)
    user.terminate([peer.id, far.id])
