"""What hosts have and an older database does not know is taken: nobody else is given its addresses or its room."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from stead_controller.db.tables import (
    ElasticAddress,
    Host,
    HostResource,
    Instance,
    InterfaceAddress,
    NatGateway,
    NetworkInterface,
    StoragePool,
    Subnet,
    UnclaimedAddress,
    UnclaimedResource,
)
from stead_controller.errors import LimitExceeded, NoCapacity, NotFound, WrongState
from stead_controller.hosts import pools
from stead_controller.hosts.reports import apply_progress
from stead_controller.placement.guest_memory import memory_of
from stead_controller.placement.need import Need
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.network import (
    address_pools,
    elastic_address_associations,
    elastic_addresses,
    interface_addresses,
    nat_gateways,
    network_interface_life,
    subnets,
    unclaimed_addresses,
)
from stead_controller.resources.network.elastic_address_associations import Target
from stead_controller.resources.network.network_interface_life import AddressRequest, CreateRequest
from stead_controller.resources.operators import host_records
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.support import rows
from tests.support.rows import CLOUD, GIB, NOW

ENI = (desired.KIND_INTERFACE, "eni-0123456789abcdef0")
OTHER = (desired.KIND_INTERFACE, "eni-0123456789abcdef1")
MACHINE = (desired.KIND_MACHINE, "i-0123456789abcdef0")
VOLUME = (desired.KIND_VOLUME, "vol-0123456789abcdef0")
MAC = "02:00:00:00:00:01"


@pytest.fixture
def report(run, world):
    """Have the world's host say something of a resource."""

    def say(key, condition=pb.CONDITION_UNCLAIMED, host_id=world.host_id, **has):
        reported = pb.Unclaimed(**has) if condition == pb.CONDITION_UNCLAIMED else None
        status = pb.ResourceStatus(kind=key[0], id=key[1], condition=condition, unclaimed=reported)
        run(apply_progress, [(host_id, [status])], NOW)

    return say


def _allocation(run, address):
    return run(lambda tx: tx.session.scalar(select(ElasticAddress.id).where(ElasticAddress.address == address)))


def create(world, **addresses):
    def call(tx):
        request = CreateRequest(subnet_id=world.one.subnet_ids[0], addresses=AddressRequest(**addresses))
        return network_interface_life.create(tx, world.one.caller, request, NOW)

    return call


def test_its_private_addresses_are_not_given_in_its_subnet(run, world, report):
    def narrow(tx):
        tx.session.get_one(Subnet, world.one.subnet_ids[0]).cidr_block = "172.31.0.0/28"  # eleven addresses

    run(narrow)
    report(ENI, subnet_id=world.one.subnet_ids[0], private_addresses=["172.31.0.7", "172.31.0.8"])
    with pytest.raises(WrongState, match="in use") as refused:
        run(create(world, primary="172.31.0.7"))
    assert refused.value.code == "InvalidIPAddress.InUse"
    eni = run(create(world))
    for reassign in (False, True):
        with pytest.raises(WrongState):
            run(
                interface_addresses.assign_private,
                world.one.caller,
                eni,
                ["172.31.0.8"],
                None,
                allow_reassignment=reassign,
            )
    for _ in range(8):
        run(create(world))
    with pytest.raises(LimitExceeded):
        run(create(world))
    given = set(run(lambda tx: list(tx.session.scalars(select(InterfaceAddress.address)))))
    assert given == {f"172.31.0.{last}" for last in range(4, 15)} - {"172.31.0.7", "172.31.0.8"}
    report(ENI, pb.CONDITION_ABSENT)
    run(create(world, primary="172.31.0.7"))


def test_nor_are_those_of_a_host_that_is_not_there_yet(run, world, report):
    mapping = (desired.KIND_MAPPING, ENI[1])
    report(mapping, subnet_id=world.one.subnet_ids[0], mac_address=MAC, private_addresses=["172.31.0.7"])
    with pytest.raises(WrongState, match="in use"):
        run(create(world, primary="172.31.0.7"))
    report(ENI, host_id=world.host_id, subnet_id=world.one.subnet_ids[0], private_addresses=["172.31.0.7"])
    report(mapping, pb.CONDITION_ABSENT)
    with pytest.raises(WrongState, match="in use"):
        run(create(world, primary="172.31.0.7"))


