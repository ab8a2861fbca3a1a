"""A stopped instance starts where there is room and where its volumes can be used; never on two hosts at once."""

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import (
    Host,
    HostResource,
    Instance,
    InstanceStoreDisk,
    NetworkInterface,
    StoragePool,
    Volume,
    VpcHost,
)
from stead_controller.errors import NoCapacity
from stead_controller.resources.instances import instance_needs, volume_attachments
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.storage import create_snapshots
from stead_controller.resources.storage.create_snapshots import OfVolume
from stead_proto.v1 import desired_pb2 as desired
from tests.support.rows import CLOUD, GIB, NOW
from tests.unit.controller.resources.test_volumes_on_three_hosts import MACHINE, VOLUME, Cloud, begun, volume

INTERFACE = int(desired.KIND_INTERFACE)


@pytest.fixture
def cloud(tmp_path, empty_database_file):
    """Three hosts with two instances each, the first of which is stopped."""
    made = begun(Cloud, tmp_path / "stead.sqlite", empty_database_file, stop_the_first)
    yield made
    made.database.close()


def stop_the_first(cloud):
    cloud.settle()
    stop(cloud)


def stop(cloud):
    cloud.run(stop_instances, cloud.caller, cloud.instances[:1], NOW)
    cloud.settle()
    assert instance(cloud).state == "stopped"


def start(cloud):
    cloud.run(start_instances, cloud.caller, CLOUD, cloud.instances[:1], NOW)
    return instance(cloud).host_id


def instance(cloud):
    return cloud.run(lambda tx: tx.session.get_one(Instance, cloud.instances[0]))


def root(cloud):
    query = select(Volume).where(Volume.instance_id == cloud.instances[0], Volume.device_name == "/dev/sda1")
    return cloud.run(lambda tx: tx.session.scalars(query).one())


def set_hosts(cloud, hosts, **values):
    ids = [host.id for host in hosts]
    cloud.run(lambda tx: tx.session.execute(update(Host).where(Host.id.in_(ids)).values(**values)) and None)


def set_instance(cloud, **values):
    cloud.run(lambda tx: tx.session.execute(update(Instance).values(**values)) and None)


def wanted(cloud, host):
    """What a host should have, by kind and id; None for what it must remove."""
    query = select(HostResource).where(HostResource.host_id == host.id)
    return {(row.kind, row.resource_id): row.body for row in cloud.run(lambda tx: tx.session.scalars(query).all())}


def test_it_starts_at_the_home_of_its_root_volume_where_there_is_room(cloud):
    first, *_ = cloud.hosts
    assert start(cloud) == first.id
    cloud.settle()
    assert instance(cloud).state == "running"
    assert first.serves == {}


@pytest.mark.parametrize(
    "wrong", [{"schedulable": False}, {"memory_offered": -4 * GIB}, {"cpus_offered": -8}, {"cpus": 1}], ids=str
)
def test_it_starts_elsewhere_if_its_host_cannot_have_it(cloud, wrong):
    """Its host serves its root volume to the other one, and has nothing else of it."""
    first, second, third = cloud.hosts
    set_hosts(cloud, [first], **wrong)
    set_hosts(cloud, [third], memory_offered=GIB)
    others = update(NetworkInterface).where(
        NetworkInterface.host_id == first.id, NetworkInterface.instance_id != cloud.instances[0]
    )
    cloud.run(lambda tx: tx.session.execute(others.values(host_id=None)) and None)
    assert start(cloud) == second.id
    interfaces = select(NetworkInterface).where(NetworkInterface.instance_id == cloud.instances[0])
    (interface,) = cloud.run(lambda tx: tx.session.scalars(interfaces).all())
    assert interface.host_id == second.id
    for key in ((MACHINE, cloud.instances[0]), (INTERFACE, interface.id)):
        assert wanted(cloud, first)[key] is None
        assert wanted(cloud, second)[key] is not None
    subscribed = select(VpcHost.host_id).where(
        VpcHost.vpc_id == instance(cloud).vpc_id, VpcHost.gone_revision.is_(None)
    )
    assert set(cloud.run(lambda tx: tx.session.scalars(subscribed).all())) == {second.id, third.id}
    cloud.settle()
    assert (instance(cloud).state, instance(cloud).host_id) == ("running", second.id)
    row = root(cloud)
    assert (row.host_id, row.attached_host_id) == (first.id, second.id)
    assert first.serves[row.id] == (second.id, row.generation)
    assert second.plugged[cloud.instances[0]] == {row.id: row.generation}
    assert cloud.instances[0] not in first.plugged


