"""What nobody uses leaves a host that is drained: with its content, to one home at a time, and leaving nothing there."""

import random

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import (
    Host,
    HostResource,
    InstanceFirmware,
    NatGateway,
    NetworkInterface,
    Snapshot,
    StoragePool,
    UnclaimedResource,
    Volume,
    VolumeMove,
)
from stead_controller.errors import InUse
from stead_controller.request.conditions import Filter, Selection
from stead_controller.resources.instances import volume_attachments
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.network import nat_gateways
from stead_controller.resources.operators import drain_moves, host_records
from stead_controller.resources.storage import (
    create_snapshots,
    snapshot_life,
    volume_life,
    volume_modifications,
    volumes,
)
from stead_controller.resources.storage.create_snapshots import OfVolume
from stead_controller.resources.storage.volume_modifications import ModifyRequest
from stead_proto.v1 import desired_pb2 as desired
from tests.support.examples import examples
from tests.support.rows import CLOUD, GIB, NOW
from tests.unit.controller.resources.operators.drained_cloud import (
    DrainedCloud,
    attach,
    complete,
    fail_snapshots,
    hidden,
    instance,
    make_loose,
    moves,
    stopped,
    volume,
)
from tests.unit.controller.resources.test_volumes_on_three_hosts import begun


@pytest.fixture
def cloud(tmp_path, empty_database_file):
    """Three hosts with two instances each; those of the first are numbers 0 and 3."""
    made = begun(DrainedCloud, tmp_path / "stead.sqlite", empty_database_file)
    yield made
    made.database.close()


@pytest.mark.parametrize("seed", range(examples(3)))
def test_whatever_is_asked_meanwhile_no_write_is_lost_and_nothing_leaks(cloud, seed):
    cloud.boot_by_uefi(0, 1, 5)
    rng = random.Random(seed)
    for _ in range(100):
        cloud.step(rng)
    for host in cloud.hosts:
        cloud.run(host_records.set_schedulable, CLOUD, host.id, NOW, schedulable=True)
    cloud.settle_all()
    cloud.end()
    cloud.empty()
    assert cloud.left() == []
    assert cloud.all(select(VolumeMove.volume_id)) == []
    assert hidden(cloud) == []
    assert cloud.all(select(InstanceFirmware.instance_id)) == []
    assert [host.firmware for host in cloud.hosts] == [{}, {}, {}]


@pytest.fixture
def loose(cloud):
    return make_loose(cloud)


def promised(cloud, host):
    return cloud.run(lambda tx: tx.session.get_one(StoragePool, (host.id, "main")).provisioned)


def test_a_volume_that_nobody_uses_moves_and_its_old_disk_goes_last(cloud, loose):
    first, *others = cloud.hosts
    before = [promised(cloud, host) for host in cloud.hosts]
    lost = update(Volume).where(Volume.id == loose).values(former_homes="h-0123456789abcdef0")
    cloud.run(lambda tx: tx.session.execute(lost) and None)
    assert cloud.drain().state == "draining"
    cloud.empty()
    assert volume(cloud, loose).host_id == first.id
    cloud.act(first)  # its content is read
    cloud.act(first)  # and stored
    assert volume(cloud, loose).host_id == first.id
    cloud.empty()
    row = volume(cloud, loose)
    assert row.host_id in {host.id for host in others}
    assert (row.state, row.home_count, row.made_of, row.former_homes) == ("available", 1, None, "")
    home = next(host for host in others if host.id == row.host_id)
    assert loose in first.contents
    left = cloud.shown()
    assert (left.state, [(use.resource_id, use.state, use.note, use.percent) for use in left.uses]) == (
        "draining",
        [(loose, "removing", "the host has still to remove it", 99)],
    )
    with pytest.raises(InUse, match=f"still to remove the volume {loose}"):
        cloud.run(host_records.remove_host, CLOUD, first.id, NOW, lost=False)
    cloud.settle()
    assert (loose in first.disks, home.contents[loose]) == (False, (1, cloud.written[loose]))
    assert cloud.shown().state == "drained"
    after = [promised(cloud, host) for host in cloud.hosts]
    assert sum(after) == sum(before)
    assert after[0] == before[0] - GIB
    attach(cloud, loose, 1)
    cloud.settle()
    assert volume(cloud, loose).attachment_state == "attached"
    cloud.run(host_records.remove_host, CLOUD, first.id, NOW, lost=False)


