"""Hosts that belong to one account: each condition of the UPDATEs by itself, with whom a host is shared before and after."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import Host, StoragePool
from stead_controller.errors import NoCapacity
from stead_controller.placement.need import Need
from stead_controller.placement.search import Terms
from stead_controller.placement.tenancy import SHARED, Tenancy
from stead_controller.resources.host_capacity import capacity, rooms, tenancies
from stead_controller.resources.host_capacity.volume_homes import DiskNeed
from tests.support import rows
from tests.support.reserving import set_host
from tests.support.rows import CLOUD, GIB

ZONE = "us-east-1a"
NEED = Need(1, GIB)
ONE, OTHER = Tenancy("dedicated", "111111111111"), Tenancy("dedicated", "222222222222")
ON_A = Tenancy("host", "111111111111", frozenset({"h-a"}))


def owner(life):
    query = select(Host.owner_account_id, Host.dedicated_host_id).where(Host.id == life.world.host_id)
    return tuple(life.run(lambda tx: tx.session.execute(query).one()))


def take(life, tenancy, dedicated_host_id=""):
    return life.run(capacity.take, life.world.host_id, NEED, tenancy, dedicated_host_id)


def is_read(life, tenancy):
    search = capacity.search_for(CLOUD, NEED, ZONE, terms=Terms(tenancy=tenancy))
    return life.run(rooms.best, CLOUD, search) is not None


@pytest.mark.parametrize(
    ("columns", "allowed"),
    [
        ({"state": "up"}, [SHARED, ONE, OTHER]),
        ({"cpus_reserved": 1}, [SHARED]),
        ({"memory_reserved": 1}, [SHARED]),
        ({"owner_account_id": ONE.account_id, "cpus_reserved": 1}, [ONE]),
        ({"owner_account_id": ONE.account_id, "dedicated_host_id": "h-a"}, [ON_A]),
        ({"owner_account_id": OTHER.account_id, "dedicated_host_id": "h-a"}, []),
    ],
)
def test_a_host_is_read_and_taken_by_whom_it_is_for(life, columns, allowed):
    set_host(life, **columns)
    for tenancy in (SHARED, ONE, OTHER, ON_A):
        before = owner(life)
        assert is_read(life, tenancy) == (tenancy in allowed), tenancy
        assert take(life, tenancy, columns.get("dedicated_host_id", "")) == (tenancy in allowed), tenancy
        if tenancy not in allowed:
            assert owner(life) == before
        set_host(life, **{"owner_account_id": None, "cpus_reserved": 0, "memory_reserved": 0} | columns)


def test_the_host_that_was_chosen_is_still_that_dedicated_host(life):
    set_host(life, owner_account_id=ON_A.account_id, dedicated_host_id="h-b")
    assert not take(life, ON_A, "h-a")
    assert take(life, ON_A, "h-b")


@pytest.mark.parametrize("need", [NEED, Need(0, GIB)])  # and one with whole cores
def test_a_host_belongs_to_an_account_as_long_as_it_has_instances_there(life, need):
    for _ in range(2):
        place = life.run(capacity.reserve_any, CLOUD, need, ZONE, terms=Terms(tenancy=ONE))
    assert (place.dedicated_host_id, owner(life)) == (None, (ONE.account_id, None))
    for tenancy in (SHARED, OTHER):
        with pytest.raises(NoCapacity):
            life.run(capacity.reserve_any, CLOUD, NEED, ZONE, terms=Terms(tenancy=tenancy))
    life.run(capacity.release, place.host_id, need)
    assert owner(life) == (ONE.account_id, None)
    life.run(capacity.release, place.host_id, need)
    assert owner(life) == (None, None)


def test_a_host_that_could_not_be_used_after_all_is_given_up(life):
    half = int(5 * GIB / CLOUD.volume_overcommit)  # one of the disks
    pool = {"name": "default", "backend": "directory", "is_default": True, "total": half, "free": 0}
    life.run(lambda tx: tx.session.add(StoragePool(host_id=life.world.host_id, **pool)))
    with pytest.raises(NoCapacity):
        life.run(capacity.reserve_any, CLOUD, NEED, ZONE, [DiskNeed(3, "gp3")] * 2, terms=Terms(tenancy=ONE))
    assert owner(life) == (None, None)


def test_a_dedicated_host_stays_one_when_its_last_instance_has_left(life):
    assert life.run(tenancies.give, life.world.host_id, ON_A.account_id, "h-a")
    place = life.run(capacity.reserve_any, CLOUD, NEED, ZONE, terms=Terms(tenancy=ON_A))
    assert place.dedicated_host_id == "h-a"
    assert not life.run(tenancies.take_back, place.host_id, "h-a")
    life.run(capacity.release, place.host_id, NEED)
    assert owner(life) == (ON_A.account_id, "h-a")
    assert not life.run(tenancies.take_back, place.host_id, "h-b")
    assert life.run(tenancies.take_back, place.host_id, "h-a")
    assert owner(life) == (None, None)


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "down"},
        {"schedulable": False},
        {"owner_account_id": ONE.account_id},
        {"cpus_reserved": 1},
        {"memory_reserved": 1},
    ],
)
def test_only_a_host_without_anything_is_given(life, columns):
    set_host(life, **columns)
    before = owner(life)
    assert not life.run(tenancies.give, life.world.host_id, OTHER.account_id, "h-a")
    assert owner(life) == before


def test_only_the_host_that_is_meant_is_given_and_taken_back(life):
    other = rows.host(hostname="box2")
    life.run(lambda tx: tx.session.add(other))
    assert life.run(tenancies.give, other.id, ON_A.account_id, "h-a")
    assert owner(life) == (None, None)
    assert not life.run(tenancies.take_back, life.world.host_id, "h-a")
    assert life.run(tenancies.take_back, other.id, "h-a")


@pytest.mark.parametrize(("cpus", "memory", "left"), [(2, GIB, ONE), (1, 2 * GIB, ONE), (1, GIB, None)])
def test_a_host_is_an_accounts_while_processors_or_memory_are_reserved(life, cpus, memory, left):
    set_host(life, owner_account_id=ONE.account_id, cpus_reserved=cpus, memory_reserved=memory)
    life.run(capacity.release, life.world.host_id, NEED)
    assert owner(life) == (left and left.account_id, None)


def test_a_full_dedicated_host_is_said_in_ec2s_words(life):
    set_host(life, owner_account_id=ON_A.account_id, dedicated_host_id="h-a", memory_offered=0)
    with pytest.raises(NoCapacity) as refused:
        life.run(capacity.reserve_any, CLOUD, NEED, ZONE, terms=Terms(tenancy=ON_A))
    assert refused.value.code == "InsufficientCapacityOnHost"


def test_the_one_host_of_an_instance_must_be_for_its_tenancy(life):
    with pytest.raises(NoCapacity, match="is not for its tenancy"):
        life.run(capacity.reserve_on, CLOUD, life.world.host_id, NEED, Terms(tenancy=ON_A))
    place = life.run(capacity.reserve_on, CLOUD, life.world.host_id, NEED, Terms(tenancy=ONE))
    assert (place.dedicated_host_id, owner(life)) == (None, (ONE.account_id, None))
    with pytest.raises(NoCapacity):
        life.run(capacity.reserve_on, CLOUD, life.world.host_id, NEED)


def test_a_start_on_its_dedicated_host_says_which_that_is(life):
    set_host(life, owner_account_id=ON_A.account_id, dedicated_host_id="h-a")
    place = life.run(capacity.reserve_on, CLOUD, life.world.host_id, NEED, Terms(tenancy=ON_A))
    assert (place.host_id, place.dedicated_host_id) == (life.world.host_id, "h-a")
