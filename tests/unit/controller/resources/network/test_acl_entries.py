"""Entries of network ACLs have one spelling, and what EC2 refuses is refused."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, SteadError
from stead_controller.resources.network.acl_entries import AskedEntry, Entry, read_entry


def asked(**changes):
    values = {"rule_number": 100, "egress": False, "protocol": "6", "rule_action": "allow", "cidr_block": "10.0.0.0/8"}
    return AskedEntry(**{"ports": (22, 22), **values} | changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Entry(100, False, "6", True, "10.0.0.0/8", None, 22, 22)),
        ({"protocol": "tcp"}, Entry(100, False, "6", True, "10.0.0.0/8", None, 22, 22)),
        ({"protocol": "017"}, Entry(100, False, "17", True, "10.0.0.0/8", None, 22, 22)),
        ({"protocol": "-1"}, Entry(100, False, "-1", True, "10.0.0.0/8")),
        ({"protocol": "47"}, Entry(100, False, "47", True, "10.0.0.0/8")),
        ({"cidr_block": "100.68.0.18/18"}, Entry(100, False, "6", True, "100.68.0.0/18", None, 22, 22)),
        (
            {"protocol": "icmp", "icmp": (8, None), "rule_action": "deny", "egress": True},
            Entry(100, True, "1", False, "10.0.0.0/8", icmp_type=8, icmp_code=-1),
        ),
        (
            {"protocol": "58", "icmp": (-1, -1), "cidr_block": None, "ipv6_cidr_block": "2001:DB8::1/32"},
            Entry(100, False, "58", True, None, "2001:db8::/32", icmp_type=-1, icmp_code=-1),
        ),
    ],
)
def test_one_spelling(changes, expected):
    assert read_entry(asked(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"rule_number": 0}, InvalidParameter),
        ({"rule_number": 32767}, InvalidParameter),
        ({"rule_action": "Allow"}, InvalidParameter),
        ({"protocol": "256"}, InvalidParameter),
        ({"protocol": "-2"}, InvalidParameter),
        ({"protocol": "bogus"}, InvalidParameter),
        ({"ports": None}, MissingParameter),
        ({"ports": (None, 22)}, MissingParameter),
        ({"ports": (23, 22)}, InvalidParameter),
        ({"ports": (0, 65536)}, InvalidParameter),
        ({"protocol": "1"}, MissingParameter),
        ({"protocol": "1", "icmp": (-1, 0)}, InvalidParameter),
        ({"protocol": "1", "icmp": (256, 0)}, InvalidParameter),
        ({"protocol": "58", "icmp": (-1, -1)}, InvalidParameter),
        ({"cidr_block": None}, MissingParameter),
        ({"ipv6_cidr_block": "::/0"}, InvalidCombination),
        ({"cidr_block": "10.0.0.0"}, InvalidParameter),
        ({"cidr_block": "10.0.0.0/255.0.0.0"}, InvalidParameter),
        ({"cidr_block": "10.0.0.0/33"}, InvalidParameter),
        ({"cidr_block": None, "ipv6_cidr_block": "fe80::1%eth0/64"}, InvalidParameter),
    ],
)
def test_what_is_refused(changes, error):
    with pytest.raises(error):
        read_entry(asked(**changes))


_integers = st.integers(-3, 70000) | st.none()


_entries = st.builds(
    AskedEntry,
    rule_number=st.integers(-5, 40000),
    egress=st.booleans(),
    protocol=st.sampled_from(["-1", "6", "17", "1", "58", "tcp", "all", "47", "x", ""]) | st.text(max_size=4),
    rule_action=st.sampled_from(["allow", "deny", "maybe"]),
    cidr_block=st.none() | st.text(max_size=20) | st.ip_addresses(v=4).map(lambda address: f"{address}/13"),
    ipv6_cidr_block=st.none() | st.ip_addresses(v=6).map(lambda address: f"{address}/33"),
    ports=st.none() | st.tuples(_integers, _integers),
    icmp=st.none() | st.tuples(_integers, _integers),
)


@given(_entries)
def test_whatever_is_asked_is_refused_or_well_formed(asked_entry):
    try:
        entry = read_entry(asked_entry)
    except SteadError:
        return
    assert 1 <= entry.rule_number <= 32766
    assert (entry.cidr_ipv4 is None) != (entry.cidr_ipv6 is None)
    assert str(ipaddress.ip_network(entry.cidr_ipv4 or entry.cidr_ipv6)) == (entry.cidr_ipv4 or entry.cidr_ipv6)
    assert (entry.from_port is not None) == (entry.protocol in ("6", "17"))
    assert (entry.icmp_type is not None) == (entry.protocol in ("1", "58"))
    assert entry.protocol == "-1" or 0 <= int(entry.protocol) <= 255