def test_accounts_see_nothing_of_the_snapshot(cloud, loose):
    cloud.drain()
    cloud.empty()
    mine = select(Snapshot.id).where(Snapshot.account_id == cloud.caller.account_id)
    assert (len(hidden(cloud)), cloud.all(mine)) == (1, [])
    cloud.settle_all()
    row = volume(cloud, loose)
    assert row.snapshot_id is not None
    found = cloud.run(
        volumes.describe, cloud.caller, CLOUD, Selection((), (Filter("snapshot-id", (row.snapshot_id,)),))
    )
    assert found == []


def test_the_snapshot_stays_as_long_as_the_volume(cloud, loose):
    of_move = select(Snapshot.id).where(Snapshot.description.like("moves %"))
    cloud.drain()
    cloud.settle_all()
    cloud.run(snapshot_life.drop_some, NOW)
    assert len(cloud.all(of_move)) == 1
    cloud.run(volume_life.delete, cloud.caller, loose, NOW)
    cloud.settle()
    while cloud.run(snapshot_life.drop_some, NOW):
        pass
    assert cloud.all(of_move) == []


@pytest.mark.parametrize("late", [False, True], ids=["while it is read", "when all is in the store"])
@pytest.mark.parametrize("released", [False, True], ids=["attached", "and detached"])
def test_who_attaches_it_meanwhile_has_it_and_it_moves_later(cloud, loose, late, released):
    cloud.drain()
    cloud.empty()
    for _ in range(2 if late else 0):
        cloud.act(cloud.hosts[0])
    attach(cloud, loose, 1)
    if released:
        cloud.settle()
        cloud.run(volume_attachments.detach, cloud.caller, loose)
        cloud.settle()
    cloud.empty()
    assert volume(cloud, loose).host_id == cloud.hosts[0].id
    cloud.settle_all()
    if not released:
        row = volume(cloud, loose)
        assert (row.host_id, row.attachment_state) == (cloud.hosts[0].id, "attached")
        assert moves(cloud) == []
        (use,) = cloud.shown().uses
        assert (use.percent, use.note) == (None, f"{cloud.instances[1]} uses it: detach it, or stop that")
        cloud.run(volume_attachments.detach, cloud.caller, loose)
        cloud.settle()
        cloud.settle_all()
    row = volume(cloud, loose)
    assert (row.host_id != cloud.hosts[0].id, row.home_count) == (True, 1)


def test_a_stopped_instance_leaves_with_all_its_volumes(cloud):
    cloud.run(terminate_instances, cloud.caller, [cloud.instances[3]], NOW)
    attach(cloud, cloud.volumes[0], 0)
    cloud.settle()
    stopped(cloud)
    cloud.drain()
    cloud.empty()
    first = cloud.hosts[0]
    mine = select(Volume.id, Volume.host_id).where(Volume.instance_id == cloud.instances[0])
    assert {home for _, home in cloud.all(mine)} == {first.id}
    made_of = next(name for (name,) in cloud.all(select(Volume.snapshot_id)) if name is not None)
    cloud.settle_all()
    (home,) = {home for _, home in cloud.all(mine)}
    assert home != first.id
    rows = [volume(cloud, name) for name, _ in cloud.all(mine)]
    assert {row.made_of for row in rows} == {made_of, None}
    assert made_of not in {row.snapshot_id for row in rows}
    assert (instance(cloud, 0).host_id, instance(cloud, 0).state) == (home, "stopped")
    assert not first.disks & {name for name, _ in cloud.all(mine)}
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    cloud.settle()
    assert instance(cloud, 0).state == "running"


def test_who_starts_it_meanwhile_has_its_volumes(cloud):
    stopped(cloud)
    cloud.drain()
    cloud.empty()
    for _ in range(2):
        cloud.act(cloud.hosts[0])
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    cloud.empty()
    cloud.settle_all()
    root = next(each for (each,) in cloud.all(select(Volume).where(Volume.instance_id == cloud.instances[0])))
    assert (root.host_id, instance(cloud, 0).state) == (cloud.hosts[0].id, "running")
    assert instance(cloud, 0).host_id != cloud.hosts[0].id


def test_one_that_was_started_and_stopped_again_on_its_host_is_read_anew(cloud):
    stopped(cloud)
    cloud.drain()
    cloud.empty()
    for _ in range(2):
        cloud.act(cloud.hosts[0])
    cloud.run(host_records.set_schedulable, CLOUD, cloud.hosts[0].id, NOW, schedulable=True)
    cordon = update(Host).where(Host.id != cloud.hosts[0].id)
    cloud.run(lambda tx: tx.session.execute(cordon.values(schedulable=False)) and None)
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    cloud.settle()
    assert instance(cloud, 0).host_id == cloud.hosts[0].id
    stopped(cloud)
    cloud.run(lambda tx: tx.session.execute(cordon.values(schedulable=True)) and None)
    cloud.drain()
    cloud.settle_all()
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    cloud.settle()  # its guest finds what it wrote last


