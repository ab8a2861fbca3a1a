"""What is on a host: what has ended is not, and what it has still to remove is."""

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Host, HostResource, Instance, NatGateway, Volume
from stead_controller.resources.operators import host_uses
from stead_controller.resources.operators.host_uses import HostUse
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import NOW

VOLUME_ID = "vol-0123456789abcdef0"


@pytest.fixture
def instance(run, world):
    """A running instance of the world's host, and its root volume, which is at home nowhere."""

    def launch(tx):
        made = rows.launch(tx, world, world.one, host_id=world.host_id)
        tx.session.flush()
        tx.session.execute(update(Volume).values(host_id=None))
        return made

    return run(launch)


def uses(run, world):
    return run(host_uses.uses_of, world.host_id)


def test_an_instance_that_has_ended_is_not_on_it(run, world, instance):
    assert uses(run, world) == [HostUse("instance", instance.id, "running")]
    assert run(host_uses.is_used, world.host_id)
    set_instance(run, state="terminated")
    assert uses(run, world) == []
    assert not run(host_uses.is_used, world.host_id)
    assert run(host_uses.what_ends_with, world.host_id) is None


def set_instance(run, **values):
    run(lambda tx: tx.session.execute(update(Instance).values(**values)) and None)


@pytest.mark.parametrize(("state", "is_there"), [("available", True), ("failed", False), ("deleted", False)])
def test_a_gateway_is_on_it_until_it_has_ended(run, world, instance, state, is_there):
    gateway = NatGateway(
        id="nat-0123456789abcdef0",
        account_id=instance.account_id,
        vpc_id=instance.vpc_id,
        subnet_id=instance.subnet_id,
        connectivity="private",
        state=state,
        state_changed=NOW,
        created=NOW,
        host_id=world.host_id,
    )
    run(lambda tx: tx.session.add(gateway))
    found = [use.resource_id for use in uses(run, world) if use.kind == "nat-gateway"]
    assert found == (["nat-0123456789abcdef0"] if is_there else [])


def test_others_are_not_on_it(run, world, instance):
    other = rows.host(hostname="other")
    run(lambda tx: tx.session.add(other))
    assert run(host_uses.uses_of, other.id) == []


def test_only_so_many_are_listed(run, world):
    def launch(tx):
        for number in range(3):
            rows.launch(tx, world, world.one, number=number, host_id=world.host_id)

    run(launch)
    assert len(run(host_uses.uses_of, world.host_id, 2)) == 2


REMOVED = {"kind": int(desired.KIND_VOLUME), "resource_id": VOLUME_ID, "revision": 5, "body": None}


@pytest.mark.parametrize(
    ("sent", "reached", "left"),
    [
        ({}, 4, HostUse("volume", VOLUME_ID, "removing")),
        ({"kind": int(desired.KIND_MACHINE)}, 4, HostUse("instance", VOLUME_ID, "removing")),
        ({"kind": int(desired.KIND_INTERFACE)}, 4, None),
        ({"body": b"it is wanted"}, 4, None),
        ({}, 5, None),
    ],
)
def test_what_a_host_has_still_to_remove_is_on_it(run, world, sent, reached, left):
    def write(tx):
        tx.session.add(HostResource(host_id=world.host_id, **(REMOVED | sent)))
        tx.session.execute(update(Host).where(Host.id == world.host_id).values(revision_reached=reached))

    others = [rows.host(id=host_id, hostname=host_id) for host_id in ("h-00000000000000000", "h-fffffffffffffffff")]
    others[0].revision_reached, others[1].revision_reached = 0, 9
    run(lambda tx: tx.session.add_all(others))
    run(write)
    assert run(host_uses.what_is_left, world.host_id) == left
    assert uses(run, world) == ([left] if left else [])
    assert run(host_uses.what_is_left, "h-00000000000000000") is None


def test_what_it_has_until_then_is_listed_once(run, world, instance):
    def write(tx):
        for kind in (desired.KIND_MACHINE, desired.KIND_VOLUME):
            tx.session.add(
                HostResource(host_id=world.host_id, **(REMOVED | {"kind": int(kind), "resource_id": name[kind]}))
            )

    volume = run(lambda tx: rows.volume(instance, world, host_id=world.host_id, device_name="/dev/sdz"))
    run(lambda tx: tx.session.add(volume))
    name = {desired.KIND_MACHINE: instance.id, desired.KIND_VOLUME: volume.id}
    run(write)
    assert [use.resource_id for use in uses(run, world)] == [instance.id, volume.id]
    assert run(host_uses.what_is_left, world.host_id) is None


def test_what_belongs_to_another_host_now_is_left_beside_what_is_its_own(run, world, instance):
    def write(tx):
        other = rows.host(hostname="other")
        tx.session.add(other)
        tx.session.flush()
        second = rows.launch(tx, world, world.one, number=1, host_id=other.id)
        moved = [rows.volume(instance, world, host_id=other.id, device_name=f"/dev/sd{each}") for each in "xyz"]
        own = rows.volume(instance, world, host_id=world.host_id, device_name="/dev/sdo")
        tx.session.add_all([own, *moved])
        tx.session.flush()
        ids = sorted(each.id for each in moved)
        gone = [(desired.KIND_VOLUME, each) for each in reversed(ids)] + [(desired.KIND_MACHINE, second.id)]
        for kind, resource_id in gone:
            row = {"kind": int(kind), "resource_id": resource_id}
            tx.session.add(HostResource(host_id=world.host_id, **(REMOVED | row)))
            tx.session.flush()
        return [instance.id, own.id], sorted((int(kind), resource_id) for kind, resource_id in gone)

    own, gone = run(write)
    found = [use.resource_id for use in uses(run, world)]
    assert found == [*own, *(resource_id for _, resource_id in gone)]


@pytest.mark.parametrize(("state", "ends"), [("available", True), ("deleting", False)])
def test_a_volume_ends_with_it_unless_it_ends_anyhow(run, world, instance, state, ends):
    volume = rows.volume(instance, world, host_id=world.host_id, instance_id=None, state=state, device_name=None)
    run(lambda tx: tx.session.add(volume))
    set_instance(run, state="terminated")
    found = run(host_uses.what_ends_with, world.host_id)
    assert found == (HostUse("volume", volume.id, state) if ends else None)
