"""Which instances DescribeInstances finds, and what is known of them."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from stead_controller.db.tables import Instance, NetworkInterface, PublicAddress, Volume
from stead_controller.errors import MalformedId, NotFound
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources import tags
from stead_controller.resources.instances import instance_filters, instances
from tests.support import rows
from tests.support.rows import CLOUD, NOW

ABSENT = "i-00000000000000000"


def found(run, tenant, *filters, ids=(), **paging):
    asked = Selection(tuple(ids), tuple(Filter(name, tuple(values)) for name, values in filters), **paging)
    return run(instances.select_ids, tenant.caller, CLOUD, asked)


def described(run, tenant, *instance_ids):
    reservations = run(instances.reservations, tenant.caller, CLOUD, instance_ids)
    return [instance for reservation in reservations for instance in reservation.instances]


@pytest.fixture
def web(world, run):
    """A running instance with a public address, and tags."""
    return run(
        lambda tx: (
            rows.launch(
                tx,
                world,
                world.one,
                public_address="198.18.0.5",
                tags={"Name": "web", "tier": "front"},
                key_name="mine",
                client_token="token",
            ).id
        )
    )


@pytest.fixture
def db(world, run):
    """A stopped instance of another type, a day younger."""

    def launch(tx):
        instance = rows.launch(
            tx,
            world,
            world.one,
            number=1,
            tags={"Name": "db"},
            state="stopped",
            instance_type="m5.large",
            launch_time=NOW + timedelta(days=1),
            state_reason_code="Client.UserInitiatedShutdown",
            state_reason_message="Client.UserInitiatedShutdown: User initiated shutdown",
            state_transition_reason="User initiated (2026-03-05 05:06:07 GMT)",
            monitoring=True,
            ebs_optimized=True,
            metadata_tokens_required=True,
            metadata_tags=True,
            metadata_hop_limit=2,
            boot_mode="uefi",
        )
        tx.session.execute(
            update(NetworkInterface).where(NetworkInterface.instance_id == instance.id).values(source_dest_check=False)
        )
        return instance.id

    return run(launch)


@pytest.fixture
def gone(world, run):
    """A terminated instance, whose disk and interface are gone."""

    def launch(tx):
        instance = rows.launch(tx, world, world.one, number=2, state="terminated")
        tx.session.execute(delete(NetworkInterface).where(NetworkInterface.instance_id == instance.id))
        tx.session.execute(delete(Volume).where(Volume.instance_id == instance.id))
        return instance.id

    return run(launch)


def test_everything_is_known(world, run, web):
    (instance,) = described(run, world.one, web)
    assert (instance.row.id, instance.row.state, instance.row.launch_time) == (web, "running", NOW)
    assert (instance.row.zone, instance.zone_id) == ("us-east-1a", "use1-az1")
    assert instance.private_name == "ip-172-31-0-4.ec2.internal"
    assert instance.public_name == "ec2-198-18-0-5.compute-1.amazonaws.com"
    assert (instance.row.vcpus, instance.row.threads_per_core) == (2, 2)
    assert instance.tags == [("Name", "web"), ("tier", "front")]
    (volume,) = instance.volumes
    assert (volume.device_name, volume.attachment_state) == (instance.row.root_device_name, "attached")
    (interface,) = instance.interfaces
    assert interface.groups == [(world.one.group_id, "default")]
    assert (interface.row.device_index, interface.row.source_dest_check) == (0, True)
    assert interface.addresses == [
        ("172.31.0.4", instance.private_name, "198.18.0.5", instance.public_name, "amazon"),
    ]
    assert interface.ipv6_addresses == ()
    assert instance.profile is None


def test_a_stopped_instance_has_its_reason(world, run, db):
    (instance,) = described(run, world.one, db)
    assert instance.row.state_reason_code == "Client.UserInitiatedShutdown"
    assert instance.row.state_transition_reason.startswith("User initiated (")
    assert instance.row.public_address is None
    assert (instance.public_name, instance.interfaces[0].addresses[0].public_address) == ("", None)
    assert instance.row.metadata_tokens_required


def test_a_terminated_instance_has_no_place_in_the_network(world, run, gone):
    (instance,) = described(run, world.one, gone)
    assert (instance.private_name, instance.public_name) == ("", "")
    assert not instance.interfaces
    assert not instance.volumes
    assert found(run, world.one, ("vpc-id", [world.one.vpc_id])) == []


def test_the_root_device_comes_first(world, run, web):
    (instance,) = described(run, world.one, web)
    root = instance.row.root_device_name

    def attach(tx):
        tx.session.add(rows.volume(tx.session.get_one(Instance, web), world, device_name="/dev/a"))

    run(attach)
    (instance,) = described(run, world.one, web)
    assert [volume.device_name for volume in instance.volumes] == [root, "/dev/a"]


def test_the_instances_of_a_launch_share_a_reservation(world, run):
    def launch(tx):
        reservation_id = rows.launch(tx, world, world.one, launch_index=0).reservation_id
        for number in range(1, 4):
            rows.launch(tx, world, world.one, number=number, reservation_id=reservation_id, launch_index=number)
        return reservation_id

    reservation_id = run(launch)
    reservation = run(instances.reservation, world.one.caller, CLOUD, reservation_id)
    assert (reservation.id, reservation.account_id) == (reservation_id, world.one.caller.account_id)
    assert [instance.row.launch_index for instance in reservation.instances] == [0, 1, 2, 3]
    assert not run(instances.reservation, world.other.caller, CLOUD, reservation_id).members


def test_other_accounts_see_nothing(world, run, web):
    assert found(run, world.other) == []
    refusals = []
    for instance_id in (web, ABSENT):
        with pytest.raises(NotFound) as refusal:
            found(run, world.other, ids=[instance_id])
        refusals.append(refusal.value.message.replace(instance_id, "X"))
    assert refusals[0] == refusals[1]
    with pytest.raises(MalformedId):
        found(run, world.other, ids=[web, "i-nonsense"])


def test_other_accounts_tags_do_not_select(world, run, web):
    run(tags.create_tags, world.one.caller, [web], {"secret": "1"}, NOW)
    assert found(run, world.other, ("tag:secret", ["1"])) == []
    assert found(run, world.other, ("tag-key", ["secret"])) == []


@pytest.fixture
def groups(web, db):
    """The ids of the two instances, by who they are."""
    return {"web": [web], "db": [db], "both": sorted([web, db]), "none": []}


FIND_WEB = [
    ("architecture", "x86_64", "both"),
    ("availability-zone", "us-east-1a", "both"),
    ("availability-zone-id", "use1-az1", "both"),
    ("availability-zone-id", "use1-az2", "none"),
    ("block-device-mapping.attach-time", "2026-03-04T05:06:07.089Z", "both"),
    ("block-device-mapping.delete-on-termination", "true", "both"),
    ("block-device-mapping.device-name", "/dev/sd?1", "both"),
    ("block-device-mapping.status", "attached", "both"),
    ("boot-mode", "uefi", "db"),
    ("client-token", "token", "web"),
    ("current-instance-boot-mode", "legacy-bios", "web"),
    ("dns-name", "ec2-198-18-0-5.*", "web"),
    ("ebs-optimized", "true", "db"),
    ("ena-support", "true", "both"),
    ("hypervisor", "xen", "both"),
    ("image-id", "ami-*", "both"),
    ("instance-state-code", "16", "web"),
    ("instance-state-code", "272", "web"),
    ("instance-state-code", "80", "db"),
    ("instance-state-code", "running", "none"),
    ("instance-state-name", "stopped", "db"),
    ("instance-state-name", "stop*", "db"),
    ("instance-state-name", "Running", "none"),
    ("instance-type", "t3.*", "web"),
    ("instance-type", "m5.large", "db"),
    ("instance.group-name", "default", "both"),
    ("group-name", "def*", "both"),
    ("ip-address", "198.18.0.5", "web"),
    ("key-name", "mine", "web"),
    ("launch-index", "0", "both"),
    ("launch-index", "1", "none"),
    ("launch-index", "x", "none"),
    ("launch-time", "2026-03-05*", "db"),
    ("launch-time", "2026-03-04T05:06:07.089Z", "web"),
    ("launch-time", "2026-03-04T05:06:07Z", "none"),
    ("launch-time", "yesterday", "none"),
    ("metadata-options.http-endpoint", "enabled", "both"),
    ("metadata-options.http-put-response-hop-limit", "2", "db"),
    ("metadata-options.http-tokens", "required", "db"),
    ("metadata-options.instance-metadata-tags", "enabled", "db"),
    ("monitoring-state", "enabled", "db"),
    ("network-interface.addresses.association.public-ip", "198.18.*", "web"),
    ("network-interface.addresses.private-ip-address", "172.31.0.5", "db"),
    ("network-interface.association.public-ip", "198.18.0.5", "web"),
    ("network-interface.attachment.device-index", "0", "both"),
    ("network-interface.attachment.status", "attached", "both"),
    ("network-interface.availability-zone", "us-east-1b", "none"),
    ("network-interface.description", "?*", "none"),
    ("network-interface.mac-address", "02:*", "both"),
    ("network-interface.private-dns-name", "ip-172-31-0-4.ec2.internal", "web"),
    ("network-interface.source-dest-check", "false", "db"),
    ("network-interface.status", "in-use", "both"),
    ("network-interface.tag-key", "Name", "none"),
    ("owner-id", "111111111111", "both"),
    ("owner-id", "222222222222", "none"),
    ("platform", "windows", "none"),
    ("private-dns-name", "ip-172-31-0-4.*", "web"),
    ("private-ip-address", "172.31.0.4", "web"),
    ("private-ip-address", "172.31.0.?", "both"),
    ("reason", "User initiated*", "db"),
    ("root-device-name", "/dev/sda1", "both"),
    ("source-dest-check", "true", "web"),
    ("state-reason-code", "Client.*", "db"),
    ("state-reason-message", "*User initiated shutdown", "db"),
    ("tag-key", "tier", "web"),
    ("tag-value", "front", "web"),
    ("tag:Name", "db", "db"),
    ("tag:Name", "?b", "db"),
    ("tag:Name", "*b", "both"),
    ("tag:name", "db", "none"),
    ("tenancy", "default", "both"),
    ("tenancy", "host", "none"),
    ("usage-operation-update-time", "2026-03-04*", "both"),
    ("virtualization-type", "hvm", "both"),
]


@pytest.mark.parametrize(("name", "value", "who"), FIND_WEB)
def test_filters(world, run, groups, name, value, who):  # noqa: PLR0917 — fixtures
    expected = groups[who]
    assert found(run, world.one, (name, [value])) == expected


def test_filters_by_id(world, run, web, db):
    (instance,) = described(run, world.one, web)
    interface = instance.interfaces[0].row
    (reservation,) = run(instances.reservations, world.one.caller, CLOUD, [web])
    for name, value in [
        ("instance-id", web),
        ("reservation-id", reservation.id),
        ("block-device-mapping.volume-id", instance.volumes[0].id),
        ("network-interface.network-interface-id", interface.id),
        ("network-interface.attachment.attachment-id", interface.attachment_id),
        ("network-interface.attachment.instance-id", web),
        ("network-interface.mac-address", interface.mac_address),
    ]:
        assert found(run, world.one, (name, [value])) == [web], name
    for name, value in [
        ("vpc-id", world.one.vpc_id),
        ("subnet-id", world.one.subnet_ids[0]),
        ("instance.group-id", world.one.group_id),
        ("network-interface.group-id", world.one.group_id),
        ("network-interface.subnet-id", world.one.subnet_ids[0]),
        ("network-interface.vpc-id", world.one.vpc_id),
        ("network-interface.owner-id", world.one.caller.account_id),
    ]:
        assert found(run, world.one, (name, [value])) == sorted([web, db]), name


def test_values_are_alternatives_and_filters_are_not(world, run, web, db):
    both = ("instance-type", ["t3.micro", "m5.*"])
    assert found(run, world.one, both) == sorted([web, db])
    assert found(run, world.one, both, ("tag:Name", ["db", "cache"])) == [db]
    assert found(run, world.one, both, ("tag:Name", ["db"]), ("instance-state-name", ["running"])) == []
    assert found(run, world.one, ("tag:Name", ["db"]), ids=[web]) == []


def test_every_filter_can_be_asked(world, run, web, db):
    for name in instance_filters.conditions(CLOUD):
        for value in ("true", "1", "*", "a?b", "\\*", "[x]", "'--", ""):
            found(run, world.one, (name, [value, "2"]))


def test_text_with_special_characters_is_itself(world, run, web):
    values = ["50%", "a_b", "[x]", "it's", "back\\slash", "star*", "q?", "ä", "a b\n"]
    for value in values:
        run(tags.create_tags, world.one.caller, [web], {"odd": value}, NOW)
        escaped = "".join("\\" + character if character in "*?\\" else character for character in value)
        assert found(run, world.one, ("tag:odd", [escaped])) == [web], value
        assert found(run, world.one, ("tag:odd", [escaped + "*"])) == [web], value
        assert found(run, world.one, ("tag:odd", ["x" + escaped])) == []
    run(tags.create_tags, world.one.caller, [web], {"odd": "axb"}, NOW)
    assert found(run, world.one, ("tag:odd", ["a_b", "a%", "[a]xb", "a[x]b*"])) == []


def test_pages_cover_all_once(world, run):
    everything = run(lambda tx: sorted(rows.launch(tx, world, world.one, number=number).id for number in range(7)))
    pages, after = [], None
    while page := found(run, world.one, after=after, limit=3):
        pages.append(page)
        after = (page[-1],)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [instance_id for page in pages for instance_id in page] == everything


def test_the_number_of_queries_does_not_grow(world, run, statements):
    ids = run(lambda tx: [rows.launch(tx, world, world.one, number=number).id for number in range(20)])
    statements.clear()
    described(run, world.one, ids[0])
    for_one = len(statements)
    statements.clear()
    assert len(described(run, world.one, *ids)) == 20
    assert len(statements) == for_one <= 7


def test_a_public_address_that_was_released_is_not_shown(world, run, web):
    def release(tx):
        tx.session.execute(update(PublicAddress).values(interface_id=None, private_address=None, released=NOW))
        tx.session.execute(update(Instance).values(public_address=None))

    run(release)
    (instance,) = described(run, world.one, web)
    assert (instance.row.public_address, instance.public_name) == (None, "")
    assert instance.interfaces[0].addresses[0].public_address is None
