"""Each component that can stop traffic is named with its id and EC2's code; what nothing stops gets there and back."""

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.resources.network.reachability.explain import Gateway, Question, explain
from stead_controller.resources.network.reachability.facts import AclRule, Route
from stead_controller.resources.network.reachability.packet import EPHEMERAL, Packet, overlap, without
from stead_controller.resources.network.reachability.rules import ask_acl
from tests.support.reachable_networks import EVERYTHING, OPEN_ACL, OUT, add_interface, add_nat, allow, two_vpcs


@pytest.fixture
def network():
    return two_vpcs()


def ask(network, sender_name, target, port=22, protocol="6", **changes):
    """Ask from one interface to another (to its first address) or to an address."""
    sender = network.interfaces[f"eni-{sender_name}"]
    receiver = network.interfaces.get(f"eni-{target}")
    address = receiver.addresses[0] if receiver else target
    packet = Packet(protocol, sender.addresses[0], address, ((port, port),))
    return explain(network, Question(replace(packet, **changes), sender, receiver))


def codes(verdict):
    return [(reason.code, reason.component_id) for reason in verdict.reasons]


def passed(hops):
    return [hop.component_id for hop in hops]


def test_within_a_vpc(network):
    network.let_in("sg-dba", allow("sgr-1", first=20, last=25))
    verdict = ask(network, "weba", "dba")
    assert verdict.reachable
    assert passed(verdict.forward) == ["eni-weba", "sg-weba", "rtb-a1", "acl-a1", "acl-a2", "sg-dba", "eni-dba"]
    assert passed(verdict.back) == ["eni-dba", "rtb-a2", "acl-a2", "acl-a1", "eni-weba"]
    assert (verdict.reasons, verdict.warnings) == ((), ())
    assert verdict.forward[5].group_rule.id == "sgr-1"


def test_within_a_subnet_no_acl_is_asked(network):
    add_interface(network, "peer", "subnet-a1", "10.1.1.11", group_ids=("sg-dba",))
    network.let_in("sg-dba", allow("sgr-1"))
    network.set_acl("acl-a1")
    verdict = ask(network, "weba", "peer")
    assert verdict.reachable
    assert "acl-a1" not in passed(verdict.forward + verdict.back)


def test_groups(network):
    verdict = ask(network, "weba", "dba")
    assert codes(verdict) == [("SG_HAS_NO_RULES", "eni-dba")]
    (reason,) = verdict.reasons
    assert (reason.direction, reason.group_ids) == ("ingress", ("sg-dba",))
    assert "(sg-dba) of eni-dba of i-dba allows TCP from 10.1.1.10 to 10.1.2.20 port 22" in reason.sentence
    network.let_in(
        "sg-dba", allow("sgr-1", first=23, last=99), allow("sgr-2", "17"), allow("s", blocks=("10.9.0.0/16",))
    )
    assert codes(ask(network, "weba", "dba")) == [("ENI_SG_RULES_MISMATCH", "eni-dba")]
    network.change("groups", "sg-weba", rules=())
    verdict = ask(network, "weba", "dba")
    assert codes(verdict) == [("SG_HAS_NO_RULES", "eni-weba"), ("ENI_SG_RULES_MISMATCH", "eni-dba")]
    assert verdict.reasons[0].direction == "egress"


def test_references_to_groups(network):
    network.let_in("sg-dba", allow("sgr-1", blocks=(), group_id="sg-weba"))
    assert ask(network, "weba", "dba").reachable
    network.change("groups", "sg-weba", rules=(replace(OUT, blocks=(), group_id="sg-dba"),))
    assert ask(network, "weba", "dba").reachable
    network.change("interfaces", "eni-weba", group_ids=("sg-dba",))
    assert codes(ask(network, "weba", "dba")) == [("ENI_SG_RULES_MISMATCH", "eni-dba")]


