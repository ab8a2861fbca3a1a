"""After the loss of a controller no public address is given out until an operator says that all hosts have joined."""

from dataclasses import replace
from datetime import timedelta

import pytest

from stead_controller.db.session import Database
from stead_controller.db.tables import UnclaimedAddress, UnclaimedResource
from stead_controller.errors import LimitExceeded, NotFound, WrongState
from stead_controller.hosts.enrolment import Machine, create_token, enrol_host
from stead_controller.initialise import initialise
from stead_controller.operator.hosts import Hosts
from stead_controller.resources.network import elastic_addresses, unclaimed_addresses
from stead_controller.settings import Settings
from stead_proto import recovery
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import operator_pb2 as pb
from tests.support.rows import CLOUD, NOW

POOL = replace(CLOUD, public_pools=("198.18.9.0/24",))
FREE = "198.18.9.77"


@pytest.fixture
def joins(run):
    """Let a machine join: one that was a host of a lost controller, by the id that it had, or a new one."""

    def join(former=""):
        token, _ = run(create_token, "us-east-1a", timedelta(hours=1), NOW)
        return run(enrol_host, POOL, token, Machine("box", former), NOW)

    return join


@pytest.fixture
def allocate(run, world):
    """Allocate an address, any or this one."""
    return lambda wanted=None: run(elastic_addresses.allocate, world.one.caller, POOL, wanted, {}, NOW).address


async def test_none_is_given_until_all_have_joined(database, run, joins, allocate):
    joins("h-0123456789abcdef0")
    for wanted in (None, FREE):
        with pytest.raises(LimitExceeded, match="--all-joined") as refused:
            allocate(wanted)
        assert refused.value.code == "InsufficientAddressCapacity"
    hosts = Hosts(database, POOL, lambda: NOW, None, None)
    said = [(await hosts.EndReturn(pb.EndReturnRequest(), None)).awaited for _ in range(2)]
    assert said == [True, False]
    joins("h-0123456789abcdef1")  # a late one: the operator's word counts
    assert allocate(FREE) == FREE
    assert allocate() != FREE
    assert not run(unclaimed_addresses.are_any)


def test_no_further_host_joins_until_all_have(run, joins):
    """Whatever address it got, one that has not joined yet may have, or a guest there."""
    joins("h-0123456789abcdef0")
    token, _ = run(create_token, "us-east-1a", timedelta(hours=1), NOW)
    with pytest.raises(WrongState, match=r"stead join --again.*stead recover --all-joined"):
        run(enrol_host, POOL, token, Machine("box"), NOW)
    joins("h-0123456789abcdef1")
    run(unclaimed_addresses.end_return)
    assert run(enrol_host, POOL, token, Machine("box"), NOW) is not None


def test_what_is_unclaimed_hinders_no_other_address(run, world, joins, allocate):
    joins()
    assert run(unclaimed_addresses.end_return) is False
    key = {"host_id": world.host_id, "kind": int(desired.KIND_INTERFACE), "resource_id": "eni-00000000000000001"}

    def add(tx):
        tx.session.add(UnclaimedResource(**key, vcpus=0, memory=0, disk=0, pool=""))
        tx.session.flush()
        tx.session.add(UnclaimedAddress(**key, place="", address="198.18.9.78"))

    run(add)
    assert allocate(FREE) == FREE
    joins("h-0123456789abcdef0")
    assert run(unclaimed_addresses.end_return) is True
    with pytest.raises(NotFound):
        allocate("198.18.9.78")


def test_a_recovered_controller_gives_none_before_the_first_has_joined(tmp_path):
    settings = Settings(tmp_path)

    def awaits_hosts():
        database = Database(settings.database)
        try:
            return database.run_blocking(unclaimed_addresses.are_any, writes=False)
        finally:
            database.close()

    recovery.begin(tmp_path)
    for _ in range(2):
        initialise(settings, NOW)
        assert awaits_hosts()
        assert not recovery.has_begun(tmp_path)
    (tmp_path / "another").mkdir()
    settings = Settings(tmp_path / "another")
    initialise(settings, NOW)
    assert not awaits_hosts(), "a new cloud was never lost"
