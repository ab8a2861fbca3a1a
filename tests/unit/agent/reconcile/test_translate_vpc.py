"""Resources become what the network, the firewall and DHCP ask for."""

from pathlib import Path

import pytest

from stead_agent.dhcp.interface import DnsDomain, DnsName
from stead_agent.endpoints.interface import Endpoint
from stead_agent.firewall import interface as firewall
from stead_agent.network.interface import (
    Bandwidth,
    GatewayEndpoint,
    NatGateway,
    Peer,
    RemoteInterface,
    RouteTo,
    TableRoute,
    router_mark,
)
from stead_agent.reconcile import translate_vpc
from stead_agent.reconcile.plan import VpcContents, contents_of_vpc
from stead_agent.reconcile.translate_vpc import Beyond, Memory, VpcSettings
from stead_agent.wanted import key_of
from stead_proto.v1 import desired_pb2 as pb
from tests.support import desired_states as make


def _contents(*resources: pb.Resource) -> VpcContents:
    return contents_of_vpc({key: each for each in resources if (key := key_of(each))}, {}, [])


_OUT = pb.Route(destination="0.0.0.0/0", internet_gateway=True)
_REMOTE = RemoteInterface("eni-9", "02:00:00:00:00:09", ("10.1.0.9", "fd00::9"), "192.0.2.9", is_router=True)


def test_a_vpc_for_the_network() -> None:
    contents = _contents(make.subnet(), make.route_table(_OUT), make.interface("eni-1", "i-1", public="198.18.0.7"))
    vpc = translate_vpc.vpc_network(make.vpc(), contents, Beyond(), VpcSettings(mtu=1450), Memory())
    assert (vpc.vpc_id, vpc.vni, vpc.cidrs, vpc.mtu) == ("vpc-1", 1, ("10.1.0.0/16",), 1450)
    assert [(each.id, each.cidr) for each in vpc.subnets] == [("subnet-1", "10.1.0.0/20")]
    assert vpc.interfaces[0].addresses == ("10.1.0.5",)
    assert vpc.interfaces[0].public_addresses[0].public == "198.18.0.7"
    assert vpc.interfaces[0].bandwidth == Bandwidth("i-1", "vpc-1", 100, 1000)
    assert [each.routes for each in vpc.route_tables if each.id == vpc.subnets[0].route_table_id] == [
        (TableRoute("0.0.0.0/0", RouteTo.INTERNET),)
    ]


@pytest.mark.parametrize(
    "resource",
    [make.interface("eni-1", "i-1", bandwidth=None), make.interface("eni-1", "")],
    ids=["of a controller of an earlier release", "of no instance"],
)
def test_an_interface_without_bandwidth_is_not_limited(resource: pb.Resource) -> None:
    vpc = translate_vpc.vpc_network(make.vpc(), _contents(make.subnet(), resource), Beyond(), VpcSettings(), Memory())
    assert vpc.interfaces[0].bandwidth is None


def test_only_subnets_with_interfaces_here_are_made() -> None:
    other = make.subnet("subnet-7")
    contents = _contents(make.subnet(), other, make.interface("eni-1", "i-1"))
    vpc = translate_vpc.vpc_network(make.vpc(), contents, Beyond(), VpcSettings(), Memory())
    assert [each.id for each in vpc.subnets] == ["subnet-1"]
    assert len(translate_vpc.vpc_firewall(make.vpc(), contents, Beyond(), Memory()).subnets) == 1


def test_routes_whose_target_is_not_here_lead_nowhere() -> None:
    table = make.route_table(
        pb.Route(destination="0.0.0.0/0", internet_gateway=True),
        pb.Route(destination="::/0", egress_only_gateway=True),
        pb.Route(destination="10.7.0.0/16", interface_id="eni-9"),
        pb.Route(destination="10.8.0.0/16", interface_id="eni-1"),  # checks its source: cannot route
        pb.Route(destination="10.2.0.0/16", peer_vpc_id="vpc-2"),
        pb.Route(destination="10.3.0.0/16", peer_vpc_id="vpc-3"),
        pb.Route(destination="10.9.0.0/16", blackhole=True),
    )
    contents = _contents(make.subnet(), make.interface("eni-1", "i-1"), table)
    beyond = Beyond(remotes=(_REMOTE,), routers=frozenset({_REMOTE.id}), peers=frozenset({"vpc-2"}))
    (found,) = translate_vpc.vpc_network(make.vpc(), contents, beyond, VpcSettings(), Memory()).route_tables
    assert found.routes == (
        TableRoute("0.0.0.0/0", RouteTo.INTERNET),
        TableRoute("::/0", RouteTo.EGRESS_ONLY),
        TableRoute("10.7.0.0/16", RouteTo.INTERFACE, "eni-9"),
        TableRoute("10.8.0.0/16", RouteTo.NOWHERE),
        TableRoute("10.2.0.0/16", RouteTo.PEER, "vpc-2"),
        TableRoute("10.3.0.0/16", RouteTo.NOWHERE),
        TableRoute("10.9.0.0/16", RouteTo.NOWHERE),
    )