def test_acls_there_and_back(network):
    network.let_in("sg-dba", allow("sgr-1"))
    deny = AclRule(50, False, False, "6", "10.1.1.0/24", 20, 30)
    network.set_acl("acl-a2", deny, *OPEN_ACL)
    verdict = ask(network, "weba", "dba")
    assert codes(verdict) == [("SUBNET_ACL_RESTRICTION", "acl-a2")]
    assert (verdict.reasons[0].acl_rule, verdict.reasons[0].direction) == (deny, "ingress")
    assert "Rule 50 of network ACL acl-a2 denies" in verdict.reasons[0].sentence
    # Only the service's port is let in and out: answers to ephemeral ports are forgotten, as people do.
    ssh = AclRule(100, False, True, "6", "0.0.0.0/0", 22, 22)
    network.set_acl("acl-a2", ssh, replace(ssh, egress=True))
    verdict = ask(network, "weba", "dba")
    (reason,) = verdict.reasons
    assert (reason.code, reason.reply, reason.direction) == ("SUBNET_ACL_RESTRICTION", True, "egress")
    assert "The final rule (*)" in reason.sentence
    assert f"port {EPHEMERAL[0]}-{EPHEMERAL[1]}" in reason.sentence


def test_answers_to_some_ports_only_are_warned_of(network):
    network.let_in("sg-dba", allow("sgr-1"))
    network.set_acl("acl-a2", EVERYTHING, AclRule(100, True, True, "6", "0.0.0.0/0", 49152, 65535))
    verdict = ask(network, "weba", "dba")
    assert verdict.reachable
    (warning,) = verdict.warnings
    assert "49152-60999" in warning


def test_to_the_internet_and_back(network):
    verdict = ask(network, "weba", "203.0.113.5", 443)
    assert verdict.reachable
    assert verdict.forward[-1].component_id == "igw-a"
    assert verdict.forward[-1].packet.source == "198.18.1.10"
    assert passed(verdict.back) == ["igw-a", "acl-a1", "eni-weba"]
    network.change("interfaces", "eni-weba", public={})
    assert codes(ask(network, "weba", "203.0.113.5")) == [("IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS", "igw-a")]
    assert codes(ask(network, "dba", "203.0.113.5")) == [("NO_ROUTE_TO_DESTINATION", "rtb-a2")]


def test_private_destinations_do_not_go_to_the_internet(network):
    code = "IGW_DESTINATION_ADDRESS_NOT_IN_RFC1918_EGRESS"
    assert codes(ask(network, "weba", "192.168.1.1")) == [(code, "igw-a")]


def test_through_a_nat_gateway_and_back(network):
    add_nat(network, "nata", "subnet-a1", "10.1.1.99", "198.18.1.99")
    network.add_route("rtb-a2", "0.0.0.0/0", "natgateway", "nat-nata")
    verdict = ask(network, "dba", "203.0.113.5", 443)
    assert verdict.reachable, verdict.reasons
    assert verdict.forward[-1].packet.source == "198.18.1.99"
    assert passed(verdict.back) == [
        "igw-a", "acl-a1", "eni-nata", "eni-nata", "rtb-a1", "acl-a1", "acl-a2", "eni-dba",
    ]  # fmt: skip
    network.change("nat_gateways", "nat-nata", state="pending")
    assert codes(ask(network, "dba", "203.0.113.5")) == [("BAD_STATE", "nat-nata")]


def test_a_nat_gateway_in_a_private_subnet(network):
    add_nat(network, "nata", "subnet-a2", "10.1.2.99", "198.18.1.99")
    network.add_route("rtb-a2", "0.0.0.0/0", "natgateway", "nat-nata")
    assert codes(ask(network, "dba", "203.0.113.5")) == [("CANNOT_ROUTE", "eni-nata")]


