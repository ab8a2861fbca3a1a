"""What is stored of a search that found no host: how many hosts of the zone each rule refused."""

from dataclasses import replace

import pytest

from stead_controller.db.tables import Host, StoragePool
from stead_controller.errors import NoCapacity
from stead_controller.placement.group import Group, Member
from stead_controller.placement.need import Need
from stead_controller.placement.search import Terms
from stead_controller.request.refused_places import RefusedPlaces, Wanted
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.host_capacity.volume_homes import DiskNeed
from tests.support import rows
from tests.support.rows import CLOUD, GIB

ZONE = "us-east-1a"


@pytest.fixture
def cloud():
    return replace(CLOUD, volume_overcommit=1.0, refused=RefusedPlaces())


@pytest.fixture
def refused(run, world, cloud):
    """Search in vain; gives what was stored of it, and by rule how many of the zone's hosts it refused."""

    def search(need, disks=(), **asked):
        before = run(lambda tx: tx.session.get_one(Host, world.host_id).memory_free)
        with pytest.raises(NoCapacity):
            run(capacity.reserve_any, cloud, need, ZONE, disks, **asked)
        assert run(lambda tx: tx.session.get_one(Host, world.host_id).memory_free) == before
        found = cloud.refused.newest()[0]
        return found.wanted, found.counts.hosts, {one.rule: one.hosts for one in found.counts.rules}

    return search


def test_hosts_of_the_zone_are_counted_by_rule(run, world, cloud, refused):
    run(lambda tx: tx.session.add_all([rows.host(zone=ZONE, state="down"), rows.host(zone="us-east-1b")]))
    wanted, hosts, rules = refused(Need(1, 1 << 50), terms=Terms("t3.micro"))
    assert wanted == Wanted("t3.micro", ZONE, 1, 1 << 50)
    assert (hosts, rules) == (2, {"memory": 2, "state": 1})
    assert list(rules) == ["memory", "state"], "the rule that refuses most is first"
    assert "MiB of memory are free" in cloud.refused.newest()[0].counts.rules[0].reason


def test_disks_that_fit_alone_and_not_together_are_a_reason(run, world, refused):
    run(
        lambda tx: tx.session.add(
            StoragePool(
                host_id=world.host_id, name="default", backend="directory", is_default=True, total=10 * GIB, free=0
            )
        )
    )
    wanted, hosts, rules = refused(Need(1, GIB), [DiskNeed(6, "gp3"), DiskNeed(7, "gp3")])
    assert wanted.disk == 7 * GIB
    assert (hosts, rules) == (1, {"disks": 1})


def test_hosts_that_were_left_out_are_a_reason(world, refused):
    _, hosts, rules = refused(Need(1, GIB), but={world.host_id})
    assert (hosts, rules) == (1, {"left-out": 1})


def test_the_strategy_of_a_group_is_said(world, refused):
    group = Group("spread", (Member(world.host_id, world.host_id),))
    wanted, _, rules = refused(Need(1, GIB), terms=Terms(group=group))
    assert (wanted.strategy, rules) == ("spread", {"spread": 1})


def test_of_a_search_that_found_a_host_nothing_is_stored(run, world, cloud):
    assert run(capacity.reserve_any, cloud, Need(1, GIB), ZONE).host_id == world.host_id
    assert cloud.refused.newest() == []
