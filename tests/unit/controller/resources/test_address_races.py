"""No address is given twice, whoever asks at the same time; and what is given back rests or is free again."""

import ipaddress
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from stead_controller.db.tables import (
    ElasticAddress,
    InterfaceAddress,
    NetworkInterface,
    PublicAddress,
    Subnet,
    UsageMeter,
)
from stead_controller.errors import LimitExceeded, SteadError
from stead_controller.resources.network import (
    elastic_address_associations,
    elastic_addresses,
    interface_addresses,
    network_interface_life,
)
from stead_controller.resources.network.elastic_address_associations import Target
from stead_controller.resources.network.network_interface_life import AddressRequest, CreateRequest
from tests.support.examples import examples
from tests.support.rows import CLOUD, NOW

SMALL = "172.31.200.0/28"
USABLE = {f"172.31.200.{last}" for last in range(4, 15)}
POOL = replace(CLOUD, public_pools=("198.18.9.0/29",), elastic_addresses_per_account=50)


@pytest.fixture
def subnet_id(world, run):
    """A subnet of eleven addresses."""

    def add(tx):
        first = tx.session.get_one(Subnet, world.one.subnet_ids[0])
        made = {column.name: getattr(first, column.name) for column in Subnet.__table__.columns}
        made |= {"id": "subnet-0aaaaaaaaaaaaaaaa", "cidr_block": SMALL, "default_for_zone": False, "next_turn": 0}
        tx.session.add(Subnet(**made))
        return made["id"]

    return run(add)


def check(tx):
    """The rows agree with each other: what an interface has, what an account has, what is free."""
    session = tx.session
    interfaces = {row.id: row for row in session.scalars(select(NetworkInterface))}
    primary = session.scalars(select(InterfaceAddress).where(InterfaceAddress.primary.is_(True))).all()
    assert {row.interface_id: row.address for row in primary} == {
        row.id: row.private_address for row in interfaces.values()
    }
    held = session.scalars(select(InterfaceAddress)).all()
    for row in held:
        assert row.subnet_id == interfaces[row.interface_id].subnet_id
        subnet = session.get_one(Subnet, row.subnet_id)
        network = ipaddress.ip_network(subnet.cidr_block)
        assert 4 <= int(ipaddress.ip_address(row.address)) - int(network.network_address) <= network.num_addresses - 2
    assert len({row.mac_address for row in interfaces.values()}) == len(interfaces)
    private = {(row.interface_id, row.address) for row in held}
    elastic = {row.id: row.address for row in session.scalars(select(ElasticAddress))}
    public = session.scalars(select(PublicAddress)).all()
    assert {row.allocation_id: row.address for row in public if row.allocation_id} == elastic
    for row in public:
        if row.interface_id is None:
            assert row.private_address is row.association_id is None
            assert row.released is not None or row.allocation_id is not None
        else:
            assert row.released is None
            assert (row.interface_id, row.private_address) in private
    columns = select(UsageMeter.resource_id, UsageMeter.usage, UsageMeter.account_id)
    meters = session.execute(columns.where(UsageMeter.usage.startswith("PublicIPv4:"))).all()
    assert sorted(tuple(row) for row in meters) == sorted(
        (row.allocation_id or row.interface_id, usage(row), row.account_id)
        for row in public
        if row.allocation_id or row.interface_id
    )


def usage(row):
    return "PublicIPv4:InUseAddress" if row.interface_id else "PublicIPv4:IdleAddress"