def test_an_acl_that_stops_answers_at_the_nat_gateway(network):
    add_nat(network, "nata", "subnet-a1", "10.1.1.99", "198.18.1.99")
    network.add_route("rtb-a2", "0.0.0.0/0", "natgateway", "nat-nata")
    network.set_acl("acl-a1", AclRule(1, False, True, "-1", "10.0.0.0/8"), replace(EVERYTHING, egress=True))
    (reason,) = ask(network, "dba", "203.0.113.5").reasons
    assert (reason.code, reason.component_id, reason.reply) == ("SUBNET_ACL_RESTRICTION", "acl-a1", True)


def test_blackholes_and_longest_prefixes(network):
    network.add_route("rtb-a1", "203.0.113.0/24", "natgateway", "nat-gone", dead=True)
    assert codes(ask(network, "weba", "203.0.113.5")) == [("BAD_STATE_ROUTE", "rtb-a1")]
    assert ask(network, "weba", "203.0.114.5").reachable


def test_no_interface_has_the_address(network):
    assert codes(ask(network, "weba", "10.1.2.77")) == [("NO_POSSIBLE_DESTINATION", "vpc-a")]


def test_a_stopped_instance(network):
    network.let_in("sg-dba", allow("sgr-1"))
    network.change("interfaces", "eni-dba", down="the instance is stopped")
    (reason,) = ask(network, "weba", "dba").reasons
    assert (reason.code, reason.component_id) == ("BAD_STATE", "eni-dba")
    assert "the instance is stopped" in reason.sentence


def peer_both(network):
    network.peerings["pcx-1"] = ("vpc-a", "vpc-b")
    for table, destination in [("rtb-a1", "10.2.0.0/16"), ("rtb-b2", "10.1.0.0/16")]:
        network.add_route(table, destination, "vpc-peering-connection", "pcx-1")


def test_peering(network):
    assert codes(ask(network, "weba", "dbb"))[0][0] == "IGW_DESTINATION_ADDRESS_NOT_IN_RFC1918_EGRESS"
    peer_both(network)
    network.let_in("sg-dbb", allow("sgr-1", blocks=(), group_id="sg-weba"))
    verdict = ask(network, "weba", "dbb")
    assert verdict.reachable, verdict.reasons
    assert "pcx-1" in passed(verdict.forward)
    network.tables["rtb-b2"] = network.tables["rtb-b2"][:1]
    (reason,) = ask(network, "weba", "dbb").reasons
    assert (reason.code, reason.component_id, reason.reply) == ("NO_ROUTE_TO_DESTINATION", "rtb-b2", True)


def test_peering_is_not_transitive(network):
    peer_both(network)
    network.add_route("rtb-a1", "10.3.0.0/16", "vpc-peering-connection", "pcx-1")
    assert codes(ask(network, "weba", "10.3.0.1")) == [("PCX_REQUIRES_ADDRESS_IN_VPC_CIDR", "pcx-1")]


def test_another_accounts_vpc_stays_closed(network):
    peer_both(network)
    network.change("vpcs", "vpc-b", opaque=True)
    verdict = ask(network, "weba", "10.2.2.20")
    assert verdict.reachable
    assert verdict.forward[-1].component_id == "pcx-1"
    assert "another account" in verdict.warnings[0]
    assert not any(component.endswith(("b2", "dbb")) for component in passed(verdict.forward + verdict.back))


def test_by_public_address_between_vpcs(network):
    network.let_in("sg-webb", allow("sgr-1", blocks=("198.18.1.10/32",)))
    verdict = ask(network, "weba", "198.18.2.10")
    assert verdict.reachable, verdict.reasons
    assert passed(verdict.forward)[-5:] == ["igw-a", "igw-b", "acl-b1", "sg-webb", "eni-webb"]
    assert verdict.back[-1].component_id == "eni-weba"
    network.change("vpcs", "vpc-b", internet_gateway_id=None)
    assert codes(ask(network, "weba", "198.18.2.10")) == [("UNASSOCIATED_COMPONENT", "vpc-b")]