def test_from_outside_only_where_an_internet_gateway_is_routed_to() -> None:
    def opened(*routes: pb.Route) -> tuple[bool, bool]:
        contents = _contents(make.subnet(), make.interface("eni-1", "i-1"), make.route_table(*routes))
        (subnet,) = translate_vpc.vpc_firewall(make.vpc(), contents, Beyond(), Memory()).subnets
        return subnet.internet, subnet.ipv6_internet

    assert opened() == (False, False)
    assert opened(pb.Route(destination="0.0.0.0/0", internet_gateway=True)) == (True, False)
    assert opened(pb.Route(destination="::/0", internet_gateway=True)) == (False, True)
    assert opened(pb.Route(destination="::/0", egress_only_gateway=True)) == (False, False)


def test_peers_and_nat_gateways() -> None:
    peering = pb.Peering(vpc_id="vpc-1", peer_vpc_id="vpc-2", peering_id="pcx-1", peer_cidr_blocks=["10.2.0.0/16"])
    resources = (
        make.subnet(),
        make.interface("eni-1", ""),
        pb.Resource(id="pcx-1:vpc-1", peering=peering),
        pb.Resource(id="nat-1", nat_gateway=pb.NatGateway(vpc_id="vpc-1", interface_id="eni-1")),
    )
    contents = _contents(*resources)
    away = translate_vpc.vpc_network(make.vpc(), contents, Beyond(), VpcSettings(), Memory())
    here = translate_vpc.vpc_network(make.vpc(), contents, Beyond(peers=frozenset({"vpc-2"})), VpcSettings(), Memory())
    assert away.peers == ()
    assert here.peers == (Peer("pcx-1", "vpc-2", ("10.2.0.0/16",)),)
    assert here.nat_gateways == (NatGateway("nat-1", "eni-1"),)
    rules = translate_vpc.vpc_firewall(make.vpc(), contents, Beyond(peers=frozenset({"vpc-2"})), Memory())
    assert [each.cidrs for each in rules.peers] == [("10.2.0.0/16",)]


def test_endpoints_that_routes_of_subnets_here_lead_to() -> None:
    """Of the others nothing is made here: neither a namespace, nor who listens, nor a name."""
    endpoint = pb.VpcEndpoint(
        vpc_id="vpc-1",
        service="s3",
        addresses=["198.18.0.1"],
        ports=[80, 443],
        controller_port=8777,
        names=["s3.us-east-1.amazonaws.com"],
    )
    used, unused = (pb.Resource(id=each, vpc_endpoint=endpoint) for each in ("vpce-1", "vpce-2"))
    table = make.route_table(pb.Route(destination="198.18.0.1/32", vpc_endpoint_id="vpce-1"))
    contents = _contents(make.subnet(), make.interface("eni-1", "i-1"), table, used, unused)
    vpc = translate_vpc.vpc_network(make.vpc(), contents, Beyond(), VpcSettings(), Memory())
    assert vpc.endpoints == (GatewayEndpoint("vpce-1", ("198.18.0.1",)),)
    assert vpc.route_tables[0].routes == (TableRoute("198.18.0.1/32", RouteTo.ENDPOINT, "vpce-1"),)
    (served,) = translate_vpc.vpc_endpoints(contents, lambda each: Path("/run/netns") / each)
    assert served == Endpoint("vpce-1", Path("/run/netns/vpce-1"), (80, 443), 8777)
    dhcp = translate_vpc.vpc_dhcp(make.vpc(), contents, Beyond(), VpcSettings(), Memory(), namespace=Path("/n"))
    assert dhcp.domains == (DnsDomain("s3.us-east-1.amazonaws.com", "198.18.0.1"),)
    elsewhere = _contents(make.subnet(), make.interface("eni-1", "i-1"), make.route_table(), used)
    assert translate_vpc.used_endpoints(elsewhere) == ()


