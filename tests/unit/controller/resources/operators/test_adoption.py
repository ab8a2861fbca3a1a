"""What hosts keep and an older database does not know becomes rows again, as they were; no host has anything to do."""

from functools import partial

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Host, Image, Subnet, UsageLine, UsageMeter, Volume, VpcCidrBlock
from stead_controller.db.tables import InstanceProfileAssociation as Association
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.resources.instances.hibernation import hibernate_instances
from stead_controller.resources.instances.metadata_options import MetadataOptions
from stead_controller.resources.instances.profile_associations import ProfileName
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_controller.resources.instances.terminate_instances import terminate_instances
from stead_controller.resources.network import (
    interface_addresses,
    network_interface_attachments,
    network_interface_life,
)
from stead_controller.resources.network.network_interface_life import AddressRequest, CreateRequest
from stead_controller.resources.operators import unclaimed_resources
from stead_controller.resources.storage.block_devices import BlockDevice
from stead_proto.v1.desired_pb2 import KIND_MACHINE, KIND_VOLUME
from tests.support import kept, rows
from tests.support.rows import NOW
from tests.unit.controller.db.rows import rows_of
from tests.unit.controller.resources.operators import lost_changes as lost

# What hosts do not know, or not to the millisecond. All else is as it was; use is billed from the adoption on.
TABLES = {
    "instances": {"state_changed", "client_token", "ebs_optimized", "identity_issued", "launch_time"},
    "instance_store_disks": set(),
    "tags": set(),
    "volumes": {"created", "attach_time"},
    "network_interfaces": {"created", "attachment_id", "attach_time", "requester_id"},
    "interface_addresses": {"position"},
    "interface_groups": set(),
    "security_groups": {"created", "description"},
    "security_group_rules": {"description"},
    "public_addresses": {"association_id"},
    "elastic_addresses": {"created"},
    "account_usage": set(),
    "usage_meters": {"began"},
    "hosts": {"revision"},
    "storage_pools": set(),
    "instance_profile_associations": {"id", "created", "updated", "expires", "due", "access_key_id", "session_token"},
}


@pytest.fixture
def lose(database, world, life):
    """Lose what a function does in a transaction; its hosts report what they keep."""

    def call(make, *host_ids):
        found = kept.lose(database, world.cloud, [world.host_id, *host_ids], make)
        kept.report(database, found)
        return found

    return call


@pytest.fixture
def adopt(run, world):
    return lambda resource_id, account_id="": run(lost.adopt, world, resource_id, account_id)


def require_same(database, before, **unknown):
    """All rows are as before, but for the columns that hosts do not know."""
    with database.engine.connect() as connection:
        now = rows_of(connection)
    for each in (before.rows, now):
        each["public_addresses"] = [row for row in each["public_addresses"] if row["released"] is None]
    ignored = {table: columns | unknown.get(table, set()) for table, columns in TABLES.items()}
    assert kept.differences(before.rows, now, ignored) == []


def plain(tx, world):
    return lost.launch(tx, world)


def with_all_choices(tx, world):
    return lost.launch(
        tx,
        world,
        key_name=None,
        user_data=b"#!/bin/sh\necho \xff",
        shutdown_behavior="terminate",
        disable_api_termination=True,
        disable_api_stop=True,
        monitoring=True,
        tags={"instance": {"Name": "web", "team": "x"}},
        metadata=MetadataOptions(tokens_required=True, hop_limit=7, ipv6=True),
    )


def with_volumes(tx, world):
    disks = (
        BlockDevice("/dev/sdh", size=2, delete_on_termination=False),
        BlockDevice("/dev/sdg", size=30, volume_type="gp3", iops=4000, throughput=250),
    )
    instance_id = lost.launch(tx, world, block_devices=disks)
    lost.attach(tx, world, lost.create_volume(tx, world, volume_type="io1", size=10, iops=300), instance_id, "/dev/sdz")
    for device in ("/dev/sdc", "/dev/sdb"):
        lost.attach(tx, world, lost.create_volume(tx, world, volume_type="standard"), instance_id, device)
    return instance_id


def encrypted(tx, world):
    return lost.launch(tx, world, block_devices=(BlockDevice("/dev/sdb", size=1, encrypted=True),))