def test_an_appliance(network):
    add_interface(network, "box", "subnet-a1", "10.1.1.50", "198.18.1.50", group_ids=("sg-dba",))
    network.add_route("rtb-a2", "0.0.0.0/0", "network-interface", "eni-box")
    code = "ENI_SOURCE_DEST_CHECK_RESTRICTION"
    assert (code, "eni-box") in codes(ask(network, "dba", "203.0.113.5"))
    network.change("interfaces", "eni-box", source_dest_check=False)
    network.let_in("sg-dba", allow("sgr-1"))
    verdict = ask(network, "dba", "203.0.113.5")
    assert "eni-box" in passed(verdict.forward)
    assert "cannot be seen" in verdict.warnings[0]
    # The appliance passes the packet on as it is: the gateway knows no public address of dba.
    assert codes(verdict) == [("IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS", "igw-a")]


def test_from_the_internet(network):
    def come(address):
        packet = Packet("6", "203.0.113.5", address, ((22, 22),))
        return explain(network, Question(packet, Gateway("igw-a", "vpc-a"), network.interfaces["eni-weba"]))

    assert codes(come("198.18.1.10")) == [("SG_HAS_NO_RULES", "eni-weba")]
    network.let_in("sg-weba", allow("sgr-1"))
    verdict = come("198.18.1.10")
    assert verdict.reachable, verdict.reasons
    assert verdict.back[-1].component_id == "igw-a"
    assert codes(come("198.18.1.77")) == [("IGW_PUBLIC_IP_ASSOCIATION_FOR_INGRESS", "igw-a")]
    network.tables["rtb-a1"] = network.tables["rtb-a1"][:1]
    (reason,) = come("198.18.1.10").reasons
    assert (reason.code, reason.reply) == ("NO_ROUTE_TO_DESTINATION", True)


def test_ping_and_ipv6(network):
    network.let_in("sg-dba", allow("sgr-1", "1", 8, -1))
    echo = {"protocol": "1", "icmp": (8, 0)}
    assert ask(network, "weba", "dba", **echo).reachable
    deny = AclRule(5, True, False, "1", "0.0.0.0/0", 0, -1)
    network.set_acl("acl-a2", deny, *OPEN_ACL)
    (reason,) = ask(network, "weba", "dba", **echo).reasons
    assert (reason.reply, reason.acl_rule) == (True, deny)
    six = "2001:db8::1"
    assert ("NO_ROUTE_TO_DESTINATION", "rtb-a1") in codes(ask(network, "weba", six, source="2001:db8:1::1"))
    network.add_route("rtb-a1", "::/0", "egress-only-internet-gateway", "eigw-a")
    network.change("interfaces", "eni-weba", addresses=("10.1.1.10", "2001:db8:1::1"))
    any6 = replace(EVERYTHING, block="::/0")
    network.set_acl("acl-a1", any6, replace(any6, egress=True))
    verdict = ask(network, "weba", six, source="2001:db8:1::1")
    assert verdict.reachable, verdict.reasons


def test_a_gateway_endpoint_needs_no_public_address(network):
    """The sender's groups and ACLs decide, as for all that leaves a subnet."""
    service = "198.18.0.1"
    assert not ask(network, "dba", service, 443).reachable
    network.add_route("rtb-a2", f"{service}/32", "vpc-endpoint", "vpce-a")
    verdict = ask(network, "dba", service, 443)
    assert verdict.reachable, verdict.reasons
    assert passed(verdict.forward)[-1] == "vpce-a"
    assert not ask(network, "dba", "198.18.0.2", 443).reachable
    network.set_acl("acl-a2", AclRule(5, False, False, "6", f"{service}/32", 0, 65535), *OPEN_ACL)
    (reason,) = ask(network, "dba", service, 443).reasons
    assert (reason.reply, reason.acl_id) == (True, "acl-a2")


