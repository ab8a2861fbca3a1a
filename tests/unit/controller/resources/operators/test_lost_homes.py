"""A home host is given up: volumes in a pool that other hosts have, too, go on there; never writable from two places."""

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import Host, Instance, StoragePool, Volume
from stead_controller.errors import InUse
from stead_controller.resources.instances import volume_attachments
from stead_controller.resources.operators import host_records
from stead_proto.v1 import desired_pb2 as desired
from tests.support.rows import CLOUD, GIB, NOW
from tests.unit.controller.resources.test_volumes_on_three_hosts import VOLUME, Cloud, begun, volume

SHARED = "7c3f0c6e-0d0a-4a55-9a5e-0d6f5f1c2b11/2"


@pytest.fixture
def cloud(tmp_path, empty_database_file):
    """Three hosts that have one pool of Ceph, with two instances each; a volume is at home on the first one."""
    made = begun(Cloud, tmp_path / "stead.sqlite", empty_database_file, share)
    yield made
    made.database.close()


def share(cloud):
    cloud.run(lambda tx: tx.session.execute(update(StoragePool).values(backend="rbd", shared_id=SHARED)))
    attach(cloud, cloud.volumes[0], cloud.instances[0])


def attach(cloud, volume_id, instance_id):
    cloud.run(volume_attachments.attach, cloud.caller, CLOUD, volume_id, instance_id, "/dev/sdf", NOW)
    cloud.settle()


def goes_to(cloud, volume_id, instance_id):
    """Let a volume be used by another host than its home."""
    cloud.run(volume_attachments.detach, cloud.caller, volume_id)
    cloud.settle()
    attach(cloud, volume_id, instance_id)


def dies(cloud, host):
    """Let a host be silent for long; what it does then, nobody knows."""
    cloud.hosts = [each for each in cloud.hosts if each is not host]
    cloud.run(lambda tx: tx.session.execute(update(Host).where(Host.id == host.id).values(state="down")))


def give_up(cloud, host):
    cloud.run(host_records.remove_host, CLOUD, host.id, NOW, lost=True)


def sent(cloud, host, volume_id):
    cloud.read(host)
    _, body = host.sent[VOLUME, volume_id]
    return desired.Resource.FromString(body).volume


def promised(cloud, host):
    return cloud.run(lambda tx: tx.session.get_one(StoragePool, (host.id, "main")).provisioned)


def test_a_volume_that_a_guest_of_another_host_has_is_served_by_a_third(cloud):
    first, second, third = cloud.hosts
    volume_id = cloud.volumes[0]
    goes_to(cloud, volume_id, cloud.instances[1])
    before, room = volume(cloud, volume_id), promised(cloud, third)
    dies(cloud, first)
    give_up(cloud, first)
    row = volume(cloud, volume_id)
    assert (row.host_id, row.former_homes, row.attached_host_id) == (third.id, first.id, second.id)
    assert row.generation == before.generation + 1, "what the former home served is another attachment"
    assert promised(cloud, third) == room + GIB
    at_home = sent(cloud, third, volume_id)
    assert (list(at_home.former_home_ids), at_home.export.client_host_id) == ([first.id], second.id)
    remote = sent(cloud, second, volume_id).remote
    assert (remote.home_host_id, remote.generation, remote.port) == (third.id, row.generation, row.export_port)
    cloud.settle()
    assert third.serves == {volume_id: (second.id, row.generation)}
    assert second.plugged[cloud.instances[1]][volume_id] == row.generation
    assert volume(cloud, volume_id).attachment_state == "attached"


@pytest.mark.parametrize("ends", [False, True])
def test_of_an_instance_that_ended_with_its_host(cloud, ends):
    first = cloud.hosts[0]
    volume_id = cloud.volumes[0]
    cloud.run(
        lambda tx: tx.session.execute(update(Volume).where(Volume.id == volume_id).values(delete_on_termination=ends))
    )
    dies(cloud, first)
    give_up(cloud, first)
    assert cloud.run(lambda tx: tx.session.get_one(Instance, cloud.instances[0])).state == "terminated"
    row = volume(cloud, volume_id)
    if ends:
        assert row is None
        return
    assert (row.state, row.instance_id, row.former_homes) == ("available", None, first.id)
    cloud.settle()
    attach(cloud, volume_id, cloud.instances[1])
    assert volume(cloud, volume_id).attachment_state == "attached"


def test_a_home_that_is_lost_too_is_named_as_well(cloud):
    first, second, third = cloud.hosts
    volume_id = cloud.volumes[0]
    for host in (first, second):  # the third has what is left
        cloud.run(lambda tx, it=host: tx.session.execute(update(Host).where(Host.id == it.id).values(memory_offered=1)))
    goes_to(cloud, volume_id, cloud.instances[0])
    dies(cloud, first)
    cloud.run(lambda tx: tx.session.execute(update(Host).where(Host.id == third.id).values(schedulable=False)))
    give_up(cloud, first)
    assert volume(cloud, volume_id).host_id == second.id
    dies(cloud, second)
    cloud.run(lambda tx: tx.session.execute(update(Host).where(Host.id == third.id).values(schedulable=True)))
    give_up(cloud, second)
    assert list(sent(cloud, third, volume_id).former_home_ids) == [first.id, second.id]


def test_a_host_that_is_up_is_not_given_up_with_them(cloud):
    first = cloud.hosts[0]
    with pytest.raises(InUse, match="is up: it is lost only when it is off"):
        give_up(cloud, first)
    assert volume(cloud, cloud.volumes[0]).host_id == first.id
    assert cloud.run(lambda tx: tx.session.get(Host, first.id)) is not None
    assert cloud.run(lambda tx: tx.session.get_one(Instance, cloud.instances[0])).state == "running"


def test_the_host_that_uses_it_becomes_its_home_only_after_releasing_it(cloud):
    first, second, third = cloud.hosts
    volume_id = cloud.volumes[0]
    goes_to(cloud, volume_id, cloud.instances[1])
    dies(cloud, first)
    cloud.run(lambda tx: tx.session.execute(update(Host).where(Host.id == third.id).values(state="down")))
    with pytest.raises(InUse, match="none of them can be its home now"):
        give_up(cloud, first)
    assert volume(cloud, volume_id).host_id == first.id
    cloud.run(volume_attachments.detach, cloud.caller, volume_id)
    with pytest.raises(InUse, match="none of them"):
        give_up(cloud, first)
    cloud.act(second)
    cloud.act(second)
    assert volume(cloud, volume_id).state == "available"
    give_up(cloud, first)
    assert (volume(cloud, volume_id).host_id, volume(cloud, volume_id).state) == (second.id, "available")


def test_one_in_a_pool_of_its_own_is_lost(cloud):
    first = cloud.hosts[0]
    others = update(StoragePool).where(StoragePool.host_id != first.id).values(shared_id="another cluster/2")
    cloud.run(lambda tx: tx.session.execute(others))
    dies(cloud, first)
    give_up(cloud, first)
    remaining = cloud.run(lambda tx: list(tx.session.scalars(select(Volume.id).where(Volume.id.in_(cloud.volumes)))))
    assert remaining == [cloud.volumes[1]], "that one had no home yet"
