"""With whom instances share their hosts, from launch to the next start; and what goes together with a tenancy."""

import pytest
from sqlalchemy import select, update

from stead_controller.db.tables import Instance, Subnet, Volume
from stead_controller.errors import (
    InvalidCombination,
    InvalidParameter,
    NoCapacity,
    NotFound,
    SteadError,
    Unsupported,
    WrongState,
)
from stead_controller.resources.fleet import placement_groups
from stead_controller.resources.fleet.dedicated_hosts import TypesRequest
from stead_controller.resources.fleet.placement_groups import PlacementGroupRequest
from stead_controller.resources.instances import instance_placement
from stead_controller.resources.instances.instance_groups import GroupRequest
from stead_controller.resources.instances.instance_reservations import ReservationRequest
from stead_controller.resources.instances.instance_tenancies import TenancyRequest
from stead_controller.resources.network import vpc_attributes
from tests.support import reserving, rows
from tests.support.own_hosts import DEDICATED, HOST, TYPE, allocate, change, machine_of, on, owners, release
from tests.support.reserving import ONLY, end, set_host, start
from tests.support.rows import CLOUD, GIB, NOW

NO_HOST = "IncompatibleHostRequirements"
FULL = "InsufficientCapacityOnHost"


def placed(life, instance_id):
    row = life.instance(instance_id)
    return (row.tenancy, row.dedicated_host_id, row.host_id)


def modify(life, instance_id, tenancy=None, group=None):
    asked = group or GroupRequest(), tenancy or TenancyRequest()
    life.run(instance_placement.modify, life.caller, instance_id, *asked)


def refused(life, code, function, *args, **given):
    with pytest.raises(SteadError) as error:
        function(life, *args, **given)
    assert error.value.code == code, error.value


def launch(life, **asked):
    """Launch one instance; gives its id."""
    (instance_id,) = life.launch(**asked)
    return instance_id


def stop(life, *ids):
    """Stop instances whose volumes bind them to no host."""
    life.run(lambda tx: tx.session.execute(update(Volume).values(attachment_state="attached")) and None)
    reserving.stop(life, *ids)


def run_as_other(life, tenancy):
    """Launch as the other tenant; gives the host."""
    caller, life.caller = life.caller, life.world.other.caller
    try:
        return life.instance(launch(life, tenancy=tenancy)).host_id
    finally:
        life.caller = caller


def test_dedicated_instances_share_with_their_own_account_only(life, second):
    hosts = {life.world.host_id, second}
    mine = [launch(life, tenancy=DEDICATED) for _ in range(2)]
    (own,) = {placed(life, one)[2] for one in mine}
    (other,) = hosts - {own}
    assert run_as_other(life, DEDICATED) == other
    with pytest.raises(NoCapacity):
        launch(life)
    end(life, *mine)
    assert placed(life, launch(life)) == ("default", None, own)


def test_a_dedicated_instance_does_not_join_those_of_shared_tenancy(life):
    mine = launch(life)
    with pytest.raises(NoCapacity):
        launch(life, tenancy=DEDICATED)
    end(life, mine)
    mine = launch(life, tenancy=DEDICATED)
    stop(life, mine)
    shared = launch(life)
    with pytest.raises(NoCapacity):
        start(life, mine)
    end(life, shared)
    start(life, mine)
    assert owners(life)[life.world.host_id] == (life.caller.account_id, None)


def test_instances_in_a_vpc_of_dedicated_tenancy_are_dedicated(life):
    def dedicate(tx):
        tx.session.execute(update(Subnet).values(instance_tenancy="dedicated"))

    life.run(dedicate)
    subnet = {"subnet_id": life.world.one.subnet_ids[0]}
    ids = [launch(life, tenancy=one, **subnet) for one in (TenancyRequest(), TenancyRequest("default"), DEDICATED)]
    assert {placed(life, one)[0] for one in ids} == {"dedicated"}
    end(life, *ids)
    (host,) = allocate(life)
    assert placed(life, launch(life, tenancy=on(host), **subnet))[:2] == ("host", host)


def test_a_vpc_gives_its_tenancy_up_for_new_instances(life):
    vpc_id = life.world.one.vpc_id

    def dedicate(tx):
        tx.session.execute(update(Subnet).where(Subnet.vpc_id == vpc_id).values(instance_tenancy="dedicated"))
        vpc = vpc_attributes.vpcs.find(tx, life.caller, vpc_id)
        vpc.instance_tenancy = "dedicated"

    life.run(dedicate)
    life.run(vpc_attributes.modify_tenancy, life.caller, vpc_id, "default")
    assert placed(life, launch(life))[0] == "default"


def test_who_names_no_zone_goes_where_hosts_may_be_shared(life):
    life.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b", memory_free=GIB)))
    allocate(life, auto_placement="on")
    assert life.instance(launch(life)).zone == "us-east-1b"
    assert life.instance(launch(life, tenancy=HOST)).zone == "us-east-1a"
    with pytest.raises(NoCapacity):
        launch(life, tenancy=DEDICATED, zone="us-east-1b")


