"""What operators set for hosts: in force at the next placement, and refused where it cannot be."""

import math
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import Host, NatGateway, Volume
from stead_controller.errors import InUse, InvalidParameter, LimitExceeded, MalformedId, NoCapacity, NotFound
from stead_controller.hosts.facts import take_facts
from stead_controller.placement.need import Need
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.operators import host_records
from stead_controller.resources.operators.host_settings import HostChange
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import CLOUD, GIB, NOW

ZONE, OTHER_ZONE = CLOUD.zones


@pytest.fixture
def host_id(run, world):
    """A host with 4 threads and 8 GiB."""
    facts = pb.HostFacts(cpus=4, memory=8 * GIB, architecture="x86_64", virtualization="kvm")
    run(take_facts, [(world.host_id, pb.Hello(facts=facts))], CLOUD, NOW)
    return world.host_id


def change(run, host_id, **asked):
    return run(host_records.set_host, CLOUD, host_id, HostChange(**asked))


def places(run, zone=ZONE, vcpus=1, memory=GIB):
    """How many instances fit."""
    for count in range(100):
        try:
            run(capacity.reserve_any, CLOUD, Need(vcpus, memory), zone)
        except NoCapacity:
            return count
    raise AssertionError("it takes everything")


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"overcommit_cpus": 1}, 4),
        ({"overcommit_cpus": 1.5}, 6),
        ({"overcommit_memory": 0.5}, 3),
        ({"reserve_memory": 5 * GIB}, 3),
        ({"overcommit_cpus": 0, "overcommit_memory": 0, "reserve_memory": 0}, 7),
    ],
    ids=str,
)
def test_what_is_set_holds_for_the_next_instance(run, host_id, asked, count):
    change(run, host_id, **asked)
    assert places(run) == count


def test_an_instance_has_no_more_vcpus_than_its_host_has_threads(run, host_id):
    change(run, host_id, overcommit_cpus=64)
    assert places(run, vcpus=5) == 0
    assert places(run, vcpus=4) == 7


def test_what_is_set_stays_when_the_host_reports_again(run, host_id):
    change(run, host_id, overcommit_cpus=1, labels={"rack": "7"}, reserve_memory=2 * GIB)
    facts = pb.HostFacts(cpus=2, memory=4 * GIB, architecture="x86_64", virtualization="kvm")
    run(take_facts, [(host_id, pb.Hello(facts=facts))], CLOUD, NOW)
    shown = run(host_records.show_host, CLOUD, host_id)
    assert (shown.host.cpus_offered, shown.host.memory_offered, shown.host.labels) == (2, 2 * GIB, {"rack": "7"})
    change(run, host_id, overcommit_cpus=0, reserve_memory=0)
    shown = run(host_records.show_host, CLOUD, host_id)
    assert (shown.host.cpus_offered, shown.terms.overcommit_cpus) == (8, CLOUD.cpu_overcommit)
    assert (shown.terms.reserve_memory, shown.terms.emulation_memory) == (GIB, 0)


def test_what_is_not_asked_for_stays_and_0_is_what_the_controller_says(run, host_id):
    def settings():
        host = run(host_records.show_host, CLOUD, host_id).host
        return (host.overcommit_cpus, host.overcommit_memory, host.reserve_memory)

    change(run, host_id, overcommit_cpus=0.1, overcommit_memory=4, reserve_memory=GIB)
    change(run, host_id, labels={"rack": "7"})
    assert settings() == (0.1, 4, GIB)
    change(run, host_id, overcommit_cpus=64, overcommit_memory=0.1)
    assert settings() == (64, 0.1, GIB)
    change(run, host_id, overcommit_cpus=0, overcommit_memory=0, reserve_memory=0)
    assert settings() == (None, None, None)


def test_a_host_that_has_said_nothing_yet_may_have_any_reserve(run, world):
    run(lambda tx: tx.session.execute(update(Host).values(memory=0)) and None)
    assert change(run, world.host_id, reserve_memory=GIB).host.reserve_memory == GIB


def test_a_reserve_is_refused_in_the_unit_in_which_it_is_given(run, host_id):
    with pytest.raises(InvalidParameter, match="has 8192 MiB of memory: 9216 MiB cannot be left for itself"):
        change(run, host_id, reserve_memory=9 * GIB)


def test_labels_are_set_replaced_and_removed(run, host_id):
    change(run, host_id, labels={"rack": "7", "disk": "nvme"})
    change(run, host_id, labels={"rack": "8", "spare": ""}, removed_labels=["disk", "never"])
    assert run(host_records.show_host, CLOUD, host_id).host.labels == {"rack": "8", "spare": ""}


