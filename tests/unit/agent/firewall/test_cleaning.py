"""What makes no sense in a desired state is left out and named; all else is as it was."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stead_agent.firewall import cleaning
from stead_agent.firewall.cleaning import NO_ACL, Addresses, cleaned
from stead_agent.firewall.interface import (
    Acl,
    AclEntry,
    Group,
    GroupRule,
    IdleTimeouts,
    Interface,
    PeerLink,
    PublicAddress,
    Refusal,
    Subnet,
    VpcFirewall,
)
from stead_agent.roster import Roster

WEB, APP, LIST, ACL = "sg-0000000a", "sg-0000000b", "pl-0000000a", "acl-0000000a"
SSH = GroupRule("sgr-1", False, "tcp", 22, 22, "10.0.0.0/8")
LISTED = GroupRule("sgr-2", False, "tcp", 80, 80, LIST, ("10.9.0.0/16", "fd00:9::/32"))


def interface(number: int = 1, **values: object) -> Interface:
    fields: dict[str, object] = {
        "id": f"eni-{number:08x}",
        "tap": f"stt{number}",
        "subnet_link": "sub1",
        "mac": f"06:00:00:00:00:{number:02x}",
        "addresses": (f"10.0.1.{number}",),
        "group_ids": (WEB,),
    }
    return Interface(**(fields | values))  # type: ignore[arg-type]  # the test's own


def refused(vpc: VpcFirewall) -> list[tuple[str, str]]:
    return [(refusal.id, refusal.reason) for refusal in cleaned(vpc).refusals]


def test_a_valid_state_is_unchanged() -> None:
    vpc = VpcFirewall(
        "vpc-1",
        (Group(WEB, (SSH, LISTED), frozenset({"10.0.1.1", "fd00::1"})), Group(APP, ())),
        (Subnet("sub1", internet=True, cidr="10.0.1.0/24", ipv6_cidr="fd00::/64", acl_id=ACL), Subnet("sub2", False)),
        (interface(1, public_addresses=(PublicAddress("198.51.100.7", "10.0.1.1"),)), interface(2)),
        frozenset({"10.0.0.2", "fd00:0::2"}),
        (Acl(ACL, (AclEntry(100, False, True, "-1", "0.0.0.0/0"),)),),
        peers=(PeerLink("pcx1", ("10.7.0.0/16", "fd00:7::/32")),),
    )
    clean = cleaned(vpc)
    assert clean.refusals == ()
    assert (clean.groups, clean.interfaces) == ({group.id: group for group in vpc.groups}, vpc.interfaces)
    assert (clean.subnets, clean.peers, clean.acls) == (vpc.subnets, vpc.peers, {ACL: vpc.acls[0]})
    assert all(it is given for it, given in zip(clean.interfaces, vpc.interfaces, strict=True))
    assert all(it is given for it, given in zip(clean.subnets, vpc.subnets, strict=True))
    assert clean.peers[0] is vpc.peers[0]
    assert clean.groups[WEB] is vpc.groups[0]
    assert clean.members == {
        WEB: Addresses(frozenset({"10.0.1.1"}), frozenset({"fd00::1"})),
        APP: Addresses(),
    }
    assert clean.lists == {LIST: Addresses(frozenset({"10.9.0.0/16"}), frozenset({"fd00:9::/32"}))}
    assert clean.resolvers == Addresses(frozenset({"10.0.0.2"}), frozenset({"fd00::2"}))


def test_addresses_are_joined_by_ip_version() -> None:
    joined = Addresses(frozenset({"10.0.0.1"})) | Addresses(frozenset({"10.0.0.2"}), frozenset({"fd00::1"}))
    assert (joined.of(4), joined.of(6)) == ({"10.0.0.1", "10.0.0.2"}, {"fd00::1"})


def test_a_group_without_a_good_id_is_no_group() -> None:
    vpc = VpcFirewall("vpc-1", (Group("sg-1; drop", (SSH,)), Group(WEB, (SSH,))))
    assert refused(vpc) == [("sg-1; drop", "no group id")]
    assert cleaned(vpc).groups.keys() == cleaned(vpc).members.keys() == {WEB}


@pytest.mark.parametrize("bad", [replace(SSH, id="sgr-9", protocol="no"), replace(SSH, id="sgr-9", peer="no")])
def test_a_rule_without_sense_is_left_out_alone(bad: GroupRule) -> None:
    clean = cleaned(VpcFirewall("vpc-1", (Group(WEB, (SSH, bad, LISTED)),)))
    assert clean.groups[WEB].rules == (SSH, LISTED)
    assert [refusal.id for refusal in clean.refusals] == ["sgr-9"]


def test_a_member_that_is_no_address_is_left_out_alone() -> None:
    members = frozenset({"10.0.1.1", "fd00:0::1", "10.0.1.1 }; drop"})
    clean = cleaned(VpcFirewall("vpc-1", (Group(WEB, (SSH,), members),)))
    assert clean.groups[WEB] == Group(WEB, (SSH,), frozenset({"10.0.1.1", "fd00::1"}))
    assert clean.members[WEB] == Addresses(frozenset({"10.0.1.1"}), frozenset({"fd00::1"}))
    assert clean.refusals == (Refusal(WEB, "a member is no address: '10.0.1.1 }; drop'"),)


def test_what_is_refused_of_a_group_is_refused_again_and_what_was_changed_is_read() -> None:
    bad = replace(SSH, id="sgr-9", protocol="no")
    vpc = VpcFirewall("vpc-1", (Group(WEB, (SSH, bad)), Group(APP, (), frozenset({"10.0.1.1"}))))
    first = cleaned(vpc)
    assert cleaned(vpc, first) == first
    changed = replace(vpc, groups=(vpc.groups[0], replace(vpc.groups[1], members=frozenset({"10.0.1.2"}))))
    assert cleaned(changed, first) == cleaned(changed)


def test_unchanged_groups_are_not_read_again() -> None:
    def again() -> VpcFirewall:
        return VpcFirewall("vpc-1", (Group(WEB, (SSH,), frozenset({"10.0.1.1"})), Group(APP, (LISTED,))))

    first = cleaned(again())
    second = cleaned(again(), first)
    for group_id in (WEB, APP):
        assert second.groups[group_id] is first.groups[group_id]
        assert second.members[group_id] is first.members[group_id]


_FIRST, _ODD = ("10.0.1.1", "10.0.1.2", "fd00::1"), ("fd00:0::1", "no", "10.0.1.3", "fd00::2")
_MEMBERS = st.frozensets(st.sampled_from(_FIRST + _ODD))


@example([(frozenset({"fd00::1", "fd00:0::1"}), frozenset(), False), (frozenset(), frozenset({"fd00::1"}), False)])
@example([(frozenset({"fd00::2"}), frozenset(), False), (frozenset({"fd00:0::1"}), frozenset(), False)])
@example([(frozenset(), frozenset(), False), (frozenset({"no"}), frozenset(), False)])
@given(st.lists(st.tuples(_MEMBERS, _MEMBERS, st.booleans()), max_size=6))
def test_what_has_changed_of_the_members_is_as_if_all_were_read(
    steps: list[tuple[frozenset[str], frozenset[str], bool]],
) -> None:
    members, expected, clean = Roster(_FIRST[:2]), frozenset(_FIRST[:2]), None
    for came, gone, is_odd in steps:
        members, expected = members.after(came, gone), expected - gone | came
        rules = (SSH, replace(SSH, id="sgr-9", protocol="no")) if is_odd else (SSH,)
        clean = cleaned(VpcFirewall("vpc-1", (Group(WEB, rules, members),)), clean)
        assert clean == cleaned(VpcFirewall("vpc-1", (Group(WEB, rules, expected),)))
        assert members == expected  # which are the event loop's: nothing is changed here


@pytest.mark.parametrize("first", [("10.0.1.1", "10.0.1.2"), ("10.0.1.1", "10.0.1.2", "fd00::1", "fd00::2")])
def test_of_members_that_were_valid_only_what_has_changed_is_looked_at(first: tuple[str, ...]) -> None:
    rules = (SSH,)
    members = Roster(first)
    clean = cleaned(VpcFirewall("vpc-1", (Group(WEB, rules, members),)))
    later = members.after(("10.0.1.3", *first[3:]), ("10.0.1.1", *first[2:3]))
    found = cleaned(VpcFirewall("vpc-1", (Group(WEB, rules, later),)), clean).members[WEB]
    assert found == Addresses(frozenset({"10.0.1.2", "10.0.1.3"}), frozenset(first[3:]))
    for before, now in ((clean.members[WEB].ipv4, found.ipv4), (clean.members[WEB].ipv6, found.ipv6)):
        assert not isinstance(before, Roster) or (isinstance(now, Roster) and now.log is before.log)
    assert isinstance(found.ipv4, Roster)
    assert (found.ipv4 is later) is (len(first) == 2)
    other = VpcFirewall("vpc-1", (Group(WEB, rules, Roster(("10.0.1.9",))),))
    assert cleaned(other, clean) == cleaned(other), "one that was not made of the other"


def test_rules_that_were_valid_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    vpc = VpcFirewall("vpc-1", (Group(WEB, (SSH,), Roster(("10.0.1.1",))),))
    clean = cleaned(vpc)
    monkeypatch.setattr(cleaning, "traffic_of", None)
    group = replace(vpc.groups[0], members=vpc.groups[0].members | {"10.0.1.2"})
    assert cleaned(replace(vpc, groups=(group,)), clean).groups == {WEB: group}


def test_a_prefix_list_has_the_blocks_of_the_first_rule_that_names_it() -> None:
    odd = replace(LISTED, id="sgr-9", blocks=("10.8.0.0/16",))
    clean = cleaned(VpcFirewall("vpc-1", (Group(WEB, (LISTED, SSH)), Group(APP, (SSH, odd, LISTED)))))
    assert (clean.groups[WEB].rules, clean.groups[APP].rules) == ((LISTED, SSH), (SSH, LISTED))
    assert clean.refusals == (Refusal("sgr-9", f"another rule has other blocks for {LIST}"),)
    assert clean.lists[LIST] == Addresses(frozenset({"10.9.0.0/16"}), frozenset({"fd00:9::/32"}))


def test_interfaces_without_sense_are_named_with_the_reason() -> None:
    bad = {
        "no interface id": interface(2, id="eni-x"),
        "no link name": interface(3, tap="a b"),
        "no MAC address: '06'": interface(4, mac="06"),
        "no packet mark: -1": interface(5, router_mark=-1),
        "no packet mark: 4294967296": interface(6, router_mark=1 << 32),
        "no IPv4 address: 'x'": interface(7, addresses=("10.0.1.7", "x")),
        "no IPv4 address: 'y'": interface(8, public_addresses=(PublicAddress("198.51.100.7", "y"),)),
        "no IPv6 address: 'z'": interface(9, ipv6_addresses=("z",)),
    }
    good = interface(1, router_mark=0xFFFF_FFFF)
    clean = cleaned(VpcFirewall("vpc-1", interfaces=(good, *bad.values())))
    assert clean.interfaces == (good,)
    assert [refusal.reason for refusal in clean.refusals] == list(bad)


@pytest.mark.parametrize(
    "bad",
    [
        interface(id="eni-1; drop"),
        interface(tap="a b"),
        interface(tap="x" * 16),
        interface(subnet_link='sub"'),
        interface(mac="06:00:00:00:00"),
        interface(mac="06:00:00:00:00:0G"),
        interface(addresses=("10.0.1.1 ", "10.0.1.2")),
        interface(addresses=("fd00::1",)),
        interface(public_addresses=(PublicAddress("x", "10.0.1.1"),)),
        interface(ipv6_addresses=("10.0.1.1",)),
        interface(ipv6_addresses=("fe80::1%eth0",)),
        interface(router_mark=1 << 32),
    ],
)
def test_interfaces_that_make_no_sense_get_nothing(bad: Interface) -> None:
    """Fail closed: no binding, no chain; and all others are served."""
    clean = cleaned(VpcFirewall("vpc-1", interfaces=(bad, interface(7))))
    assert [refusal.id for refusal in clean.refusals] == [bad.id]
    assert [it.id for it in clean.interfaces] == ["eni-00000007"]


def test_what_another_interface_has_is_left_out_alone() -> None:
    """A public address that moves is sent with its new interface first: both go on with what is theirs alone."""
    public = PublicAddress("198.51.100.7", "10.0.1.1")
    moved = PublicAddress("198.51.100.7", "10.0.1.2")
    own = PublicAddress("198.51.100.8", "10.0.1.3")
    clean = cleaned(
        VpcFirewall(
            "vpc-1",
            interfaces=(
                interface(1, public_addresses=(public, PublicAddress("198.51.100.9", "10.0.1.1"))),
                interface(2, addresses=("10.0.1.2", "10.0.1.1", "10.0.1.3", "10.0.1.3"), public_addresses=(moved, own)),
                interface(3, mac="06:00:00:00:00:01"),
                interface(4, tap="stt1"),
                interface(1, mac="06:00:00:00:00:77", tap="stt77"),
            ),
        )
    )
    first, second = clean.interfaces
    assert (first.id, first.public_addresses) == ("eni-00000001", (public,))
    assert (second.addresses, second.public_addresses) == (("10.0.1.2", "10.0.1.3"), (own,))
    assert [(it.id, it.reason.split()[-1]) for it in clean.refusals] == [
        ("eni-00000001", "198.51.100.9"),
        ("eni-00000002", "10.0.1.1"),
        ("eni-00000002", "198.51.100.7"),
        *((eni, "MAC") for eni in ("eni-00000003", "eni-00000004", "eni-00000001")),
    ]


def test_an_address_is_one_interfaces_alone() -> None:
    first = interface(1, ipv6_addresses=("fd00::1",))
    second = interface(2, addresses=("10.0.1.1", "10.0.1.2"), ipv6_addresses=("fd00:0::1", "fd00:0::2"))
    clean = cleaned(VpcFirewall("vpc-1", interfaces=(first, second)))
    assert clean.interfaces[1].addresses == ("10.0.1.2",)
    assert clean.interfaces[1].ipv6_addresses == ("fd00::2",)
    assert [refusal.reason for refusal in clean.refusals] == [
        "another interface has 10.0.1.1",
        "another interface has fd00::1",
    ]


def test_a_public_address_stands_for_an_address_of_its_interface() -> None:
    pairs = (PublicAddress("198.51.100.7", "10.0.1.9"), PublicAddress("198.51.100.8", "10.0.1.1"))
    clean = cleaned(VpcFirewall("vpc-1", interfaces=(interface(1, public_addresses=pairs),)))
    assert clean.interfaces[0].public_addresses == pairs[1:]
    assert [refusal.reason for refusal in clean.refusals] == ["another interface has 198.51.100.7"]


def test_the_same_mac_may_be_in_another_subnet() -> None:
    vpc = VpcFirewall("vpc-1", interfaces=(interface(1), interface(2, mac=interface(1).mac, subnet_link="sub2")))
    assert cleaned(vpc).interfaces == vpc.interfaces


@pytest.mark.parametrize(
    ("idle", "good"),
    [
        (IdleTimeouts(432_000, 432_000, 432_000), True),
        (IdleTimeouts(432_001), False),
        (IdleTimeouts(-1, 30, 60), False),
    ],
)
def test_idle_timeouts_are_within_what_ec2_allows(idle: IdleTimeouts, good: bool) -> None:
    clean = cleaned(VpcFirewall("vpc-1", interfaces=(interface(1, idle_timeouts=idle),)))
    assert clean.interfaces[0].idle_timeouts == (idle if good else IdleTimeouts())
    assert len(clean.refusals) == (0 if good else 1)


def test_a_subnet_without_a_link_is_none() -> None:
    vpc = VpcFirewall("vpc-1", subnets=(Subnet("a b", True), Subnet("c d", True, id="subnet-1"), Subnet("sub1", True)))
    assert cleaned(vpc).subnets == (Subnet("sub1", True),)
    assert refused(vpc) == [("a b", "no link name"), ("subnet-1", "no link name")]


def test_a_block_that_is_none_of_its_ip_version_is_left_out_of_a_subnet() -> None:
    good = Subnet("sub1", True, "10.0.1.0/24", "fd00::/64")
    for bad, fitting in (
        (replace(good, cidr="fd00::/64"), replace(good, cidr="")),
        (replace(good, cidr="x"), replace(good, cidr="")),
        (replace(good, ipv6_cidr="10.0.1.0/24", id="subnet-1"), replace(good, ipv6_cidr="", id="subnet-1")),
    ):
        vpc = VpcFirewall("vpc-1", subnets=(bad,))
        assert cleaned(vpc).subnets == (fitting,)
        wrong = bad.cidr if bad.cidr != good.cidr else bad.ipv6_cidr
        assert refused(vpc) == [(bad.id or "sub1", f"no block of addresses: {wrong!r}")]


def test_a_subnet_without_its_acl_passes_nothing() -> None:
    vpc = VpcFirewall(
        "vpc-1", subnets=(Subnet("sub1", True, acl_id=ACL), Subnet("sub2", True, acl_id=ACL, id="subnet-2"))
    )
    clean = cleaned(vpc)
    assert {subnet.acl_id for subnet in clean.subnets} == {NO_ACL.id}
    assert clean.acls == {NO_ACL.id: NO_ACL}
    assert NO_ACL.entries == ()
    reason = f"its network ACL is not there: {ACL!r}"
    assert refused(vpc) == [("sub1", reason), ("subnet-2", reason)]


def test_an_acl_without_a_good_id_is_none() -> None:
    vpc = VpcFirewall("vpc-1", acls=(Acl("acl-x"), Acl(ACL)))
    assert cleaned(vpc).acls == {ACL: Acl(ACL)}
    assert refused(vpc) == [("acl-x", "no ACL id")]


def test_a_peer_sends_from_blocks_of_both_ip_versions_only() -> None:
    peers = (PeerLink("a b", ("10.7.0.0/16",)), PeerLink("pcx1", ("10.7.0.0/16", "x", "fd00:7::/32", "10.7.0.1/16")))
    vpc = VpcFirewall("vpc-1", peers=peers)
    assert cleaned(vpc).peers == (PeerLink("pcx1", ("10.7.0.0/16", "fd00:7::/32")),)
    assert refused(vpc) == [
        ("a b", "no link name"),
        ("pcx1", "no block of addresses: 'x'"),
        ("pcx1", "no block of addresses: '10.7.0.1/16'"),
    ]


def test_resolvers_are_addresses() -> None:
    vpc = VpcFirewall("vpc-1", resolvers=frozenset({"10.0.0.2", "fd00::2", "x", ""}))
    assert cleaned(vpc).resolvers == Addresses(frozenset({"10.0.0.2"}), frozenset({"fd00::2"}))
