"""What is remembered of applied rules, and in which order they change; the kernel's own part is in tests/host/firewall."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from stead_agent.firewall import kernel
from stead_agent.firewall.flows import Judge
from stead_agent.firewall.host_ruleset import Bindings, bindings_of
from stead_agent.firewall.interface import (
    FirewallError,
    Group,
    GroupRule,
    HostFirewall,
    Interface,
    LinkPrefixes,
    Refusal,
    Subnet,
    VpcFirewall,
)
from stead_agent.firewall.kernel import KernelFirewall
from tests.unit.agent.firewall.spaces import FakeNft, Spaces

LINKS = LinkPrefixes("stb", "stg", "stt", "sti", "sub", "internet", "169.254.0.0/17")
WEB = "sg-0000000a"
OPEN = GroupRule("sgr-1", False, "-1", -1, -1, "0.0.0.0/0")
TABLES = {("inet", "stead"), ("bridge", "stead"), ("netdev", "stead")}


@dataclass
class Ended:
    """Which addresses' flows were looked at, and who judged them."""

    calls: list[tuple[frozenset[str], Judge]] = field(default_factory=list)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Ended:
    found = Ended()

    def end_flows(_socket: object, addresses: frozenset[str], admits: Any) -> None:
        found.calls.append((addresses, admits.__self__))

    monkeypatch.setattr(kernel, "end_flows", end_flows)
    return found


@pytest.fixture
def spaces(ended: Ended) -> Iterator[Spaces]:
    """The host, and one VPC's namespace; what was opened in them must be closed."""
    made = Spaces()
    made.add("vpc-1")
    yield made
    assert all(space.open == 0 for space in (made.host, *made.vpcs.values()))


@pytest.fixture
def firewall(spaces: Spaces) -> Iterator[KernelFirewall]:
    """A firewall whose host has its tables already."""
    made = KernelFirewall(spaces, LINKS)
    made.apply_host(HostFirewall((), None, None))
    spaces.log.clear()
    yield made
    made.close()


def guest(number: int = 1) -> Interface:
    return Interface(
        f"eni-{number:08x}",
        f"stt{number}",
        "sub1",
        f"06:00:00:00:00:{number:02x}",
        (f"10.0.1.{number}",),
        (WEB,),
        source_dest_check=number != 9,
    )


def vpc(*interfaces: Interface, rules: tuple[GroupRule, ...] = (OPEN,), vpc_id: str = "vpc-1") -> VpcFirewall:
    return VpcFirewall(vpc_id, (Group(WEB, rules),), (Subnet("sub1", internet=True),), interfaces)


def brief(spaces: Spaces) -> list[tuple[str, str]]:
    """Where transactions were made, each with its first words; forgets them."""
    found = [(name, " ".join(commands.split()[:4])) for name, commands in spaces.log]
    spaces.log.clear()
    return found


def test_who_comes_is_let_in_last_and_who_leaves_is_cut_off_first(firewall: KernelFirewall, spaces: Spaces) -> None:
    firewall.apply(vpc(guest(1)))
    assert brief(spaces) == [("vpc-1", "add table inet stead"), ("host", "add element bridge stead")]
    firewall.apply(vpc(guest(2)))
    places = [(name, commands) for name, commands in spaces.log]
    assert [name for name, _ in places] == ["host", "vpc-1", "host"]
    assert "delete element bridge stead ports" in places[0][1]
    assert "stt2" not in places[0][1]
    assert "add element bridge stead ports" in places[2][1]
    assert "stt1" not in places[2][1]


def test_the_same_state_is_no_transaction(firewall: KernelFirewall, spaces: Spaces, ended: Ended) -> None:
    bad = replace(OPEN, id="sgr-9", protocol="no")
    refusals = firewall.apply(vpc(guest(1), rules=(OPEN, bad)))
    assert refusals == (Refusal("sgr-9", "no protocol: 'no'"),)
    spaces.log.clear()
    assert firewall.apply(vpc(guest(1), rules=(OPEN, bad))) == refusals
    assert (spaces.log, len(ended.calls)) == ([], 1)