@pytest.mark.parametrize("number", [1, 2])
def test_a_volume_of_an_instance_elsewhere_moves_without_it(cloud, loose, number):
    """Where the instance's own host can have it, it is there."""
    attach(cloud, loose, number)
    cloud.settle()
    stopped(cloud, number)
    cloud.drain()
    cloud.settle_all()
    host_id = instance(cloud, number).host_id
    row = volume(cloud, loose)
    assert (row.host_id, row.attached_host_id, row.export_port) == (host_id, host_id, None)
    cloud.run(start_instances, cloud.caller, CLOUD, [cloud.instances[number]], NOW)
    cloud.settle()
    assert (instance(cloud, number).state, volume(cloud, loose).attachment_state) == ("running", "attached")


def test_a_drain_that_stops_guests_empties_their_host(cloud):
    attach(cloud, cloud.volumes[0], 0)
    cloud.settle()
    cloud.drain(stop=True)
    cloud.settle_all()
    first = cloud.hosts[0]
    assert [instance(cloud, number).state for number in (0, 3)] == ["running", "running"]
    assert first.id not in {instance(cloud, number).host_id for number in (0, 3)}
    assert cloud.shown().state == "drained"
    assert (first.disks, first.plugged, first.serves) == (set(), {}, {})
    cloud.run(host_records.remove_host, CLOUD, first.id, NOW, lost=False)


def test_what_comes_back_to_its_first_home_has_the_content_of_the_second(cloud, loose):
    cloud.drain()
    cloud.settle_all()
    second = next(host for host in cloud.hosts if host.id == volume(cloud, loose).host_id)
    number = cloud.hosts.index(second)
    attach(cloud, loose, number)
    cloud.settle()
    cloud.run(volume_attachments.detach, cloud.caller, loose)
    cloud.settle()
    cloud.run(host_records.set_schedulable, CLOUD, cloud.hosts[0].id, NOW, schedulable=True)
    for each in (1, 2):
        cloud.drain(each)
    cloud.settle_all()
    row = volume(cloud, loose)
    assert (row.host_id, row.home_count) == (cloud.hosts[0].id, 2)
    assert cloud.hosts[0].contents[loose] == (2, cloud.written[loose])
    assert row.made_of is None
    based = (HostResource.kind == int(desired.KIND_BASE), HostResource.body.is_not(None))
    bases = cloud.all(select(HostResource.host_id, HostResource.resource_id).where(*based))
    assert [base for base in bases if base[0] == second.id] == []
    assert (row.host_id, row.snapshot_id) in bases


def test_a_host_that_has_still_to_remove_it_is_no_home(cloud, loose):
    cloud.drain()
    cloud.empty()
    for _ in range(2):
        cloud.act(cloud.hosts[0])
    cloud.empty()
    assert volume(cloud, loose).home_count == 1
    for each in (1, 2):
        cloud.drain(each)
    cloud.run(host_records.set_schedulable, CLOUD, cloud.hosts[0].id, NOW, schedulable=True)
    for _ in range(3):  # the first host hears of nothing
        cloud.empty()
        for host in cloud.hosts[1:]:
            cloud.act(host)
    assert volume(cloud, loose).home_count == 1
    (move,) = [each for each in moves(cloud) if each[0] == loose]
    assert move[1]
    cloud.settle_all()
    assert volume(cloud, loose).host_id == cloud.hosts[0].id


def test_a_host_that_has_an_unclaimed_disk_of_it_is_no_home(cloud, loose):
    def add(tx):
        found = {"vcpus": 0, "memory": 0, "disk": GIB, "pool": "main"}
        tx.session.add(
            UnclaimedResource(host_id=cloud.hosts[1].id, kind=int(desired.KIND_VOLUME), resource_id=loose, **found)
        )

    cloud.run(add)
    less = update(Host).where(Host.id == cloud.hosts[2].id).values(memory_reserved=Host.memory_reserved + GIB)
    cloud.run(lambda tx: tx.session.execute(less) and None)  # else it would be the first choice anyhow
    cloud.drain()
    cloud.settle_all()
    assert volume(cloud, loose).host_id == cloud.hosts[2].id


