"""What the whole tables look like; the kernel's opinion of them is asked in tests/host/firewall."""

from dataclasses import replace

import pytest

from stead_agent.firewall.cleaning import cleaned
from stead_agent.firewall.host_ruleset import Bindings, bindings_of, bridge_table, inet_table, owner_of
from stead_agent.firewall.interface import (
    Acl,
    AclEntry,
    FlowLog,
    Group,
    GroupRule,
    HostFirewall,
    IdleTimeouts,
    Interface,
    LinkPrefixes,
    PeerLink,
    Subnet,
    VpcFirewall,
)
from stead_agent.firewall.table import changes, written
from stead_agent.firewall.vpc_ruleset import overlay_table, table_of

LINKS = LinkPrefixes("stb", "stg", "stt", "sti", "sub", "internet", "169.254.0.0/17")
WEB, APP, UNUSED, STRANGER = "sg-0000000a", "sg-0000000b", "sg-0000000c", "sg-0000000d"
LIST, ACL = "pl-0000000a", "acl-0000000a"


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


def desired(*interfaces: Interface) -> VpcFirewall:
    groups = (
        Group(
            WEB, (GroupRule("sgr-1", True, "-1", -1, -1, "0.0.0.0/0"), GroupRule("sgr-2", False, "tcp", 22, 22, APP))
        ),
        Group(APP, (), frozenset({"10.0.1.77", "fd00::77"})),
        Group(UNUSED, (GroupRule("sgr-3", False, "-1", -1, -1, WEB),), frozenset({"10.0.1.78"})),
    )
    return VpcFirewall("vpc-1", groups, (Subnet("sub1", internet=True), Subnet("sub2", internet=False)), interfaces)


def test_only_what_is_used_is_there() -> None:
    """A chain for each group of an interface here, a set for each group that a rule of those names."""
    table = table_of(cleaned(desired(interface())), LINKS)
    assert {f"{WEB}-in", f"{WEB}-out", "eni-00000001-in", "eni-00000001-out"} <= table.chains.keys()
    assert not any(name.startswith((APP, UNUSED)) for name in table.chains)
    assert {f"{APP}-4", f"{APP}-6"} == {name for name in table.sets if name.startswith("sg-")}
    assert table.sets[f"{APP}-4"].elements == {"10.0.1.77"}
    assert table.sets[f"{APP}-6"].elements == {"fd00::77"}
    assert not any("sg-" in name for name in table_of(cleaned(desired()), LINKS).chains)


def test_groups_lists_and_marks_that_are_named_nowhere_are_not_there() -> None:
    mine = (
        GroupRule("sgr-1", False, "tcp", 22, 22, LIST, ("10.9.0.0/16", "fd00:9::/32")),
        GroupRule("sgr-2", False, "tcp", 22, 22, STRANGER),
        GroupRule("sgr-3", False, "tcp", 22, 22, "10.0.0.0/8"),
    )
    marked = interface(2, router_mark=0x4000_0001)
    groups = (Group(WEB, mine),)
    interfaces = (interface(1, group_ids=(WEB, STRANGER)), marked)
    clean = cleaned(VpcFirewall("vpc-1", groups, (Subnet("sub1", internet=True),), interfaces))
    table = table_of(clean, LINKS)
    assert [rule.text for rule in table.chains["eni-00000001-in"].rules] == [f"jump {WEB}-in"]
    assert {name: set(it.elements) for name, it in table.sets.items() if name.startswith(("sg-", "pl-"))} == {
        f"{LIST}-4": {"10.9.0.0/16"},
        f"{LIST}-6": {"fd00:9::/32"},
        f"{STRANGER}-4": set(),
        f"{STRANGER}-6": set(),
    }
    assert table.sets[f"{LIST}-6"].declaration == "type ipv6_addr; flags interval"
    assert overlay_table(clean, LINKS).sets["router_marks"].elements == {"06:00:00:00:00:02 : 0x40000001"}


def test_who_may_reach_the_internet_and_be_reached_is_said_by_subnet() -> None:
    subnets = (
        Subnet("sub1", internet=True),
        Subnet("sub2", internet=False, ipv6_internet=True),
        Subnet("sub3", internet=False),
    )
    sets = table_of(cleaned(VpcFirewall("vpc-1", subnets=subnets)), LINKS).sets
    assert sets["internet_subnets"].elements == {'"sub1"'}
    assert sets["ipv6_internet_subnets"].elements == {'"sub2"'}


