"""EC2's rules become nft rules; nonsense becomes a refusal and never part of nft's input."""

from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.firewall.interface import GroupRule
from stead_agent.firewall.rules import (
    RuleError,
    blocks_of,
    is_ipv4,
    members_of,
    peer_of,
    plain_ipv6,
    statements,
    traffic_of,
)


def rule(
    protocol: str, first: int = -1, last: int = -1, peer: str = "10.0.0.0/8", *, egress: bool = False
) -> GroupRule:
    return GroupRule("sgr-1", egress, protocol, first, last, peer)


@pytest.mark.parametrize(
    ("given_rule", "text"),
    [
        (rule("-1", peer="0.0.0.0/0"), "meta nfproto ipv4 accept"),
        (rule("-1", 22, 22, peer="::/0"), "meta nfproto ipv6 accept"),
        (rule("tcp", 22, 22), "ip saddr 10.0.0.0/8 tcp dport 22 accept"),
        (rule("6", 22, 22), "ip saddr 10.0.0.0/8 tcp dport 22 accept"),
        (rule("udp", 0, 65535), "ip saddr 10.0.0.0/8 meta l4proto 17 accept"),
        (rule("tcp", -1, -1), "ip saddr 10.0.0.0/8 meta l4proto 6 accept"),
        (rule("tcp", 0, 0), "ip saddr 10.0.0.0/8 tcp dport 0 accept"),
        (rule("tcp", 20, 30, egress=True), "ip daddr 10.0.0.0/8 tcp dport 20-30 accept"),
        (rule("icmp"), "ip saddr 10.0.0.0/8 meta l4proto 1 accept"),
        (rule("icmp", 8), "ip saddr 10.0.0.0/8 icmp type 8 accept"),
        (rule("icmp", 3, 4), "ip saddr 10.0.0.0/8 icmp type 3 icmp code 4 accept"),
        (rule("icmpv6", 128, 0, peer="2001:db8::/32"), "ip6 saddr 2001:db8::/32 icmpv6 type 128 icmpv6 code 0 accept"),
        (rule("icmp", 0, 0), "ip saddr 10.0.0.0/8 icmp type 0 icmp code 0 accept"),
        (rule("icmp", 255, 255), "ip saddr 10.0.0.0/8 icmp type 255 icmp code 255 accept"),
        (rule("255"), "ip saddr 10.0.0.0/8 meta l4proto 255 accept"),
        (rule("47", 5, 6), "ip saddr 10.0.0.0/8 meta l4proto 47 accept"),
        (rule("tcp", 22, 22, peer="10.1.2.3/8"), "ip saddr 10.0.0.0/8 tcp dport 22 accept"),
    ],
)
def test_one_rule(given_rule: GroupRule, text: str) -> None:
    assert [found.text for found in statements((given_rule,), egress=given_rule.egress)] == [text]
    assert statements((given_rule,), egress=not given_rule.egress) == ()


def test_groups_and_prefix_lists_are_sets_of_each_ip_version() -> None:
    for peer in ("sg-0000000a", "pl-0000000a"):
        given_rule = GroupRule("sgr-1", False, "tcp", 22, 22, peer, ("10.0.0.0/8",) if peer.startswith("pl") else ())
        assert [found.text for found in statements((given_rule,), egress=False)] == [
            f"ip saddr @{peer}-4 tcp dport 22 accept",
            f"ip6 saddr @{peer}-6 tcp dport 22 accept",
        ]
        ping = GroupRule("sgr-1", True, "icmpv6", 128, -1, peer)
        (found,) = statements((ping,), egress=True)
        assert found.text == f"ip6 daddr @{peer}-6 icmpv6 type 128 accept"


@pytest.mark.parametrize(("protocol", "peer"), [("icmp", "::/0"), ("icmpv6", "10.0.0.0/8")])
def test_icmp_of_the_other_ip_version_matches_nothing(protocol: str, peer: str) -> None:
    assert statements((rule(protocol, 8, 0, peer=peer),), egress=False) == ()