def test_one_change_is_one_small_transaction(firewall: KernelFirewall, spaces: Spaces) -> None:
    firewall.apply(vpc(guest(1)))
    spaces.log.clear()
    firewall.apply(vpc(guest(1), rules=()))
    ((name, commands),) = spaces.log
    assert (name, commands) == ("vpc-1", f"flush chain inet stead {WEB}-in\n")


def test_flows_of_those_who_lost_something_are_judged(firewall: KernelFirewall, ended: Ended) -> None:
    firewall.apply(vpc(guest(1)))
    firewall.apply(vpc(guest(1), guest(2)))
    firewall.apply(vpc(guest(2)))
    firewall.apply(vpc(guest(2), rules=()))
    assert [addresses for addresses, _ in ended.calls] == [
        {"10.0.1.1"},
        {"10.0.1.2"},
        {"10.0.1.1"},
        {"10.0.1.2"},
    ]
    assert [judge._gone for _, judge in ended.calls] == [set(), set(), {"10.0.1.1"}, set()]


def test_what_was_refused_is_made_whole_the_next_time(firewall: KernelFirewall, spaces: Spaces, ended: Ended) -> None:
    firewall.apply(vpc(guest(1)))
    spaces.vpcs["vpc-1"].refusing = True
    with pytest.raises(FirewallError):
        firewall.apply(vpc(guest(2)))
    spaces.vpcs["vpc-1"].refusing = False
    spaces.log.clear()
    ended.calls.clear()
    firewall.apply(vpc(guest(2)))
    assert brief(spaces) == [("vpc-1", "add table inet stead"), ("host", "add element bridge stead")]
    ((addresses, judge),) = ended.calls
    assert (addresses, judge._gone) == ({"10.0.1.1", "10.0.1.2"}, {"10.0.1.1"})


def test_after_a_refusal_the_state_before_is_applied_too(firewall: KernelFirewall, spaces: Spaces) -> None:
    firewall.apply(vpc(guest(1)))
    spaces.vpcs["vpc-1"].refusing = True
    with pytest.raises(FirewallError):
        firewall.apply(vpc(guest(1), rules=()))
    spaces.vpcs["vpc-1"].refusing = False
    spaces.log.clear()
    firewall.apply(vpc(guest(1)))
    assert brief(spaces) == [("vpc-1", "add table inet stead")]


def test_a_binding_that_was_refused_is_tried_again(firewall: KernelFirewall, spaces: Spaces) -> None:
    spaces.host.refusing = True
    with pytest.raises(FirewallError):
        firewall.apply(vpc(guest(1)))
    assert firewall.present() == {"vpc-1"}
    spaces.host.refusing = False
    spaces.log.clear()
    firewall.apply(vpc(guest(1)))
    assert [name for name, _ in spaces.log] == ["host"]
    assert '"stt1" . 06:00:00:00:00:01' in spaces.log[0][1]


def test_a_host_comes_before_its_vpcs_and_a_network_before_its_rules(spaces: Spaces) -> None:
    firewall = KernelFirewall(spaces, LINKS)
    with pytest.raises(FirewallError, match="apply_host must come first"):
        firewall.apply(vpc(guest(1)))
    firewall.apply_host(HostFirewall((), None, None))
    with pytest.raises(FirewallError, match="vpc-2 has no namespace"):
        firewall.apply(vpc(vpc_id="vpc-2"))
    firewall.close()


def test_an_overlay_has_its_table_as_long_as_its_link(firewall: KernelFirewall, spaces: Spaces) -> None:
    space = spaces.vpcs["vpc-1"]
    firewall.apply(vpc(guest(1)))
    assert ("netdev", "stead") not in space.tables
    space.links["vx"] = 5
    firewall.apply(vpc(guest(1), guest(2)))
    assert ("netdev", "stead") in space.tables
    spaces.log.clear()
    firewall.apply(vpc(guest(1)))
    assert not any("table netdev stead" in commands for _, commands in spaces.log)
    space.links["vx"] = 6
    firewall.apply(vpc(guest(1), guest(3)))
    assert any("add table netdev stead" in commands for _, commands in spaces.log)


def test_a_later_namespace_of_the_same_name_is_a_new_one(firewall: KernelFirewall, spaces: Spaces) -> None:
    firewall.apply(vpc(guest(1)))
    before = spaces.vpcs["vpc-1"]
    spaces.add("vpc-1", identity=2)
    spaces.log.clear()
    firewall.apply(vpc(guest(1), guest(2)))
    assert brief(spaces)[0] == ("vpc-1", "add table inet stead")
    assert before.open == 0