def test_interfaces_of_endpoints() -> None:
    """Who listens is at the interfaces that are here; names are for all guests, the service's own where names are."""
    own, private = "vpce-1-0a.ec2.us-east-1.vpce.amazonaws.com", "ec2.us-east-1.amazonaws.com"
    endpoint = pb.VpcEndpoint(
        vpc_id="vpc-1",
        service="ec2",
        ports=[80, 443],
        controller_port=8777,
        interface_names=[
            pb.EndpointName(name=own, addresses=["10.1.0.77", "10.1.9.77"]),
            pb.EndpointName(name=private, addresses=["10.1.0.77"], is_private=True),
        ],
    )
    known = pb.Resource(id="vpce-1", vpc_endpoint=endpoint)
    places = [
        pb.Resource(id=each, endpoint_interface=pb.EndpointInterface(vpc_id="vpc-1", endpoint_id=of))
        for each, of in (("eni-1", "vpce-1"), ("eni-2", "vpce-unknown"))
    ]
    contents = _contents(make.subnet(), make.interface("eni-1", ""), make.route_table(), known, *places)
    assert {key_of(each) for each in contents.parts} >= {key_of(each) for each in places}
    vpc = translate_vpc.vpc_network(make.vpc(), contents, Beyond(), VpcSettings(), Memory())
    assert (vpc.endpoint_interfaces, vpc.endpoints) == ({"eni-1", "eni-2"}, ())
    (served,) = translate_vpc.vpc_endpoints(contents, lambda each: Path("/run/netns") / each)
    assert served == Endpoint("vpce-1", Path("/run/netns/eni-1"), (80, 443), 8777)
    made = make.vpc()
    for has_names, expected in ((False, {own}), (True, {own, private})):
        made.vpc.dns_hostnames = has_names
        dhcp = translate_vpc.vpc_dhcp(made, contents, Beyond(), VpcSettings(), Memory(), namespace=Path("/n"))
        assert {each.name for each in dhcp.domains} == expected
        assert [each.address for each in dhcp.domains if each.name == own] == ["10.1.0.77", "10.1.9.77"]


def test_a_service_with_both_types_of_endpoints() -> None:
    """Its name leads to the interface endpoint where that has it, and the gateway endpoint's route is left alone."""
    name = "s3.us-east-1.amazonaws.com"
    by_route = pb.VpcEndpoint(vpc_id="vpc-1", service="s3", addresses=["198.18.0.1"], names=[name])
    private = pb.EndpointName(name=name, addresses=["10.1.0.77"], is_private=True)
    plugged = pb.VpcEndpoint(vpc_id="vpc-1", service="s3", interface_names=[private])
    known = (pb.Resource(id="vpce-1", vpc_endpoint=by_route), pb.Resource(id="vpce-2", vpc_endpoint=plugged))
    table = make.route_table(pb.Route(destination="198.18.0.1/32", vpc_endpoint_id="vpce-1"))
    contents = _contents(make.subnet(), make.interface("eni-1", "i-1"), table, *known)
    made = make.vpc()
    for has_names, expected in ((True, "10.1.0.77"), (False, "198.18.0.1")):
        made.vpc.dns_hostnames = has_names
        dhcp = translate_vpc.vpc_dhcp(made, contents, Beyond(), VpcSettings(), Memory(), namespace=Path("/n"))
        assert dhcp.domains == (DnsDomain(name, expected),)


def test_a_vpc_for_the_firewall() -> None:
    group = make.group()
    group.security_group.rules.append(
        pb.SecurityGroupRule(id="sgr-g", protocol="udp", from_port=53, to_port=53, group_id="sg-2")
    )
    group.security_group.rules.append(
        pb.SecurityGroupRule(
            id="sgr-p",
            protocol="-1",
            prefix_list=pb.PrefixListPeer(id="pl-1", cidr_blocks=["192.0.2.0/24", "fd00::/64"]),
        )
    )
    unused = make.group("sg-9")
    router = make.interface("eni-2", "i-2", number=6)
    router.interface.source_dest_check = False
    for timeout, seconds in (("tcp_established_timeout", 350), ("udp_timeout", 45), ("udp_stream_timeout", 90)):
        setattr(router.interface, timeout, seconds)
    contents = _contents(make.subnet(), make.route_table(_OUT), group, unused, make.interface("eni-1", "i-1"), router)
    beyond = Beyond(members={"sg-2": frozenset({"10.1.0.5", "fd00::5"})})
    vpc = translate_vpc.vpc_firewall(make.vpc(), contents, beyond, Memory())
    assert [each.id for each in vpc.groups] == ["sg-1", "sg-2"]
    assert [rule.peer for rule in vpc.groups[0].rules] == ["0.0.0.0/0", "0.0.0.0/0", "sg-2", "pl-1"]
    assert vpc.groups[0].rules[3].blocks == ("192.0.2.0/24", "fd00::/64")
    assert [rule.egress for rule in vpc.groups[0].rules] == [False, True, False, False]
    assert vpc.groups[1].members == {"10.1.0.5", "fd00::5"}
    assert vpc.subnets[0].internet
    assert vpc.interfaces[0].subnet_link == vpc.subnets[0].link
    assert [each.router_mark for each in vpc.interfaces] == [0, router_mark("eni-2")]
    assert [each.idle_timeouts for each in vpc.interfaces] == [
        firewall.IdleTimeouts(),
        firewall.IdleTimeouts(tcp_established=350, udp=45, udp_stream=90),
    ]
    assert vpc.resolvers == {"169.254.169.253", "10.1.0.2"}


