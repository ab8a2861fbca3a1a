"""Instances of types with PCI devices: which they get, when they give them back, and that none is given twice."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import HostDevice, Instance
from stead_controller.errors import NoCapacity, Unsupported
from stead_controller.hosts.reports import give_up_launch
from stead_controller.request import instance_types
from stead_controller.resources.host_capacity import devices
from stead_controller.resources.instances import instance_attributes, offered_types, own_types
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.operators import placement_explanation
from stead_controller.resources.operators.placement_explanation import Launch
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import GIB, NOW

T4 = "10de:1eb8"
FACTS = {
    "vcpus": 1,
    "threads_per_core": 1,
    "memory_mib": 128,
    "interfaces": 1,
    "addresses": 2,
    "network_mbps": {"baseline": 100, "burst": 200},
    "devices": {T4: 1},
}


@pytest.fixture
def cards(life):
    """A type lab.gpu with one card, and `cards(host_id, …)`, which gives a host cards of the groups named."""
    life.run(lambda tx: own_types.add(tx, "lab.gpu", FACTS, NOW))

    def add(*groups, host_id=life.world.host_id, **changes):
        made = [
            HostDevice(
                **{"host_id": host_id, "address": f"0000:{group:02x}:00.0", "model": T4, "iommu_group": group} | changes
            )
            for group in groups
        ]
        life.run(lambda tx: tx.session.add_all(made))

    return add


def holders(life):
    query = select(HostDevice.address, HostDevice.instance_id).order_by(HostDevice.address)
    return dict(life.run(lambda tx: tx.session.execute(query).all()))


def sent(life, instance_id):
    return list(life.wanted()[0][instance_id].machine.devices)


def launch(life, **changes):
    return life.launch(instance_type="lab.gpu", **changes)


def test_a_launch_takes_a_device_and_its_host_is_sent_which(life, cards):
    cards(1, 2)
    [instance_id] = launch(life)
    assert holders(life) == {"0000:01:00.0": instance_id, "0000:02:00.0": None}
    assert sent(life, instance_id) == ["0000:01:00.0"]


def test_each_instance_of_a_launch_gets_its_own_and_no_more_start_than_there_are_devices(life, cards):
    cards(1, 2)
    with pytest.raises(NoCapacity, match=r"lab\.gpu capacity"):
        launch(life, count=3)
    assert set(holders(life).values()) == {None}
    one, two = launch(life, count=1, max_count=3)
    assert holders(life) == {"0000:01:00.0": one, "0000:02:00.0": two}


def test_all_of_a_group_go_together(life, cards):
    cards(1)
    cards(1, address="0000:01:00.1", model="10de:10f8")
    [instance_id] = launch(life)
    assert sent(life, instance_id) == ["0000:01:00.0", "0000:01:00.1"]


@pytest.mark.parametrize("refusal", ["the kernel cannot reset it between guests"])
def test_a_device_that_cannot_be_given_is_none(life, cards, refusal):
    cards(1, refusal=refusal)
    with pytest.raises(Unsupported):
        launch(life)


def test_of_two_devices_only_the_one_that_can_be_given_is(life, cards):
    cards(1, refusal="it has no IOMMU group: the IOMMU is off")
    cards(2)
    [instance_id] = launch(life)
    assert sent(life, instance_id) == ["0000:02:00.0"]
    with pytest.raises(NoCapacity):
        launch(life)


def test_a_host_without_such_devices_is_not_chosen(life, cards):
    other = rows.host(id="h-00000000000000002", hostname="other", memory=8 * GIB, memory_free=8 * GIB)
    life.run(lambda tx: tx.session.add(other))
    cards(1, host_id=other.id)
    [instance_id] = launch(life)
    assert life.instance(instance_id).host_id == other.id
    [verdict] = [
        one
        for one in life.run(placement_explanation.judge_hosts, life.world.cloud, Launch("lab.gpu"))
        if one.host_id == life.world.host_id
    ]
    assert [(one.filter, one.reason) for one in verdict.refusals] == [
        ("devices", f"it has not the devices: 1 of {T4}, 0 free")
    ]


def test_a_device_is_given_back_when_its_instance_has_stopped_and_taken_again_at_its_start(life, cards):
    cards(1)
    [one] = launch(life)
    life.is_running(one)
    life.run(stop_instances, life.caller, [one], NOW)
    assert holders(life) == {"0000:01:00.0": one}
    life.power(one, pb.MACHINE_POWER_OFF, pb.OFF_REASON_ASKED)
    assert holders(life) == {"0000:01:00.0": None}
    [two] = launch(life)
    assert holders(life) == {"0000:01:00.0": two}
    before = life.host()
    with pytest.raises(NoCapacity, match="has not the free devices to start it now"):
        life.run(start_instances, life.caller, life.world.cloud, [one], NOW)
    after = life.host()
    assert (after.cpus_reserved, after.memory_reserved) == (before.cpus_reserved, before.memory_reserved)
    life.run(terminate_instances, life.caller, [two], NOW)
    life.is_absent(desired.KIND_MACHINE, two)
    life.run(start_instances, life.caller, life.world.cloud, [one], NOW)
    assert holders(life) == {"0000:01:00.0": one}
    assert sent(life, one) == ["0000:01:00.0"]


def test_a_launch_that_is_given_up_gives_it_back(life, cards):
    cards(1)
    [one] = launch(life)
    life.run(lambda tx: give_up_launch(tx, tx.session.get_one(Instance, one), NOW))
    life.is_absent(desired.KIND_MACHINE, one)
    assert holders(life) == {"0000:01:00.0": None}


def test_what_another_took_meanwhile_is_not_given_twice(life, cards, monkeypatch):
    """The choice is made on what was read; the statement that takes it looks again."""
    cards(1)
    [one] = launch(life)
    kind = life.run(lambda tx: instance_types.find(tx, "lab.gpu"))
    [two] = life.launch()
    monkeypatch.setattr(devices, "choose", lambda *_: ("0000:01:00.0",))  # as if it had been free when it was read
    assert not life.run(devices.take, life.world.host_id, two, kind.devices)
    assert holders(life) == {"0000:01:00.0": one}


def test_nothing_is_left_of_a_choice_of_which_a_part_was_taken_meanwhile(life, cards, monkeypatch):
    cards(1, 2)
    [one] = launch(life)
    kind = life.run(lambda tx: instance_types.find(tx, "lab.gpu"))
    [two] = life.launch()
    monkeypatch.setattr(devices, "choose", lambda *_: ("0000:01:00.0", "0000:02:00.0"))
    assert not life.run(devices.take, life.world.host_id, two, kind.devices)
    assert holders(life) == {"0000:01:00.0": one, "0000:02:00.0": None}


def test_types_are_offered_where_hosts_have_their_devices_also_while_instances_have_them(life, cards):
    def offered():
        found = life.run(offered_types.offerings, life.world.cloud, "availability-zone", [])
        return [one.location for one in found if one.instance_type == "lab.gpu"]

    def described():
        return "lab.gpu" in [kind.name for kind in life.run(offered_types.describe, [], [])]

    assert (offered(), described()) == ([], False)
    cards(1)
    assert (offered(), described()) == (["us-east-1a"], True)
    launch(life)
    assert (offered(), described()) == (["us-east-1a"], True)


def test_without_a_subnet_the_zone_is_one_with_the_devices(life, cards):
    other = rows.host(id="h-00000000000000002", zone="us-east-1b", memory=8 * GIB, memory_free=GIB)
    life.run(lambda tx: tx.session.add(other))
    cards(1, host_id=other.id)
    [instance_id] = launch(life)
    assert life.instance(instance_id).zone == "us-east-1b"
    with pytest.raises(Unsupported, match=r"Availability Zone \(us-east-1a\)"):
        launch(life, zone="us-east-1a")


def test_a_stopped_instance_gets_the_devices_of_its_new_type(life, cards):
    cards(1)
    [one] = life.launch()
    life.is_running(one)
    life.run(stop_instances, life.caller, [one], NOW)
    life.power(one, pb.MACHINE_POWER_OFF, pb.OFF_REASON_ASKED)
    life.run(instance_attributes.set_instance_type, life.caller, one, "lab.gpu")
    life.run(start_instances, life.caller, life.world.cloud, [one], NOW)
    assert sent(life, one) == ["0000:01:00.0"]


def test_a_launch_without_devices_reads_nothing_of_them(life, cards, statements):
    cards(1)
    statements.clear()
    life.launch()
    assert not [text for text in statements if "host_devices" in text]