@pytest.mark.parametrize(
    "bad",
    [
        rule("tcp", 30, 20), rule("tcp", -1, 20), rule("tcp", 1, 65536), rule("icmp", 256), rule("icmp", 8, 256),
        rule("256"), rule("-2"), rule("pigeon"), rule(""), rule("tcp; drop"),
        GroupRule("sgr-1", False, "-1", -1, -1, "pl-0000000a", ("10.0.0.0/33",)),
        rule("-1", peer="10.0.0.0/33"), rule("-1", peer=""), rule("-1", peer="sg-xyz"), rule("-1", peer="sg-0000000a }"), rule("-1", peer="pl-0000000a }"),
        GroupRule("a\nb", False, "-1", -1, -1, "0.0.0.0/0"), GroupRule("", False, "-1", -1, -1, "0.0.0.0/0"),
    ],
)  # fmt: skip
def test_nonsense(bad: GroupRule) -> None:
    def read() -> None:
        traffic_of(bad)
        peer_of(bad)

    with pytest.raises(RuleError):
        read()


def test_rules_that_differ_in_their_block_become_one() -> None:
    rules = [
        rule("tcp", 22, 22, peer=block) for block in ("10.0.0.0/24", "10.0.1.0/24", "192.168.0.0/16", "10.0.1.7/32")
    ]
    (found,) = statements(tuple(rules), egress=False)
    assert found.text == "ip saddr { 10.0.0.0/23, 192.168.0.0/16 } tcp dport 22 accept"


def test_blocks_of_ipv6_become_one() -> None:
    rules = [rule("tcp", 22, 22, peer=block) for block in ("2001:db8::/33", "2001:db8:8000::/33", "fd00::/8")]
    (found,) = statements(tuple(rules), egress=False)
    assert found.text == "ip6 saddr { 2001:db8::/32, fd00::/8 } tcp dport 22 accept"


def test_rules_that_differ_in_their_ports_become_one() -> None:
    rules = [
        rule("tcp", 8000, 8010),
        rule("tcp", 22, 22),
        rule("tcp", 8011, 8020),
        rule("udp", 53, 53),
        rule("tcp", 443, 443),
    ]
    found = statements(tuple(rules), egress=False)
    assert [one.text for one in found] == [
        "ip saddr 10.0.0.0/8 tcp dport { 22, 443, 8000-8020 } accept",
        "ip saddr 10.0.0.0/8 udp dport 53 accept",
    ]
    elsewhere = (*rules, rule("tcp", 25, 25, peer="192.168.0.0/16"), rule("tcp", peer="10.0.0.0/8"))
    assert len(statements(elsewhere, egress=False)) == 4


def test_icmp_types_do_not_become_one() -> None:
    found = statements((rule("icmp", 3, 4), rule("icmp", 4, 0), rule("icmp", 8)), egress=False)
    assert [one.text.partition("10.0.0.0/8 ")[2] for one in found] == [
        "icmp type 3 icmp code 4 accept",
        "icmp type 4 icmp code 0 accept",
        "icmp type 8 accept",
    ]


def test_the_sentence_above_a_rule_names_the_first_few() -> None:
    def why(number: int) -> str:
        rules = (
            GroupRule(f"sgr-{each}", False, "tcp", 22, 22, f"10.0.{each}.0/24") for each in reversed(range(number))
        )
        (found,) = statements(tuple(rules), egress=False)
        return found.why

    assert why(1) == "sgr-0"
    assert why(4) == "sgr-0, sgr-1, sgr-2, sgr-3"
    assert why(5) == "sgr-0, sgr-1, sgr-2, sgr-3 and 1 more"


def test_blocks_of_a_prefix_list_are_joined_for_each_ip_version() -> None:
    ipv4, ipv6 = ("10.0.0.0/9", "10.128.0.0/9"), ("2001:db8::/33", "2001:db8:8000::/33")
    assert blocks_of((ipv4[0], *ipv6, ipv4[1])) == ({"10.0.0.0/8"}, {"2001:db8::/32"})


