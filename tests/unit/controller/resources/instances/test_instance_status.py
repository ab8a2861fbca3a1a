"""Which instances' status is listed, and what their host's state makes of it."""

import itertools
from datetime import timedelta

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Host, Volume
from stead_controller.errors import MalformedId, NotFound
from stead_controller.request.conditions import Selection
from stead_controller.request.filters import Filter
from stead_controller.resources.instances import instance_status
from stead_controller.resources.instances.instance_status import DescribedStatus, StatusCheck
from tests.support import rows
from tests.support.rows import CLOUD, NOW


@pytest.fixture
def launch(world, run):
    """Add an instance of the first tenant: `launch(**changes)` gives its id."""
    numbers = iter(range(100))

    def add(**changes):
        return run(lambda tx: rows.launch(tx, world, world.one, number=next(numbers), **changes).id)

    return add


@pytest.fixture
def running(launch):
    """A running instance of the first tenant."""
    return launch()


@pytest.fixture
def host_state(world, run):
    """Put the world's host into a state."""
    return lambda state: run(
        lambda tx: tx.session.execute(update(Host).where(Host.id == world.host_id).values(state=state)) and None
    )


@pytest.fixture
def change_volume(run):
    """Change the volumes of an instance: `change_volume(instance_id, **values)`."""
    return lambda instance_id, **values: run(
        lambda tx: tx.session.execute(update(Volume).where(Volume.instance_id == instance_id).values(**values)) and None
    )


@pytest.fixture
def away(world, run):
    """Another host of the zone that is down, and was last heard of at NOW."""
    made = rows.host(state="down")

    def add(tx):
        tx.session.add(made)
        return made.id

    return run(add)


def checks(shown):
    return shown.instance.status, shown.system.status, shown.volumes.status


def impaired_since(begin):
    return StatusCheck("impaired", "failed", begin)


def describe(run, tenant, *filters, ids=(), all_states=False, **paging):
    asked = Selection(tuple(ids), tuple(Filter(name, (value,)) for name, value in filters), **paging)
    return run(instance_status.describe, tenant.caller, CLOUD, asked, only_running=not all_states)


def listed(*args, **kwargs):
    return [shown.instance_id for shown in describe(*args, **kwargs)]


def test_a_running_instance_of_a_host_that_is_up_is_ok(world, run, launch):
    instance_id = launch()
    (shown,) = describe(run, world.one)
    ok = StatusCheck("ok", "passed", None)
    assert shown == DescribedStatus(instance_id, "us-east-1a", "use1-az1", "running", ok, ok, ok)


def test_a_silent_host_is_impaired_and_nothing_is_known_of_its_guests(world, run, launch, host_state):
    launch()
    host_state("down")
    (shown,) = describe(run, world.one)
    assert shown.system == StatusCheck("impaired", "failed", None)
    assert shown.instance == shown.volumes == StatusCheck("insufficient-data", "insufficient-data", None)


def test_a_running_instance_whose_host_is_unknown_has_no_data(world, run, launch):
    launch(host_id=None)
    (shown,) = describe(run, world.one)
    assert shown.instance.status == "insufficient-data"


@pytest.mark.parametrize("state", ["pending", "stopping", "stopped", "shutting-down", "terminated"])
def test_only_running_instances_are_listed_unless_all_are_asked_for(world, run, launch, state):
    running, other = launch(), launch(state=state)
    assert listed(run, world.one) == [running]
    assert listed(run, world.one, ids=[running, other]) == [running]
    assert listed(run, world.one, ids=[other]) == []
    assert set(listed(run, world.one, all_states=True)) == {running, other}
    (shown,) = describe(run, world.one, ids=[other], all_states=True)
    assert shown.state == state
    expected = "initializing" if state == "pending" else "not-applicable"
    assert checks(shown) == (expected,) * 3


def test_a_guest_that_waits_for_room_is_impaired_and_so_are_its_volumes(world, run, launch, change_volume):
    paused, well = launch(), launch()
    change_volume(paused, full_since=NOW)
    first, second = sorted(describe(run, world.one), key=lambda shown: shown.instance_id == well)
    assert first.instance == first.volumes == impaired_since(NOW)
    assert first.system.status == "ok"
    assert checks(second) == ("ok", "ok", "ok")
    for name in ("instance-status.status", "attached-ebs-status.status"):
        assert listed(run, world.one, (name, "impaired")) == [paused]
        assert listed(run, world.one, (name, "ok")) == [well]
    assert listed(run, world.one, ("instance-status.reachability", "failed")) == [paused]


def test_a_volume_that_does_no_requests_impairs_only_that_check(world, run, launch, change_volume):
    stalled, well = launch(), launch()
    change_volume(stalled, stalled_since=NOW)
    first, second = sorted(describe(run, world.one), key=lambda shown: shown.instance_id == well)
    assert first.volumes == impaired_since(NOW)
    assert checks(first) == ("ok", "ok", "impaired")
    assert checks(second) == ("ok", "ok", "ok")
    assert listed(run, world.one, ("attached-ebs-status.status", "impaired")) == [stalled]


