"""Permissions have one spelling, and what EC2 refuses is refused."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter, MissingParameter, SteadError
from stead_controller.resources.network.permissions import (
    Block,
    Permission,
    Rule,
    canonical,
    check_description,
    rules_of_blocks,
)


def one(protocol="tcp", first=22, last=22, ipv4=(), ipv6=()):
    permission = Permission(
        protocol, first, last, tuple(Block(cidr) for cidr in ipv4), tuple(Block(cidr) for cidr in ipv6)
    )
    (rule,) = rules_of_blocks(permission)
    return rule


@pytest.mark.parametrize(
    ("protocol", "first", "last", "expected"),
    [
        ("tcp", 22, 22, ("tcp", 22, 22)),
        ("TCP", 0, 65535, ("tcp", 0, 65535)),
        ("6", 1, 2, ("tcp", 1, 2)),
        ("17", 53, 53, ("udp", 53, 53)),
        ("1", 8, 0, ("icmp", 8, 0)),
        ("icmp", -1, -1, ("icmp", -1, -1)),
        ("icmp", None, None, ("icmp", -1, -1)),
        ("icmp", 3, None, ("icmp", 3, -1)),
        ("58", 128, 0, ("icmpv6", 128, 0)),
        ("-1", None, None, ("-1", -1, -1)),
        ("-1", 22, 22, ("-1", -1, -1)),
        ("all", None, None, ("-1", -1, -1)),
        ("50", 1, 2, ("50", -1, -1)),
        ("050", None, None, ("50", -1, -1)),
        ("006", 1, 1, ("tcp", 1, 1)),
    ],
)
def test_protocols_and_ports(protocol, first, last, expected):
    rule = canonical(Permission(protocol, first, last))
    assert (rule.protocol, rule.from_port, rule.to_port) == expected


@pytest.mark.parametrize(
    ("protocol", "first", "last"),
    [
        ("tcp", None, 22),
        ("tcp", 22, None),
        ("tcp", -1, -1),
        ("udp", 0, 65536),
        ("tcp", 23, 22),
        ("icmp", 256, 0),
        ("icmp", 0, 256),
        ("icmp", -1, 0),
        ("icmp", -2, -1),
        ("256", None, None),
        ("-2", None, None),
        ("sctp", 1, 2),
        ("", None, None),
        ("٦", 1, 2),
        ("6\n", 1, 2),
    ],
)
def test_bad_protocols_and_ports(protocol, first, last):
    with pytest.raises(InvalidParameter):
        canonical(Permission(protocol, first, last))


def test_a_protocol_must_be_given():
    with pytest.raises(MissingParameter):
        canonical(Permission())


@pytest.mark.parametrize(
    ("cidr", "stored"),
    [
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("100.68.0.18/18", "100.68.0.0/18"),
        ("10.1.2.3/32", "10.1.2.3/32"),
    ],
)
def test_ipv4_blocks_lose_their_host_bits(cidr, stored):
    assert one(ipv4=[cidr]).cidr_ipv4 == stored


@pytest.mark.parametrize(
    ("cidr", "stored"),
    [
        ("::/0", "::/0"),
        ("2001:0DB8::1/64", "2001:db8::/64"),
        ("::ffff:1.2.3.4/128", "::ffff:1.2.3.4/128"),
    ],
)
def test_ipv6_blocks_are_short_and_lower_case(cidr, stored):
    assert ipaddress.ip_network(one(ipv6=[cidr]).cidr_ipv6) == ipaddress.ip_network(stored)
    assert one(ipv6=[cidr]).cidr_ipv6 == one(ipv6=[stored]).cidr_ipv6


@pytest.mark.parametrize(
    "cidr",
    [
        "",
        "10.0.0.1",
        "10.0.0.0/33",
        "10.0.0/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/-1",
        "010.0.0.1/32",
        "10.0.0.0/8 ",
        "10.0.0.0/8\n",
        "::/0",
        "1.2.3.4/32; drop",
        "\u0661.0.0.0/8",
    ],
)
def test_bad_ipv4_blocks(cidr):
    with pytest.raises(InvalidParameter) as refusal:
        one(ipv4=[cidr])
    assert "malformed" in refusal.value.message


@pytest.mark.parametrize("cidr", ["", "::1", "::/129", "fe80::1%eth0/64", "10.0.0.0/8", ":::/0", "::/0\n"])
def test_bad_ipv6_blocks(cidr):
    with pytest.raises(InvalidParameter):
        one(ipv6=[cidr])


def test_descriptions():
    assert check_description(None) is None
    assert check_description("") is None
    assert check_description("a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*") == "a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
    for bad in ("x" * 256, "<b>", "line\nline", 'quote"', "ä", "end\n"):
        with pytest.raises(InvalidParameter):
            check_description(bad)


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_canonical_ipv4_blocks_stay_as_they_are(address, length):
    rule = one(ipv4=[f"{address}/{length}"])
    assert one(ipv4=[rule.cidr_ipv4]) == rule
    assert ipaddress.IPv4Address(address) in ipaddress.IPv4Network(rule.cidr_ipv4)


@given(st.ip_addresses(v=6), st.integers(0, 128))
def test_canonical_ipv6_blocks_stay_as_they_are(address, length):
    rule = one(ipv6=[f"{address}/{length}"])
    assert one(ipv6=[rule.cidr_ipv6]) == rule
    assert len(rule.cidr_ipv6) <= 43
    assert ipaddress.IPv6Address(address) in ipaddress.IPv6Network(rule.cidr_ipv6)


@given(
    st.text(max_size=6) | st.none(),
    st.integers(-70000, 70000) | st.none(),
    st.integers(-70000, 70000) | st.none(),
    st.text(max_size=20),
)
def test_anything_is_a_rule_or_a_clean_refusal(protocol, first, last, cidr):
    try:
        found = list(rules_of_blocks(Permission(protocol, first, last, (Block(cidr),))))
    except SteadError:
        return
    for rule in found:
        again = Permission(rule.protocol, rule.from_port, rule.to_port, (Block(rule.cidr_ipv4),))
        assert list(rules_of_blocks(again)) == [rule]


def test_a_rule_reads_as_in_ec2s_messages():
    assert str(Rule("tcp", 22, 22, cidr_ipv4="0.0.0.0/0")) == "peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, ALLOW"
    assert str(Rule("-1", -1, -1, peer_group_id="sg-1")) == "peer: sg-1, ALL, ALLOW"