def test_what_it_takes_is_taken_of_the_other_host(cloud):
    first, second, third = cloud.hosts
    set_hosts(cloud, [first, third], schedulable=False)

    def taken():
        query = select(Host.id, Host.memory_reserved)
        return dict(cloud.run(lambda tx: tx.session.execute(query).all()))

    before = taken()
    start(cloud)
    need = cloud.run(lambda tx: instance_needs.of(tx, tx.session.get_one(Instance, cloud.instances[0])))
    assert taken() == before | {second.id: before[second.id] + need.memory}
    cloud.settle()
    stop(cloud)
    assert taken() == before


def test_it_goes_home_when_it_can(cloud):
    first, second, third = cloud.hosts
    set_hosts(cloud, [first, third], schedulable=False)
    start(cloud)
    cloud.settle()
    stop(cloud)
    set_hosts(cloud, [first], schedulable=True)
    assert start(cloud) == first.id
    cloud.settle()
    assert instance(cloud).state == "running"
    row = root(cloud)
    assert (row.attached_host_id, row.export_port) == (first.id, None)
    assert (first.serves, second.proxies) == ({}, {})
    assert first.plugged[cloud.instances[0]] == {row.id: 0}
    assert cloud.instances[0] not in second.plugged


def test_from_one_host_of_others_to_the_next(cloud):
    first, second, third = cloud.hosts
    set_hosts(cloud, [first, third], schedulable=False)
    start(cloud)
    cloud.settle()
    stop(cloud)
    set_hosts(cloud, [second], state="down", schedulable=False)
    set_hosts(cloud, [third], schedulable=True)
    assert start(cloud) == third.id
    for _ in range(4):  # the second host is away
        cloud.act(first)
        cloud.act(third)
    assert instance(cloud).state == "running"
    row = root(cloud)
    assert first.serves[row.id] == (third.id, row.generation)
    cloud.settle()  # and has come back
    assert (instance(cloud).state, instance(cloud).host_id) == ("running", third.id)
    assert second.proxies == {}


def test_it_goes_to_the_home_of_another_volume_rather_than_elsewhere(cloud):
    first, _, third = cloud.hosts
    volume_id = cloud.volumes[0]
    cloud.run(volume_attachments.attach, cloud.caller, CLOUD, volume_id, cloud.instances[2], "/dev/sdf", NOW)
    cloud.settle()
    cloud.run(volume_attachments.detach, cloud.caller, volume_id)
    cloud.settle()
    cloud.run(volume_attachments.attach, cloud.caller, CLOUD, volume_id, cloud.instances[0], "/dev/sdf", NOW)
    cloud.settle()
    assert volume(cloud, volume_id).export_port is not None
    set_hosts(cloud, [first], schedulable=False)
    set_hosts(cloud, [third], memory_offered=GIB * 3)
    assert start(cloud) == third.id
    cloud.settle()
    row = volume(cloud, volume_id)
    assert (row.attached_host_id, row.export_port, row.attachment_state) == (third.id, None, "attached")
    assert (instance(cloud).state, first.proxies) == ("running", {})


def refused(cloud, words):
    before = instance(cloud), root(cloud)
    with pytest.raises(NoCapacity, match=words) as refusal:
        start(cloud)
    assert refusal.value.code in (None, "InsufficientInstanceCapacity")
    after = instance(cloud), root(cloud)
    assert [(row.host_id, row.id) for row in after] == [(row.host_id, row.id) for row in before]
    assert after[0].state == "stopped"


