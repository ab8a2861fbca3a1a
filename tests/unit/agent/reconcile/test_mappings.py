"""Mappings come and go; what subsystems get of them is what a fresh reading of all would give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.dhcp.interface import DnsName
from stead_agent.network.interface import RemoteInterface
from stead_agent.reconcile.mappings import Mappings
from stead_agent.roster import Roster
from stead_agent.wanted import Key, Wanted
from stead_proto.v1 import desired_pb2 as pb

_GROUPS = ("sg-1", "sg-2", "sg-3")
_NOWHERE = 0  # stands for no address


def _mapping(
    name: str, address: int, groups: frozenset[str], host: str, vpc_id: str, *, forwards: bool = False
) -> pb.Resource:
    body = pb.Mapping(
        vpc_id=vpc_id,
        mac_address="02:00:00:00:00:01",
        addresses=[f"10.0.0.{address}"] if address != _NOWHERE else [],
        host_address=host,
        security_group_ids=sorted(groups),
        private_dns_name=f"ip-{name}",
        public_dns_name="public" if address % 2 else "",
        resource_name=f"i-{name}" if address % 3 else "",
        resource_name_addresses=[f"10.0.0.{address}", "fd00::5"] if address % 3 and address != _NOWHERE else [],
        source_dest_check=not forwards,
    )
    return pb.Resource(id=f"eni-{name}", mapping=body)


_CHANGES = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.integers(4, 9) | st.none(),  # None: it goes
        st.frozensets(st.sampled_from(_GROUPS)),
        st.sampled_from(["", "192.0.2.1", "192.0.2.2"]),
        st.sampled_from(["vpc-1", "vpc-2"]),
        st.booleans(),  # whether it may forward
    )
)


def _is_as_read_anew(mappings: Mappings, wanted: Wanted, local: frozenset[str]) -> None:
    """Compare with a fresh reading; what is asked for again is the same object."""
    fresh = Mappings()
    for key in wanted.resources:
        fresh.follow(key, wanted)
    for vpc_id in ("vpc-1", "vpc-2"):
        assert set(mappings.remotes(vpc_id, local)) == set(fresh.remotes(vpc_id, local))
        assert set(mappings.names(vpc_id, local)) == set(fresh.names(vpc_id, local))
        forwarding = {each.id for each in fresh.remotes(vpc_id, local) if each.is_router}
        assert mappings.routers(vpc_id, local) == forwarding
        assert mappings.remotes(vpc_id, local) is mappings.remotes(vpc_id, frozenset(local))
        assert mappings.names(vpc_id, local) is mappings.names(vpc_id, frozenset(local))


def _has_all_members(mappings: Mappings, wanted: Wanted) -> None:
    for vpc_id in ("vpc-1", "vpc-2"):
        for group in _GROUPS:
            bodies = [each.mapping for each in wanted.resources.values()]
            expected = {
                address
                for each in bodies
                if group in each.security_group_ids and each.vpc_id == vpc_id
                for address in each.addresses
            }
            assert mappings.members(group, [vpc_id]) == expected


@given(_CHANGES, st.booleans())
def test_it_is_as_if_all_were_read_anew(
    changes: list[tuple[str, int | None, frozenset[str], str, str, bool]], is_asked: bool
) -> None:
    wanted, mappings = Wanted(), Mappings()
    vpc_of = {}
    for name, address, groups, host, vpc_id, forwards in changes:
        key = Key(pb.KIND_MAPPING, f"eni-{name}")
        if address is None:
            wanted.resources.pop(key, None)
        else:
            # an interface never changes its VPC, nor shares its address in it
            vpc_of.setdefault(name, vpc_id)
            own = address * 8 + "abcd".index(name) if address > 4 else _NOWHERE
            wanted.resources[key] = _mapping(name, own, groups, host, vpc_of[name], forwards=forwards)
        mappings.follow(key, wanted)
        _is_as_read_anew(mappings, wanted, frozenset({f"eni-{name}"}))
        if is_asked:
            _has_all_members(mappings, wanted)
    _is_as_read_anew(mappings, wanted, frozenset())
    _has_all_members(mappings, wanted)


def test_local_interfaces_are_no_remotes_and_have_their_private_names() -> None:
    wanted, mappings = Wanted(), Mappings()
    for name, address in (("a", 5), ("b", 6)):
        key = Key(pb.KIND_MAPPING, f"eni-{name}")
        wanted.resources[key] = _mapping(name, address, frozenset({"sg-1"}), "192.0.2.1", "vpc-1")
        assert mappings.follow(key, wanted) == {"sg-1"}
        assert mappings.follow(key, wanted) == frozenset()
    local = frozenset({"eni-a"})
    assert mappings.remotes("vpc-1", local) == (
        RemoteInterface("eni-b", "02:00:00:00:00:01", ("10.0.0.6",), "192.0.2.1"),
    )
    assert mappings.names("vpc-1", local) == (
        DnsName("public", "10.0.0.5", main=False),
        DnsName("i-a", "10.0.0.5", main=False),
        DnsName("i-a", "fd00::5", main=False),
        DnsName("ip-b", "10.0.0.6"),
    )
    assert mappings.members("sg-1", ["vpc-2", "vpc-1"]) == {"10.0.0.5", "10.0.0.6"}
    assert mappings.members("sg-1", ["vpc-2"]) == frozenset()


def test_members_are_made_of_those_before() -> None:
    wanted, mappings = Wanted(), Mappings()
    found = []
    for name, address in (("a", 5), ("b", 6)):
        key = Key(pb.KIND_MAPPING, f"eni-{name}")
        wanted.resources[key] = _mapping(name, address, frozenset({"sg-1"}), "192.0.2.1", "vpc-1")
        mappings.follow(key, wanted)
        found.append(mappings.members("sg-1", ["vpc-1"]))
        assert mappings.members("sg-1", ["vpc-1"]) is found[-1]
    first, second = found
    assert isinstance(first, Roster)
    assert isinstance(second, Roster)
    assert second.since(first) == ({"10.0.0.6"}, frozenset())
    other = Key(pb.KIND_MAPPING, "eni-c")
    wanted.resources[other] = _mapping("c", 7, frozenset({"sg-2"}), "192.0.2.1", "vpc-1")
    mappings.follow(other, wanted)
    for name, left in (("a", {"10.0.0.6"}), ("b", set[str]())):
        del wanted.resources[Key(pb.KIND_MAPPING, f"eni-{name}")]
        mappings.follow(Key(pb.KIND_MAPPING, f"eni-{name}"), wanted)
        assert mappings.members("sg-1", ["vpc-1"]) == left
    assert first == {"10.0.0.5"}
    assert not mappings._vpcs["vpc-1"].rosters, "nothing is kept of a group that nobody is in"
    wanted.resources[other] = _mapping("c", 7, frozenset({"sg-1"}), "192.0.2.1", "vpc-1")
    mappings.follow(other, wanted)
    assert mappings.members("sg-1", ["vpc-1"]) == {"10.0.0.7"}


def test_an_address_that_moved_on_stays_with_its_new_owner() -> None:
    wanted, mappings = Wanted(), Mappings()
    old, new = Key(pb.KIND_MAPPING, "eni-a"), Key(pb.KIND_MAPPING, "eni-b")
    wanted.resources[old] = _mapping("a", 5, frozenset({"sg-1"}), "", "vpc-1")
    mappings.follow(old, wanted)
    wanted.resources[new] = _mapping("b", 5, frozenset({"sg-1"}), "", "vpc-1")
    mappings.follow(new, wanted)
    del wanted.resources[old]
    mappings.follow(old, wanted)
    assert mappings.members("sg-1", ["vpc-1"]) == {"10.0.0.5"}


def test_only_names_that_are_given_resolve() -> None:
    wanted, mappings = Wanted(), Mappings()
    bodies = {
        "eni-public": pb.Mapping(vpc_id="vpc-1", addresses=["10.0.0.5"], public_dns_name="public"),
        "eni-private": pb.Mapping(vpc_id="vpc-1", addresses=["10.0.0.6"], private_dns_name="private"),
        "eni-nowhere": pb.Mapping(vpc_id="vpc-1", public_dns_name="lost", private_dns_name="lost"),
    }
    for name, body in bodies.items():
        wanted.resources[Key(pb.KIND_MAPPING, name)] = pb.Resource(id=name, mapping=body)
        mappings.follow(Key(pb.KIND_MAPPING, name), wanted)
    names = mappings.names("vpc-1", frozenset())
    assert (*names,) == (DnsName("public", "10.0.0.5", main=False), DnsName("private", "10.0.0.6"))
    del wanted.resources[Key(pb.KIND_MAPPING, "eni-private")]
    mappings.follow(Key(pb.KIND_MAPPING, "eni-private"), wanted)
    assert (*mappings.names("vpc-1", frozenset()),) == (DnsName("public", "10.0.0.5", main=False),)


@given(st.permutations("abc"), st.lists(st.frozensets(st.sampled_from(_GROUPS[:2])), min_size=3, max_size=3))
def test_those_without_addresses_go_in_any_order(going: list[str], groups: list[frozenset[str]]) -> None:
    wanted, mappings = Wanted(), Mappings()
    for name, own, each in zip("abc", (_NOWHERE, _NOWHERE, 9), groups, strict=True):
        key = Key(pb.KIND_MAPPING, f"eni-{name}")
        wanted.resources[key] = _mapping(name, own, each, "192.0.2.1", "vpc-1")
        mappings.follow(key, wanted)
    for name in going:
        del wanted.resources[Key(pb.KIND_MAPPING, f"eni-{name}")]
        assert mappings.follow(Key(pb.KIND_MAPPING, f"eni-{name}"), wanted) == groups["abc".index(name)]
        _is_as_read_anew(mappings, wanted, frozenset())
    assert mappings.remotes("vpc-1", frozenset()) == ()


@pytest.mark.parametrize(("address", "host"), [(5, ""), (_NOWHERE, "192.0.2.1")])
def test_what_has_no_host_or_no_address_is_nowhere_and_leaves_nothing(address: int, host: str) -> None:
    wanted, mappings = Wanted(), Mappings()
    key = Key(pb.KIND_MAPPING, "eni-a")
    wanted.resources[key] = _mapping("a", address, frozenset(), host, "vpc-1")
    mappings.follow(key, wanted)
    assert mappings.remotes("vpc-1", frozenset()) == ()
    del wanted.resources[key]
    mappings.follow(key, wanted)
    assert not mappings._vpcs
