"""Instances of types with whole cores: which they get, when they give them back, and that none is given twice."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Host, HostCore, HostDevice, Instance
from stead_controller.errors import NoCapacity, Unsupported
from stead_controller.hosts.reports import give_up_launch
from stead_controller.placement.cores import Choice, CoreNeed
from stead_controller.placement.guest_memory import memory_of
from stead_controller.resources.host_capacity import cores
from stead_controller.resources.instances import instance_attributes, offered_types, own_types
from stead_controller.resources.instances.cpu_options import CpuOptions
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.operators import placement_explanation
from stead_controller.resources.operators.placement_explanation import Launch
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import GIB, NOW

FACTS = {
    "vcpus": 4,
    "threads_per_core": 2,
    "memory_mib": 128,
    "interfaces": 1,
    "addresses": 2,
    "network_mbps": {"baseline": 100, "burst": 200},
    "whole_cores": True,
}
T4 = "10de:1eb8"


@pytest.fixture
def apart(life):
    """Types lab.fast (two cores of two threads) and lab.huge, and `apart(numbers, …)`, which sets a host's cores apart."""
    life.run(lambda tx: own_types.add(tx, "lab.fast", FACTS, NOW))
    life.run(lambda tx: own_types.add(tx, "lab.huge", FACTS | {"huge_pages": True}, NOW))

    def add(numbers, *, host_id=life.world.host_id, node=0, pages=0, **changes):
        made = [
            HostCore(**{"host_id": host_id, "number": n, "numa_node": node, "threads": [n, n + 64]} | changes)
            for n in numbers
        ]

        def write(tx):
            tx.session.add_all(made)
            host = tx.session.get_one(Host, host_id)
            host.huge_pages = {**host.huge_pages, str(node): pages}

        life.run(write)

    return add


def holders(life):
    query = select(HostCore.number, HostCore.instance_id).order_by(HostCore.number)
    return dict(life.run(lambda tx: tx.session.execute(query).all()))


def pages(life):
    return life.run(lambda tx: sum(tx.session.scalars(select(HostCore.huge_pages))))


def sent(life, instance_id):
    machine = life.wanted()[0][instance_id].machine
    assert machine.HasField("pinning")
    return list(machine.pinning.threads), machine.pinning.numa_node, machine.pinning.huge_pages


def launch(life, **changes):
    return life.launch(**{"instance_type": "lab.fast"} | changes)


def stop(life, instance_id):
    life.is_running(instance_id)
    life.run(stop_instances, life.caller, [instance_id], NOW)
    life.power(instance_id, pb.MACHINE_POWER_OFF, pb.OFF_REASON_ASKED)


def test_a_launch_takes_cores_and_its_host_is_sent_their_threads(life, apart):
    apart([2, 3, 4], node=1)
    before = life.host()
    [instance_id] = launch(life)
    assert holders(life) == {2: instance_id, 3: instance_id, 4: None}
    assert sent(life, instance_id) == ([2, 66, 3, 67], 1, False)
    after = life.host()
    assert after.cpus_reserved == before.cpus_reserved, "the shared threads are untouched"
    assert after.memory_reserved - before.memory_reserved == memory_of(128 << 20, 4)


def test_no_more_instances_start_than_there_are_cores(life, apart):
    apart(range(2, 7))
    with pytest.raises(NoCapacity, match=r"lab\.fast capacity"):
        launch(life, count=3)
    assert set(holders(life).values()) == {None}
    one, two = launch(life, count=1, max_count=3)
    assert holders(life) == {2: one, 3: one, 4: two, 5: two, 6: None}


def test_huge_pages_are_counted_by_node_and_are_no_common_memory(life, apart):
    apart([2, 3, 4, 5], pages=64)
    apart([8, 9], node=1, pages=63)
    before = life.host()
    [one] = launch(life, instance_type="lab.huge")
    assert sent(life, one) == ([2, 66, 3, 67], 0, True)
    assert life.host().memory_reserved - before.memory_reserved == memory_of(128 << 20, 4, huge=True)
    with pytest.raises(NoCapacity):
        launch(life, instance_type="lab.huge")
    [two] = launch(life)
    assert holders(life) == {2: one, 3: one, 4: two, 5: two, 8: None, 9: None}
    assert pages(life) == 64
    stop(life, one)
    assert pages(life) == 0
    assert life.host().memory_reserved - before.memory_reserved == memory_of(128 << 20, 4)
    launch(life, instance_type="lab.huge")
    assert pages(life) == 64


