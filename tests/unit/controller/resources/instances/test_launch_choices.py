"""What a launch uses: its type, image, zone, subnet, interfaces, disks, key and profile, or which of them is refused."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from stead_controller.catalog import ids
from stead_controller.db.tables import Host, Image, KeyPair, Subnet, Vpc
from stead_controller.errors import (
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MalformedId,
    NotFound,
    Unsupported,
    WrongState,
)
from stead_controller.placement.guest_memory import memory_of
from stead_controller.resources.instances import launch_choices
from stead_controller.resources.instances.launch_interfaces import InterfaceRequest
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.profile_associations import ProfileName
from stead_controller.resources.network.network_interface_life import AddressRequest
from stead_controller.resources.storage.block_devices import BlockDevice
from tests.support import rows
from tests.support.rows import CLOUD, GIB, NOW

TAKEN = memory_of(GIB, 2)  # by an instance of t3.micro


@pytest.fixture
def choose(world, run):
    """Choose for a launch of one instance by the first tenant, in a cloud of two zones where nothing else is said."""

    def call(*, cloud=CLOUD, tenant=world.one, **asked):
        values = {"image_id": world.image_id, "instance_type": "t3.micro", "min_count": 1, "max_count": 1}
        return run(launch_choices.choose, tenant.caller, cloud, LaunchRequest(**values | asked))

    return call


@pytest.fixture
def refused(choose, unchanged):
    """Let a launch be refused by an error of a type, whose message matches; gives the error."""

    def call(error, about, **asked):
        unchanged()
        with pytest.raises(error, match=about) as refusal:
            choose(**asked)
        unchanged()
        return refusal.value

    return call


def test_all_that_a_launch_uses_is_in_its_choices(choose, world):
    chosen = choose()
    assert (chosen.image.id, chosen.type.name) == (world.image_id, "t3.micro")
    assert [plan.subnet.id for plan in chosen.interfaces] == [chosen.subnet.id] == [world.one.subnet_ids[0]]
    assert [volume.device_name for volume in chosen.disks.volumes] == ["/dev/sda1"]
    assert (chosen.public_key, chosen.profile) == (None, None)


def test_a_type_has_to_be_one(refused):
    refused(InvalidParameter, r"Invalid value 't3\.huge' for InstanceType\.", instance_type="t3.huge")


def test_an_image_has_to_be_one_that_the_caller_may_launch(refused):
    refused(NotFound, None, image_id=ids.new_id("image"))
    refused(MalformedId, None, image_id="ami-x")


def test_an_image_that_is_not_whole_is_not_launched(refused, world, run):
    row = rows.image(account_id=world.one.caller.account_id, state="pending")
    run(lambda tx: tx.session.add(row))
    refused(WrongState, "pending", image_id=row.id)


@pytest.mark.parametrize(
    ("instance_type", "asked", "about"),
    [
        ("t4g.micro", {}, "in your requested Region"),
        ("t4g.micro", {"zone": "us-east-1b"}, r"in your requested Availability Zone \(us-east-1b\)"),
        ("t4g.micro", {"zone_id": "use1-az2"}, r"in your requested Availability Zone \(us-east-1b\)"),
        ("g4dn.xlarge", {}, "in your requested Region"),
    ],
)
def test_a_type_of_another_architecture_or_with_gpus_is_not_offered(refused, instance_type, asked, about):
    error = refused(
        Unsupported, rf"\({instance_type}\) is not supported {about}\.", instance_type=instance_type, **asked
    )
    assert error.code == "Unsupported"


def test_an_image_is_of_the_architecture_of_the_type(refused, run):
    run(lambda tx: tx.session.execute(update(Image).values(architecture="arm64")) and None)
    refused(
        InvalidParameter, "The architecture 'x86_64' of the specified instance type .* 'arm64' of the specified AMI"
    )


@pytest.mark.parametrize(
    ("asked", "subnet"),
    [
        ({}, 0),
        ({"zone": "us-east-1a"}, 0),
        ({"zone": "us-east-1b"}, 1),
        ({"zone_id": "use1-az1"}, 0),
        ({"zone_id": "use1-az2"}, 1),
    ],
)
def test_without_a_subnet_it_is_the_default_one_of_the_zone_or_of_the_first(choose, world, asked, subnet):
    assert choose(**asked).subnet.id == world.one.subnet_ids[subnet]


def test_without_any_host_the_zone_is_the_first_of_the_cloud_which_has_a_default_subnet(choose, world, run):
    change_hosts(run, state="down")
    backwards = replace(CLOUD, zones=tuple(reversed(CLOUD.zones)))
    assert choose(cloud=backwards).subnet.id == world.one.subnet_ids[1]
    no_default(run, world.one.subnet_ids[0])
    assert choose().subnet.id == world.one.subnet_ids[1]


def change_hosts(run, zone=None, **values):
    """Change all hosts, or those of a zone."""
    chosen = update(Host).where(Host.zone == zone) if zone else update(Host)
    run(lambda tx: tx.session.execute(chosen.values(**rows.offered(values))) and None)


@pytest.mark.parametrize(
    ("sides", "zone"),
    [
        (({}, {}), 0),
        (({"memory_free": 255 * GIB}, {}), 1),
        (({}, {"memory_free": 255 * GIB}), 0),
        (({"memory_free": 255 * GIB}, {"accelerated": False}), 0),
        (({"accelerated": False}, {"accelerated": False, "memory_free": 255 * GIB}), 0),
        (({"accelerated": False, "memory_free": 255 * GIB}, {"accelerated": False}), 1),
        *((({}, {"memory_free": 999 * GIB} | wrong), 0) for wrong in ({"state": "down"}, {"schedulable": False})),
        *((({}, {"memory_free": 999 * GIB} | wrong), 0) for wrong in ({"architecture": "arm64"}, {"cpus": 1})),
        (({}, {"memory_free": 999 * GIB, "cpus_free": 1}), 0),
        (({"memory_free": TAKEN - 1}, {"memory_free": TAKEN, "accelerated": False}), 1),
        (({"memory_free": TAKEN - 1}, {"architecture": "arm64", "emulates": "x86_64"}), 1),
        (({"accelerated": False}, {"architecture": "arm64", "emulates": "x86_64", "memory_free": 999 * GIB}), 1),
        (({}, {"architecture": "arm64", "emulates": "x86_64", "memory_free": 999 * GIB}), 0),
    ],
    ids=str,
)
def test_a_launch_without_a_zone_goes_where_the_roomiest_host_that_fits_is(choose, world, run, sides, zone):
    here, there = sides
    run(lambda tx: tx.session.add(rows.host(zone="us-east-1b")))
    change_hosts(run, "us-east-1a", state="up", **here)
    change_hosts(run, "us-east-1b", **{"state": "up"} | there)
    assert choose().subnet.id == world.one.subnet_ids[zone]
    assert choose(zone="us-east-1a").subnet.id == world.one.subnet_ids[0]
    assert choose(subnet_id=world.one.subnet_ids[1]).subnet.id == world.one.subnet_ids[1]


@pytest.mark.parametrize("firmware", ["uefi", "tpm"])
def test_the_zone_has_hosts_with_the_firmware_that_the_image_needs(choose, world, run, firmware):
    run(lambda tx: tx.session.add(rows.host(zone="us-east-1b", memory_free=2 * GIB)))
    change_hosts(run, "us-east-1a", **{firmware: False})
    assert choose().subnet.id == world.one.subnet_ids[0]
    values = {"boot_mode": "uefi", "tpm_support": "v2.0" if firmware == "tpm" else ""}
    run(lambda tx: tx.session.execute(update(Image).values(**values)) and None)
    assert choose().subnet.id == world.one.subnet_ids[1]


@pytest.mark.parametrize(("change", "zone"), [({}, 1), ({"state": "down"}, 0), ({"schedulable": False}, 0)])
def test_where_none_has_room_it_is_a_zone_with_hosts_that_take_instances(choose, world, run, change, zone):
    """So that what these lack is said, and not that there are none."""
    moved = rows.offered({"zone": "us-east-1b", "memory_free": 0, **change})
    run(lambda tx: tx.session.execute(update(Host).values(**moved)) and None)
    assert choose().subnet.id == world.one.subnet_ids[zone]


def test_where_instances_are_packed_zones_are_balanced_by_the_addresses_given(choose, world, run):
    packing = replace(CLOUD, placement="pack")
    run(lambda tx: tx.session.add(rows.host(zone="us-east-1b", memory_free=999 * GIB)))
    assert choose(cloud=packing).subnet.id == world.one.subnet_ids[0]
    run(lambda tx: setattr(tx.session.get_one(Subnet, world.one.subnet_ids[0]), "next_turn", 1))
    assert choose(cloud=packing).subnet.id == world.one.subnet_ids[1]


def no_default(run, subnet_id):
    """Let a subnet be an ordinary one."""
    run(
        lambda tx: (
            tx.session.execute(update(Subnet).where(Subnet.id == subnet_id).values(default_for_zone=False)) and None
        )
    )


def test_a_zone_is_named_once_and_is_one_of_the_cloud(refused):
    refused(InvalidCombination, "AvailabilityZoneId", zone="us-east-1a", zone_id="use1-az1")
    refused(InvalidParameter, r"\[us-east-1x\]", zone="us-east-1x")
    refused(InvalidParameter, r"\[use1-az9\]", zone_id="use1-az9")


def test_a_zone_that_is_wrong_is_refused_with_a_subnet_too(refused, world):
    refused(InvalidParameter, r"\[us-east-1x\]", zone="us-east-1x", subnet_id=world.one.subnet_ids[0])


def test_a_zone_without_a_default_subnet_takes_no_launch_that_names_none(refused, world, run):
    no_default(run, world.one.subnet_ids[1])
    error = refused(InvalidParameter, "'us-east-1b'", zone="us-east-1b")
    assert error.code == "MissingInput"


def test_without_a_default_vpc_a_subnet_has_to_be_named(refused, choose, world, run):
    run(lambda tx: tx.session.execute(update(Vpc).where(Vpc.id == world.one.vpc_id).values(is_default=False)) and None)
    assert refused(InvalidParameter, "No default VPC").code == "VPCIdNotSpecified"
    assert choose(subnet_id=world.one.subnet_ids[1]).subnet.id == world.one.subnet_ids[1]
    assert choose(tenant=world.other).subnet.id == world.other.subnet_ids[0]


def test_a_subnet_is_the_callers_own_and_of_the_named_zone(refused, choose, world):
    second = world.one.subnet_ids[1]
    assert choose(subnet_id=second).subnet.id == choose(subnet_id=second, zone="us-east-1b").subnet.id == second
    refused(InvalidParameter, "'us-east-1a' does not match .* 'us-east-1b'", subnet_id=second, zone="us-east-1a")
    refused(InvalidParameter, "does not match", subnet_id=second, zone_id="use1-az1")
    refused(NotFound, None, subnet_id=world.other.subnet_ids[0])


def test_a_private_address_is_of_one_instance(refused, choose):
    asked = {"addresses": AddressRequest(primary="172.31.0.9")}
    assert choose(**asked).interfaces[0].request.addresses.primary == "172.31.0.9"
    refused(InvalidCombination, "one instance only", max_count=2, **asked)


def test_volumes_and_interfaces_share_the_slots_of_a_type(refused, choose):
    requests = (InterfaceRequest(0), InterfaceRequest(1))
    slots = choose().type.max_volumes
    devices = [
        BlockDevice(f"/dev/xvd{first}{second}", size=1) for first in "bc" for second in "abcdefghijklmnopqrstuvwxyz"
    ]
    fitting = tuple(devices[: slots - 3])  # besides the root and two interfaces
    assert len(choose(interfaces=requests, block_devices=fitting).disks.volumes) == slots - 2
    error = refused(
        LimitExceeded, str(slots), interfaces=requests, block_devices=(*fitting, BlockDevice("/dev/sdb", size=1))
    )
    assert error.code == "AttachmentLimitExceeded"


def test_a_key_is_the_callers_own(refused, choose, world, run):
    def add(tx):
        for tenant, name, key in ((world.one, "mine", "ssh-ed25519 A"), (world.other, "mine", "ssh-ed25519 B")):
            tx.session.add(key_pair(tenant, name, key))
        tx.session.add(key_pair(world.one, "second", "ssh-ed25519 C"))
        tx.session.add(key_pair(world.other, "theirs", "ssh-ed25519 D"))

    run(add)
    assert choose(key_name="mine").public_key == "ssh-ed25519 A"
    assert choose(key_name="second").public_key == "ssh-ed25519 C"
    for name in ("theirs", ""):
        refused(NotFound, None, key_name=name)


def key_pair(tenant, name, public_key):
    values = {"key_type": "ed25519", "fingerprint": "f", "created": NOW, "account_id": tenant.caller.account_id}
    return KeyPair(id=ids.new_id("key-pair"), name=name, public_key=public_key, **values)


def test_a_profile_is_the_callers_own(refused, choose, world, run):
    def add(tx):
        for tenant, name in ((world.one, "web"), (world.other, "theirs")):
            tx.session.add(rows.instance_profile(tenant.caller.account_id, name, None))

    run(add)
    assert choose(profile=ProfileName("web")).profile.name == "web"
    refused(InvalidParameter, "theirs", profile=ProfileName("theirs"))
