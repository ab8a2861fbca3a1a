"""What cannot be adopted is refused in words that say why, and nothing of it is done; what is not as it was is said."""

import pytest
from sqlalchemy import delete, select, update

from stead_controller.db.tables import (
    Host,
    Instance,
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    SecurityGroup,
    Tag,
    UnclaimedResource,
    Volume,
)
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, NotFound, SteadError, WrongState
from stead_controller.resources.network import elastic_addresses, network_interface_life
from stead_controller.resources.network.network_interface_life import AddressRequest, CreateRequest
from stead_controller.resources.operators import adopted_state
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1.desired_pb2 import KIND_INTERFACE, KIND_MACHINE, KIND_SECURITY_GROUP, KIND_VOLUME
from tests.support import kept, rows
from tests.support.rows import NOW
from tests.unit.controller.db.rows import rows_of
from tests.unit.controller.resources.operators import lost_changes as lost


@pytest.fixture
def lose(database, world, life):
    """Lose what a function does in a transaction; its hosts report what they keep, as `change` leaves it."""

    def call(make, change=lambda _before: None):
        before = kept.lose(database, world.cloud, [world.host_id], make)
        change(before)
        kept.report(database, before)
        return before

    return call


@pytest.fixture
def refused(database, run, world):
    """Try to adopt something: it is refused in these words, and nothing has changed."""

    def everything():
        with database.engine.connect() as connection:
            return rows_of(connection)

    def call(resource_id, words, kind=WrongState, account_id=""):
        before = everything()
        with pytest.raises(kind, match=words):
            run(lost.adopt, world, resource_id, account_id)
        assert everything() == before

    return call


def machine_of(before):
    return before.resource(KIND_MACHINE, before.made).machine


def interface_of(before):
    return before.resource(KIND_INTERFACE, machine_of(before).interfaces[0].interface_id).interface


def volume_of(before):
    return before.resource(KIND_VOLUME, machine_of(before).disks[0].volume_id).volume


def another_subnet(before):
    interface_of(before).subnet_id = "subnet-00000000000000000"


def another_vpc(before):
    interface_of(before).vpc_id = "vpc-00000000000000000"


def another_account(before):
    machine_of(before).metadata.account_id = "333333333333"


def the_others_account(before):
    machine_of(before).metadata.account_id = "222222222222"


def a_type_of_its_own(before):
    machine_of(before).metadata.instance_type = "own.type"


def devices(before):
    machine_of(before).devices.append("0000:01:00.0")


def cores(before):
    machine_of(before).pinning.threads.append(1)


def a_tpm_without_key(before):
    machine_of(before).tpm.SetInParent()


def a_tpm_of_another_master_key(before):
    machine_of(before).tpm.sealed_key = b"\xf5K\x00\x01" + bytes(60)


def an_encrypted_disk_without_key(before):
    volume_of(before).encrypted = True


def an_encrypted_disk_of_another_master_key(before):
    volume_of(before).encrypted, volume_of(before).sealed_key = True, bytes(60)


def another_accounts_disk(before):
    volume_of(before).record.account_id = "222222222222"


def a_disk_of_half_a_gib(before):
    volume_of(before).size += 1 << 29


def a_disk_that_its_host_has_not(before):
    machine_of(before).disks.add(volume_id="vol-00000000000000000", device_name="/dev/sdf")


def a_disk_without_a_home(before):
    volume_of(before).remote.home_host_id = "h-00000000000000000"


def an_interface_that_its_host_has_not(before):
    machine_of(before).interfaces.add(interface_id="eni-00000000000000000", device_index=1)


def too_large(before):
    machine_of(before).uefi_variables = bytes(1 << 20)


def an_interface_that_is_too_large(before):
    interface_of(before).private_dns_name = "x" * (1 << 20)


def a_disk_that_is_too_large(before):
    volume_of(before).record.kms_key_id = "x" * (1 << 20)