def test_a_vpc_is_removed_with_its_bindings_first(firewall: KernelFirewall, spaces: Spaces) -> None:
    firewall.apply(vpc(guest(1)))
    spaces.log.clear()
    firewall.remove("vpc-1")
    assert brief(spaces) == [("host", "delete element bridge stead"), ("vpc-1", "add table inet stead")]
    assert (spaces.vpcs["vpc-1"].tables, spaces.vpcs["vpc-1"].open) == (set(), 0)
    assert firewall.present() == frozenset()
    firewall.remove("vpc-1")
    assert [name for name, _ in brief(spaces)] == ["vpc-1"]
    del spaces.vpcs["vpc-1"]
    firewall.remove("vpc-1")
    assert brief(spaces) == []


def test_a_vpc_is_present_by_its_bindings_or_its_table(firewall: KernelFirewall, spaces: Spaces) -> None:
    spaces.add("vpc-2").tables.add(("inet", "stead"))
    spaces.add("vpc-3").tables.add(("inet", "other"))
    assert firewall.present() == {"vpc-2"}
    firewall.apply(vpc(guest(1)))
    assert firewall.present() == {"vpc-1", "vpc-2"}
    del spaces.vpcs["vpc-1"]
    assert firewall.present() == {"vpc-1", "vpc-2"}
    firewall.close()


def elements_of(bindings: Bindings) -> list[dict[str, Any]]:
    """The bridge's sets as nft lists them."""
    found: list[dict[str, Any]] = [{"table": {"name": "stead"}}, {"set": {"name": "plain_macs", "elem": ["stt1"]}}]
    for name in ("ports", "sources", "routers", "sources6"):
        elements = []
        for text in sorted(getattr(bindings, name)):
            parts, _, comment = text.partition(' comment "')
            tap, *rest = parts.split(" . ")
            value: Any = {"concat": [tap.strip('"'), *rest]} if rest else tap.strip('"')
            elements.append({"elem": {"val": value, "comment": comment.rstrip('"')}})
        found.append({"set": {"name": name, **({"elem": elements} if elements else {})}})
    return found


def test_bindings_of_an_earlier_agent_stay_until_their_vpc_is_applied(spaces: Spaces) -> None:
    first = bindings_of("vpc-1", [guest(1), guest(9)])
    other = bindings_of("vpc-2", [replace(guest(2), ipv6_addresses=("fd00::2",))])
    both = Bindings(
        *(getattr(first, name) | getattr(other, name) for name in ("ports", "sources", "routers", "sources6"))
    )
    spaces.host.tables |= TABLES
    spaces.host.listed["list table bridge stead"] = elements_of(both)
    firewall = KernelFirewall(spaces, LINKS)
    firewall.apply_host(HostFirewall((), None, None))
    assert firewall._bindings == {"vpc-1": first, "vpc-2": other}
    (_, commands) = spaces.log[0]
    assert all(text in commands for text in both.ports | both.sources | both.routers | both.sources6)
    assert firewall.present() == {"vpc-1", "vpc-2"}
    spaces.host.listed.clear()
    firewall.apply_host(HostFirewall((), "eth0", None))
    assert firewall._bindings == {"vpc-1": first, "vpc-2": other}
    firewall.apply(vpc(guest(1)))
    assert firewall._bindings == {"vpc-1": bindings_of("vpc-1", [guest(1)]), "vpc-2": other}
    firewall.close()


def test_bindings_without_an_owner_are_known(spaces: Spaces) -> None:
    """They are present under a name of no VPC, and so removed."""
    spaces.host.tables |= TABLES
    listed = [
        {"set": {"name": "ports", "elem": [{"concat": ["sttelem", "06:00:00:00:00:07"]}]}},
        {"set": {"name": "routers", "elem": ["sttelem"]}},
    ]
    spaces.host.listed["list table bridge stead"] = listed
    firewall = KernelFirewall(spaces, LINKS)
    firewall.apply_host(HostFirewall((), None, None))
    (stranger,) = firewall.present()
    found = Bindings(frozenset({'"sttelem" . 06:00:00:00:00:07'}), routers=frozenset({'"sttelem"'}))
    assert firewall._bindings == {stranger: found}
    firewall.remove(stranger)
    assert firewall.present() == frozenset()
    firewall.close()