def test_routes_in_a_circle_end(network):
    for name in ("one", "two"):
        add_interface(network, name, "subnet-a2", f"10.1.2.{len(name)}", group_ids=("sg-dba",), source_dest_check=False)
    network.let_in("sg-dba", allow("sgr-1"))
    network.add_route("rtb-a2", "0.0.0.0/0", "network-interface", "eni-one")
    verdict = ask(network, "dba", "203.0.113.5")
    assert codes(verdict)[-1][0] == "CANNOT_ROUTE"


ranges = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair)))


@given(st.lists(ranges, max_size=4), st.lists(ranges, max_size=4), ranges)
def test_arithmetic_of_ranges(some, taken, wanted):
    def ports(given_ranges):
        return {port for first, last in given_ranges for port in range(first, last + 1)}

    assert ports(overlap(tuple(some), wanted)) == ports(some) & ports([wanted])
    assert ports(without(tuple(some), tuple(taken))) == ports(some) - ports(taken)


entries = st.builds(
    AclRule,
    number=st.integers(1, 20),
    egress=st.booleans(),
    allow=st.booleans(),
    protocol=st.sampled_from(["6", "17", "-1"]),
    block=st.sampled_from(["10.0.0.0/8", "10.1.1.0/24", "0.0.0.0/0", "192.168.0.0/16"]),
    first=st.integers(0, 15),
    last=st.integers(15, 30),
)


@given(st.lists(entries, max_size=6, unique_by=lambda one: one.number), ranges, st.booleans())
def test_acls_decide_as_each_port_alone_would(rules, ports, egress):
    packet = Packet("6", "10.1.1.1", "10.1.1.2", (ports,))
    decision = ask_acl(rules, packet, egress=egress)
    for port in range(ports[0], ports[1] + 1):
        expected = False
        for rule in sorted(rules, key=lambda one: one.number):
            matches = rule.egress is egress and rule.protocol in ("6", "-1")
            matches = matches and ipaddress.ip_address("10.1.1.1") in ipaddress.ip_network(rule.block)
            matches = matches and (rule.protocol == "-1" or rule.first <= port <= rule.last)
            if matches:
                expected = rule.allow
                break
        assert any(first <= port <= last for first, last in decision.ports) is expected


targets = st.sampled_from(
    [
        ("internet-gateway", "igw-a"),
        ("natgateway", "nat-nata"),
        ("network-interface", "eni-webb"),
        ("network-interface", "eni-weba"),
        ("vpc-peering-connection", "pcx-1"),
        ("egress-only-internet-gateway", "eigw-a"),
        ("vpc-endpoint", "vpce-a"),
        ("local", "local"),
    ]
)
some_routes = st.lists(
    st.builds(
        lambda destination, target, dead: Route(destination, *target, dead=dead),
        st.sampled_from(["0.0.0.0/0", "10.1.2.0/24", "10.2.0.0/16", "203.0.113.0/24", "10.1.1.0/24"]),
        targets,
        st.booleans(),
    ),
    max_size=4,
)


@given(
    st.tuples(some_routes, some_routes, some_routes),
    st.sampled_from(["weba", "dba"]),
    st.sampled_from(["dba", "dbb", "203.0.113.5", "198.18.2.10", "10.1.2.77"]),
)
def test_every_network_has_a_verdict(tables, source, target):
    network = two_vpcs()
    add_nat(network, "nata", "subnet-a1", "10.1.1.99", "198.18.1.99")
    network.peerings["pcx-1"] = ("vpc-a", "vpc-b")
    for table_id, extra in zip(("rtb-a1", "rtb-a2", "rtb-b2"), tables, strict=True):
        network.tables[table_id] = (*network.tables[table_id], *extra)
    for group_id in list(network.groups):
        network.let_in(group_id, allow("sgr-1", "-1", -1, -1))
    verdict = ask(network, source, target)
    assert verdict.reachable is (verdict.reasons == ())
    assert verdict.forward
    for reason in verdict.reasons:
        assert reason.component_id in reason.sentence or reason.component_id.startswith("eni-")