def test_an_instance_is_on_the_host_that_it_names(life, second):
    hosts = allocate(life, 2)
    for host in hosts:
        assert placed(life, launch(life, tenancy=on(host))) == ("host", host, machine_of(life, host))
    set_host(life, machine_of(life, hosts[0]), memory_offered=0)
    refused(life, FULL, launch, tenancy=on(hosts[0]))


def test_who_names_none_is_on_one_with_auto_placement_for_its_type(life, second):
    own, other = allocate(life, 2)
    refused(life, NO_HOST, launch, tenancy=HOST)
    change(life, own, "on")
    assert placed(life, launch(life, tenancy=HOST))[1] == own
    refused(life, NO_HOST, launch, tenancy=HOST, instance_type="t3.nano")
    change(life, own, "off")
    change(life, other, "on", family="stead")
    assert placed(life, launch(life, tenancy=HOST))[1] == other


def test_auto_placement_is_for_the_own_account_and_zone(life):
    (host,) = allocate(life, caller=life.world.other.caller, auto_placement="on")
    refused(life, NO_HOST, launch, tenancy=HOST)
    with pytest.raises(NotFound):
        launch(life, tenancy=on(host))
    life.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b")))
    (mine,) = allocate(life, auto_placement="on", zone="us-east-1b")
    assert placed(life, launch(life, tenancy=HOST))[1] == mine
    refused(life, NO_HOST, launch, tenancy=HOST, zone="us-east-1a")
    refused(life, NO_HOST, launch, tenancy=on(mine), zone="us-east-1a")


def test_a_released_host_takes_no_instance(life, second):
    own, other = allocate(life, 2, auto_placement="on")
    release(life, own)
    with pytest.raises(WrongState):
        launch(life, tenancy=on(own))
    assert placed(life, launch(life, tenancy=HOST))[1] == other
    release(life, other)


@pytest.mark.parametrize("target", [True, False])
def test_with_affinity_it_starts_on_the_same_host_for_ever(life, second, target):
    own, _ = allocate(life, 2, auto_placement="on")
    asked = on(own, "host") if target else TenancyRequest("host", None, "host")
    mine = launch(life, tenancy=asked)
    host = placed(life, mine)[1]
    stop(life, mine)
    set_host(life, machine_of(life, host), schedulable=False)
    refused(life, FULL, start, mine)
    set_host(life, machine_of(life, host), schedulable=True)
    start(life, mine)
    assert placed(life, mine)[1] == host
    stop(life, mine)
    release(life, host)
    refused(life, NO_HOST, start, mine)


def test_without_affinity_it_starts_on_its_last_host_if_that_has_room(life, second):
    own, other = allocate(life, 2)
    mine = launch(life, tenancy=on(own))
    stop(life, mine)
    set_host(life, machine_of(life, own), schedulable=False)
    refused(life, FULL, start, mine)
    change(life, other, "on")
    start(life, mine)
    assert placed(life, mine) == ("host", other, machine_of(life, other))
    stop(life, mine)
    set_host(life, machine_of(life, own), schedulable=True)
    change(life, own, "on")
    start(life, mine)
    assert placed(life, mine)[1] == other


def test_it_starts_nowhere_else_than_where_its_zone_and_type_are(life, second):
    (own,) = allocate(life)
    mine = launch(life, tenancy=on(own))
    stop(life, mine)
    life.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b")))
    allocate(life, auto_placement="on", zone="us-east-1b")
    life.run(lambda tx: setattr(tx.session.get_one(Instance, mine), "instance_type", "t3.nano"))
    refused(life, NO_HOST, start, mine)


def test_a_stopped_instance_changes_its_tenancy(life, second):
    mine = launch(life)
    with pytest.raises(WrongState):
        modify(life, mine, DEDICATED)
    stop(life, mine)
    modify(life, mine, DEDICATED)
    start(life, mine)
    assert owners(life)[placed(life, mine)[2]] == (life.caller.account_id, None)
    (own,) = allocate(life)
    with pytest.raises(WrongState):
        modify(life, mine, on(own))
    stop(life, mine)
    with pytest.raises(InvalidCombination):
        modify(life, mine, TenancyRequest(None, own))
    modify(life, mine, on(own, "host"))
    start(life, mine)
    assert placed(life, mine)[:2] == ("host", own)
    modify(life, mine, TenancyRequest(affinity="default"))
    assert life.instance(mine).host_affinity == "default"
    stop(life, mine)
    modify(life, mine, TenancyRequest("default"))
    row = life.instance(mine)
    assert (row.tenancy, row.dedicated_host_id, row.host_affinity) == ("default", None, "default")
    start(life, mine)
    assert owners(life)[placed(life, mine)[2]] == (None, None)


def test_a_host_for_others_is_not_given_to_a_stopped_instance(life, second):
    mine = launch(life)
    stop(life, mine)
    (other_type,) = allocate(life, types=TypesRequest("t3.nano"))
    refused(life, NO_HOST, modify, mine, on(other_type))
    life.run(lambda tx: tx.session.add(rows.host(zone="us-east-1b")))
    (elsewhere,) = allocate(life, zone="us-east-1b")
    refused(life, NO_HOST, modify, mine, on(elsewhere))