REFUSED = {
    another_subnet: "The subnet subnet-0+ of eni-.* is not in the database",
    another_vpc: "The subnet .*, in vpc-0+, is not in the database",
    another_account: "The account 333333333333 is not in the database",
    the_others_account: "The subnet .* is the account 111111111111's",
    a_type_of_its_own: "of the type own.type, which is not there",
    devices: "devices or cores of its host alone",
    cores: "devices or cores of its host alone",
    a_tpm_without_key: "The key of the TPM of i-.* is not known",
    a_tpm_of_another_master_key: "sealed by another master key .* stead recover --master-key-file",
    an_encrypted_disk_without_key: "is encrypted, and its host has no key",
    an_encrypted_disk_of_another_master_key: "sealed by another master key .* stead recover --master-key-file",
    another_accounts_disk: "vol-.* is the account 222222222222's, not 111111111111's",
    a_disk_of_half_a_gib: r"would change it on its host \(size\)",
    a_disk_that_its_host_has_not: "has not said that it has vol-0+",
    a_disk_without_a_home: "No host that is up has said of vol-.* that it is at home there",
    an_interface_that_its_host_has_not: "has not said that it has eni-0+",
    too_large: "its host has not said enough of it",
    an_interface_that_is_too_large: "eni-.* cannot be adopted: its host has not said enough",
    a_disk_that_is_too_large: "vol-.* cannot be adopted: its host has not said enough",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda each: each.__name__)
def test_an_instance_stays_as_it_is(world, lose, refused, change):
    before = lose(lambda tx: lost.launch(tx, world), change)
    refused(before.made, REFUSED[change], SteadError)


def test_what_an_old_agent_says_is_not_enough(run, world, lose, refused):
    before = lose(lambda tx: lost.launch(tx, world))
    run(lambda tx: tx.session.execute(update(UnclaimedResource).values(said=None)) and None)
    refused(before.made, "its agent is of an earlier release")


def test_its_host_must_be_up(run, world, lose, refused):
    before = lose(lambda tx: lost.launch(tx, world))
    run(lambda tx: tx.session.execute(update(Host).values(state="down")) and None)
    refused(before.made, "is not up")


def test_only_instances_and_volumes_are_adopted(world, lose, refused):
    before = lose(lambda tx: lost.launch(tx, world))
    machine = machine_of(before)
    for part in (machine.disks[0].volume_id, machine.interfaces[0].interface_id):
        refused(part, f"{part} is a part of {before.made}: adopt that", InvalidParameter)
    refused(world.one.vpc_id, "cannot be adopted by itself", InvalidParameter)
    refused("i-00000000000000000", "No host has an unclaimed i-0", NotFound)


def test_one_that_two_hosts_have(run, world, lose, refused, database):
    other = run(lambda tx: tx.session.add(row := rows.host(schedulable=False)) or tx.session.flush() or row.id)
    before = lose(lambda tx: lost.launch(tx, world))
    before.hosts[other] = before.hosts[world.host_id]
    kept.report(database, before)
    refused(before.made, "h-.*, h-.* have it: remove it from all but one")