def test_a_host_without_tables_has_no_bindings(spaces: Spaces) -> None:
    spaces.host.tables.add(("inet", "stead"))
    spaces.host.listed["list table bridge stead"] = elements_of(bindings_of("vpc-1", [guest(1)]))
    firewall = KernelFirewall(spaces, LINKS)
    firewall.apply_host(HostFirewall((), None, None))
    assert firewall._bindings == {}
    firewall.close()


def test_a_host_that_is_given_up_loses_its_own_tables_alone(firewall: KernelFirewall, spaces: Spaces) -> None:
    firewall.apply(vpc(guest(1)))
    spaces.host.tables |= {("ip", "stead"), ("inet", "other")}
    firewall.remove_host()
    assert spaces.host.tables == {("ip", "stead"), ("inet", "other")}
    assert spaces.host.open == 0
    assert firewall._bindings == {}
    spaces.log.clear()
    firewall.remove_host()
    assert "delete" not in "".join(commands for _, commands in spaces.log)
    with pytest.raises(FirewallError, match="apply_host must come first"):
        firewall.apply(vpc(guest(2)))


def test_an_audit_asks_only_whether_another_program_changed_rules(firewall: KernelFirewall, spaces: Spaces) -> None:
    firewall.apply(vpc(guest(1)))
    spaces.log.clear()
    assert firewall.audit() == ()
    spaces.host.spoilt.add(("bridge", "stead"))
    spaces.vpcs["vpc-1"].spoilt.add(("inet", "stead"))
    assert firewall.audit() == ()  # nothing says that anybody changed something
    assert spaces.log == []
    spaces.host.generation += 1
    spaces.vpcs["vpc-1"].generation += 1
    assert firewall.audit({"vpc-2"}) == ()
    assert firewall.audit({""}) == ("host: table bridge stead",)
    assert [name for name, _ in brief(spaces)] == ["host"]
    assert firewall.audit({"vpc-1"}) == ("vpc-1: table inet stead",)
    assert brief(spaces) == [("vpc-1", "add table inet stead")]
    assert firewall.audit() == ()
    assert spaces.log == []


def test_all_is_audited_where_nothing_is_named(firewall: KernelFirewall, spaces: Spaces) -> None:
    firewall.apply(vpc(guest(1)))
    for space in (spaces.host, spaces.vpcs["vpc-1"]):
        space.spoilt.add(("inet", "stead"))
        space.generation += 1
    assert firewall.audit() == ("host: table inet stead", "vpc-1: table inet stead")


def test_a_table_that_is_gone_is_made_again(firewall: KernelFirewall, spaces: Spaces) -> None:
    space = spaces.vpcs["vpc-1"]
    firewall.apply(vpc(guest(1)))
    space.listed["list table inet stead"] = [{"chain": {"name": "c"}}]
    space.tables.clear()
    space.generation += 1
    assert firewall.audit() == ("vpc-1: table inet stead",)
    assert ("inet", "stead") in space.tables


def test_who_makes_a_transaction_beside_ours_is_noticed(firewall: KernelFirewall, spaces: Spaces) -> None:
    space = spaces.vpcs["vpc-1"]
    space.meddling = True
    firewall.apply(vpc(guest(1)))
    space.meddling = False
    space.spoilt.add(("inet", "stead"))
    assert firewall.audit() == ("vpc-1: table inet stead",)


def test_a_change_before_our_transaction_is_noticed_after_it(firewall: KernelFirewall, spaces: Spaces) -> None:
    space = spaces.vpcs["vpc-1"]
    firewall.apply(vpc(guest(1)))
    space.spoilt.add(("inet", "stead"))
    space.generation += 1
    firewall.apply(vpc(guest(1), guest(2)))
    assert firewall.audit() == ("vpc-1: table inet stead",)


