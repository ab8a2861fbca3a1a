"""Network interfaces are attached to instances, and detached: what is refused, what is written, what hosts are sent."""

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import (
    Host,
    HostResource,
    Instance,
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    Tag,
    VpcHost,
    VpcResource,
)
from stead_controller.errors import (
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MalformedId,
    NotFound,
    WrongState,
)
from stead_controller.resources.network import network_interface_attachments as attachments
from stead_controller.resources.network.network_interface_life import CreateRequest, create
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.rows import NOW

INTERFACE = int(desired.KIND_INTERFACE)


@pytest.fixture
def launch(world, run):
    """Add an instance of the first tenant: `launch(**changes)` gives its id. A t3.micro has 2 interfaces."""
    numbers = iter(range(100))

    def add(**changes):
        return run(lambda tx: rows.launch(tx, world, world.one, number=next(numbers), **changes).id)

    return add


@pytest.fixture
def make(world, run):
    """Make an interface that is attached to nothing, in the first subnet, and give its id."""

    def add(subnet=0):
        return run(create, world.one.caller, CreateRequest(world.one.subnet_ids[subnet]), NOW)

    return add


@pytest.fixture
def attach(world, run):
    return lambda interface_id, instance_id, index=1: run(
        attachments.attach, world.one.caller, interface_id, instance_id, index, NOW
    )


@pytest.fixture
def attached(make, attach, launch):
    """An interface that is attached to an instance that runs, at index 1: its id and its attachment's."""
    interface_id = make()
    return interface_id, attach(interface_id, launch())


@pytest.fixture
def find(run):
    return lambda interface_id: run(lambda tx: tx.session.get(NetworkInterface, interface_id))


@pytest.fixture
def change(run):
    """Change a row: `change(Instance, id, state="stopped")`."""
    return lambda model, name, **values: run(
        lambda tx: tx.session.execute(update(model).where(model.id == name).values(**values)) and None
    )


@pytest.fixture
def sent(run, world):
    """Whether the host is to have an interface, or (False) to have it no more, and at which revision."""

    def look(interface_id):
        row = run(lambda tx: tx.session.get(HostResource, (world.host_id, INTERFACE, interface_id)))
        return row and (row.body is not None, row.revision)

    return look


@pytest.fixture
def hosts(run, world):
    """Which hosts are sent the first tenant's VPC."""
    of_vpc = (VpcHost.vpc_id == world.one.vpc_id, VpcHost.gone_revision.is_(None))
    return lambda: run(lambda tx: list(tx.session.scalars(select(VpcHost.host_id).where(*of_vpc))))


@pytest.mark.parametrize(("state", "on_host"), [("running", True), ("stopped", False)])
def test_an_interface_is_attached_to_an_instance_that_runs_or_is_stopped(  # noqa: PLR0917 - fixtures and a case
    world, launch, make, attach, find, sent, state, on_host
):
    host_id = world.host_id if on_host else None
    instance_id, interface_id = launch(state=state, host_id=host_id), make()
    attachment_id = attach(interface_id, instance_id)
    row = find(interface_id)
    assert (row.attachment_id, row.instance_id, row.host_id) == (attachment_id, instance_id, host_id)
    assert (row.status, row.attachment_state, row.device_index) == ("in-use", "attaching", 1)
    assert (row.attach_time, row.delete_on_termination) == (NOW, False)
    assert (sent(interface_id) or (None,))[0] == (True if on_host else None)


@pytest.mark.parametrize("state", ["pending", "stopping", "shutting-down", "terminated"])
def test_other_states_of_an_instance_let_nothing_be_attached(launch, make, attach, unchanged, state):
    instance_id, interface_id = launch(state=state), make()
    unchanged()
    with pytest.raises(WrongState) as refusal:
        attach(interface_id, instance_id)
    assert refusal.value.code == "IncorrectState"
    unchanged()