def test_what_the_database_has_already(run, world, lose, refused):
    before = lose(lambda tx: lost.launch(tx, world))
    volume_id, eni = machine_of(before).disks[0].volume_id, machine_of(before).interfaces[0].interface_id

    def take(tx):
        taken = rows.launch(tx, world, world.one)
        volume = tx.session.scalar(select(Volume).where(Volume.instance_id == taken.id))
        tx.session.execute(update(Volume).where(Volume.id == volume.id).values(id=volume_id))
        return taken.id

    other = run(take)
    refused(before.made, f"The database has {volume_id}, a volume of {before.made}, as attached to {other}")
    run(lambda tx: tx.session.execute(update(Volume).values(instance_id=None, state="deleting")) and None)
    refused(before.made, "as deleting")
    run(lambda tx: tx.session.execute(update(Volume).values(state="available", account_id="222222222222")) and None)
    refused(before.made, f"The database has {volume_id}, a volume of {before.made}, as available")
    run(lambda tx: tx.session.execute(update(Volume).values(account_id="111111111111")) and None)
    refused(before.made, f"The database has {volume_id} on {world.host_id}, and {world.host_id} has it too")
    run(lambda tx: tx.session.execute(delete(Volume)) and None)

    def know_interface(tx):
        request = CreateRequest(world.one.subnet_ids[0])
        made = network_interface_life.create(tx, world.one.caller, request, NOW)
        tx.session.execute(delete(InterfaceGroup).where(InterfaceGroup.interface_id == made))
        columns = {"id": eni, "attachment_id": "eni-attach-1", "instance_id": other}
        tx.session.execute(update(NetworkInterface).where(NetworkInterface.id == made).values(**columns))
        held = update(InterfaceAddress).where(InterfaceAddress.interface_id == made)
        tx.session.execute(held.values(interface_id=eni))

    run(know_interface)
    refused(before.made, f"The database has {eni} as attached to {other}")
    run(lambda tx: tx.session.execute(update(Instance).values(id=before.made)) and None)
    refused(before.made, f"The database knows {before.made}, as running")


def test_an_address_that_somebody_else_has_by_now(run, world, lose, refused):
    """It can only be so if this was assigned before its host reported what it keeps."""
    subnet_id = world.one.subnet_ids[0]

    def make(tx):
        instance_id = lost.launch(tx, world, subnet_id=subnet_id, addresses=AddressRequest(primary="172.31.9.9"))
        lost.associate(tx, world, lost.allocate(tx, world).id, instance_id)
        return instance_id

    def assign(before):
        interface = interface_of(before)
        request = CreateRequest(subnet_id, AddressRequest(primary="172.31.9.9"))
        made = run(network_interface_life.create, world.one.caller, request, NOW)
        with_mac = update(NetworkInterface).where(NetworkInterface.id == made)
        run(lambda tx: tx.session.execute(with_mac.values(mac_address=interface.mac_address)) and None)

    before = lose(make, assign)
    eni = interface_of(before)
    refused(before.made, f"eni-.* has the MAC {eni.mac_address} of eni-")
    run(lambda tx: tx.session.execute(update(NetworkInterface).values(mac_address="02:00:00:00:00:99")) and None)
    refused(before.made, "172.31.9.9 is in use")


@pytest.mark.parametrize("own", [True, False])
def test_a_public_address_that_somebody_else_has_by_now(run, world, lose, refused, own):
    def make(tx):
        instance_id = lost.launch(tx, world)
        lost.associate(tx, world, lost.allocate(tx, world).id, instance_id)
        return instance_id

    def assign(before):
        address = interface_of(before).public_addresses[0].public_address
        tenant = world.one if own else world.other
        made = run(elastic_addresses.allocate, tenant.caller, world.cloud, address, {}, NOW)
        if own:
            other = run(lambda tx: rows.launch(tx, world, world.one).id)
            run(lost.associate, world, made.id, other)

    before = lose(make, assign)
    whose = "eni-.*" if own else "the account 222222222222"
    refused(before.made, f"The public address 198.18.* of eni-.* is {whose}'s by now")


def test_an_allocation_that_has_another_address_by_now(run, world, lose, refused):
    known = run(elastic_addresses.allocate, world.one.caller, world.cloud, None, {}, NOW)

    def make(tx):
        instance_id = lost.launch(tx, world)
        lost.associate(tx, world, lost.allocate(tx, world).id, instance_id)
        return instance_id

    def change(before):
        interface_of(before).public_addresses[0].allocation_id = known.id

    before = lose(make, change)
    refused(before.made, f"The database has {known.id} with another address")


