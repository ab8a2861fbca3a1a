"""Network ACLs become nft chains: entries in the order of their numbers, and what makes no sense never opens anything."""

import pytest

from stead_agent.firewall.acls import acl_statements, acl_traffic, border, clean_acl
from stead_agent.firewall.interface import Acl, AclEntry, Refusal, Subnet
from stead_agent.firewall.rules import Traffic

ID = "acl-0123456789abcdef0"


def entry(
    number: int, protocol: str = "6", cidr: str = "10.0.0.0/8", *, egress: bool = False, allow: bool = True
) -> AclEntry:
    return AclEntry(number, egress, allow, protocol, cidr, 22, 22)


def test_entries_are_sorted_and_each_direction_has_its_own() -> None:
    acl = Acl(ID, (entry(200), entry(100, allow=False), entry(50, egress=True), entry(150, "-1", "::/0")))
    refusals: list[Refusal] = []
    clean = clean_acl(acl, refusals)
    assert clean is not None
    assert (refusals, [each.rule_number for each in clean.entries]) == ([], [50, 100, 150, 200])
    assert [(each.why, each.text) for each in acl_statements(clean, egress=False, rejected="no")] == [
        ("rule 100", "ip saddr 10.0.0.0/8 tcp dport 22 goto no"),
        ("rule 150", "meta nfproto ipv6 return"),
        ("rule 200", "ip saddr 10.0.0.0/8 tcp dport 22 return"),
        ("what no rule matches", "goto no"),
    ]
    assert [each.text for each in acl_statements(clean, egress=True, rejected="no")] == [
        "ip daddr 10.0.0.0/8 tcp dport 22 return",
        "goto no",
    ]


@pytest.mark.parametrize("bad", ["acl-1", "acl-0123456789abcdef0 }", "sg-0123456789abcdef0", ""])
def test_a_strange_id_is_refused(bad: str) -> None:
    refusals: list[Refusal] = []
    assert clean_acl(Acl(bad, (entry(100),)), refusals) is None
    assert refusals == [Refusal(bad, "no ACL id")]


@pytest.mark.parametrize(("protocol", "cidr"), [("pigeon", "10.0.0.0/8"), ("6", "10.0.0.0/33")])
def test_an_allow_without_sense_is_left_out_and_a_deny_denies_all_after_it(protocol: str, cidr: str) -> None:
    others = (entry(100), entry(300), entry(300, egress=True))
    refusals: list[Refusal] = []
    clean = clean_acl(Acl(ID, (*others, entry(200, protocol, cidr))), refusals)
    assert clean is not None
    assert set(clean.entries) == set(others)
    assert [refusal.id for refusal in refusals] == [ID]
    assert refusals[0].reason.startswith("entry 200: ")
    closed = clean_acl(Acl(ID, (*others, entry(200, protocol, cidr, allow=False))), refusals)
    assert closed is not None
    assert set(closed.entries) == {entry(100), entry(300, egress=True)}


@pytest.mark.parametrize(
    ("protocol", "cidr", "traffic"),
    [
        ("1", "10.0.0.0/8", Traffic(1, 8, 0)),
        ("58", "2001:db8::/32", Traffic(58, 8, 0)),
        ("58", "10.0.0.0/8", Traffic(58, -1, -1)),
        ("1", "2001:db8::/32", Traffic(1, -1, -1)),
        ("17", "2001:db8::/32", Traffic(17, 8, 8)),
    ],
)
def test_icmp_of_the_other_ip_version_is_all_of_it(protocol: str, cidr: str, traffic: Traffic) -> None:
    last = 8 if protocol == "17" else 0
    assert acl_traffic(AclEntry(100, False, True, protocol, cidr, 8, last)) == traffic


def test_what_stays_in_a_subnet_is_not_asked_about() -> None:
    subnet = Subnet("sub1", internet=True, cidr="10.0.1.0/24", ipv6_cidr="2001:db8:1::/64", id="subnet-1")
    into, out = (border(subnet, ID, egress=egress) for egress in (False, True))
    assert into.why == "Subnet subnet-1, from elsewhere."
    assert [each.text for each in into.rules] == [
        "ip saddr 10.0.1.0/24 return",
        "ip6 saddr 2001:db8:1::/64 return",
        f"goto {ID}-in",
    ]
    assert out.why == "Subnet subnet-1, to elsewhere."
    assert [each.text for each in out.rules] == [
        "ip daddr 10.0.1.0/24 return",
        "ip6 daddr 2001:db8:1::/64 return",
        f"goto {ID}-out",
    ]
    bare = border(Subnet("sub1", internet=True), ID, egress=False)
    assert (bare.why, [each.text for each in bare.rules]) == ("Subnet sub1, from elsewhere.", [f"goto {ID}-in"])
