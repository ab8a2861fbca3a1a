"""Dedicated Hosts: which machines are given, all or none, what changes, and when they are given back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from stead_controller.db.tables import DedicatedHost
from stead_controller.errors import (
    InUse,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MissingParameter,
    NoCapacity,
    SteadError,
    Unsupported,
)
from stead_controller.request import instance_types
from stead_controller.request.client_tokens import Repeatable
from stead_controller.resources.fleet import dedicated_hosts
from stead_controller.resources.fleet.dedicated_hosts import TypeCapacity, TypesRequest
from stead_controller.resources.instances import instance_tenancies, own_types
from stead_controller.resources.operators import host_records
from tests.support import own_hosts, rows
from tests.support.metered import lines, meters
from tests.support.own_hosts import TYPE, allocate, change, described, machine_of, owners, release
from tests.support.reserving import STORE, end, set_host
from tests.support.rows import CLOUD, GIB, NOW


@pytest.fixture
def small(life):
    """A smaller host beside that of the world; its id."""
    row = rows.host(memory_free=4 * GIB, cpus_free=8)
    life.run(lambda tx: tx.session.add(row))
    return row.id


def test_the_smallest_machine_that_has_nothing_is_given(life, small):
    first, second = (allocate(life)[0] for _ in range(2))
    assert machine_of(life, first) == small
    assert owners(life) == {
        small: (life.caller.account_id, first),
        life.world.host_id: (life.caller.account_id, second),
    }
    with pytest.raises(NoCapacity) as refused:
        life.launch()
    assert refused.value.code is None


@pytest.mark.parametrize(
    "columns", [{"state": "down"}, {"schedulable": False}, {"zone": "us-east-1b"}, {"memory_offered": 0}, {"cpus": 0}]
)
def test_a_machine_that_could_run_none_is_not_given(life, columns):
    set_host(life, **columns)
    with pytest.raises(NoCapacity) as refused:
        allocate(life)
    assert refused.value.code == "InsufficientHostCapacity"


def test_a_machine_with_instances_is_not_given_to_anybody(life):
    ids = life.launch()
    for caller in (life.caller, life.world.other.caller):
        with pytest.raises(NoCapacity):
            allocate(life, caller=caller)
    end(life, *ids)
    assert allocate(life)


def test_several_are_given_all_or_none(life, small):
    both = allocate(life, 2)
    assert {machine_of(life, one) for one in both} == {small, life.world.host_id}
    for one in both:
        release(life, one)
    set_host(life, small, schedulable=False)
    with pytest.raises(NoCapacity):
        allocate(life, 2)
    assert set(owners(life).values()) == {(None, None)}


def test_an_account_has_no_more_than_the_operator_allows(life, small):
    (mine,) = allocate(life)
    assert allocate(life, caller=life.world.other.caller)
    life.run(lambda tx: tx.session.add(rows.host()))
    with pytest.raises(LimitExceeded) as refused:
        allocate(life, 2)
    assert refused.value.code == "HostLimitExceeded"
    release(life, mine)
    assert len(allocate(life, 2)) == CLOUD.dedicated_hosts_per_account == 2


def test_a_repeated_request_gets_the_same(life, small):
    token = Repeatable("AllocateHosts", "once", "d")
    both = allocate(life, 2, repeatable=token)
    assert allocate(life, 2, repeatable=token) == both
    assert [described(life, one).row.client_token for one in both] == ["once", "once"]


def test_a_family_takes_all_of_its_types(life):
    (host,) = allocate(life, types=TypesRequest(family="t3"))
    found = described(life, host)
    assert (found.row.instance_type, found.row.instance_family) == (None, "t3")
    assert {one.instance_type for one in found.capacity} >= {"t3.nano", "t3.small", "t3.2xlarge"}
    [nano] = [one for one in found.capacity if one.instance_type == "t3.nano"]
    assert nano.available == nano.total == 32  # of 64 vCPUs each has 2


def test_what_is_free_is_derived(life, small):
    (host,) = allocate(life)
    before = described(life, host)
    assert (before.state, before.instances, before.host.id) == ("available", [], small)
    ids = life.launch(tenancy=own_hosts.on(host))
    found = described(life, host)
    assert [one.id for one in found.instances] == ids
    [was], [now] = before.capacity, found.capacity
    assert now == TypeCapacity(TYPE, was.available - 1, was.total)
    set_host(life, small, memory_offered=0)
    assert described(life, host).capacity == [TypeCapacity(TYPE, 0, 0)]
    for column, value in (("state", "down"), ("schedulable", False)):
        set_host(life, small, state="up", schedulable=True)
        assert described(life, host).state == "available"
        set_host(life, small, **{column: value})
        assert described(life, host).state == "under-assessment"


def test_a_host_is_released_when_no_instance_is_on_it(life):
    (host,) = allocate(life)
    ids = life.launch(tenancy=own_hosts.on(host))
    assert release(life, host) == "InvalidHost.Occupied"
    assert release(life, host, caller=life.world.other.caller) == "NotFound"
    end(life, *ids)
    assert release(life, host) is None
    assert (owners(life)[life.world.host_id], described(life, host).state) == ((None, None), "released")
    assert (release(life, host), change(life, host, "on")) == ("WrongState", "WrongState")
    assert described(life, host).host is None
    life.launch()


def test_a_released_host_is_forgotten_after_a_while(life):
    (host,) = allocate(life)
    life.run(dedicated_hosts.forget, NOW)
    release(life, host)
    life.run(dedicated_hosts.forget, NOW - timedelta(hours=1))
    assert described(life, host)
    life.run(dedicated_hosts.forget, NOW)
    assert life.run(lambda tx: tx.session.get(DedicatedHost, host)) is None


def test_a_host_is_made_one_for_other_types_of_its_family(life):
    (host,) = allocate(life, types=TypesRequest("t3.nano"))
    ids = life.launch(tenancy=own_hosts.on(host), instance_type="t3.nano")
    assert change(life, host, kind="t3.small") == "InvalidHostConfiguration"
    assert change(life, host, family="m5") == "InvalidHostConfiguration"
    assert change(life, host, family="t3") is None
    assert described(life, host).row.instance_type is None
    end(life, *ids)
    assert change(life, host, "on", kind="t3.small") is None
    row = described(life, host).row
    assert (row.instance_type, row.auto_placement) == ("t3.small", True)


def test_a_removed_machine_takes_its_dedicated_host_with_it(life, second):
    (host,) = allocate(life)
    machine = machine_of(life, host)
    with pytest.raises(InUse):
        life.run(host_records.remove_host, CLOUD, machine, NOW, lost=False)
    set_host(life, machine, state="down")
    life.run(host_records.remove_host, CLOUD, machine, NOW, lost=True)
    assert (described(life, host).state, described(life, host).host) == ("permanent-failure", None)
    assert release(life, host) is None
    assert described(life, host).state == "released-permanent-failure"


@pytest.mark.parametrize(
    ("error", "code", "changes"),
    [
        (MissingParameter, None, {"count": None}),
        (InvalidParameter, None, {"count": 0}),
        (InvalidParameter, None, {"count": 101}),
        (InvalidParameter, "InvalidAutoPlacement", {"auto_placement": "yes"}),
        (MissingParameter, None, {"types": TypesRequest()}),
        (InvalidCombination, None, {"types": TypesRequest("t3.nano", "t3")}),
        (InvalidParameter, "InvalidInstanceType", {"types": TypesRequest("t3.none")}),
        (InvalidParameter, "InvalidInstanceFamily", {"types": TypesRequest(family="t99")}),
        (Unsupported, "Unsupported", {"types": TypesRequest("t4g.nano")}),
        (MissingParameter, None, {"zone": None}),
        (InvalidCombination, None, {"zone_id": "use1-az1"}),
        (InvalidParameter, "InvalidAvailabilityZone", {"zone": "us-east-1z"}),
    ],
)
def test_bad_requests_take_no_machine(life, error, code, changes):
    with pytest.raises(error) as refused:
        allocate(life, **{"count": 1} | changes)
    assert refused.value.code == code
    assert set(owners(life).values()) == {(None, None)}


def test_a_bad_change_is_refused_whole(life):
    (host,) = allocate(life)
    for asked in ((None, None, None), ("yes", None, None), (None, "t3.none", None), (None, "t3.nano", "t3")):
        with pytest.raises(SteadError):
            change(life, host, *asked)


def test_a_zone_may_be_named_by_its_id(life):
    assert described(life, allocate(life, zone=None, zone_id="use1-az1")[0]).row.zone == "us-east-1a"


def test_none_may_have_one_where_the_operator_says_so(life):
    cloud = replace(CLOUD, dedicated_hosts_per_account=0)
    request = dedicated_hosts.DedicatedHostRequest(
        TypesRequest(TYPE), 1, "us-east-1a", None, "off", {}, Repeatable("AllocateHosts", "", "")
    )
    with pytest.raises(LimitExceeded):
        life.run(dedicated_hosts.allocate, life.caller, cloud, request, NOW)


def test_none_is_for_instances_with_whole_cores(life):
    life.run(lambda tx: own_types.add(tx, "lab.alone", STORE | {"whole_cores": True}, NOW))
    life.run(lambda tx: own_types.add(tx, "lab.shared", STORE, NOW))
    with pytest.raises(Unsupported, match="cores alone"):
        allocate(life, types=TypesRequest("lab.alone"))
    (host,) = allocate(life, types=TypesRequest(family="lab"), auto_placement="on")
    assert [one.instance_type for one in described(life, host).capacity] == ["lab.shared"]
    kind = life.run(instance_types.find, "lab.alone")
    assert not instance_tenancies.supports(described(life, host).row, kind)


def test_a_host_is_billed_from_its_allocation_until_its_release_or_its_loss(life, small):
    first, second = allocate(life, 2, types=TypesRequest(family="stead"))
    assert meters(life) == [(one, "HostUsage:stead", 1, 60) for one in sorted((first, second))]
    life.run(dedicated_hosts.release, life.caller, [first], NOW + timedelta(seconds=5))
    life.run(dedicated_hosts.fail, machine_of(life, second), NOW + timedelta(seconds=100))
    assert meters(life) == []
    assert lines(life) == [(first, "HostUsage:stead", 1, 0, 60), (second, "HostUsage:stead", 1, 0, 100)]
    life.run(dedicated_hosts.release, life.caller, [second], NOW + timedelta(seconds=200))
    assert len(lines(life)) == 2