def test_an_audit_fills_a_new_namespace_and_a_new_overlay(
    firewall: KernelFirewall, spaces: Spaces, ended: Ended
) -> None:
    firewall.apply(vpc(guest(1)))
    spaces.vpcs["vpc-1"].links["vx"] = 5
    assert firewall.audit() == ("vpc-1: a new vx without rules",)
    assert ("netdev", "stead") in spaces.vpcs["vpc-1"].tables
    assert firewall.audit() == ()
    fresh = spaces.add("vpc-1", identity=2)
    assert firewall.audit() == ("vpc-1: a new namespace without rules",)
    assert ("inet", "stead") in fresh.tables
    spaces.log.clear()
    assert firewall.apply(vpc(guest(1))) == ()
    assert (spaces.log, firewall.audit()) == ([], ())
    ended.calls.clear()
    firewall.apply(vpc(guest(2)))
    ((addresses, judge),) = ended.calls
    assert (addresses, judge._gone) == ({"10.0.1.1", "10.0.1.2"}, {"10.0.1.1"})


def test_what_was_never_applied_is_not_audited(spaces: Spaces) -> None:
    firewall = KernelFirewall(spaces, LINKS)
    assert firewall.audit() == ()
    assert firewall._audit_vpc("vpc-1") == []  # as when it is removed before it is examined
    assert spaces.log == []
    firewall.close()


def test_what_failed_or_is_gone_is_left_to_the_next_apply(firewall: KernelFirewall, spaces: Spaces) -> None:
    firewall.apply(vpc(guest(1)))
    spaces.vpcs["vpc-1"].refusing = True
    with pytest.raises(FirewallError):
        firewall.apply(vpc(guest(1), rules=()))
    spaces.vpcs["vpc-1"].refusing = False
    spaces.vpcs["vpc-1"].spoilt.add(("inet", "stead"))
    assert firewall.audit() == ()
    firewall.apply(vpc(guest(1)))
    before = spaces.vpcs.pop("vpc-1")
    assert firewall.audit() == ()
    spaces.vpcs["vpc-1"] = before


def test_contexts_that_are_used_least_recently_are_closed(firewall: KernelFirewall, spaces: Spaces) -> None:
    numbers = range(1, 15)
    for number in numbers:
        spaces.add(f"vpc-{number}")
    for number in numbers[:12]:
        firewall.apply(vpc(vpc_id=f"vpc-{number}"))
    assert all(spaces.vpcs[f"vpc-{number}"].open == 2 for number in numbers[:12])  # a context and a socket
    firewall.apply(vpc(guest(1), vpc_id="vpc-1"))
    firewall.apply(vpc(vpc_id="vpc-13"))
    assert [number for number in numbers if spaces.vpcs[f"vpc-{number}"].open == 1] == [2]
    assert (spaces.host.open, spaces.host.made) == (2, 1)  # the host's stays open
    firewall.apply(vpc(vpc_id="vpc-14"))
    assert [number for number in numbers if spaces.vpcs[f"vpc-{number}"].open == 1] == [2, 3]
    firewall.remove("vpc-14")
    firewall.remove("vpc-3")
    firewall.apply(vpc(guest(2), vpc_id="vpc-2"))
    assert spaces.vpcs["vpc-2"].made == 2
    assert all(spaces.vpcs[f"vpc-{number}"].open == 2 for number in numbers if number not in (3, 14))


def test_a_comparison_minds_neither_handles_nor_order_nor_meters() -> None:
    one = {"set": {"name": "s", "handle": 1, "elem": ["a", {"b": 1}]}}
    assert kernel._comparable(one) == kernel._comparable({"set": {"name": "s", "handle": 2, "elem": [{"b": 1}, "a"]}})
    assert kernel._comparable(one) != kernel._comparable({"set": {"name": "s", "elem": ["a"]}})
    assert kernel._comparable({"set": {"name": "s"}}) == kernel._comparable({"set": {"name": "s", "elem": []}})
    meter = {"name": "m", "flags": ["dynamic"]}
    assert kernel._comparable({"set": meter | {"elem": ["a"]}}) == kernel._comparable({"set": meter})
    assert kernel._comparable({"set": {"name": "s"}}) != kernel._comparable({"map": {"name": "s"}})


def test_nothing_passes_a_new_namespace(monkeypatch: pytest.MonkeyPatch, spaces: Spaces) -> None:
    space = spaces.add("vpc-9")
    monkeypatch.setattr(kernel, "Nft", lambda: FakeNft(space))
    kernel.shut()
    assert space.tables == {("inet", "stead")}
    assert "policy drop" in space.log[0][1]