def test_a_host_that_is_cordoned_gets_no_volume_though_it_has_the_instance(cloud, loose):
    attach(cloud, loose, 1)
    cloud.settle()
    stopped(cloud, 1)
    cloud.run(host_records.set_schedulable, CLOUD, cloud.hosts[1].id, NOW, schedulable=False)
    cloud.drain()
    cloud.settle_all()
    row = volume(cloud, loose)
    assert (row.host_id, row.attached_host_id) == (cloud.hosts[2].id, cloud.hosts[1].id)
    assert cloud.hosts[2].serves[loose] == (cloud.hosts[1].id, row.generation)


def test_what_was_on_its_way_from_a_host_that_is_lost_is_over(cloud, loose):
    cloud.drain()
    cloud.empty()
    down = update(Host).where(Host.id == cloud.hosts[0].id).values(state="down")
    cloud.run(lambda tx: tx.session.execute(down) and None)
    cloud.run(host_records.remove_host, CLOUD, cloud.hosts[0].id, NOW, lost=True)
    cloud.empty()
    assert (volume(cloud, loose), moves(cloud), hidden(cloud)) == (None, [], [])


def test_a_guest_whose_volume_cannot_leave_starts_elsewhere_without_it(cloud):
    cloud.drain(stop=True)
    cloud.settle()
    cloud.empty()
    assert instance(cloud, 0).state == "stopped"
    fail_snapshots(cloud)
    for _ in range(2):
        cloud.empty()
    cloud.settle()
    assert instance(cloud, 0).state == "running"
    assert instance(cloud, 0).host_id != cloud.hosts[0].id
    root = next(each for (each,) in cloud.all(select(Volume).where(Volume.instance_id == cloud.instances[0])))
    assert root.host_id == cloud.hosts[0].id


def test_a_stopped_instance_whose_volumes_are_elsewhere_leaves_at_once(cloud):
    cloud.run(terminate_instances, cloud.caller, [cloud.instances[3]], NOW)
    cloud.settle()
    stopped(cloud)
    cloud.drain()
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    cloud.settle()
    cloud.run(host_records.set_schedulable, CLOUD, cloud.hosts[0].id, NOW, schedulable=True)
    second = next(number for number, host in enumerate(cloud.hosts) if host.id == instance(cloud, 0).host_id)
    assert second != 0
    cloud.drain(second)
    cloud.empty()
    assert instance(cloud, 0).host_id == cloud.hosts[second].id  # it runs
    stopped(cloud)
    cloud.empty()
    assert instance(cloud, 0).host_id != cloud.hosts[second].id
    assert (instance(cloud, 0).state, moves(cloud)) == ("stopped", [])


def test_what_could_not_leave_a_host_is_tried_again_when_asked_and_nothing_else_is(cloud, loose):
    other = cloud.volumes[1]
    attach(cloud, other, 1)
    cloud.settle()
    cloud.run(volume_attachments.detach, cloud.caller, other)
    cloud.settle()
    assert volume(cloud, other).host_id == cloud.hosts[1].id
    for number in (0, 1):
        cloud.drain(number)
    cloud.empty()
    fail_snapshots(cloud)
    cloud.empty()
    failed = "the disk is broken"
    assert sorted(moves(cloud)) == sorted([(loose, failed), (other, failed)])
    cloud.run(drain_moves.retry, cloud.hosts[0].id)
    assert moves(cloud) == [(other, failed)]
    cloud.empty()  # it is read again
    assert sorted(moves(cloud)) == sorted([(loose, ""), (other, failed)])
    cloud.run(drain_moves.retry, cloud.hosts[0].id)
    assert (loose, "") in moves(cloud)  # what is on its way goes on


def test_a_deletion_does_not_wait_for_a_move(cloud, loose):
    cloud.drain()
    cloud.empty()
    cloud.run(volume_life.delete, cloud.caller, loose, NOW)
    cloud.empty()
    cloud.settle()
    assert (volume(cloud, loose), moves(cloud)) == (None, [])


def test_it_waits_for_a_snapshot_of_its_owner(cloud, loose):
    cloud.drain()
    cloud.empty()
    asked = cloud.run(create_snapshots.of_volume, cloud.caller, OfVolume(loose), NOW).snapshot.id
    (moving,) = [name for (name,) in cloud.all(select(VolumeMove.snapshot_id))]
    cloud.run(complete, moving)
    cloud.empty()
    assert volume(cloud, loose).home_count == 0
    cloud.run(complete, asked)
    cloud.empty()
    assert volume(cloud, loose).home_count == 1