def test_they_are_held_in_the_transaction_that_hears_of_them(run, world):
    def hear(tx):
        asked = (tx, world.one.subnet_ids[0], "172.31.0.7")
        assert not unclaimed_addresses.is_held(*asked)
        said = pb.Unclaimed(subnet_id=asked[1], private_addresses=[asked[2]])
        status = pb.ResourceStatus(kind=ENI[0], id=ENI[1], condition=pb.CONDITION_UNCLAIMED, unclaimed=said)
        apply_progress(tx, [(world.host_id, [status])], NOW)
        tx.flush()
        assert unclaimed_addresses.is_held(*asked)

    run(hear)


def test_its_ipv4_addresses_are_none_of_the_subnets_free_ones(run, world, report):
    first, second = world.one.subnet_ids

    def free():
        found = run(subnets.describe, world.one.caller, CLOUD, Selection())
        return {each.subnet.id: each.free_addresses for each in found}

    def fitting(count):
        asked = Selection(filters=(Filter("available-ip-address-count", (str(count),)),))
        return [each.subnet.id for each in run(subnets.describe, world.one.caller, CLOUD, asked)]

    other = CreateRequest(world.other.subnet_ids[0], addresses=AddressRequest("172.31.0.7", ("172.31.0.8",)))
    run(network_interface_life.create, world.other.caller, other, NOW)  # the same addresses in another subnet
    run(create(world, primary="172.31.0.9"))  # before its host reported that an unclaimed interface has it too
    has = {"subnet_id": first, "private_addresses": ["172.31.0.7", "172.31.0.8", "172.31.0.9", "fd00::7"]}
    report(ENI, mac_address=MAC, **has)
    assert free() == {first: 4091 - 3, second: 4091}
    report(OTHER, subnet_id=first, private_addresses=["172.31.0.8"])
    report(MACHINE, subnet_id=second, private_addresses=["172.31.16.9"])
    assert free() == {first: 4091 - 3, second: 4091 - 1}
    assert fitting(4091 - 3) == [first]
    assert run(unclaimed_addresses.further, [first]) == {first: 2}
    for key in (ENI, MACHINE):
        report(key, pb.CONDITION_ABSENT)
    assert free() == {first: 4091 - 2, second: 4091}


def test_another_subnet_has_the_same_address(run, world, report):
    report(ENI, subnet_id=world.other.subnet_ids[0], private_addresses=["172.31.0.7"])
    run(create(world, primary="172.31.0.7"))


@pytest.mark.parametrize("condition", [pb.CONDITION_READY, pb.CONDITION_FAILED, pb.CONDITION_ABSENT])
def test_what_is_adopted_or_gone_is_forgotten(run, world, report, condition):
    report(ENI, subnet_id=world.one.subnet_ids[0], private_addresses=["172.31.0.7"], mac_address=MAC)
    report(MACHINE, vcpus=2, memory=GIB)
    report(ENI, pb.CONDITION_PENDING)
    count = [select(func.count()).select_from(each) for each in (UnclaimedResource, UnclaimedAddress)]
    assert run(lambda tx: [tx.session.scalar(each) for each in count]) == [2, 2]
    for key in (ENI, MACHINE):
        report(key, condition)
    assert run(lambda tx: [tx.session.scalar(each) for each in count]) == [0, 0]
    host = run(lambda tx: tx.session.get_one(Host, world.host_id))
    assert (host.cpus_reserved, host.memory_reserved) == (0, 0)