def test_each_ip_version_has_its_own_sets_of_addresses() -> None:
    """A router interface gets what is routed by the address of its MAC, in IPv6, and by its own."""
    plain = interface(1, ipv6_addresses=("fd00::1",))
    router = interface(2, ipv6_addresses=("fd00::2",), source_dest_check=False)
    peers = (PeerLink("pcx1", ("10.7.0.0/16", "fd00:7::/32")),)
    logs = (
        FlowLog("fl-1", frozenset({router.id}), accepted=False, rejected=True),
        FlowLog("fl-2", frozenset({plain.id}), accepted=True, rejected=False),
    )
    vpc = replace(desired(plain, router), peers=peers, flow_logs=logs)
    sets = {name: set(it.elements) for name, it in table_of(cleaned(vpc), LINKS).sets.items()}
    assert sets["receivers4"] == {f"10.0.1.{n} . 10.0.1.{n} : jump eni-0000000{n}-in" for n in (1, 2)}
    assert sets["receivers6"] == {f"fd00::{n} . fd00::{n} : jump eni-0000000{n}-in" for n in (1, 2)}
    assert sets["unchecked"] == {'"sub1" . 06:00:00:00:00:02'}
    assert sets["router_sources4"] == {'"sub1" . 06:00:00:00:00:02 . 10.0.1.2'}
    assert sets["router_sources6"] == {'"sub1" . 06:00:00:00:00:02 . fd00::2'}
    assert sets["routers4"] == {"10.0.1.2 : jump eni-00000002-in"}
    assert sets["routers6"] == {f"{it} : jump eni-00000002-in" for it in ("fd00::2", "fe80::400:ff:fe00:2")}
    assert (sets["peer_sources4"], sets["peer_sources6"]) == ({'"pcx1" . 10.7.0.0/16'}, {'"pcx1" . fd00:7::/32'})
    assert sets["logged_senders"] == {'"sub1" . 06:00:00:00:00:02'}
    assert (sets["logged_receivers4"], sets["logged_receivers6"]) == ({"10.0.1.2"}, {"fd00::2"})


def test_no_groups_are_asked_of_a_nat_gateway() -> None:
    table = table_of(cleaned(desired(interface(1, unfiltered=True))), LINKS)
    for way in ("out", "in"):
        assert [rule.text for rule in table.chains[f"eni-00000001-{way}"].rules] == ["accept"]


def test_a_network_acl_is_asked_at_the_borders_of_its_subnets() -> None:
    acl = Acl(
        ACL, (AclEntry(100, False, True, "6", "10.1.0.0/16", 22, 22), AclEntry(100, True, True, "17", "0.0.0.0/0"))
    )
    subnets = (Subnet("sub1", internet=True, cidr="10.0.1.0/24", acl_id=ACL), Subnet("sub2", internet=True))
    table = table_of(cleaned(VpcFirewall("vpc-1", subnets=subnets, acls=(acl,))), LINKS)
    chains = table.chains
    for way, words in (("out", "Where packets leave a subnet."), ("in", "Where packets come to a subnet.")):
        assert (table.sets[f"border_{way}"].why, set(table.sets[f"border_{way}"].elements)) == (
            words,
            {f'"sub1" : jump sub1-{way}'},
        )
    texts = {
        name: [rule.text for rule in chain.rules]
        for name, chain in chains.items()
        if name[:4] in {"acl-", "sub1", "sub2"}
    }
    assert texts == {
        f"{ACL}-in": ["ip saddr 10.1.0.0/16 tcp dport 22 return", "goto rejected_in"],
        f"{ACL}-out": ["meta nfproto ipv4 meta l4proto 17 return", "goto rejected_out"],
        "sub1-in": ["ip saddr 10.0.1.0/24 return", f"goto {ACL}-in"],
        "sub1-out": ["ip daddr 10.0.1.0/24 return", f"goto {ACL}-out"],
    }


def test_one_interface_more_is_a_few_commands() -> None:
    old, new = (table_of(cleaned(desired(*list(map(interface, range(1, n))))), LINKS) for n in (50, 51))
    assert changes(old, new).splitlines() == [
        "add chain inet stead eni-00000032-out",
        "add chain inet stead eni-00000032-in",
        f"add rule inet stead eni-00000032-out jump {WEB}-out",
        f"add rule inet stead eni-00000032-in jump {WEB}-in",
        'add element inet stead senders { "sub1" . 06:00:00:00:00:32 : jump eni-00000032-out }',
        "add element inet stead receivers4 { 10.0.1.50 . 10.0.1.50 : jump eni-00000032-in }",
    ]


def test_idle_timeouts_are_shared_and_go_with_the_last_that_has_them() -> None:
    """Each is named by its values; what a flow has of the kernel's state is set before any group allows it."""
    both = IdleTimeouts(tcp_established=350, udp=45, udp_stream=90)
    old = table_of(cleaned(desired(interface(1, idle_timeouts=both), interface(2, idle_timeouts=both))), LINKS)
    assert {name: it.properties for name, it in old.timeouts.items()} == {
        "tcp-350": ("protocol tcp", "policy = { established : 350 }"),
        "udp-45-90": ("protocol udp", "policy = { unreplied : 45, replied : 90 }"),
    }
    for way in ("out", "in"):
        assert [rule.text for rule in old.chains[f"eni-00000002-{way}"].rules] == [
            'ct timeout set "tcp-350"',
            'ct timeout set "udp-45-90"',
            f"jump {WEB}-{way}",
        ]
    one = table_of(cleaned(desired(interface(1), interface(2, idle_timeouts=both))), LINKS)
    assert "timeout" not in changes(old, one)
    stream = table_of(cleaned(desired(interface(1), interface(2, idle_timeouts=IdleTimeouts(udp_stream=60)))), LINKS)
    assert changes(one, stream).splitlines()[:4] == [
        "add ct timeout inet stead udp-0-60 {",
        "protocol udp",
        "policy = { replied : 60 }",
        "}",
    ]
    assert changes(one, stream).splitlines()[-2:] == [
        "delete ct timeout inet stead tcp-350",
        "delete ct timeout inet stead udp-45-90",
    ]
    assert "  ct timeout udp-0-60 {\n    protocol udp\n    policy = { replied : 60 }\n  }" in written(stream)


