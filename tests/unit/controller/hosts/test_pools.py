"""What hosts say of their storage pools: rows follow, what was promised of them stays."""

import asyncio

from sqlalchemy import select

from stead_controller.db.tables import Host, InstanceStoreDisk, StoragePool, Volume
from stead_controller.hosts import pools
from stead_controller.hosts.liveness import Liveness
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import GIB, NOW


def pool(name="main", **changes):
    return pb.StoragePool(**{"name": name, "backend": "directory", "total": 100 * GIB, "free": 60 * GIB} | changes)


def take(run, world, sent):
    run(lambda tx: pools.take(tx, world.host_id, sent, pools.of_hosts(tx, [world.host_id])[world.host_id]))


def stored(run, host_id):
    query = select(StoragePool).where(StoragePool.host_id == host_id)
    return {row.name: row for row in run(lambda tx: tx.session.scalars(query).all())}


def test_pools_come_and_go(run, world):
    slow = pool("slow", volume_types=["st1", "sc1"], backend="lvm")
    take(run, world, [pool(is_default=True), slow])
    found = stored(run, world.host_id)
    assert (found["main"].total, found["main"].is_default, found["main"].volume_types) == (100 * GIB, True, "")
    assert (found["slow"].backend, found["slow"].volume_types) == ("lvm", "sc1 st1")
    take(run, world, [pool(total=50 * GIB, is_default=True)])
    found = stored(run, world.host_id)
    assert (found["main"].total, found["slow"].total, found["slow"].free) == (50 * GIB, 0, 0)


def test_what_is_there_already_was_promised(run, world):
    def add(tx):
        for number in range(3):
            rows.launch(tx, world, world.one, number=number)
        tx.session.flush()
        tx.session.scalars(select(Volume).order_by(Volume.id)).first().pool = "other"

    run(add)
    take(run, world, [pool(is_default=True), pool("other")])
    found = stored(run, world.host_id)
    assert (found["main"].provisioned, found["other"].provisioned) == (16 * GIB, 8 * GIB)
    take(run, world, [pool(is_default=True), pool("other")])
    assert stored(run, world.host_id)["main"].provisioned == 16 * GIB


def test_what_is_in_no_named_pool_is_counted_in_the_default_one_also_when_that_is_another(run, world):
    def add(tx):
        held = rows.launch(tx, world, world.one, instance_type="m5d.large", capacity_held=True)
        not_held = rows.launch(tx, world, world.one, number=1, instance_type="m5d.large", capacity_held=False)
        for instance in (held, not_held):
            tx.session.add(InstanceStoreDisk(instance_id=instance.id, number=0, device_name="/dev/sdb", size=3 * GIB))

    def counted():
        return {name: row.provisioned for name, row in stored(run, world.host_id).items()}

    run(add)
    take(run, world, [pool(is_default=True), pool("other")])
    assert counted() == {"main": 19 * GIB, "other": 0}
    take(run, world, [pool(), pool("other", is_default=True)])
    assert counted() == {"main": 0, "other": 19 * GIB}


def test_the_shared_name_of_an_unreachable_pool_stays(run, world):
    def shared_ids():
        return {name: row.shared_id for name, row in stored(run, world.host_id).items()}

    take(run, world, [pool("far", backend="rbd"), pool("near")])
    assert shared_ids() == {"far": "", "near": ""}
    far = pool("far", backend="rbd", shared_id="cluster/2")
    run(lambda tx: pools.note_room(tx, [(world.host_id, far)]))
    assert shared_ids() == {"far": "cluster/2", "near": ""}
    away = pool("far", backend="rbd", total=0)
    take(run, world, [away, pool("near")])
    run(lambda tx: pools.note_room(tx, [(world.host_id, away)]))
    assert shared_ids() == {"far": "cluster/2", "near": ""}
    take(run, world, [pool("far", backend="lvm")])
    assert shared_ids()["far"] == ""


def test_names_that_no_row_can_have_are_passed_over(run, world):
    take(run, world, [pool(""), pool("x" * 65)])
    assert stored(run, world.host_id) == {}


def test_heartbeats_report_the_free_space(database, run, world, statements):
    take(run, world, [pool(is_default=True)])
    liveness = Liveness(lambda: NOW, 20)

    def beat(free):
        statements.clear()
        liveness.seen(world.host_id, pools=[pool(free=free)])
        asyncio.run(liveness.write(database))
        return any("storage_pools" in statement for statement in statements)

    assert beat(GIB)
    assert stored(run, world.host_id)["main"].free == GIB
    assert not beat(GIB)  # no news
    assert beat(2 * GIB)
    assert stored(run, world.host_id)["main"].free == 2 * GIB
    for where, free in (("another", 2 * GIB), (database.id, 3 * GIB)):
        run(lambda tx, where=where: setattr(tx.session.get_one(Host, world.host_id), "controller_id", where))
        beat(free + 1)
        beat(3 * GIB)
        assert stored(run, world.host_id)["main"].free == free, "a paused one was late: the other knows better"