def test_fewer_cores_and_threads_can_be_asked_for(life, apart):
    apart([2, 3])
    [instance_id] = launch(life, cpu_options=CpuOptions(1, 1))
    assert sent(life, instance_id) == ([2], 0, False)
    assert holders(life) == {2: instance_id, 3: None}


def test_cores_with_too_few_threads_are_none(life, apart):
    apart([2, 3], threads=[2])
    with pytest.raises(Unsupported):
        launch(life)


def test_a_host_without_enough_in_one_node_is_not_chosen(life, apart):
    other = rows.host(id="h-00000000000000002", hostname="other", memory=8 * GIB, memory_free=8 * GIB)
    life.run(lambda tx: tx.session.add(other))
    apart([2])
    apart([3], node=1)
    apart([2, 3], host_id=other.id)
    [instance_id] = launch(life)
    assert life.instance(instance_id).host_id == other.id
    verdicts = life.run(placement_explanation.judge_hosts, life.world.cloud, Launch("lab.fast"))
    [verdict] = [one for one in verdicts if one.host_id == life.world.host_id]
    reason = "no memory node has 2 whole cores of 2 threads free: node 0 has 1, node 1 has 1"
    assert [(one.filter, one.reason) for one in verdict.refusals] == [("cores", reason)]


def test_cores_are_given_back_when_their_instance_has_stopped_and_taken_again_at_its_start(life, apart):
    apart([2, 3])
    [one] = launch(life)
    life.is_running(one)
    life.run(stop_instances, life.caller, [one], NOW)
    assert holders(life) == {2: one, 3: one}
    life.power(one, pb.MACHINE_POWER_OFF, pb.OFF_REASON_ASKED)
    assert holders(life) == {2: None, 3: None}
    assert not life.wanted()[0][one].machine.HasField("pinning")
    [two] = launch(life)
    before = life.host()
    with pytest.raises(NoCapacity):
        life.run(start_instances, life.caller, life.world.cloud, [one], NOW)
    after = life.host()
    assert (after.cpus_reserved, after.memory_reserved) == (before.cpus_reserved, before.memory_reserved)
    life.run(terminate_instances, life.caller, [two], NOW)
    life.is_absent(desired.KIND_MACHINE, two)
    life.run(start_instances, life.caller, life.world.cloud, [one], NOW)
    assert holders(life) == {2: one, 3: one}
    assert sent(life, one) == ([2, 66, 3, 67], 0, False)


def test_cores_of_a_guest_that_crashed_or_never_started_are_given_back(life, apart):
    apart([2, 3])
    [one] = launch(life)
    life.run(lambda tx: give_up_launch(tx, tx.session.get_one(Instance, one), NOW))
    life.is_absent(desired.KIND_MACHINE, one)
    assert holders(life) == {2: None, 3: None}


def test_an_instance_bound_to_its_host_does_not_start_there_without_cores(life, apart, monkeypatch):
    apart([2, 3])
    [one] = launch(life)
    stop(life, one)
    launch(life)
    monkeypatch.setattr("stead_controller.resources.instances.start_places._left_on_host", lambda *_: "all of it is")
    with pytest.raises(NoCapacity, match="has not the free whole cores to start it now"):
        life.run(start_instances, life.caller, life.world.cloud, [one], NOW)


def test_what_another_took_meanwhile_is_not_given_twice(life, apart, monkeypatch):
    """The choice is made on what was read; the statement that takes it looks again, and a part is given back."""
    apart([2, 3, 4])
    [one] = launch(life)
    [two] = life.launch()
    monkeypatch.setattr(cores, "choose", lambda *_: Choice(0, (3, 4)))  # as if 3 had been free when it was read
    assert not life.run(cores.take, life.world.host_id, two, CoreNeed(2))
    assert holders(life) == {2: one, 3: one, 4: None}