def test_what_two_hosts_have_of_an_interface(run, world, lose, refused, database):
    other = run(lambda tx: tx.session.add(row := rows.host(schedulable=False)) or tx.session.flush() or row.id)

    def make(tx):
        instance_id = lost.launch(tx, world)
        lost.associate(tx, world, lost.allocate(tx, world).id, instance_id)
        return instance_id

    before = lose(make)
    machine = machine_of(before)
    eni = before.resource(KIND_INTERFACE, machine.interfaces[0].interface_id)
    copy = desired.Resource(id="eni-00000000000000001", interface=eni.interface)
    for interface in (copy.interface,):
        interface.ClearField("private_address")
    elsewhere = kept.of(other, copy)
    kept.report(database, elsewhere)
    refused(before.made, "Another host has the MAC")
    copy.interface.mac_address = "02:00:00:00:00:99"
    kept.report(database, elsewhere)
    refused(before.made, "Another host has the public address")


# -- volumes


def loose(tx, world, **asked):
    """Make a volume that has a home, and is attached to nothing."""
    volume_id = lost.create_volume(tx, world, **asked)
    volume = tx.session.get_one(Volume, volume_id)
    volume.host_id = world.host_id
    desired_state.refresh_volume(tx, volume)
    return volume_id


def test_whose_a_volume_is_must_be_known(run, world, lose, refused):
    def forget(before):
        before.resource(KIND_VOLUME, before.made).volume.ClearField("record")

    before = lose(lambda tx: loose(tx, world), forget)
    refused(before.made, "does not know whose it is: name its account", InvalidParameter)
    refused(before.made, "The account 333333333333 is not in the database", NotFound, account_id="333333333333")
    assert run(lost.adopt, world, before.made, "222222222222") == []
    assert run(lambda tx: tx.session.get_one(Volume, before.made).account_id) == "222222222222"


def test_a_volume_is_not_given_to_another_account(run, world, lose, refused):
    before = lose(lambda tx: loose(tx, world))
    refused(before.made, f"{before.made} is the account 111111111111's", InvalidParameter, account_id="222222222222")
    assert run(lost.adopt, world, before.made, "111111111111") == []


def test_a_volume_without_its_key(world, lose, refused):
    before = lose(lambda tx: loose(tx, world, encrypted=True))
    refused(before.made, "is encrypted, and its host has no key of it")


def test_a_volume_that_another_host_uses_or_that_has_another_home(run, world, lose, refused):
    def export(before):
        before.resource(KIND_VOLUME, before.made).volume.export.client_host_id = "h-1"

    before = lose(lambda tx: loose(tx, world), export)
    refused(before.made, "in use by h-1: adopt its instance", InvalidParameter)


def test_a_volume_that_a_host_uses_which_has_lost_its_instance(database, run, world, lose, refused):
    other = run(lambda tx: tx.session.add(row := rows.host(schedulable=False)) or tx.session.flush() or row.id)

    def export(before):
        before.resource(KIND_VOLUME, before.made).volume.export.client_host_id = other

    before = lose(lambda tx: loose(tx, world), export)
    use = desired.Resource(id=before.made)
    use.volume.remote.home_host_id = world.host_id
    kept.report(database, kept.of(other, use))
    refused(before.made, f"in use by {other}: adopt its instance", InvalidParameter)


def test_a_volume_that_the_database_has_elsewhere(run, world, lose, refused):
    known = run(lambda tx: lost.create_volume(tx, world))

    def give_home(tx):
        volume = tx.session.get_one(Volume, known)
        volume.host_id = world.host_id
        desired_state.refresh_volume(tx, volume)
        return known

    before = lose(give_home)
    refused(before.made, f"The database knows {known} with another home")


# -- what is said