def test_the_host_of_its_volume_must_be_up(cloud):
    first = cloud.hosts[0]
    set_hosts(cloud, [first], state="down")
    refused(cloud, f"on no other host, since {root(cloud).id} is on {first.id}, which is down")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"boot_mode": "uefi"}, "its UEFI variables are there"),
        ({"boot_mode": "uefi", "sealed_tpm_key": b"x"}, "the state of its TPM is there"),
        ({"memory_saved": True}, "its memory is saved there"),
    ],
    ids=["uefi", "tpm", "hibernated"],
)
def test_what_only_its_host_has_binds_it_to_that(cloud, values, words):
    set_instance(cloud, **values)
    set_hosts(cloud, cloud.hosts[:1], schedulable=False)
    refused(cloud, words)
    set_hosts(cloud, cloud.hosts[:1], schedulable=True)
    set_hosts(cloud, cloud.hosts[1:], memory_offered=1024 * GIB)
    assert start(cloud) == cloud.hosts[0].id


@pytest.mark.parametrize("what", ["volume", "interface"])
def test_a_part_that_comes_or_goes_binds_it_to_its_host(cloud, what):
    table = {"volume": Volume, "interface": NetworkInterface}[what]
    mine = update(table).where(table.instance_id == cloud.instances[0])
    cloud.run(lambda tx: tx.session.execute(mine.values(attachment_state="attaching")) and None)
    set_hosts(cloud, cloud.hosts[:1], schedulable=False)
    refused(cloud, "is attaching")


def test_nowhere_is_room(cloud):
    set_hosts(cloud, cloud.hosts, schedulable=False)
    refused(cloud, "do not have sufficient t3.micro capacity")


def test_a_host_that_has_not_released_its_volume_does_not_get_it(cloud):
    """By force the volume is taken of a guest of the third host, which still has it; that host is the roomiest."""
    first, second, third = cloud.hosts
    volume_id, device = cloud.volumes[0], "/dev/sdf"
    for instance_id in (cloud.instances[3], cloud.instances[2]):  # its home is the first host
        cloud.run(volume_attachments.attach, cloud.caller, CLOUD, volume_id, instance_id, device, NOW)
        cloud.settle()
        if instance_id == cloud.instances[3]:
            cloud.run(volume_attachments.detach, cloud.caller, volume_id)
            cloud.settle()
    third.stubborn.add(cloud.instances[2])
    cloud.run(volume_attachments.detach, cloud.caller, volume_id, force=True)
    cloud.settle()
    cloud.run(volume_attachments.attach, cloud.caller, CLOUD, volume_id, cloud.instances[0], device, NOW)
    cloud.settle()
    assert third.users(volume_id)
    set_hosts(cloud, [first], schedulable=False)
    set_hosts(cloud, [third], memory_offered=1024 * GIB)
    assert start(cloud) == second.id
    set_hosts(cloud, [first, second], schedulable=False)
    cloud.settle()
    stop(cloud)
    refused(cloud, "do not have sufficient t3.micro capacity")


def test_a_snapshot_that_is_not_taken_yet_is_taken_where_the_volume_goes(cloud):
    first, second, third = cloud.hosts
    made = cloud.run(create_snapshots.of_volume, cloud.caller, OfVolume(root(cloud).id), NOW)
    set_hosts(cloud, [first, third], schedulable=False)
    start(cloud)
    key = (int(desired.KIND_SNAPSHOT), made.snapshot.id)
    assert wanted(cloud, first)[key] is None
    assert wanted(cloud, second)[key] is not None


def test_its_instance_store_is_made_anew_on_the_other_host(cloud):
    """As EC2 says, what was in it is lost at the stop."""
    first, second, third = cloud.hosts
    disk = InstanceStoreDisk(instance_id=cloud.instances[0], number=0, device_name="/dev/sdb", size=GIB)
    cloud.run(lambda tx: tx.session.add(disk))
    set_instance(cloud, instance_type="i3.large")
    set_hosts(cloud, [first, third], schedulable=False)

    def promised():
        return cloud.run(lambda tx: tx.session.get_one(StoragePool, (second.id, "main")).provisioned)

    before = promised()
    start(cloud)
    assert promised() == before + GIB
    machine = desired.Resource.FromString(wanted(cloud, second)[MACHINE, cloud.instances[0]]).machine
    assert [each.device_name for each in machine.disks] == ["/dev/sda1", "/dev/sdb"]
    assert wanted(cloud, second)[VOLUME, root(cloud).id] is not None