def test_what_is_attached_is_attached_to_nothing_else(launch, attach, attached, unchanged):
    instance_id = launch()
    unchanged()
    with pytest.raises(WrongState) as refusal:
        attach(attached[0], instance_id)
    assert refusal.value.code == "InvalidNetworkInterface.InUse"
    unchanged()


def test_it_is_of_the_zone_of_its_instance(launch, make, attach, unchanged):
    instance_id, interface_id = launch(), make(subnet=1)
    unchanged()
    with pytest.raises(InvalidCombination):
        attach(interface_id, instance_id)
    unchanged()


def test_an_index_is_free_on_its_own_instance_and_not_negative(launch, make, attach, find):
    first, second = launch(instance_type="t3.large"), launch()
    attach(make(), first, 1)
    interface_id = make()
    for index, words in ((-1, r"Value \(-1\)"), (0, "already has .* '0'"), (1, "already has .* '1'")):
        with pytest.raises(InvalidParameter, match=words):
            attach(interface_id, first, index)
    assert find(interface_id).attachment_id is None
    attach(interface_id, second, 1)
    assert find(interface_id).device_index == 1


def test_a_type_has_so_many_interfaces(launch, make, attach):
    instance_id = launch()
    attach(make(), instance_id, 1)
    with pytest.raises(LimitExceeded, match=r"Interface count 3 exceeds the limit for t3\.micro") as refusal:
        attach(make(), instance_id, 2)
    assert refusal.value.code == "AttachmentLimitExceeded"


def more_addresses(run, interface_id, number, *, ipv6, first=0):
    def add(tx):
        row = tx.session.get_one(NetworkInterface, interface_id)
        tx.session.add_all(
            InterfaceAddress(
                subnet_id=row.subnet_id,
                interface_id=interface_id,
                address=f"fd00::{each + 100:x}" if ipv6 else f"172.31.9.{each}",
                ipv6=ipv6,
            )
            for each in range(first, first + number)
        )

    run(add)


def test_a_type_has_so_many_addresses_of_each_family_on_an_interface(launch, make, attach, run):
    instance_id, two, many = launch(), make(), make()
    more_addresses(run, two, 1, ipv6=False)
    more_addresses(run, two, 2, ipv6=True)
    more_addresses(run, many, 3, ipv6=True, first=9)
    with pytest.raises(LimitExceeded, match=r"2 for t3\.micro") as refusal:
        attach(many, instance_id)
    assert refusal.value.code == "PrivateIpAddressLimitExceeded"
    attach(two, instance_id)


def test_an_instance_of_a_type_that_is_no_more_has_no_such_limits(launch, make, attach, run, find):
    instance_id, interface_id = launch(instance_type="old.large"), make()
    attach(make(), instance_id, 1)
    more_addresses(run, interface_id, 60, ipv6=True)
    attach(interface_id, instance_id, 2)
    assert find(interface_id).instance_id == instance_id
    attachments.check_address_number(None, 60)


def detach(run, world, attachment_id, **asked):
    run(attachments.detach, world.one.caller, attachment_id, **asked)


def test_an_interface_is_detached_when_its_host_says_so(run, world, attached, find, sent):
    interface_id, attachment_id = attached
    detach(run, world, attachment_id)
    row = find(interface_id)
    assert (row.attachment_state, row.status, row.attachment_id) == ("detaching", "in-use", attachment_id)
    once = sent(interface_id)
    assert once[0] is False
    detach(run, world, attachment_id, force=True)
    assert find(interface_id).attachment_state == "detaching", "its host is up, where it may still be in use"
    assert sent(interface_id) == once


def test_what_is_being_detached_is_not_sent_again(run, world, attached, unchanged):
    detach(run, world, attached[1])
    unchanged()
    detach(run, world, attached[1])
    unchanged()


def machine_of(run, world, instance_id):
    kind = int(desired.KIND_MACHINE)
    body = run(lambda tx: tx.session.get_one(HostResource, (world.host_id, kind, instance_id))).body
    return [each.interface_id for each in desired.Resource.FromString(body).machine.interfaces]


