"""What hosts say of their PCI devices: rows follow, and who has one stays."""

from sqlalchemy import select

from stead_controller.db.tables import HostDevice
from stead_controller.hosts import devices
from stead_controller.hosts.facts import take_facts
from stead_controller.resources.operators import host_records
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import CLOUD, NOW


def device(address="0000:01:00.0", **changes):
    values = {"address": address, "model": "10de:1eb8", "class_code": 0x030200, "iommu_group": 7, "reset": "flr"}
    return pb.PciDevice(**values | changes)


def take(run, world, *sent):
    run(take_facts, [(world.host_id, pb.Hello(facts=pb.HostFacts(cpus=8, memory=1 << 33, devices=sent)))], CLOUD, NOW)
    query = select(HostDevice).where(HostDevice.host_id == world.host_id)
    return {row.address: row for row in run(lambda tx: tx.session.scalars(query).all())}


def test_devices_come_change_and_go(run, world):
    found = take(run, world, device(numa_node=1, driver="nouveau"), device("0000:02:00.0", iommu_group=8))
    row = found["0000:01:00.0"]
    assert (row.model, row.class_code, row.iommu_group, row.numa_node) == ("10de:1eb8", 0x030200, 7, 1)
    assert (row.driver, row.reset, row.refusal, row.instance_id) == ("nouveau", "flr", "", None)
    found = take(run, world, device(refusal="the IOMMU is off"))
    assert {address: row.refusal for address, row in found.items()} == {"0000:01:00.0": "the IOMMU is off"}
    assert take(run, world) == {}


def test_a_device_that_an_instance_has_stays_and_is_not_given_again(run, world):
    take(run, world, device())
    instance = run(lambda tx: rows.launch(tx, world, world.one))

    def give(tx):
        tx.session.get_one(HostDevice, (world.host_id, "0000:01:00.0")).instance_id = instance.id

    run(give)
    assert take(run, world, device())["0000:01:00.0"].instance_id == instance.id
    row = take(run, world)["0000:01:00.0"]
    assert (row.instance_id, row.refusal) == (instance.id, devices.GONE)


def test_what_is_no_device_is_not_stored(run, world):
    assert take(run, world, device(""), device("0" * 17), device(model="gpu")) == {}


def test_an_operator_sees_the_devices_of_one_host(run, world):
    take(run, world, device("0000:02:00.0"), device())
    shown = run(lambda tx: host_records.show_host(tx, CLOUD, world.host_id))
    assert [found.address for found in shown.devices] == ["0000:01:00.0", "0000:02:00.0"]