def with_addresses(tx, world):
    instance_id = lost.launch(tx, world)
    eni = lost.eni_of(tx, instance_id)
    interface_addresses.assign_private(
        tx, world.one.caller, eni, ["172.31.9.9", "172.31.9.8"], None, allow_reassignment=False
    )
    lost.associate(tx, world, lost.allocate(tx, world).id, instance_id)
    return instance_id


def with_two_interfaces(tx, world):
    instance_id = lost.launch(tx, world, subnet_id=world.one.subnet_ids[0])
    request = CreateRequest(world.one.subnet_ids[0], description="the second")
    eni = network_interface_life.create(tx, world.one.caller, request, NOW)
    network_interface_attachments.attach(tx, world.one.caller, eni, instance_id, 1, NOW)
    lost.settle(tx, instance_id)
    return instance_id


def in_a_new_group(tx, world):
    one = {"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_ipv4": "10.0.0.0/8"}
    other = {"egress": True, "protocol": "-1", "from_port": -1, "to_port": -1, "cidr_ipv6": "::/0"}
    return lost.launch(tx, world, group_ids=(lost.group(tx, world, one, other), world.one.group_id))


def with_an_instance_store(tx, world):
    return lost.launch(tx, world, instance_type="m5d.large")


def stopping(tx, world):
    instance_id = lost.launch(tx, world)
    stop_instances(tx, world.one.caller, [instance_id], NOW)
    return instance_id


UNKNOWN = {stopping: {"instances": {"state_reason_code", "state_reason_message", "state_transition_reason"}}}
MADE = [
    plain,
    with_all_choices,
    with_volumes,
    encrypted,
    with_addresses,
    with_two_interfaces,
    in_a_new_group,
    with_an_instance_store,
    stopping,
]


@pytest.mark.parametrize("make", MADE, ids=lambda each: each.__name__)
def test_an_instance_is_as_it_was(database, world, lose, adopt, make):
    before = lose(lambda tx: make(tx, world))
    adopt(before.made)
    require_same(database, before, **UNKNOWN.get(make, {}))


def hibernating(tx, world):
    root = BlockDevice("/dev/sda1", size=5, encrypted=True)
    instance_id = lost.launch(tx, world, hibernation=True, block_devices=(root,))
    hibernate_instances(tx, world.one.caller, world.cloud, [instance_id], NOW)
    return instance_id


def by_uefi_with_a_tpm(tx, world):
    image = tx.session.get_one(Image, world.image_id)
    image.boot_mode, image.tpm_support, image.uefi_data = "uefi", "v2.0", b"variables"
    tx.session.flush()
    instance_id = lost.launch(tx, world)
    image.boot_mode, image.tpm_support, image.uefi_data = "legacy-bios", "", None
    return instance_id


def saving(before):
    """Return the id of an instance that saves its memory; None for another."""
    machine = before.resource(KIND_MACHINE, before.made).machine
    return before.made if machine.hibernate else None


@pytest.mark.parametrize("make", [hibernating, by_uefi_with_a_tpm], ids=lambda each: each.__name__)
def test_what_a_machine_has_beside_its_disks_is_as_it_was(database, world, lose, adopt, make):
    before = lose(lambda tx: make(tx, world))
    adopt(before.made)
    # EC2 bills an instance while it saves its memory; what is left of that is given away.
    before.rows["usage_meters"] = [row for row in before.rows["usage_meters"] if row["resource_id"] != saving(before)]
    require_same(database, before, **UNKNOWN[stopping])


def test_its_instance_profile_is_given_again_or_named(database, run, world, lose, adopt):
    account_id = world.one.caller.account_id

    def profile(tx):
        role = rows.role(account_id, "reads")
        known = rows.instance_profile(account_id, "known", role.id)
        tx.session.add(role)
        tx.session.flush()
        tx.session.add(known)
        tx.session.flush()
        return known.id, role.id

    known, role_id = run(profile)

    def make(tx):
        tx.session.add(rows.instance_profile(account_id, "new", role_id))
        tx.session.flush()
        return [lost.launch(tx, world, profile=ProfileName(name=name)) for name in ("known", "new")]

    before = lose(make)
    with_it, without = before.made
    assert "instance profile" not in " ".join(adopt(with_it))
    assert any(note.startswith("its instance profile arn:aws:iam::") for note in adopt(without))
    found = run(lambda tx: dict(tx.session.execute(select(Association.instance_id, Association.profile_id)).all()))
    assert found == {with_it: known}