def test_the_machine_is_sent_without_an_interface_that_is_being_detached(run, world, attached, find):
    interface_id, attachment_id = attached
    instance_id = find(interface_id).instance_id
    assert interface_id in machine_of(run, world, instance_id)
    detach(run, world, attachment_id)
    assert interface_id not in machine_of(run, world, instance_id)


@pytest.mark.parametrize("force", [False, True])
def test_only_force_does_not_wait_for_a_host_that_is_down(run, world, attached, change, *, find, force):
    interface_id, attachment_id = attached
    change(Host, world.host_id, state="down")
    detach(run, world, attachment_id, force=force)
    assert find(interface_id).status == ("available" if force else "in-use")


def test_of_an_instance_that_has_no_host_it_is_detached_at_once(run, world, make, attach, *, launch, find):
    interface_id = make()
    detach(run, world, attach(interface_id, launch(state="stopped", host_id=None)))
    row = find(interface_id)
    assert (row.status, row.instance_id, row.attachment_id, row.attachment_state) == ("available", None, None, None)
    assert (row.device_index, row.attach_time, row.delete_on_termination) == (None, None, False)


def test_of_a_hibernated_instance_none_is_detached(run, world, attached, change, find):
    """What its memory knows of would be gone when it goes on."""
    interface_id, attachment_id = attached
    instance_id = find(interface_id).instance_id
    change(Instance, instance_id, memory_saved=True)
    with pytest.raises(WrongState, match="hibernated") as refusal:
        detach(run, world, attachment_id)
    assert refusal.value.code == "IncorrectState"
    assert find(interface_id).attachment_state == "attaching"
    change(Instance, instance_id, memory_saved=False)
    detach(run, world, attachment_id)
    assert find(interface_id).attachment_state == "detaching"


def test_the_first_interface_and_those_of_services_stay(run, world, attached, change, unchanged):
    interface_id, attachment_id = attached
    for values in ({"device_index": 0}, {"device_index": 1, "requester_managed": True}):
        change(NetworkInterface, interface_id, **values)
        with pytest.raises(WrongState) as refusal:
            detach(run, world, attachment_id)
        assert refusal.value.code == "OperationNotPermitted"
    row = run(lambda tx: tx.session.get_one(NetworkInterface, interface_id))
    assert row.attachment_state == "attaching"


def test_attachments_are_found_by_their_account_alone(run, world, attached):
    find = attachments.find_attached
    assert run(find, world.one.caller, attached[1]).id == attached[0]
    for caller, named in ((world.other.caller, attached[1]), (world.one.caller, "eni-attach-00000000000000000")):
        with pytest.raises(NotFound):
            run(find, caller, named)
    with pytest.raises(MalformedId):
        run(find, world.one.caller, attached[0])


def test_which_interface_is_meant_is_to_be_said_where_there_are_several(run, launch, make, attach):
    def only_one(tx, instance_id):
        return attachments.only_one_of(tx, tx.session.get_one(Instance, instance_id)).id

    one, several, none = launch(), launch(), launch()
    attach(make(), several)
    run(lambda tx: tx.session.delete(tx.session.query(NetworkInterface).filter_by(instance_id=none).one()))
    of_one = run(lambda tx: tx.session.query(NetworkInterface).filter_by(instance_id=one).one().id)
    assert run(only_one, one) == of_one
    with pytest.raises(InvalidParameter) as refusal:
        run(only_one, several)
    assert refusal.value.code == "InvalidInstanceID"
    with pytest.raises(NotFound):
        run(only_one, none)