def test_acls_and_flow_logs_of_what_is_here() -> None:
    subnet = make.subnet()
    subnet.subnet.network_acl_id = "acl-1"
    entry = pb.NetworkAclEntry(
        rule_number=100, allow=True, protocol="6", cidr_block="0.0.0.0/0", from_port=22, to_port=22
    )
    acls = [
        pb.Resource(id=each, network_acl=pb.NetworkAcl(vpc_id="vpc-1", entries=[entry])) for each in ("acl-1", "acl-2")
    ]
    log = pb.FlowLog(vpc_id="vpc-1", resource_id="subnet-1", accepted=True)
    contents = _contents(subnet, *acls, make.interface("eni-1", "i-1"), pb.Resource(id="fl-1", flow_log=log))
    vpc = translate_vpc.vpc_firewall(make.vpc(), contents, Beyond(), Memory())
    assert vpc.subnets[0].acl_id == "acl-1"
    assert [each.id for each in vpc.acls] == ["acl-1"]
    assert (vpc.acls[0].entries[0].rule_number, vpc.acls[0].entries[0].from_port) == (100, 22)
    assert (vpc.flow_logs[0].interface_ids, vpc.flow_logs[0].accepted, vpc.flow_logs[0].rejected) == (
        {"eni-1"},
        True,
        False,
    )
    logged = translate_vpc.vpc_flow_logs(make.vpc(), contents)
    assert (logged.logs[0].interface_ids, logged.logs[0].aggregation_seconds) == ({"eni-1"}, 600)
    assert [it.id for it in logged.interfaces] == ["eni-1"]


def test_other_hosts_may_send_to_this_one() -> None:
    body = pb.HostNetwork(
        public_pools=["198.18.0.0/24"], host_address="198.18.0.3", underlay_addresses=["192.0.2.1", "192.0.2.2"]
    )
    resource = pb.Resource(id="host-network", host_network=body)
    wanted = translate_vpc.host_network(resource, "none", "192.0.2.1")
    assert (wanted.host_address, wanted.underlay_address) == ("198.18.0.3", "192.0.2.1")
    found = translate_vpc.network.HostPaths(None, "198.18.0.3", (), is_router=False)
    rules = translate_vpc.host_firewall(resource, wanted, found)
    assert (rules.underlay_address, rules.underlay_peers) == ("192.0.2.1", {"192.0.2.2"})


def test_without_dns_no_name_is_resolved() -> None:
    vpc = make.vpc()
    vpc.vpc.dns_support = False
    contents = _contents(make.subnet(), make.interface("eni-1", "i-1"))
    wanted = translate_vpc.vpc_dhcp(vpc, contents, Beyond(), VpcSettings(), Memory(), namespace=Path("/ns"))
    assert wanted.dns_servers == ()
    assert wanted.resolver_addresses == ()
    assert translate_vpc.vpc_firewall(vpc, contents, Beyond(), Memory()).resolvers == frozenset()


def test_guests_with_ipv6_may_ask_the_resolver_by_it() -> None:
    subnet, silent = make.subnet(), make.vpc()
    contents = _contents(subnet, make.interface("eni-1", "i-1"))
    assert "fd00:ec2::253" not in translate_vpc.vpc_firewall(make.vpc(), contents, Beyond(), Memory()).resolvers
    subnet.subnet.ipv6_cidr_block = "fd00:5:0:1::/64"
    assert "fd00:ec2::253" in translate_vpc.vpc_firewall(make.vpc(), contents, Beyond(), Memory()).resolvers
    silent.vpc.dns_support = False
    assert translate_vpc.vpc_firewall(silent, contents, Beyond(), Memory()).resolvers == frozenset()