def test_a_volume_whose_disk_is_lost_impairs_only_that_check(world, run, launch, change_volume):
    running = launch()
    change_volume(running, lost_since=NOW)
    (shown,) = describe(run, world.one, ("attached-ebs-status.status", "impaired"))
    assert (shown.volumes, checks(shown)) == (impaired_since(NOW), ("ok", "ok", "impaired"))


def test_a_volume_whose_home_is_away_impairs_only_that_check(world, run, launch, change_volume, away):
    cut_off, well = launch(), launch()
    change_volume(cut_off, host_id=away)
    first, second = sorted(describe(run, world.one), key=lambda shown: shown.instance_id == well)
    assert first.volumes == impaired_since(NOW)
    assert checks(first) == ("ok", "ok", "impaired")
    assert checks(second) == ("ok", "ok", "ok")
    assert listed(run, world.one, ("attached-ebs-status.status", "impaired")) == [cut_off]
    assert listed(run, world.one, ("instance-status.status", "ok")) == sorted([cut_off, well])
    run(lambda tx: tx.session.execute(update(Host).where(Host.id == away).values(state="up")) and None)
    assert listed(run, world.one, ("attached-ebs-status.status", "impaired")) == []


def test_an_impairment_has_lasted_since_the_first_of_its_reasons(world, run, launch, change_volume, away):
    change_volume(launch(), host_id=away, full_since=NOW - timedelta(minutes=5))
    (shown,) = describe(run, world.one)
    assert shown.volumes == impaired_since(NOW - timedelta(minutes=5))


@pytest.mark.parametrize("attachment", ["attaching", "attached", "detaching", "busy"])
def test_only_what_is_attached_counts(world, run, launch, change_volume, attachment):
    change_volume(launch(), full_since=NOW, attachment_state=attachment)
    (shown,) = describe(run, world.one)
    expected = "ok" if attachment == "attaching" else "impaired"
    assert checks(shown) == (expected, "ok", expected)


@pytest.mark.parametrize("state", ["pending", "stopping", "stopped"])
def test_what_does_not_run_is_not_impaired_by_its_volumes(world, run, launch, change_volume, state):
    change_volume(launch(state=state), full_since=NOW)
    (shown,) = describe(run, world.one, all_states=True)
    expected = "initializing" if state == "pending" else "not-applicable"
    assert checks(shown) == (expected,) * 3


def test_of_the_volumes_of_a_guest_on_a_lost_host_nothing_is_known(world, run, launch, change_volume, host_state):
    change_volume(launch(), full_since=NOW)
    host_state("down")
    (shown,) = describe(run, world.one)
    assert checks(shown) == ("insufficient-data", "impaired", "insufficient-data")


@pytest.mark.parametrize("both", list(itertools.product(["pending", "running", "stopped"], ["up", "down"])))
def test_filters_find_what_is_shown(world, run, launch, host_state, both):
    state, host = both
    instance_id = launch(state=state)
    host_state(host)
    (shown,) = describe(run, world.one, all_states=True)
    every = {"ok", "impaired", "insufficient-data", "not-applicable", "initializing"}
    for prefix, check in (
        ("instance-status", shown.instance),
        ("system-status", shown.system),
        ("attached-ebs-status", shown.volumes),
    ):
        for value in every:
            expected = [instance_id] if check.status == value else []
            assert listed(run, world.one, (f"{prefix}.status", value), all_states=True) == expected
    for prefix, check in (("instance-status", shown.instance), ("system-status", shown.system)):
        for value in ("passed", "failed", "insufficient-data", "initializing"):
            expected = [instance_id] if value == check.reachability else []
            assert listed(run, world.one, (f"{prefix}.reachability", value), all_states=True) == expected


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("availability-zone", "us-east-1?", True),
        ("availability-zone", "us-east-1b", False),
        ("availability-zone-id", "use1-az1", True),
        ("instance-state-name", "running", True),
        ("instance-state-name", "stopped", False),
        ("instance-state-code", "16", True),
        ("instance-state-code", "80", False),
        ("operator.managed", "false", True),
        ("operator.principal", "*", False),
        ("event.code", "*", False),
        ("event.not-before", "*", False),
        ("application-status.status", "*", False),
    ],
)
@pytest.mark.usefixtures("running")
def test_other_filters(world, run, name, value, found):
    assert bool(describe(run, world.one, (name, value))) is found


def test_pages_are_sorted_by_id(world, run, launch):
    ids = sorted(launch() for _ in range(5))
    assert listed(run, world.one, limit=3) == ids[:3]
    assert listed(run, world.one, limit=3, after=(ids[2],)) == ids[3:]


def test_other_accounts_see_nothing(world, run, launch):
    theirs = launch()
    assert describe(run, world.other, all_states=True) == []
    with pytest.raises(NotFound):
        describe(run, world.other, ids=[theirs])
    with pytest.raises(MalformedId):
        describe(run, world.other, ids=["i-nonsense"])


def test_a_page_takes_two_queries(world, run, launch, statements):
    for _ in range(3):
        launch()
    statements.clear()
    describe(run, world.one)
    assert len([one for one in statements if one.startswith("SELECT")]) == 2