def test_a_machine_that_has_all_settles_what_was_being_attached_to_it(run, launch, make, attach, *, find, world):
    instances = [launch(), launch(), launch()]
    here, there, leaving = make(), make(), make()
    attach(here, instances[0])
    attach(there, instances[1])
    detach(run, world, attach(leaving, instances[2]))
    assert run(attachments.waiting, [instances[0], instances[2]]) == {instances[0]}
    for each in (instances[0], instances[2]):
        run(attachments.settle_attached, each)
    assert [find(each).attachment_state for each in (here, there, leaving)] == ["attached", "attaching", "detaching"]
    assert run(attachments.waiting, instances) == {instances[1]}


def test_what_is_detached_keeps_its_addresses_and_groups(run, world, make, attach, *, launch, find, change):
    change(Host, world.host_id, underlay_address="10.9.8.7")
    interface_id = make()
    attach(interface_id, launch())

    def held(tx):
        addresses = select(InterfaceAddress.address).where(InterfaceAddress.interface_id == interface_id)
        groups = select(InterfaceGroup.group_id).where(InterfaceGroup.interface_id == interface_id)
        return list(tx.session.scalars(addresses)), list(tx.session.scalars(groups))

    def where():
        """The host where the interface is, as hosts of the VPC are sent it."""
        key = (world.one.vpc_id, int(desired.KIND_MAPPING), interface_id)
        body = run(lambda tx: tx.session.get_one(VpcResource, key)).body
        return desired.Resource.FromString(body).mapping.host_address

    before = run(held)
    assert where() == "10.9.8.7"
    run(lambda tx: attachments.settle_detached(tx, tx.session.get_one(NetworkInterface, interface_id)))
    row = find(interface_id)
    assert (row.status, row.host_id, row.vpc_id) == ("available", None, world.one.vpc_id)
    assert run(held) == before
    assert before == ([row.private_address], [world.one.group_id])
    assert not where()


def test_a_host_is_sent_a_vpc_while_it_has_an_interface_of_it(run, world, make, attach, *, launch, hosts, change):
    """The instance's own interface is put into another VPC: what is sent is what the second one needs."""
    instance_id, interface_id = launch(), make()
    elsewhere = update(NetworkInterface).where(NetworkInterface.instance_id == instance_id)
    run(lambda tx: tx.session.execute(elsewhere.values(vpc_id=world.other.vpc_id)) and None)
    attach(interface_id, instance_id)
    assert hosts() == [world.host_id]
    run(lambda tx: attachments.settle_detached(tx, tx.session.get_one(NetworkInterface, interface_id)))
    assert hosts() == []


@pytest.mark.parametrize("ends", [False, True])
def test_an_interface_ends_with_its_instance_or_stays(run, world, attached, find, *, ends):
    interface_id, _ = attached

    def prepare(tx):
        row = tx.session.get_one(NetworkInterface, interface_id)
        row.delete_on_termination = ends
        mine = {"account_id": row.account_id, "interface_id": interface_id}
        elastic = {"allocation_id": "eipalloc-1", "association_id": "eipassoc-1", "private_address": "172.31.9.9"}
        tx.session.add_all(
            [
                PublicAddress(address="198.18.0.5", private_address=row.private_address, **mine),
                PublicAddress(address="198.18.0.6", **mine, **elastic),
                Tag(resource_id=interface_id, key="a", value="b", account_id=row.account_id, resource_type="x"),
            ]
        )

    run(prepare)
    run(lambda tx: attachments.end_with_instance(tx, tx.session.get_one(NetworkInterface, interface_id), NOW))
    row = find(interface_id)
    assert (row is None) == ends
    left = run(lambda tx: {each.address: each for each in tx.session.query(PublicAddress)})
    assert (left["198.18.0.5"].interface_id, left["198.18.0.5"].released) == (None, NOW)
    assert left["198.18.0.6"].interface_id == (None if ends else interface_id)
    assert left["198.18.0.6"].association_id == (None if ends else "eipassoc-1")
    assert run(lambda tx: tx.session.query(Tag).count()) == (0 if ends else 1)
    if not ends:
        assert (row.status, row.instance_id, row.attachment_id) == ("available", None, None)