def test_what_is_not_as_it_was_is_said(run, world, lose):
    def change(before):
        words = machine_of(before).metadata
        words.image_id, words.spot, words.placement_group = "ami-0", True, "near"
        words.dedicated_host_id = "h-9"
        machine_of(before).record.tags["aws:autoscaling:groupName"] = "many"
        volume_of(before).base_id = "snap-0"

    before = lose(lambda tx: lost.launch(tx, world), change)
    assert run(lost.adopt, world, before.made) == [
        "its image ami-0 is not in the database",
        "it was a Spot Instance, and is one on demand now",
        "it was on the Dedicated Host h-9, and has the default tenancy now",
        "it was in the placement group near, and is in none now",
        "it was in the Auto Scaling group many, and is in none now",
        f"{machine_of(before).disks[0].volume_id} was made of snap-0, which is not in the database: its host keeps it",
    ]
    assert run(lambda tx: tx.session.scalars(select(Tag)).all()) == []


@pytest.mark.parametrize("shown", [True, False])
def test_what_hosts_of_an_earlier_release_know_of_tags(run, world, lose, shown):
    """Those that its metadata shows."""

    def change(before):
        machine_of(before).ClearField("record")
        words = machine_of(before).metadata
        words.options.instance_tags = shown
        if shown:
            words.tags["Name"] = "web"

    before = lose(lambda tx: lost.launch(tx, world), change)
    assert ("its tags are not known" in run(lost.adopt, world, before.made)) != shown
    found = run(lambda tx: tx.session.execute(select(Tag.key, Tag.value, Tag.resource_id)).all())
    assert found == ([("Name", "web", before.made)] if shown else [])


def groups(run):
    return run(lambda tx: set(tx.session.scalars(select(InterfaceGroup.group_id))))


def in_group(tx, world, *group_rules, **columns):
    return lost.launch(tx, world, group_ids=(lost.group(tx, world, *group_rules, **columns),))


def forget_groups(before):
    for wanted in before.hosts.values():
        for key in [key for key in wanted.resources if key.kind == KIND_SECURITY_GROUP]:
            del wanted.resources[key]


def forget_names(before):
    for wanted in before.hosts.values():
        for key, resource in wanted.resources.items():
            if key.kind == KIND_SECURITY_GROUP:
                resource.security_group.ClearField("name")
                resource.security_group.ClearField("rows")


@pytest.mark.parametrize("forget", [forget_groups, forget_names])
def test_instead_of_a_group_that_is_not_known_it_is_in_the_default_one(run, world, lose, forget):
    before = lose(lambda tx: in_group(tx, world), forget)
    [said] = [note for note in run(lost.adopt, world, before.made) if "security group" in note]
    assert said.endswith("is not known: the default one is in its place")
    assert groups(run) == {world.one.group_id}


def test_a_group_is_not_made_again_where_its_name_is_taken(run, world, lose):
    run(lambda tx: lost.group(tx, world, id="sg-00000000000000009"))
    before = lose(lambda tx: in_group(tx, world, name="other"), lambda before: rename(before, "web"))
    [said] = [note for note in run(lost.adopt, world, before.made) if "security group" in note]
    assert "the default one is in its place" in said


def rename(before, name):
    for wanted in before.hosts.values():
        for key, resource in wanted.resources.items():
            if key.id == "sg-0123456789abcdef0":
                group = resource.security_group
                group.rows = group.rows.replace(f'"{group.name}"'.encode(), f'"{name}"'.encode())
                group.name = name


def test_a_group_of_another_vpc_is_not_taken(run, world, lose):
    def move(before):
        interface_of(before).security_group_ids[:] = [world.other.group_id]

    before = lose(lambda tx: lost.launch(tx, world), move)
    assert any("the default one is in its place" in note for note in run(lost.adopt, world, before.made))
    assert groups(run) == {world.one.group_id}


