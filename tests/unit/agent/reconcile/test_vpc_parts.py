"""A VPC is not collected, drawn and told of again where only other hosts' interfaces change; what is applied is the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.dhcp.interface import VpcDhcp
from stead_agent.firewall.interface import Refusal, VpcFirewall
from stead_agent.network.interface import NetworkError
from stead_agent.reconcile.loop import perform
from stead_agent.reconcile.vpc_parts import PartsOfVpcs
from stead_agent.reconcile.work import Outcome
from stead_agent.simulated.networks import SimulatedDhcp, SimulatedFirewall
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from tests.support import desired_states as make
from tests.support.simulated_agent import Bench

_GROUP, _VPC = Key(pb.KIND_SECURITY_GROUP, "sg-1"), Key(pb.KIND_VPC, "vpc-1")
_SMALL, _LARGE = pb.Route(destination="10.1.0.0/16"), pb.Route(destination="0.0.0.0/0", interface_id="eni-8")


def _elsewhere(number: int, *, forwards: bool = False, host: str = "192.0.2.9", group: str = "sg-1") -> pb.Resource:
    body = pb.Mapping(
        vpc_id="vpc-1",
        mac_address=f"02:00:00:00:01:{number:02x}",
        addresses=[f"10.1.0.{number}"],
        host_address=host,
        security_group_ids=[group],
        private_dns_name=f"ip-10-1-0-{number}.internal",
        source_dest_check=not forwards,
    )
    return pb.Resource(id=f"eni-{number}", mapping=body)


@dataclass
class _Seen:
    """What the subsystems were given last, by VPC."""

    dhcps: dict[str, VpcDhcp] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> _Seen:
    """Watch what the DHCP server of a VPC gets, names included, and let the firewall refuse."""
    found = _Seen()
    dhcp_apply, firewall_apply = SimulatedDhcp.apply, SimulatedFirewall.apply

    def watch(self: SimulatedDhcp, wanted: VpcDhcp) -> None:
        found.dhcps[wanted.vpc_id] = wanted
        dhcp_apply(self, wanted)

    def refuse(self: SimulatedFirewall, vpc: VpcFirewall) -> tuple[Refusal, ...]:
        return firewall_apply(self, vpc) + found.refusals

    monkeypatch.setattr(SimulatedDhcp, "apply", watch)
    monkeypatch.setattr(SimulatedFirewall, "apply", refuse)
    return found


def _launched() -> tuple[Bench, make.Sender]:
    bench, sender = Bench(), make.Sender()
    resources = [*make.launch(), make.group(peer="sg-1"), make.route_table(_SMALL, _LARGE)]
    bench.settle(sender.change(make.host_network(), *resources, full=True))
    bench.report()
    bench.reported.clear()
    return bench, sender


def test_a_place_elsewhere_changes_only_where_interfaces_are(seen: _Seen) -> None:
    bench, sender = _launched()
    network, firewall = bench.host.world.objects.networks["vpc-1"], bench.host.world.objects.firewalls["vpc-1"]
    dhcp = seen.dhcps["vpc-1"]
    bench.settle(sender.change(_elsewhere(9)))
    objects = bench.host.world.objects
    assert [each.addresses for each in objects.networks["vpc-1"].remotes] == [("10.1.0.9",)]
    assert [each.members for each in objects.firewalls["vpc-1"].groups] == [frozenset({"10.1.0.9"})]
    assert [each.name for each in seen.dhcps["vpc-1"].names] == ["ip-10-1-0-9.internal"]
    # The same objects: they were not translated again.
    assert objects.networks["vpc-1"].route_tables is network.route_tables
    assert objects.firewalls["vpc-1"].interfaces is firewall.interfaces
    assert seen.dhcps["vpc-1"].hosts is dhcp.hosts
    assert bench.report().keys() == set()  # nor told of
    assert bench.reached == sender.revision


def _told_by(bench: Bench) -> dict[str, list[str]]:
    """Work, and return what each unit has said is ready or not."""
    told = {}
    while (work := bench.reconciler.begin()) is not None:
        result = perform(work)
        assert isinstance(result, Outcome)
        told[work.unit.id] = [each.id for each in result.statuses] + [key.id for key, _ in result.ready]
        bench.reconciler.finish(work, result)
    return told


def test_only_its_own_places_are_told_of() -> None:
    bench, sender = _launched()
    second = [*make.launch("2", vpc_id="vpc-2"), make.route_table(_SMALL, table_id="rtb-2", vpc_id="vpc-2")]
    bench.settle(sender.change(*second))
    other = make.mapping("eni-10", "10.2.0.10", vpc_id="vpc-2", group_id="sg-2")
    bench.tell(sender.change(_elsewhere(9), other, make.volume("vol-9")))
    told = _told_by(bench)
    assert told["vpc-1"] == ["eni-9"]
    assert told["vpc-2"] == ["eni-10"]


def test_a_place_concerns_the_vpcs_whose_rules_refer_to_its_group() -> None:
    bench, sender = _launched()
    peering = pb.Peering(vpc_id="vpc-1", peering_id="pcx-1", peer_vpc_id="vpc-2")
    resources = [*make.launch("2", vpc_id="vpc-2"), pb.Resource(id="pcx-1", peering=peering), make.group(peer="sg-2")]
    bench.settle(sender.change(*resources))
    bench.settle(sender.change(make.mapping("eni-10", "10.2.0.10", vpc_id="vpc-2", group_id="sg-2")))
    members = {each.id: each.members for each in bench.host.world.objects.firewalls["vpc-1"].groups}
    assert members["sg-2"] == {"10.2.0.10"}
    bench.settle(sender.change(make.group(peer="sg-1")))
    bench.tell(sender.change(make.mapping("eni-11", "10.2.0.11", vpc_id="vpc-2", group_id="sg-2")))
    assert _told_by(bench) == {"vpc-2": ["eni-11"]}


def test_places_are_reported_while_they_are_due_and_no_longer() -> None:
    bench, sender = _launched()
    for number in (9, 10):
        bench.settle(sender.change(_elsewhere(number)))
    bench.settle(sender.change(gone=(Key(pb.KIND_MAPPING, "eni-9"),)))
    assert bench.reached == sender.revision
    bench.tell(sender.change(_elsewhere(11)))
    assert _told_by(bench)["vpc-1"] == ["eni-11"]
    bench.reconciler.look_at_everything()
    told = _told_by(bench)["vpc-1"]
    assert {each for each in told if each.startswith("eni-")} == {"eni-1", "eni-10", "eni-11"}
    assert not bench.reconciler._preparer._due  # nothing is remembered of what was told


def test_routes_follow_an_interface_that_begins_to_forward() -> None:
    bench, sender = _launched()
    for forwards in (False, True, False):
        bench.settle(sender.change(_elsewhere(8, forwards=forwards)))
        (table,) = bench.host.world.objects.networks["vpc-1"].route_tables
        assert [each.target for each in table.routes] == ["", "eni-8" if forwards else ""]


def test_a_failure_is_told_and_so_is_its_end() -> None:
    bench, sender = _launched()
    bench.host.world.fail_next("network.apply", NetworkError("no room"))
    bench.tell(sender.change(_elsewhere(9)))
    bench.work()
    found = bench.report()
    place = Key(pb.KIND_MAPPING, "eni-9")
    assert {found[key].condition for key in (_VPC, _GROUP, place)} == {host_pb2.CONDITION_FAILED}
    bench.settle()
    found = bench.report()
    assert {found[key].condition for key in (_VPC, _GROUP, place)} == {host_pb2.CONDITION_READY}
    assert bench.reached == sender.revision


def test_what_the_firewall_refuses_because_of_a_place_is_told_and_so_is_its_end(seen: _Seen) -> None:
    bench, sender = _launched()
    seen.refusals = (Refusal("sg-1", "too many members"),)
    bench.settle(sender.change(_elsewhere(9)))
    assert bench.report()[_GROUP].error == "sg-1: too many members"
    seen.refusals = ()
    bench.settle(sender.change(_elsewhere(10)))
    assert bench.report()[_GROUP].condition == host_pb2.CONDITION_READY


def test_a_vpc_with_a_new_revision_and_the_same_parts_is_told_of() -> None:
    bench, sender = _launched()
    changed = make.vpc()
    changed.vpc.domain_name = "other"
    bench.settle(sender.change(changed))
    assert bench.report()[_VPC].revision == sender.revision
    assert bench.host.world.objects.dhcps["vpc-1"].domain == "other"


def test_the_same_parts_are_the_same_object_until_one_changes_or_they_are_forgotten() -> None:
    bench, sender = _launched()
    wanted, parts = bench.reconciler.wanted, PartsOfVpcs()
    first = parts.of("vpc-1", wanted)
    bench.settle(sender.change(_elsewhere(9)))
    assert parts.of("vpc-1", wanted) is first
    assert first.local == {"eni-1"}
    assert first.referred == ("sg-1",)
    assert not first.foreign
    bench.settle(sender.change(make.group("sg-2", peer="sg-9")))  # which no interface here is in
    changed = parts.of("vpc-1", wanted)
    assert len(changed.contents.groups) == 2
    assert changed.referred == ("sg-1",)
    bench.settle(sender.change(make.group(peer="sg-9")))
    assert parts.of("vpc-1", wanted).foreign == {"sg-9"}
    last = parts.of("vpc-1", wanted)
    parts.forget("vpc-1")
    assert parts.of("vpc-1", wanted) is not last


_CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(5, 9), st.integers(0, 3)),
        st.tuples(st.just("gone"), st.integers(5, 9), st.just(0)),
        st.tuples(st.just("group"), st.integers(1, 2), st.integers(0, 2)),
        st.tuples(st.just("routes"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("vpc"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("launch"), st.integers(2, 3), st.just(0)),
        st.tuples(st.just("end"), st.integers(1, 3), st.just(0)),
    ),
    max_size=12,
)


def _change(sender: make.Sender, what: str, number: int, how: int) -> host_pb2.DesiredState:
    match what:
        case "place":
            return sender.change(
                _elsewhere(number, forwards=how == 1, host="" if how == 2 else "192.0.2.9", group=f"sg-{how % 2 + 1}")
            )
        case "gone":
            return sender.change(gone=(Key(pb.KIND_MAPPING, f"eni-{number}"),))
        case "group":
            return sender.change(make.group(f"sg-{number}", peer=("", "sg-1", "sg-2")[how]))
        case "routes":
            return sender.change(make.route_table(*(_SMALL, _LARGE)[: number + 1]))
        case "vpc":
            changed = make.vpc()
            changed.vpc.dns_support = bool(number)
            return sender.change(changed)
        case "launch":
            return sender.change(*make.launch(str(number)))
        case _:
            kinds = {"i": pb.KIND_MACHINE, "eni": pb.KIND_INTERFACE, "vol": pb.KIND_VOLUME}
            return sender.change(gone=tuple(Key(kind, f"{name}-{number}") for name, kind in kinds.items()))


@given(_CHANGES)
def test_step_by_step_it_becomes_what_a_new_agent_makes_of_it_all(changes: Sequence[tuple[str, int, int]]) -> None:
    bench, sender = _launched()
    for change in changes:
        bench.settle(_change(sender, *change))
        fresh = Bench()
        fresh.settle(sender.full())
        mine, others = bench.host.world.objects, fresh.host.world.objects
        wanted = bench.reconciler.wanted
        for kind in {key.kind for key in [*wanted.resources, *wanted.tombstones]} - {pb.KIND_MAPPING}:
            assert wanted.of_kind(kind) == {key: each for key, each in wanted.resources.items() if key.kind == kind}
        assert mine.firewalls == others.firewalls
        assert mine.dhcps == others.dhcps
        assert mine.networks.keys() == others.networks.keys()
        for vpc_id, network in mine.networks.items():
            other = others.networks[vpc_id]
            assert set(network.remotes) == set(other.remotes)  # in no order
            assert (network.interfaces, network.subnets, network.route_tables) == (
                other.interfaces,
                other.subnets,
                other.route_tables,
            )
        assert bench.reached == sender.revision