def test_dhcp_hands_out_the_vpcs_resolver() -> None:
    settings = VpcSettings(mtu=1450, upstreams=("9.9.9.9",))
    contents = _contents(make.subnet(), make.interface("eni-1", "i-1"))
    beyond = Beyond(names=(DnsName("ip-10-1-0-9.internal", "10.1.0.9"),))
    wanted = translate_vpc.vpc_dhcp(make.vpc(), contents, beyond, settings, Memory(), namespace=Path("/ns"))
    assert wanted.dns_servers == ("10.1.0.2",)
    assert (wanted.mtu, wanted.upstreams, wanted.domain) == (1450, ("9.9.9.9",), "internal")
    assert wanted.subnets[0].gateway == "10.1.0.1"
    assert (wanted.hosts[0].address, wanted.hosts[0].name) == ("10.1.0.5", "ip-10-1-0-5.internal")
    assert wanted.names == beyond.names
    assert (wanted.gives_names, wanted.hosts[0].host_name) == (True, "ip-10-1-0-5")


def test_dhcp_gives_the_host_name_and_a_vpc_without_host_names_resolves_none() -> None:
    vpc, interface = make.vpc(), make.interface("eni-1", "i-1")
    vpc.vpc.dns_hostnames = False
    interface.interface.host_name = "i-1.internal"
    contents = _contents(make.subnet(), interface)
    wanted = translate_vpc.vpc_dhcp(vpc, contents, Beyond(), VpcSettings(), Memory(), namespace=Path("/ns"))
    assert (wanted.hosts[0].host_name, wanted.hosts[0].name) == ("i-1", "ip-10-1-0-5.internal")
    assert not wanted.gives_names


def test_only_what_changed_is_translated_again() -> None:
    memory = Memory()
    group, interface = make.group(), make.interface("eni-1", "i-1")

    def rules(group: pb.Resource) -> object:
        return translate_vpc.vpc_firewall(make.vpc(), _contents(group, interface), Beyond(), memory).groups[0].rules

    first = rules(group)
    assert rules(group) is first
    assert rules(make.group(port=80)) is not first


def test_a_subnet_of_ipv6_only_has_no_ipv4_anywhere() -> None:
    subnet, interface = make.subnet(), make.interface("eni-1", "i-1")
    subnet.subnet.cidr_block = interface.interface.private_address = interface.interface.private_dns_name = ""
    subnet.subnet.ipv6_cidr_block = "fd00:5:0:1::/64"
    interface.interface.ipv6_addresses.append("fd00:5:0:1::5")
    interface.interface.host_name = "i-1.internal"
    flow_log = pb.Resource(id="fl-1", flow_log=pb.FlowLog(vpc_id="vpc-1", resource_id="eni-1"))
    contents = _contents(subnet, interface, flow_log)
    vpc = translate_vpc.vpc_network(make.vpc(), contents, Beyond(), VpcSettings(), Memory())
    assert [(each.cidr, each.ipv6_cidr) for each in vpc.subnets] == [("", "fd00:5:0:1::/64")]
    assert [(each.addresses, each.ipv6_addresses) for each in vpc.interfaces] == [((), ("fd00:5:0:1::5",))]
    rules = translate_vpc.vpc_firewall(make.vpc(), contents, Beyond(), Memory())
    assert [(each.addresses, each.ipv6_addresses) for each in rules.interfaces] == [((), ("fd00:5:0:1::5",))]
    assert rules.resolvers == {"fd00:ec2::253", "169.254.169.253", "10.1.0.2"}  # the VPC has IPv4 all the same
    (logged,) = translate_vpc.vpc_flow_logs(make.vpc(), contents).interfaces
    assert logged.addresses == ("fd00:5:0:1::5",)
    dhcp = translate_vpc.vpc_dhcp(make.vpc(), contents, Beyond(), VpcSettings(), Memory(), namespace=Path("/ns"))
    assert [(each.cidr_block, each.gateway) for each in dhcp.subnets] == [("", "")]
    assert [(each.address, each.host_name) for each in dhcp.hosts] == [("", "i-1")]
    assert (dhcp.ipv6_dns_servers, dhcp.ipv6_resolver_addresses) == (("fd00:ec2::253",), ("fd00:ec2::253",))