def test_an_owner_may_take_as_many_snapshots_as_without_a_move(cloud, loose):
    throughput = update(Volume).where(Volume.id == loose).values(volume_type="st1")
    cloud.run(lambda tx: tx.session.execute(throughput) and None)
    cloud.drain()
    cloud.empty()
    assert cloud.run(create_snapshots.of_volume, cloud.caller, OfVolume(loose), NOW).snapshot.state == "pending"


def test_it_waits_for_a_modification_and_is_as_large_then(cloud, loose):
    cloud.drain()
    cloud.empty()
    cloud.run(volume_modifications.modify, cloud.caller, CLOUD, ModifyRequest(loose, size=3), NOW)
    (moving,) = [name for (name,) in cloud.all(select(VolumeMove.snapshot_id))]
    cloud.run(complete, moving)
    cloud.empty()
    assert volume(cloud, loose).home_count == 0
    cloud.settle_all()
    row = volume(cloud, loose)
    assert (row.home_count, row.size) == (1, 3)


def test_uncordoned_hosts_keep_their_volumes(cloud, loose):
    cloud.drain()
    cloud.empty()
    cloud.run(host_records.set_schedulable, CLOUD, cloud.hosts[0].id, NOW, schedulable=True)
    cloud.settle_all()
    assert (volume(cloud, loose).host_id, moves(cloud)) == (cloud.hosts[0].id, [])


def test_a_host_that_is_down_is_not_asked(cloud, loose):
    cloud.drain()
    down = update(Host).where(Host.id == cloud.hosts[0].id)
    cloud.run(lambda tx: tx.session.execute(down.values(state="down")) and None)
    cloud.settle_all()
    assert moves(cloud) == []
    assert volume(cloud, loose).host_id == cloud.hosts[0].id


def test_a_few_move_at_a_time(cloud):
    made = [cloud.create() for _ in range(6)]
    home = update(Volume).where(Volume.id.in_(made)).values(host_id=cloud.hosts[0].id, pool="main")
    cloud.run(lambda tx: tx.session.execute(home) and None)
    cloud.drain()
    for _ in range(2):
        cloud.empty()
    assert len(moves(cloud)) == 4


def test_a_nat_gateway_moves_with_its_address_while_another_host_can_have_it(cloud):
    request = nat_gateways.CreateRequest(cloud.world.one.subnet_ids[0], connectivity="private")
    gateway_id = cloud.run(nat_gateways.create, cloud.caller, request, NOW)
    home, interface = has_gateway(cloud, gateway_id)
    cloud.empty()
    assert has_gateway(cloud, gateway_id) == (home, interface)  # no host is drained
    numbers = {host.id: number for number, host in enumerate(cloud.hosts)}
    cloud.drain(numbers[home])
    cloud.empty()
    second, moved = has_gateway(cloud, gateway_id)
    assert second != home
    assert moved == interface
    for number in set(numbers.values()) - {numbers[home]}:
        cloud.drain(number)
    cloud.empty()
    assert has_gateway(cloud, gateway_id) == (second, interface)  # no other host would take it


def has_gateway(cloud, gateway_id):
    """Return the one host that is to have a NAT gateway with its interface, which it is at, and the interface."""
    kinds = (desired.KIND_NAT_GATEWAY, desired.KIND_INTERFACE)
    query = select(HostResource.host_id, HostResource.resource_id).where(
        HostResource.kind.in_(kinds), HostResource.body.is_not(None)
    )
    gateway, interface = cloud.run(
        lambda tx: (
            found := tx.session.get_one(NatGateway, gateway_id),
            tx.session.get_one(NetworkInterface, found.interface_id),
        )
    )
    assert interface.host_id == gateway.host_id
    places = {(host_id, name) for host_id, name in cloud.all(query) if name in {gateway_id, interface.id}}
    assert places == {(gateway.host_id, gateway_id), (gateway.host_id, interface.id)}
    return gateway.host_id, (interface.id, interface.private_address)


def test_nothing_is_read_while_no_host_is_drained(cloud, loose):
    assert not cloud.run(drain_moves.DUE.is_met, NOW)
    cloud.drain()
    assert cloud.run(drain_moves.DUE.is_met, NOW)
    cloud.empty()
    cloud.run(host_records.set_schedulable, CLOUD, cloud.hosts[0].id, NOW, schedulable=True)
    assert cloud.run(drain_moves.DUE.is_met, NOW)
    cloud.empty()
    assert not cloud.run(drain_moves.DUE.is_met, NOW)
