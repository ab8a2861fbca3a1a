"""Which Spot Instances are given notice, and when they end: never another's, and never twice."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Host, HostCore, HostResource, Instance, SpotRequest
from stead_controller.errors import MalformedId, NoCapacity, NotFound, WrongState
from stead_controller.placement.guest_memory import memory_of
from stead_controller.placement.need import Need
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.instances import spot_interruptions
from stead_controller.resources.instances.spot_interruptions import CLAIMED, NOTICE
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_proto.v1 import desired_pb2 as pb
from tests.support.rows import CLOUD, GIB, NOW
from tests.unit.controller.resources.test_volumes_on_three_hosts import Cloud, begun

REFUSAL = NoCapacity("There is none.", code="X")
SMALL = Need(1, GIB)


@pytest.fixture
def cloud(tmp_path, empty_database_file):
    """Three full hosts with two running instances each, of which one is a Spot Instance."""
    made = begun(Cloud, tmp_path / "stead.sqlite", empty_database_file, fill)
    yield made
    made.database.close()


def fill(cloud):
    cloud.settle()
    for number, instance_id in enumerate(cloud.instances[:3]):
        change(cloud, instance_id, spot_request_id=f"sir-{number:017}", launch_time=NOW + timedelta(seconds=number))
    cloud.run(lambda tx: tx.session.execute(update(Host).values(cpus_offered=Host.cpus_reserved)) and None)


def change(cloud, instance_id, **values):
    cloud.run(
        lambda tx: tx.session.execute(update(Instance).where(Instance.id == instance_id).values(**values)) and None
    )


def instance(cloud, instance_id):
    return cloud.run(lambda tx: tx.session.get_one(Instance, instance_id))


def ask(cloud, missing=1, *, zone="us-east-1a", need=SMALL, **given):
    search = capacity.search_for(CLOUD, need, zone)
    return cloud.run(lambda tx: spot_interruptions.for_room(tx, CLOUD, REFUSAL, search, missing, **given))


def test_the_refusal_names_those_that_end_and_says_so(cloud):
    found = ask(cloud)
    assert len(found.ending) == 1
    assert set(found.ending) < set(cloud.instances[:3])
    assert found.code == "X"
    assert found.message == REFUSAL.message + spot_interruptions.PROMISE
    assert set(ask(cloud, 3).ending) <= set(cloud.instances[:3])
    assert ask(cloud, 100) is REFUSAL
    assert ask(cloud, zone="us-east-1b") is REFUSAL


def test_hosts_that_cannot_be_used_are_not_considered(cloud):
    hosts = [host.id for host in cloud.hosts]
    [ending] = ask(cloud, but=hosts[:2]).ending
    assert instance(cloud, ending).host_id == hosts[2]
    assert ask(cloud, but=hosts) is REFUSAL


def test_one_that_has_no_room_of_its_host_any_more_gives_none(cloud):
    hosts = [host.id for host in cloud.hosts]
    change(cloud, cloud.instances[0], state="stopped", capacity_held=False)
    assert ask(cloud, but=hosts[1:]) is REFUSAL
    assert cloud.run(spot_interruptions.zones, ["us-east-1a", "us-east-1b"]) == ["us-east-1a"]
    for instance_id in cloud.instances[:3]:
        change(cloud, instance_id, capacity_held=False)
    assert cloud.run(spot_interruptions.zones, ["us-east-1a", "us-east-1b"]) == []


def test_one_with_whole_cores_frees_no_vcpus_that_others_share(cloud):
    for number, spot in enumerate(cloud.instances[:3]):
        row = HostCore(
            host_id=instance(cloud, spot).host_id, number=number, numa_node=0, threads=[number], instance_id=spot
        )
        cloud.run(lambda tx, row=row: tx.session.add(row))
    assert ask(cloud) is REFUSAL


def test_all_that_a_guest_takes_of_its_host_comes_back(cloud):
    """Its firmware and its TPM need memory beside its own."""
    first, hosts = cloud.instances[0], [host.id for host in cloud.hosts]
    cloud.run(lambda tx: tx.session.execute(update(Host).values(memory_offered=Host.memory_reserved)) and None)
    row = instance(cloud, first)
    for changed, what in (({}, {}), ({"boot_mode": "uefi"}, {"uefi": True}), ({"sealed_tpm_key": b"k"}, {"tpm": True})):
        change(cloud, first, **{"boot_mode": "legacy-bios", "sealed_tpm_key": None} | changed)
        back = memory_of(row.memory, row.vcpus, **what)
        assert ask(cloud, but=hosts[1:], need=Need(1, back)).ending == (first,)
        assert ask(cloud, but=hosts[1:], need=Need(1, back + 1)) is REFUSAL


def test_a_start_has_others_end_unless_it_is_of_a_spot_instance(cloud):
    """A Spot Instance is stopped by the drain of its host, and only starts where there is room."""
    stopped = cloud.instances[3]
    cloud.run(stop_instances, cloud.caller, [stopped], NOW)
    cloud.settle()
    cloud.run(lambda tx: tx.session.execute(update(Host).values(cpus_offered=Host.cpus_reserved)) and None)

    def start():
        with pytest.raises(NoCapacity) as refusal:
            cloud.run(start_instances, cloud.caller, CLOUD, [stopped], NOW)
        return refusal.value.ending

    assert len(start()) == 1
    change(cloud, stopped, spot_request_id="sir-00000000000000009")
    assert start() == ()


def test_one_that_is_ending_by_itself_counts_without_notice(cloud):
    hosts = [host.id for host in cloud.hosts]
    change(cloud, cloud.instances[0], state="shutting-down")
    found = ask(cloud, but=hosts[1:])
    assert found.ending == ()
    assert found.message.endswith(spot_interruptions.PROMISE)


def test_only_running_spot_instances_get_notice_and_only_once(cloud):
    first, second, third, plain, *_ = cloud.instances
    change(cloud, third, state="stopped")
    cloud.run(spot_interruptions.begin, [first, third, plain], NOW)
    cloud.run(spot_interruptions.begin, [first, second], NOW + timedelta(seconds=30))
    times = [instance(cloud, each).interruption for each in cloud.instances[:4]]
    assert times == [NOW + NOTICE, NOW + NOTICE + timedelta(seconds=30), None, None]
    assert timedelta(minutes=2) == NOTICE


def test_an_operator_interrupts_a_spot_instance_that_runs(cloud):
    first, second, _, plain, *_ = cloud.instances
    end = cloud.run(spot_interruptions.interrupt, first, NOW)
    assert end == NOW + NOTICE == instance(cloud, first).interruption
    key = (cloud.hosts[0].id, int(pb.KIND_MACHINE), first)
    sent = pb.Resource.FromString(cloud.run(lambda tx: tx.session.get_one(HostResource, key)).body)
    assert sent.machine.metadata.interruption_time == int(end.timestamp())
    assert cloud.run(spot_interruptions.interrupt, first, NOW + timedelta(seconds=30)) == end
    change(cloud, second, state="stopped")
    refused = {plain: WrongState, second: WrongState, "i-00000000000000000": NotFound, "i-1": MalformedId}
    for instance_id, error in refused.items():
        with pytest.raises(error):
            cloud.run(spot_interruptions.interrupt, instance_id, NOW)
    assert (instance(cloud, plain).interruption, instance(cloud, second).interruption) == (None, None)


def test_a_host_that_is_gone_claims_nothing(cloud):
    change(cloud, cloud.instances[0], interruption=NOW, host_id=None)
    assert cloud.run(spot_interruptions.claimed_hosts, NOW) == set()


def test_its_host_is_claimed_until_a_while_after_its_end(cloud):
    first, *_ = cloud.instances
    host = cloud.hosts[0].id
    assert cloud.run(spot_interruptions.claimed_hosts, NOW) == set()
    cloud.run(spot_interruptions.begin, [first], NOW)
    assert cloud.run(spot_interruptions.claimed_hosts, NOW) == {host}
    over = NOW + NOTICE + CLAIMED
    cloud.run(spot_interruptions.end_due, NOW + NOTICE)
    cloud.settle()
    assert instance(cloud, first).state == "terminated"
    assert cloud.run(spot_interruptions.claimed_hosts, over - timedelta(seconds=1)) == {host}
    assert cloud.run(spot_interruptions.claimed_hosts, over) == set()


def test_it_ends_when_its_notice_is_over(cloud):
    first, second, *_ = cloud.instances
    cloud.run(spot_interruptions.begin, [first], NOW)
    cloud.run(spot_interruptions.begin, [second], NOW + timedelta(seconds=1))
    cloud.run(spot_interruptions.end_due, NOW + NOTICE, timedelta(seconds=1))  # so far the clock was set forward
    assert instance(cloud, first).state == "running"
    cloud.run(spot_interruptions.end_due, NOW + NOTICE)
    assert (instance(cloud, first).state, instance(cloud, second).state) == ("shutting-down", "running")
    assert instance(cloud, first).state_reason_code == "Server.SpotInstanceTermination"
    host = cloud.hosts[0].id
    machine = cloud.run(lambda tx: tx.session.get_one(HostResource, (host, int(pb.KIND_MACHINE), first)))
    assert (machine.body, machine.force) == (None, False)
    cloud.settle()
    assert instance(cloud, first).state == "terminated"
    before = instance(cloud, first).state_changed
    cloud.run(spot_interruptions.end_due, NOW + NOTICE)
    assert (instance(cloud, first).state, instance(cloud, first).state_changed) == ("terminated", before)


def test_one_that_was_stopped_during_its_notice_gave_its_room_and_is_not_ended(cloud):
    first, *_ = cloud.instances
    change(cloud, first, spot_request_id="sir-00000000000000008")
    row = SpotRequest(
        id="sir-00000000000000008",
        account_id=cloud.caller.account_id,
        instance_id=first,
        created=NOW,
        persistent=True,
    )
    cloud.run(lambda tx: tx.session.add(row))
    cloud.run(spot_interruptions.begin, [first], NOW)
    cloud.run(stop_instances, cloud.caller, [first], NOW)
    cloud.settle()
    cloud.run(spot_interruptions.end_due, NOW + NOTICE)
    assert instance(cloud, first).state == "stopped"
    cloud.run(start_instances, cloud.caller, CLOUD, [first], NOW + NOTICE)
    cloud.run(spot_interruptions.end_due, NOW + NOTICE)
    assert (instance(cloud, first).state, instance(cloud, first).interruption) == ("pending", None)