@pytest.mark.parametrize(
    "asked",
    [
        {"zone": "us-east-1z"},
        {"overcommit_cpus": 0.05},
        {"overcommit_cpus": -1},
        {"overcommit_cpus": 65},
        {"overcommit_cpus": math.nan},
        {"overcommit_memory": 4.5},
        {"overcommit_memory": math.inf},
        {"reserve_memory": 8 * GIB},
        {"labels": {"": "x"}},
        {"labels": {"a b": "x"}},
        {"labels": {"k" * 64: "x"}},
        {"labels": {"key": "v" * 64}},
        {"labels": {"key": "-"}},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_and_changes_nothing(run, unchanged, host_id, asked):
    unchanged()
    with pytest.raises(InvalidParameter):
        change(run, host_id, **{"labels": {"good": "x"}, "overcommit_cpus": 2} | asked)
    unchanged()


def test_a_host_has_a_number_of_labels_at_most(run, host_id):
    change(run, host_id, labels={f"key{number}": "x" for number in range(50)})
    change(run, host_id, labels={"one-more": "x"}, removed_labels=["key0"])
    with pytest.raises(LimitExceeded):
        change(run, host_id, labels={"key0": "x"})


def test_an_empty_host_moves_to_another_zone(run, host_id):
    change(run, host_id, zone=OTHER_ZONE)
    assert (places(run), places(run, OTHER_ZONE)) == (0, 7)


@pytest.fixture(params=["instance", "volume", "nat-gateway"])
def used(request, run, world, host_id):
    """The host has something of this kind."""

    def use(tx):
        instance = rows.launch(tx, world, world.one, host_id=host_id)
        alone = rows.volume(instance, world, instance_id=None, state="available", device_name=None)
        gateway = NatGateway(
            id="nat-0123456789abcdef0",
            account_id=instance.account_id,
            vpc_id=instance.vpc_id,
            subnet_id=instance.subnet_id,
            connectivity="private",
            state="available",
            state_changed=NOW,
            created=NOW,
            host_id=host_id,
        )
        tx.session.add({"volume": alone, "nat-gateway": gateway}.get(request.param, instance))
        if request.param != "instance":
            instance.state = "terminated"
        tx.session.flush()
        tx.session.execute(update(Volume).where(Volume.id != alone.id).values(host_id=None))
        return {"volume": alone.id, "nat-gateway": gateway.id}.get(request.param, instance.id)

    return request.param, run(use)


def test_a_host_with_something_on_it_stays_in_its_zone(run, host_id, used):
    kind, resource_id = used
    with pytest.raises(InUse, match=f"the {kind} {resource_id}"):
        change(run, host_id, zone=OTHER_ZONE)
    assert change(run, host_id, zone=ZONE, labels={"a": "b"}).host.labels == {"a": "b"}  # its own zone is no change


def test_a_host_is_drained_when_nothing_is_on_it(run, host_id, used):
    drained = run(host_records.drain_host, CLOUD, host_id, NOW)
    assert drained.state == "draining"
    assert [(use.kind, use.resource_id) for use in drained.uses] == [used]
    assert places(run) == 0
    assert run(host_records.set_schedulable, CLOUD, host_id, NOW, schedulable=True).state == "up"
    assert places(run) == 7


def test_states_of_a_host(run, host_id):
    def state():
        (found,) = run(host_records.list_hosts, CLOUD)
        assert run(host_records.show_host, CLOUD, host_id).state == found.state
        return found.state

    assert state() == "up"
    assert run(host_records.set_schedulable, CLOUD, host_id, NOW, schedulable=False).state == state() == "cordoned"
    assert run(host_records.drain_host, CLOUD, host_id, NOW).state == state() == "drained"
    assert run(host_records.set_schedulable, CLOUD, host_id, NOW, schedulable=False).state == state() == "cordoned"
    run(lambda tx: tx.session.execute(update(Host).values(state="down")) and None)
    assert state() == "down"


@pytest.mark.parametrize(("state", "lost"), [("up", False), ("up", True), ("down", False), ("down", True)])
def test_a_host_with_something_on_it_is_removed_only_when_it_is_down_and_lost(run, used, state, lost):
    host_id = run(lambda tx: tx.session.scalars(select(Host.id)).one())
    run(lambda tx: tx.session.execute(update(Host).values(state=state)) and None)
    if (state, lost) == ("down", True) or (used[0] == "nat-gateway" and not lost):  # a gateway moves
        run(host_records.remove_host, CLOUD, host_id, NOW, lost=lost)
        assert run(lambda tx: tx.session.get(Host, host_id)) is None
        return
    with pytest.raises(InUse):
        run(host_records.remove_host, CLOUD, host_id, NOW, lost=lost)


def test_a_volume_that_is_being_deleted_ends_with_its_host(run, host_id, world):
    def add(tx):
        instance = rows.launch(tx, world, world.one, state="terminated")
        tx.session.execute(update(Volume).where(Volume.instance_id == instance.id).values(state="deleting"))

    run(add)
    run(host_records.remove_host, CLOUD, host_id, NOW, lost=False)
    assert run(lambda tx: tx.session.get(Host, host_id)) is None


@pytest.mark.parametrize(("host_id", "error"), [("h-1", MalformedId), ("h-00000000000000000", NotFound)])
def test_an_unknown_host_is_refused(run, host_id, error):
    for change_it in (
        lambda tx: host_records.show_host(tx, CLOUD, host_id),
        lambda tx: host_records.drain_host(tx, CLOUD, host_id, NOW),
        lambda tx: host_records.set_host(tx, CLOUD, host_id, HostChange()),
        lambda tx: host_records.set_schedulable(tx, CLOUD, host_id, NOW, schedulable=True),
    ):
        with pytest.raises(error):
            run(change_it)


def test_of_two_hosts_each_has_its_own(run, host_id):
    other = rows.host(hostname="second", labels={"rack": "1"})
    other_id = run(lambda tx: tx.session.add(other) or other.id)
    change(run, host_id, labels={"rack": "2"}, overcommit_cpus=1)
    found = {each.host.id: each for each in run(host_records.list_hosts, replace(CLOUD, cpu_overcommit=3.0))}
    assert {key: each.host.labels["rack"] for key, each in found.items()} == {host_id: "2", other_id: "1"}
    assert found[other_id].terms.overcommit_cpus == 3.0
    assert found[host_id].terms.overcommit_cpus == 1