def test_a_volume_of_another_host_is_as_it_was(database, run, world, lose, adopt):
    other = run(_second_host)

    def make(tx):
        volume_id = lost.create_volume(tx, world)
        volume = tx.session.get_one(Volume, volume_id)
        volume.host_id = other
        tx.session.flush()
        instance_id = lost.launch(tx, world)
        lost.attach(tx, world, volume_id, instance_id, "/dev/sdf")
        tx.session.get_one(Volume, volume_id).generation = 5
        desired_state.refresh_volume(tx, tx.session.get_one(Volume, volume_id))
        desired_state.refresh_instance(tx, instance_id)
        return instance_id

    before = lose(make, other)
    adopt(before.made)
    require_same(database, before)


def _second_host(tx):
    host = rows.host(schedulable=False, underlay_address="10.9.0.2")
    tx.session.add(host)
    tx.session.flush()
    return host.id


def test_what_was_free_before_is_attached_again(database, run, world, lose, adopt):
    """A volume without a home, one that had one, and an interface, which were attached after the copy was made."""

    def earlier(tx):
        volumes = [lost.create_volume(tx, world) for _ in range(2)]
        tx.session.get_one(Volume, volumes[1]).host_id = world.host_id
        tx.session.flush()
        desired_state.refresh_volume(tx, tx.session.get_one(Volume, volumes[1]))
        request = CreateRequest(world.one.subnet_ids[0])
        return volumes, network_interface_life.create(tx, world.one.caller, request, NOW)

    volumes, eni = run(earlier)

    def make(tx):
        instance_id = lost.launch(tx, world, subnet_id=world.one.subnet_ids[0])
        for volume_id, device in zip(volumes, ("/dev/sdf", "/dev/sdg"), strict=True):
            lost.attach(tx, world, volume_id, instance_id, device)
        network_interface_attachments.attach(tx, world.one.caller, eni, instance_id, 1, NOW)
        lost.settle(tx, instance_id)
        return instance_id

    before = lose(make)
    adopt(before.made)
    require_same(database, before)


def test_a_known_volume_of_another_host_is_attached_again(database, run, world, lose, adopt):
    other = run(_second_host)

    def earlier(tx):
        volume = tx.session.get_one(Volume, lost.create_volume(tx, world))
        volume.host_id = other
        desired_state.refresh_volume(tx, volume)
        return volume.id

    volume_id = run(earlier)

    def make(tx):
        instance_id = lost.launch(tx, world)
        lost.attach(tx, world, volume_id, instance_id, "/dev/sdf")
        tx.session.get_one(Volume, volume_id).generation = 5
        desired_state.refresh_volume(tx, tx.session.get_one(Volume, volume_id))
        desired_state.refresh_instance(tx, instance_id)
        return instance_id

    before = lose(make, other)
    adopt(before.made)
    require_same(database, before)


@pytest.mark.parametrize("cidr_block", ["172.31.0.0/20", None])
def test_its_ipv6_addresses_are_as_they_were(database, world, lose, life, cidr_block):
    subnet_id = world.one.subnet_ids[0]

    def give_block(tx):
        subnet = tx.session.get_one(Subnet, subnet_id)
        subnet.ipv6_cidr_block, subnet.cidr_block = "fd00:ec2:0:1::/64", cidr_block
        subnet.map_public_address = cidr_block is not None
        subnet.hostname_type = "resource-name" if cidr_block is None else "ip-name"  # as of any IPv6-only subnet
        columns = {"account_id": world.one.caller.account_id, "vpc_id": world.one.vpc_id, "created": NOW}
        tx.session.add(VpcCidrBlock(id="vpc-cidr-assoc-1", cidr_block="fd00:ec2::/56", ipv6=True, **columns))

    life.run(give_block)

    def make(tx):
        asked = AddressRequest(ipv6=("fd00:ec2:0:1::9", "fd00:ec2:0:1::8"))
        return lost.launch(tx, world, subnet_id=subnet_id, addresses=asked)

    before = lose(make)
    life.run(lost.adopt, world, before.made)
    require_same(database, before)