def test_t3_instances_keep_to_their_hosts_and_have_no_unlimited_credits(life, second):
    (own,) = allocate(life, types=TypesRequest(family="t3"))
    asked = {"instance_type": "t3.nano", "tenancy": on(own)}
    with pytest.raises(Unsupported):
        launch(life, cpu_credits="unlimited", **asked)
    mine = launch(life, **asked)
    assert life.instance(mine).cpu_credits == "standard"
    other = launch(life, instance_type="t3.nano", tenancy=TenancyRequest("default"))
    assert life.instance(other).cpu_credits == "unlimited"
    stop(life, mine, other)
    refused(life, "InvalidRequest", modify, mine, TenancyRequest("default"))
    refused(life, "InvalidRequest", modify, other, on(own))
    modify(life, other, DEDICATED)


def group_of(life, strategy):
    request = PlacementGroupRequest(strategy, strategy, None, None, {})
    life.run(placement_groups.create, life.caller, CLOUD, request, NOW)
    return GroupRequest(strategy)


@pytest.mark.parametrize("strategy", ["spread", "partition", "cluster"])
def test_groups_take_the_tenancies_that_ec2s_take(life, second, strategy):
    group = group_of(life, strategy)
    (own,) = allocate(life, types=TypesRequest(TYPE))
    stopped = launch(life)
    stop(life, stopped)
    kinds = {DEDICATED: strategy != "spread", on(own): False}
    for tenancy, allowed in kinds.items():
        if allowed:
            end(life, launch(life, tenancy=tenancy, group=group))
            continue
        with pytest.raises(InvalidCombination):
            launch(life, tenancy=tenancy, group=group)
        with pytest.raises(InvalidCombination):
            modify(life, stopped, tenancy, group)
        modify(life, stopped, TenancyRequest(), group)
        with pytest.raises(InvalidCombination):
            modify(life, stopped, tenancy)
        modify(life, stopped, None, GroupRequest(""))


def test_capacity_reservations_are_for_shared_hosts(life, reserve, booked, second):
    set_host(life, second, schedulable=False)
    reserved = reserve(1)
    set_host(life, second, schedulable=True)
    (mine,) = reserving.launch(life, tenancy=DEDICATED)
    assert placed(life, mine) == ("dedicated", None, second)
    assert reserving.inside(life, [mine]) == [None]
    for wants in (ONLY, ReservationRequest(target=reserved)):
        refused(life, "ReservationCapacityExceeded", reserving.launch, wants=wants, tenancy=DEDICATED)
    stop(life, mine)
    life.run(lambda tx: setattr(tx.session.get_one(Instance, mine), "reservation_preference", ONLY.preference))
    refused(life, "ReservationCapacityExceeded", start, mine)
    life.run(lambda tx: setattr(tx.session.get_one(Instance, mine), "reservation_preference", "open"))
    start(life, mine)
    set_host(life, life.world.host_id, memory_offered=0)
    with pytest.raises(NoCapacity):
        reserve(1)


def test_spot_instances_may_be_dedicated_and_are_on_no_dedicated_host(life, second):
    (own,) = allocate(life)
    asked = {"spot": True, "shutdown_behavior": "terminate"}
    with pytest.raises(InvalidCombination):
        launch(life, tenancy=on(own), **asked)
    assert placed(life, launch(life, tenancy=DEDICATED, **asked))[0] == "dedicated"


@pytest.mark.parametrize(
    ("error", "code", "asked"),
    [
        (InvalidParameter, None, TenancyRequest("shared")),
        (InvalidParameter, "InvalidAffinity", TenancyRequest("host", None, "guest")),
        (InvalidCombination, None, TenancyRequest("default", "h-" + "0" * 17)),
        (InvalidCombination, None, TenancyRequest("dedicated", None, "host")),
        (InvalidCombination, None, TenancyRequest(None, None, "host")),
        (NotFound, None, TenancyRequest(None, "h-" + "0" * 17)),
    ],
)
def test_bad_requests_launch_nothing(life, error, code, asked):
    with pytest.raises(error) as refusal:
        launch(life, tenancy=asked)
    assert refusal.value.code == code
    assert life.run(lambda tx: tx.session.scalars(select(Instance.id)).all()) == []


def test_a_launch_of_shared_tenancy_reads_nothing_more(life, statements):
    life.launch()
    statements.clear()
    life.launch()
    assert not [text for text in statements if "FROM dedicated_hosts" in text or "vpcs.instance_tenancy" in text]


def test_a_guest_that_is_bound_to_its_machine_starts_only_where_it_may(life, second):
    (own,) = allocate(life)
    mine = launch(life, tenancy=on(own))
    life.run(lambda tx: setattr(tx.session.get_one(Instance, mine), "boot_mode", "uefi"))  # its variables are there
    stop(life, mine)
    start(life, mine)
    assert placed(life, mine)[:2] == ("host", own)
    stop(life, mine)
    modify(life, mine, DEDICATED)
    with pytest.raises(NoCapacity, match="is not for its tenancy"):
        start(life, mine)