def test_its_macs_and_public_addresses_are_not_given_again(run, world, report, monkeypatch):
    cloud = replace(CLOUD, public_pools=("198.18.9.0/29",), elastic_addresses_per_account=50)  # .2 to .6
    allocated = run(elastic_addresses.allocate, world.one.caller, cloud, "198.18.9.3", {}, NOW)
    report(ENI, mac_address=MAC, public_addresses=["198.18.9.2", "198.18.9.3"])
    drawn = [bytes.fromhex(MAC.replace(":", "")[2:]), bytes(5)]
    monkeypatch.setattr("secrets.token_bytes", lambda _size: drawn.pop(0))
    assert run(address_pools.new_mac) == "02:00:00:00:00:00"
    monkeypatch.undo()
    with pytest.raises(NotFound):
        run(elastic_addresses.allocate, world.one.caller, cloud, "198.18.9.2", {}, NOW)
    run(elastic_addresses.allocate, world.one.caller, cloud, "198.18.9.6", {}, NOW)
    run(elastic_address_associations.release, world.one.caller, _allocation(run, "198.18.9.6"), None, NOW)
    report(OTHER, public_addresses=["198.18.9.6"])
    with pytest.raises(NotFound):  # though it is the account's own, and rests
        run(elastic_addresses.allocate, world.one.caller, cloud, "198.18.9.6", {}, NOW)
    eni = run(create(world))

    def associate(tx):
        elastic = elastic_addresses.find(tx, world.one.caller, allocated.id, None)
        return elastic_address_associations.associate(tx, world.one.caller, elastic, Target(interface_id=eni), NOW)

    with pytest.raises(WrongState) as refused:  # it was allocated before the copy, and associated after it
        run(associate)
    assert refused.value.code == "InvalidIPAddress.InUse"
    given = {run(address_pools.take_free, cloud, world.one.caller.account_id, NOW) for _ in range(2)}
    assert given == {"198.18.9.4", "198.18.9.5"}
    with pytest.raises(LimitExceeded):
        run(address_pools.take_free, cloud, world.one.caller.account_id, NOW)
    report(ENI, pb.CONDITION_READY)
    assert run(associate)
    assert run(address_pools.take_free, cloud, world.one.caller.account_id, NOW) == "198.18.9.2"


@pytest.fixture
def told(run, world):
    """What the world's host was told last of an interface: its public addresses, and the revision."""

    def read(interface_id):
        key = (world.host_id, desired.KIND_INTERFACE, interface_id)
        row = run(lambda tx: tx.session.get_one(HostResource, key))
        interface = desired.Resource.FromString(row.body).interface
        return [each.public_address for each in interface.public_addresses], row.revision

    return read


def test_a_public_address_stays_with_it_until_somebody_decides(run, world, report, told):
    """It was associated anew after the copy was made: two hosts would answer for it."""
    instance_id = run(lambda tx: rows.launch(tx, world, world.one).id)
    eni = run(lambda tx: tx.session.scalar(select(NetworkInterface.id)))
    elastic = run(elastic_addresses.allocate, world.one.caller, CLOUD, None, {}, NOW)

    def associate(tx):
        found = elastic_addresses.find(tx, world.one.caller, elastic.id, None)
        return elastic_address_associations.associate(tx, world.one.caller, found, Target(interface_id=eni), NOW)

    run(associate)
    own, revision = told(eni)
    assert own == [elastic.address]
    report(OTHER, mac_address=MAC, public_addresses=["198.18.200.7"])  # of nobody else
    assert told(eni) == (own, revision)
    report(ENI, mac_address=MAC, public_addresses=[elastic.address])
    taken, without = told(eni)
    assert (taken, without > revision) == ([], True)
    report(ENI, mac_address=MAC, public_addresses=[elastic.address])
    assert told(eni) == (taken, without), "the same again is no news"
    assert run(lambda tx: tx.session.get_one(Instance, instance_id).public_address) == elastic.address
    report(ENI, pb.CONDITION_ABSENT)
    assert told(eni)[0] == [elastic.address]


def test_what_another_host_has_of_the_same_id_is_its_own_affair(run, world, report):
    """Such as a volume that has moved: of one host it goes, and stays at the other."""
    other = rows.host()
    other_id = run(lambda tx: tx.session.add(other) or other.id)
    for host_id in (world.host_id, other_id):
        report(ENI, host_id=host_id, mac_address=MAC, public_addresses=["198.18.200.7"])
    report(ENI, pb.CONDITION_ABSENT)
    for table in (UnclaimedResource, UnclaimedAddress):
        assert run(lambda tx, one=table: set(tx.session.scalars(select(one.host_id)))) == {other_id}


