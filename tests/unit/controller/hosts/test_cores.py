"""What hosts say of the cores that they set apart: rows follow, and who has one stays."""

from sqlalchemy import select

from stead_controller.db.tables import Host, HostCore
from stead_controller.hosts.facts import take_facts
from stead_controller.resources.operators import host_records
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import CLOUD, NOW


def core(number=2, **changes):
    return pb.WholeCore(**{"number": number, "numa_node": 1, "threads": [number, number + 8]} | changes)


def take(run, world, *sent, nodes=()):
    hardware = pb.Hardware(whole_cores=sent, numa_nodes=nodes)
    facts = pb.HostFacts(cpus=8, memory=1 << 33, hardware=hardware)
    run(take_facts, [(world.host_id, pb.Hello(facts=facts))], CLOUD, NOW)
    query = select(HostCore).where(HostCore.host_id == world.host_id)
    return {row.number: row for row in run(lambda tx: tx.session.scalars(query).all())}


def test_cores_come_change_and_go(run, world):
    found = take(run, world, core(2), core(3))
    assert sorted(found) == [2, 3]
    assert (found[2].numa_node, found[2].threads, found[2].gone, found[2].instance_id) == (1, [2, 10], False, None)
    assert take(run, world, core(2, threads=[2]))[2].threads == [2]
    assert take(run, world) == {}


def test_a_core_that_an_instance_has_stays_and_is_not_given_again(run, world):
    take(run, world, core())
    instance = run(lambda tx: rows.launch(tx, world, world.one))

    def give(tx):
        tx.session.get_one(HostCore, (world.host_id, 2)).instance_id = instance.id

    run(give)
    row = take(run, world)[2]
    assert (row.instance_id, row.gone) == (instance.id, True)
    row = take(run, world, core())[2]
    assert (row.instance_id, row.gone) == (instance.id, False)


def test_what_is_no_core_is_not_stored(run, world):
    assert take(run, world, core(threads=[]), core(3, threads=[4]), core(5, threads=range(5, 22))) == {}


def test_the_huge_pages_of_each_node_are_known(run, world):
    nodes = [pb.NumaNode(number=0, huge_pages=3), pb.NumaNode(number=1)]
    take(run, world, nodes=nodes)
    assert run(lambda tx: tx.session.get_one(Host, world.host_id).huge_pages) == {"0": 3}
    take(run, world, nodes=[pb.NumaNode(number=0)])
    assert run(lambda tx: tx.session.get_one(Host, world.host_id).huge_pages) == {}


def test_an_operator_sees_the_cores_of_one_host(run, world):
    take(run, world, core(3), core(2))
    shown = run(lambda tx: host_records.show_host(tx, CLOUD, world.host_id))
    assert [found.number for found in shown.cores] == [2, 3]