def test_a_rule_more_touches_one_chain() -> None:
    old, given = desired(interface()), list(desired().groups)
    given[0] = Group(WEB, (*given[0].rules, GroupRule("sgr-9", False, "udp", 53, 53, "10.0.0.0/8")))
    new = VpcFirewall("vpc-1", tuple(given), old.subnets, old.interfaces)
    lines = changes(table_of(cleaned(old), LINKS), table_of(cleaned(new), LINKS)).splitlines()
    assert lines[0] == f"flush chain inet stead {WEB}-in"
    assert all(line.startswith(f"add rule inet stead {WEB}-in ") for line in lines[1:])


def test_bindings_name_their_owner() -> None:
    bindings = bindings_of(
        "vpc-1", [interface(1), interface(2, source_dest_check=False, addresses=("10.0.1.2", "10.0.1.3"))]
    )
    assert bindings == Bindings(
        frozenset(
            {
                '"stt1" . 06:00:00:00:00:01 comment "vpc-1 eni-00000001"',
                '"stt2" . 06:00:00:00:00:02 comment "vpc-1 eni-00000002"',
            }
        ),
        frozenset(
            {
                '"stt1" . 10.0.1.1 comment "vpc-1 eni-00000001"',
                '"stt2" . 10.0.1.2 comment "vpc-1 eni-00000002"',
                '"stt2" . 10.0.1.3 comment "vpc-1 eni-00000002"',
            }
        ),
        frozenset({'"stt2" comment "vpc-1 eni-00000002"'}),
    )
    assert {owner_of(element) for element in (*bindings.ports, *bindings.sources, *bindings.routers)} == {"vpc-1"}


def test_bindings_of_ipv6_have_the_link_local_address_too() -> None:
    bindings = bindings_of("vpc-1", [interface(1), interface(2, ipv6_addresses=("fd00::2",))])
    owner = 'comment "vpc-1 eni-00000002"'
    assert bindings.sources6 == {f'"stt2" . {address} {owner}' for address in ("fd00::2", "fe80::400:ff:fe00:2")}


def test_an_uplink_opens_the_way_out_and_nothing_is_said_of_one_that_is_not_there() -> None:
    pools = ("198.51.100.0/24",)
    none = written(inet_table(LINKS, HostFirewall((), None, "198.51.100.1", pools)))
    assert "None" not in none
    assert "it would have the host's address" not in none
    assert "ip saddr 169.254.0.0/17 ip daddr 198.51.100.1 meta l4proto { tcp, udp } th dport 53 accept" in none
    some = written(inet_table(LINKS, HostFirewall((), "eth0", None, pools)))
    assert "# out\n" in some
    assert "# in: the receiver's groups decide\n" in some
    assert "# VPCs' own resolvers ask the host's\n" not in some
    assert "ip saddr { 169.254.0.0/17, 198.51.100.0/24 } drop" in some


def test_host_tables_follow_the_settings() -> None:
    none = written(inet_table(LINKS, HostFirewall(("198.51.100.0/24",), None, "198.51.100.1")))
    assert "masquerade" not in none
    assert "dport {" not in none.replace("th dport 53", "")
    some = written(
        inet_table(
            LINKS,
            HostFirewall((), "eth0", "198.51.100.1", ("198.51.100.0/25", "198.51.100.128/25"), frozenset({443, 80})),
        )
    )
    assert 'oifname "eth0" ip saddr { 169.254.0.0/17, 198.51.100.0/24 } masquerade' in some
    assert "ip daddr 198.51.100.1 tcp dport { 80, 443 } accept" in some
    assert 'iifname "eth0" drop' in some
    router = written(inet_table(LINKS, HostFirewall((), "eth0", None, is_router=True)))
    assert 'iifname "eth0" drop' not in router
    with pytest.raises(ValueError, match="no link name"):
        inet_table(LINKS, HostFirewall((), 'eth0" drop', None))


def test_every_rule_says_why() -> None:
    host = HostFirewall(("198.51.100.0/24",), "eth0", "198.51.100.1", (), frozenset({443}))
    for table in (
        table_of(cleaned(desired(interface())), LINKS),
        overlay_table(cleaned(desired(interface())), LINKS),
        bridge_table(LINKS, [bindings_of("vpc-1", [interface()])]),
        inet_table(LINKS, host),
    ):
        assert all(rule.why for chain in table.chains.values() for rule in chain.rules)
        assert all(part.why for part in table.sets.values())
        assert all(part.why for part in table.chains.values())