def test_a_nat_gateways_public_address_stays_with_it_too(run, world, report, told):
    elastic = run(elastic_addresses.allocate, world.one.caller, CLOUD, None, {}, NOW)
    request = nat_gateways.CreateRequest(world.one.subnet_ids[0], allocation_id=elastic.id)
    gateway_id = run(nat_gateways.create, world.one.caller, request, NOW)
    eni = run(lambda tx: tx.session.get_one(NatGateway, gateway_id).interface_id)
    assert told(eni)[0] == [elastic.address]
    report(ENI, public_addresses=[elastic.address])
    assert told(eni)[0] == []
    report(ENI, pb.CONDITION_ABSENT)
    assert told(eni)[0] == [elastic.address]


def test_its_room_is_taken_also_where_there_was_less(run, world, report):
    def fill(tx):
        host = tx.session.get_one(Host, world.host_id)
        host.cpus_offered, host.memory_offered = 4, 4 * GIB

    run(fill)
    need = Need(vcpus=2, memory=2 * GIB, architecture="x86_64", instance_store=0)
    report(MACHINE, vcpus=3, memory=GIB)
    report(MACHINE, vcpus=3, memory=GIB)  # each session repeats what it said
    report(ENI, subnet_id=world.one.subnet_ids[0])  # which takes no room
    host = run(lambda tx: tx.session.get_one(Host, world.host_id))
    assert (host.cpus_free, host.cpus_reserved, host.memory_free) == (1, 3, 4 * GIB - memory_of(GIB, 3))
    with pytest.raises(NoCapacity):
        run(capacity.reserve_any, CLOUD, need, "us-east-1a")
    report(MACHINE, vcpus=9, memory=GIB)
    host = run(lambda tx: tx.session.get_one(Host, world.host_id))
    assert (host.cpus_free, host.cpus_reserved) == (-5, 9)
    report(MACHINE, pb.CONDITION_ABSENT)
    run(capacity.reserve_any, CLOUD, need, "us-east-1a")


def test_its_disks_take_room_of_their_pools(run, world, report):
    def add(tx):
        for name in ("main", "fast"):
            tx.session.add(
                StoragePool(
                    host_id=world.host_id,
                    name=name,
                    backend="directory",
                    shared_id="",
                    is_default=name == "main",
                    total=9 * GIB,
                    free=9 * GIB,
                )
            )

    def provisioned():
        return run(lambda tx: dict(tx.session.execute(select(StoragePool.name, StoragePool.provisioned)).all()))

    run(add)
    report(VOLUME, disk=GIB)
    report(MACHINE, vcpus=1, memory=GIB, disk=2 * GIB)
    report((VOLUME[0], "vol-0123456789abcdef1"), disk=4 * GIB, pool="fast")
    assert provisioned() == {"main": 3 * GIB, "fast": 4 * GIB}
    reported = [pb.StoragePool(name=name, backend="directory", is_default=name == "fast") for name in ("main", "fast")]
    run(lambda tx: pools.take(tx, world.host_id, reported, pools.of_hosts(tx, [world.host_id])[world.host_id]))
    assert provisioned() == {"main": 0, "fast": 7 * GIB}, "counted anew where the default pool is another one"
    report(VOLUME, pb.CONDITION_ABSENT)
    assert provisioned() == {"main": 0, "fast": 6 * GIB}


def test_a_removed_host_has_nothing_reserved(run, world, report):
    report(ENI, subnet_id=world.one.subnet_ids[0], private_addresses=["172.31.0.7"])
    run(host_records.remove_host, CLOUD, world.host_id, NOW, lost=False)
    run(create(world, primary="172.31.0.7"))


def test_an_agent_of_an_earlier_release_names_nothing_and_stays_understood(run, world):
    status = pb.ResourceStatus(kind=ENI[0], id=ENI[1], condition=pb.CONDITION_UNCLAIMED)
    run(apply_progress, [(world.host_id, [status])], NOW)
    assert run(lambda tx: tx.session.scalars(select(UnclaimedResource)).all()) == []
    assert run(lambda tx: tx.session.scalars(select(NetworkInterface)).all()) == []
    run(host_records.discard_unclaimed, world.host_id, [ENI[1]])


def test_a_host_that_is_not_known_has_nothing(run):
    status = pb.ResourceStatus(kind=ENI[0], id=ENI[1], condition=pb.CONDITION_UNCLAIMED, unclaimed=pb.Unclaimed())
    run(apply_progress, [("h-00000000000000000", [status])], NOW)
    assert run(lambda tx: tx.session.scalars(select(UnclaimedResource)).all()) == []