def test_a_core_that_its_host_no_longer_sets_apart_is_not_given(life, apart):
    apart([2, 3], gone=True)
    with pytest.raises(Unsupported):
        launch(life)
    apart([4, 5])
    [instance_id] = launch(life)
    assert holders(life) == {2: None, 3: None, 4: instance_id, 5: instance_id}


def test_the_node_of_its_devices_is_preferred(life, apart):
    life.run(lambda tx: own_types.add(tx, "lab.gpu", FACTS | {"devices": {T4: 1}}, NOW))
    apart([2, 3])
    apart([8, 9, 10], node=1)
    card = HostDevice(host_id=life.world.host_id, address="0000:01:00.0", model=T4, iommu_group=1, numa_node=1)
    life.run(lambda tx: tx.session.add(card))
    [instance_id] = launch(life, instance_type="lab.gpu")
    assert holders(life) == {2: None, 3: None, 8: instance_id, 9: instance_id, 10: None}


def test_types_are_offered_where_hosts_have_cores_also_while_instances_have_them(life, apart):
    def offered(name="lab.fast"):
        found = life.run(offered_types.offerings, life.world.cloud, "availability-zone", [])
        return [one.location for one in found if one.instance_type == name]

    assert (offered(), offered("lab.huge")) == ([], [])
    apart([2, 3], pages=64)
    assert (offered(), offered("lab.huge")) == (["us-east-1a"], ["us-east-1a"])
    launch(life, instance_type="lab.huge")
    assert (offered(), offered("lab.huge")) == (["us-east-1a"], ["us-east-1a"])


def test_a_type_needs_its_devices_and_its_cores_on_the_same_host(life, apart):
    life.run(lambda tx: own_types.add(tx, "lab.gpu", FACTS | {"devices": {T4: 1}}, NOW))
    other = rows.host(id="h-00000000000000002", zone="us-east-1a", memory=8 * GIB, memory_free=GIB)
    life.run(lambda tx: tx.session.add(other))
    card = HostDevice(host_id=other.id, address="0000:01:00.0", model=T4, iommu_group=1)
    life.run(lambda tx: tx.session.add(card))
    apart([2, 3])
    with pytest.raises(Unsupported):
        launch(life, instance_type="lab.gpu")


def test_without_a_subnet_the_zone_is_one_with_the_cores(life, apart):
    other = rows.host(id="h-00000000000000002", zone="us-east-1b", memory=8 * GIB, memory_free=GIB)
    life.run(lambda tx: tx.session.add(other))
    apart([2, 3], host_id=other.id)
    [instance_id] = launch(life)
    assert life.instance(instance_id).zone == "us-east-1b"
    with pytest.raises(Unsupported, match=r"Availability Zone \(us-east-1a\)"):
        launch(life, zone="us-east-1a")


def test_a_stopped_instance_gets_the_cores_of_its_new_type(life, apart):
    apart([2, 3])
    [one] = life.launch()
    stop(life, one)
    life.run(instance_attributes.set_instance_type, life.caller, one, "lab.fast")
    life.run(start_instances, life.caller, life.world.cloud, [one], NOW)
    assert sent(life, one) == ([2, 66, 3, 67], 0, False)


def test_a_launch_without_whole_cores_reads_nothing_of_them(life, apart, statements):
    apart([2, 3])
    statements.clear()
    life.launch()
    assert not [text for text in statements if "host_cores.threads" in text]


def test_emptier_hosts_without_cores_are_not_read(life, apart, statements):
    """Of many such hosts, the first rows that are read would all be theirs, and all hosts be read after them."""
    kind = {"accelerated": life.host().accelerated, "memory": 999 * GIB, "memory_free": 999 * GIB}
    others = [rows.host(id=f"h-{number:017x}", **kind) for number in range(2, 18)]
    life.run(lambda tx: tx.session.add_all(others))
    apart([2, 3])
    statements.clear()
    [instance_id] = launch(life)
    assert life.instance(instance_id).host_id == life.world.host_id
    reads = [text for text in statements if "ORDER BY hosts.memory_free DESC" in text and "has_image" in text]
    assert len(reads) == 1