@pytest.mark.parametrize(
    ("given_rule", "packet", "does"),
    [
        (rule("icmp", 3, 4), (1, 3, 4), True),
        (rule("icmp", 3, 4), (1, 3, 1), False),
        (rule("icmp", 3, 4), (1, 4, 4), False),
        (rule("icmp", 3), (1, 3, 1), True),
        (rule("icmp", 3), (58, 3, 1), False),
        (rule("icmp"), (1, 8, 0), True),
        (rule("tcp", 20, 30), (6, 19, -1), False),
        (rule("tcp", 20, 30), (6, 20, -1), True),
        (rule("tcp", 20, 30), (6, 30, -1), True),
        (rule("tcp", 20, 30), (6, 31, -1), False),
        (rule("tcp", 20, 30), (17, 25, -1), False),
        (rule("-1"), (47, -1, -1), True),
    ],
)
def test_which_packets_a_rule_admits(given_rule: GroupRule, packet: tuple[int, int, int], does: bool) -> None:
    assert traffic_of(given_rule).admits(*packet) is does


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(sorted), min_size=1, max_size=20))
def test_joined_ports_cover_the_same(ranges: list[list[int]]) -> None:
    """No two ranges of a set overlap, which nft would refuse, and together they are what was given."""
    found = statements(tuple(rule("udp", first, last) for first, last in ranges if last - first < 65535), egress=False)
    remaining = [(first, last) for first, last in ranges if last - first < 65535]
    if not remaining:
        assert found == ()
        return
    written = [
        text.split("-") for text in found[0].text.split("dport ")[1].removesuffix(" accept").strip("{} ").split(", ")
    ]
    numbers = [(int(each[0]), int(each[-1])) for each in written]
    assert all(one[1] + 1 < other[0] for one, other in pairwise(numbers))
    assert {port for first, last in remaining for port in (first, last)} <= {
        port for first, last in numbers for port in range(first, last + 1)
    }
    assert sum(last - first + 1 for first, last in numbers) == len(
        set().union(*(range(first, last + 1) for first, last in remaining))
    )


@settings(deadline=None)
@given(st.lists(st.ip_addresses(v=4), max_size=20), st.lists(st.integers(8, 32), min_size=20, max_size=20))
def test_joined_blocks_cover_the_same(addresses: list[IPv4Address], lengths: list[int]) -> None:
    """No two blocks of a set overlap, which nft would refuse, and together they are what was given."""
    blocks = [IPv4Network(f"{a}/{n}", strict=False) for a, n in zip(addresses, lengths, strict=False)]
    found = statements(tuple(rule("tcp", 22, 22, peer=str(block)) for block in blocks), egress=False)
    if not blocks:
        assert found == ()
        return
    written = [IPv4Network(text) for text in found[0].text.split("saddr ")[1].split(" tcp")[0].strip("{} ").split(", ")]
    assert all(not a.overlaps(b) for a in written for b in written if a is not b)
    assert all(any(block.subnet_of(it) for it in written) for block in blocks)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_nothing_strange_reaches_nft(text: str) -> None:
    """Whatever stands in a rule, its nft text consists of the few characters that rules need."""
    candidate = GroupRule(text, False, text, 1, 2, text)
    for field in (
        candidate,
        rule(text),
        rule("tcp", 1, 2, peer=text),
        GroupRule(text, False, "-1", -1, -1, "10.0.0.0/8"),
    ):
        try:
            traffic_of(field)
            peer_of(field)
        except RuleError:
            continue  # refused: no text comes of it
        for found in statements((field,), egress=False):
            assert set(found.text) <= set("abcdefghijklmnopqrstuvwxyz0123456789 .:/@{},-")
            assert "\n" not in found.why


def test_members() -> None:
    good = frozenset({"10.0.0.1", "255.255.255.255", "0.0.0.0"})
    assert members_of(good) == (good, frozenset(), ())
    assert members_of(good)[0] is good
    assert members_of(frozenset()) == (frozenset(), frozenset(), ())
    two = frozenset({"10.0.0.1\n10.0.0.2"})
    assert members_of(two) == (frozenset(), frozenset(), tuple(two)), "two lines, and neither may be one address"
    strange = frozenset({"10.0.0.256", "10.0.0.1\n10.0.0.2", "\u0661.1.1.1", "010.0.0.1", "", "x"})
    assert members_of(good | strange) == (good, frozenset(), tuple(sorted(strange)))
    assert members_of(good | {"2001:db8:0::1"}) == (good, frozenset({"2001:db8::1"}), ())


def test_addresses_are_those_that_nft_reads() -> None:
    assert is_ipv4("10.0.0.1")
    assert not any(is_ipv4(text) for text in ("10.0.0.256", "10.0.0.1\n", "010.0.0.1", "::1", ""))
    assert plain_ipv6("2001:DB8:0::1") == "2001:db8::1"
    assert [plain_ipv6(text) for text in ("fe80::1%eth0", "10.0.0.1", "")] == ["", "", ""]