def test_what_is_looked_at_is_what_is_in_force(
    monkeypatch: pytest.MonkeyPatch, firewall: KernelFirewall, spaces: Spaces
) -> None:
    monkeypatch.setattr(kernel, "look_at_bindings", lambda nft, _path: [nft.space.name])
    monkeypatch.setattr(kernel, "look_at_groups", lambda nft, _path: [nft.space.name])
    path: Any = type("Path", (), {"vpc_id": "vpc-1"})()
    assert firewall.look(path) == ["host", "vpc-1"]
    del spaces.vpcs["vpc-1"]
    assert firewall.look(path) == ["host"]


def test_a_refused_binding_leaves_the_hosts_other_table_watched(firewall: KernelFirewall, spaces: Spaces) -> None:
    """Somebody flushes all rules: the next binding is refused, and what comes then makes all of the host's tables."""
    spaces.host.tables.clear()
    spaces.host.generation += 1
    spaces.host.refusing = True
    with pytest.raises(FirewallError):
        firewall.apply(vpc(guest(1)))
    spaces.host.refusing = False
    firewall.apply(vpc(guest(1)))
    assert spaces.host.tables == {("inet", "stead"), ("bridge", "stead")}
    spaces.host.spoilt.add(("inet", "stead"))
    spaces.host.generation += 1
    assert firewall.audit() == ("host: table inet stead",)


def test_tables_made_after_a_refusal_are_trusted(firewall: KernelFirewall, spaces: Spaces) -> None:
    spaces.host.refusing = True
    with pytest.raises(FirewallError):
        firewall.apply(vpc(guest(1)))
    spaces.host.refusing = False
    firewall.apply(vpc(guest(1)))
    firewall.apply_host(HostFirewall((), "eth0", None))
    spaces.log.clear()
    firewall.apply(vpc(guest(1), guest(2)))
    assert "inet stead" not in "".join(commands for name, commands in spaces.log if name == "host")


def test_a_repair_that_was_refused_is_tried_again(firewall: KernelFirewall, spaces: Spaces) -> None:
    space = spaces.vpcs["vpc-1"]
    firewall.apply(vpc(guest(1)))
    space.spoilt.add(("inet", "stead"))
    space.generation += 1
    space.refusing = True
    for _ in range(2):
        with pytest.raises(FirewallError):
            firewall.audit()
    space.refusing = False
    assert firewall.audit() == ("vpc-1: table inet stead",)
    assert firewall.audit() == ()


def test_an_overlay_that_is_gone_is_not_made_again_after_a_refusal(firewall: KernelFirewall, spaces: Spaces) -> None:
    space = spaces.vpcs["vpc-1"]
    space.links["vx"] = 5
    firewall.apply(vpc(guest(1)))
    space.refusing = True
    with pytest.raises(FirewallError):
        firewall.apply(vpc(guest(2)))
    space.refusing = False
    space.links.clear()
    space.tables.discard(("netdev", "stead"))
    firewall.apply(vpc(guest(2)))
    assert space.tables == {("inet", "stead")}


def test_what_is_closed_is_closed_once_and_may_begin_again(firewall: KernelFirewall, spaces: Spaces) -> None:
    firewall.apply(vpc(guest(1)))
    for _ in range(2):
        firewall.close()
        assert (spaces.host.open, spaces.vpcs["vpc-1"].open) == (0, 0)
    spaces.log.clear()
    firewall.apply_host(HostFirewall((), None, None))
    firewall.apply(vpc(guest(1)))
    assert [name for name, _ in spaces.log] == ["host", "vpc-1", "host"]


def test_a_namespace_that_goes_while_it_is_looked_at_has_no_table(
    firewall: KernelFirewall, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spaces, "names", lambda: {"vpc-8"})
    assert firewall.present() == frozenset()


def test_a_vpc_that_was_never_bound_is_removed_before_the_host_has_tables(spaces: Spaces) -> None:
    spaces.vpcs["vpc-1"].tables.add(("inet", "stead"))
    firewall = KernelFirewall(spaces, LINKS)
    firewall.remove("vpc-1")
    assert spaces.vpcs["vpc-1"].tables == set()
    firewall.close()