def test_a_group_that_two_instances_are_in_is_made_once(run, world, lose):
    rule = {"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_ipv4": "10.0.0.0/8"}

    def make(tx):
        group_id = lost.group(tx, world, rule)
        return [lost.launch(tx, world, group_ids=(group_id,)) for _ in range(2)]

    before = lose(make)
    first, second = ([note for note in run(lost.adopt, world, each) if "group" in note] for each in before.made)
    assert (first, second) == (["the security group sg-0123456789abcdef0 (web) was made again"], [])
    assert groups(run) == {"sg-0123456789abcdef0"}
    assert run(lambda tx: tx.session.get_one(SecurityGroup, "sg-0123456789abcdef0").name) == "web"


def test_a_rule_with_a_prefix_list_that_is_not_known_is_left_out(run, world, lose):
    def change(before):
        for wanted in before.hosts.values():
            for key, resource in wanted.resources.items():
                if key.id == "sg-0123456789abcdef0":
                    resource.security_group.rules.add(id="sgr-1", protocol="-1").prefix_list.id = "pl-0"
                    resource.security_group.ClearField("rows")

    before = lose(lambda tx: in_group(tx, world), change)
    notes = run(lost.adopt, world, before.made)
    assert "its rule sgr-1 is left out: the prefix list pl-0 is not known" in notes


# -- what may differ


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [("volume", "size", 1), ("interface", "mac_address", "02:00:00:00:00:01"), ("machine", "start_count", 2)],
)
def test_each_field_that_matters_must_be_as_it_was(kind, name, value):
    had, new = desired.Resource(id="x"), desired.Resource(id="x")
    getattr(had, kind).SetInParent()
    setattr(getattr(new, kind), name, value)
    assert adopted_state.differing(had, new) == [name]
    assert adopted_state.differing(had, desired.Resource(id="x")) == [kind]
    assert adopted_state.differing(had, had) == []


def test_an_allocation_is_the_controllers_affair():
    had, new = (
        desired.Resource(interface=desired.Interface(public_addresses=[given]))
        for given in (
            desired.PublicAddress(public_address="198.18.0.9"),
            desired.PublicAddress(public_address="198.18.0.9", allocation_id="eipalloc-1"),
        )
    )
    assert adopted_state.differing(had, new) == []
    new.interface.public_addresses[0].private_address = "10.0.0.1"
    assert adopted_state.differing(had, new) == ["public_addresses"]


def test_one_thread_for_each_core_may_be_said_or_not():
    one, other, two = (desired.Resource(machine=desired.Machine(threads_per_core=number)) for number in (0, 1, 2))
    assert adopted_state.differing(one, other) == adopted_state.differing(other, one) == []
    assert adopted_state.differing(two, one) == ["threads_per_core"]


def test_by_which_certificate_a_volume_is_used_may_differ_but_not_by_whom():
    def of(**export):
        return desired.Resource(volume=desired.Volume(export=desired.VolumeExport(**export)))

    had = of(client_host_id="h-1", client_enrolment="0" * 16, client_former_enrolment="")
    assert adopted_state.differing(had, of(client_host_id="h-1")) == []
    assert adopted_state.differing(had, of(client_host_id="h-2")) == ["export"]
    assert adopted_state.differing(had, desired.Resource(volume=desired.Volume())) == ["export"]


def test_a_sealed_key_is_the_same_wherever_it_stands():
    had = desired.Resource(volume=desired.Volume(sealed_key=b"k"))
    assert adopted_state.differing(had, desired.Resource(volume=desired.Volume(encryption_key=b"k"))) == []
    assert adopted_state.differing(had, desired.Resource(volume=desired.Volume(encryption_key=b"x"))) != []
    had = desired.Resource(machine=desired.Machine(tpm=desired.Tpm(sealed_key=b"k")))
    assert (
        adopted_state.differing(had, desired.Resource(machine=desired.Machine(tpm=desired.Tpm(encryption_key=b"k"))))
        == []
    )
    assert adopted_state.differing(had, desired.Resource(machine=desired.Machine())) == ["tpm"]