def test_a_volume_alone_is_as_it_was(database, world, lose, adopt):
    def make(tx):
        volume_id = lost.create_volume(tx, world, volume_type="gp3", size=2)
        tx.session.get_one(Volume, volume_id).host_id = world.host_id
        tx.session.flush()
        desired_state.refresh_volume(tx, tx.session.get_one(Volume, volume_id))
        return volume_id

    before = lose(make)
    adopt(before.made)
    require_same(database, before)


def test_its_use_is_billed_once_and_from_the_adoption_on(database, run, world, lose, adopt):
    before = lose(lambda tx: with_addresses(tx, world))
    assert run(lambda tx: tx.session.scalars(select(UsageMeter)).all()) == []
    adopt(before.made)
    meters = run(lambda tx: tx.session.scalars(select(UsageMeter)).all())
    assert len(meters) == len(before.rows["usage_meters"]) == 3
    assert {meter.began for meter in meters} == {int(lost.LATER.timestamp())}
    assert run(lambda tx: tx.session.scalars(select(UsageLine)).all()) == []
    terminated = partial(terminate_instances, caller=world.one.caller, instance_ids=[before.made], now=lost.LATER)
    run(terminated)
    with pytest.raises(NotFound):
        adopt(before.made)


def test_what_its_host_says_once_more_is_no_news(database, world, lose, adopt, life):
    """It may have said so before it got the desired state with what was adopted."""
    before = lose(lambda tx: with_addresses(tx, world))
    adopt(before.made)
    host = life.run(lambda tx: tx.session.get_one(Host, world.host_id))
    room = (host.cpus_reserved, host.memory_reserved)
    wanted = life.wanted()[0][before.made].revision
    kept.report(database, before)
    assert [each.id for each in life.run(unclaimed_resources.list_all) if each.resource is not None] == []
    host = life.run(lambda tx: tx.session.get_one(Host, world.host_id))
    assert (host.cpus_reserved, host.memory_reserved) == room
    assert life.wanted()[0][before.made].revision == wanted
    life.is_running(before.made)
    require_same(database, before)


def test_only_interfaces_and_volumes_that_end_with_it_go_with_an_unwanted_instance(run, world, lose, life):
    before = lose(lambda tx: with_volumes(tx, world))
    [root, *others] = _volumes(before)
    with pytest.raises(InvalidParameter, match=f"{root} is a part of {before.made}"):
        run(unclaimed_resources.remove, [root])
    with pytest.raises(NotFound, match="No host has an unclaimed i-0"):
        run(unclaimed_resources.remove, [before.made, "i-0"])
    with pytest.raises(NotFound, match="h-1 has no unclaimed"):
        run(unclaimed_resources.remove, [before.made], "h-1")
    assert life.wanted()[1] == set()
    gone = {each.id for each in run(unclaimed_resources.remove, [before.made])}
    [eni] = [each.interface_id for each in before.resource(KIND_MACHINE, before.made).machine.interfaces]
    ends = {one for one in others if before.resource(KIND_VOLUME, one).volume.record.delete_on_termination}
    assert gone == {before.made, eni, root, *ends, world_snapshot(run, world)} == life.wanted()[1]
    assert 0 < len(ends) < len(others)
    run(unclaimed_resources.remove, [min(set(others) - ends), before.made])


def _volumes(before):
    return [disk.volume_id for disk in before.resource(KIND_MACHINE, before.made).machine.disks]


def world_snapshot(run, world):
    return run(lambda tx: tx.session.get_one(Image, world.image_id).snapshot_id)


def test_a_base_goes_with_the_last_disk_that_is_laid_over_it(run, world, lose, life):
    before = lose(lambda tx: [plain(tx, world), plain(tx, world)])
    first, second = before.made
    base = world_snapshot(run, world)
    with pytest.raises(InvalidParameter, match=f"vol-.*, vol-.* is laid over {base}"):
        run(unclaimed_resources.remove, [base])
    assert base not in {each.id for each in run(unclaimed_resources.remove, [first])}
    for key in [key for key in before.hosts[world.host_id].unclaimed if key.id in life.wanted()[1]]:
        life.is_absent(*key)
    assert base in {each.id for each in run(unclaimed_resources.remove, [second])}