class Tenant:
    """A client that does what comes to its mind; refusals are as good as answers."""

    def __init__(self, run, caller, subnet_id, seed):
        self.run, self.caller, self.subnet_id = run, caller, subnet_id
        self.random = random.Random(seed)
        self.interfaces: list[str] = []
        self.allocations: list[str] = []
        self.given: list[str] = []

    def step(self, action):
        try:
            getattr(self, action)()
        except SteadError:
            return

    def create(self):
        addresses = AddressRequest(
            primary=self.random.choice([None, self.random.choice(sorted(USABLE))]),
            secondary_count=self.random.randrange(3),
        )
        request = CreateRequest(self.subnet_id, addresses)
        self.interfaces.append(self.run(network_interface_life.create, self.caller, request, NOW))

    def delete(self):
        if self.interfaces:
            interface = self.interfaces.pop(self.random.randrange(len(self.interfaces)))
            self.run(network_interface_life.delete, self.caller, interface, NOW)

    def assign(self):
        if self.interfaces:
            wanted = [self.random.choice(sorted(USABLE))]
            self.run(
                interface_addresses.assign_private,
                self.caller,
                self.random.choice(self.interfaces),
                wanted,
                None,
                allow_reassignment=self.random.random() < 0.5,
            )

    def allocate(self):
        made = self.run(elastic_addresses.allocate, self.caller, POOL, None, {}, NOW)
        self.allocations.append(made.id)
        self.given.append(made.address)

    def associate(self):
        if self.interfaces and self.allocations:
            interface, allocation = self.random.choice(self.interfaces), self.random.choice(self.allocations)

            def act(tx):
                elastic = elastic_addresses.find(tx, self.caller, allocation, None)
                held = select(InterfaceAddress.address).where(InterfaceAddress.interface_id == interface)
                private = self.random.choice(tx.session.scalars(held).all())
                target = Target(interface_id=interface, private_address=private)
                elastic_address_associations.associate(tx, self.caller, elastic, target, NOW)

            self.run(act)

    def disassociate(self):
        if self.allocations:
            allocation = self.random.choice(self.allocations)

            def act(tx):
                held = tx.session.scalars(select(PublicAddress).where(PublicAddress.allocation_id == allocation)).one()
                association = held.association_id or "eipassoc-0"
                elastic_address_associations.disassociate(tx, self.caller, association, None, NOW)

            self.run(act)

    def unassign(self):
        if self.interfaces:
            interface = self.random.choice(self.interfaces)

            def act(tx):
                held = select(InterfaceAddress.address).where(InterfaceAddress.interface_id == interface)
                address = self.random.choice(tx.session.scalars(held).all())
                interface_addresses.unassign_private(tx, self.caller, interface, [address], NOW)

            self.run(act)

    def release(self):
        if self.allocations:
            allocation = self.random.choice(self.allocations)
            self.run(elastic_address_associations.release, self.caller, allocation, None, NOW)
            self.allocations.remove(allocation)


ACTIONS = ("create", "create", "delete", "assign", "allocate", "associate", "disassociate", "unassign", "release")


def test_eight_clients_at_once(world, run, subnet_id):
    tenants = [Tenant(run, world.one.caller, subnet_id, seed) for seed in range(8)]

    def life(tenant):
        for _ in range(40):
            tenant.step(tenant.random.choice(ACTIONS))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(life, tenants))
    run(check)
    given = [address for tenant in tenants for address in tenant.given]
    assert given
    assert len(given) == len(set(given))  # time stood still, so nothing that was released has rested


@given(actions=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(ACTIONS)), max_size=30), seed=st.integers(0, 99))
@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_after_each_step_the_rows_agree(world, run, subnet_id, actions, seed):
    tenants = [Tenant(run, world.one.caller, subnet_id, seed + number) for number in range(2)]
    for who, action in actions:
        tenants[who].step(action)
        run(check)
    for tenant in tenants:
        for interface in tenant.interfaces:
            run(network_interface_life.delete, tenant.caller, interface, NOW)
        for allocation in tenant.allocations:
            run(elastic_address_associations.release, tenant.caller, allocation, None, NOW)
    run(check)
    assert run(lambda tx: tx.session.scalar(select(func.count()).select_from(InterfaceAddress))) == 0


def test_a_subnet_gives_all_its_addresses_and_no_other(world, run, subnet_id):
    request = CreateRequest(subnet_id)
    made = [run(network_interface_life.create, world.one.caller, request, NOW) for _ in range(11)]
    held = run(lambda tx: tx.session.scalars(select(InterfaceAddress.address)).all())
    assert set(held) == USABLE
    with pytest.raises(LimitExceeded) as refused:
        run(network_interface_life.create, world.one.caller, request, NOW)
    assert refused.value.code == "InsufficientFreeAddressesInSubnet"
    run(network_interface_life.delete, world.one.caller, made[3], NOW)
    run(network_interface_life.create, world.one.caller, request, NOW)
    run(check)


def test_a_pool_gives_all_its_addresses_and_the_released_when_they_have_rested(world, run):
    def allocate(now):
        return run(elastic_addresses.allocate, world.one.caller, POOL, None, {}, now)

    made = [allocate(NOW) for _ in range(5)]
    assert {one.address for one in made} == {f"198.18.9.{last}" for last in range(2, 7)}
    with pytest.raises(LimitExceeded) as refused:
        allocate(NOW)
    assert refused.value.code == "InsufficientAddressCapacity"
    run(elastic_address_associations.release, world.one.caller, made[0].id, None, NOW)
    with pytest.raises(LimitExceeded):
        allocate(NOW + timedelta(seconds=59))
    assert allocate(NOW + timedelta(seconds=60)).address == made[0].address
    run(check)
