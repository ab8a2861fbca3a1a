"""What guests did between two readings: counters that restart make no spike."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stead_agent.metrics.growth import Growth, growth, together
from stead_agent.metrics.interface import Devices, DiskCounters, NicCounters, Reading

SECOND = 1_000_000_000


def devices(count, *, volumes=("vol-1",), stores=(), nics=("tap1",)):
    disk, nic = DiskCounters(*[count] * 6), NicCounters(*[count] * 4)
    return Devices(dict.fromkeys(volumes, disk), dict.fromkeys(stores, disk), dict.fromkeys(nics, nic))


def reading(at, count, *, process="1.1", began=0, **has):
    return Reading(process, began * SECOND, at * SECOND, count * SECOND, devices(count, **has))


def test_counters_grow():
    one = growth(reading(10, 5), 10 * SECOND, reading(70, 35))
    assert one == Growth(60, 30 * SECOND, True, {"vol-1": DiskCounters(*[30] * 6)}, None, NicCounters(*[30] * 4))


def test_all_nics_and_all_instance_store_disks_are_summed():
    has = {"volumes": (), "stores": ("vdb", "vdc"), "nics": ("tap1", "tap2")}
    one = growth(reading(10, 5, **has), 0, reading(70, 6, **has))
    assert one.stores == DiskCounters(*[2] * 6)
    assert one.nics == NicCounters(*[2] * 4)
    assert one.volumes == {}


def test_what_an_agent_finds_running_counts_from_then_on():
    assert growth(None, None, reading(70, 1000)) == Growth()
    assert growth(None, 10 * SECOND, reading(70, 1000, began=9)) == Growth()


def test_what_has_started_meanwhile_counts_from_its_start():
    for before in (None, reading(10, 5000)):
        one = growth(before, 10 * SECOND, reading(70, 20, process="2.2", began=10))
        assert (one.seconds, one.cpu_time, one.nics.sent_bytes) == (60, 20 * SECOND, 20)
    assert growth(reading(10, 5000), 10 * SECOND, reading(70, 20, process="2.2", began=9)) == Growth()


def test_devices_come_and_go():
    before = reading(10, 100, volumes=("vol-1", "vol-2"))
    one = growth(before, 0, reading(70, 150, volumes=("vol-2", "vol-3")))
    assert {name: disk.reads for name, disk in one.volumes.items()} == {"vol-2": 50, "vol-3": 150}
    anew = growth(before, 0, reading(70, 30, volumes=("vol-1",)))
    assert {name: disk.reads for name, disk in anew.volumes.items()} == {"vol-1": 30}


def test_devices_that_could_not_be_read_are_left_out():
    known, unknown = reading(10, 5), replace(reading(70, 35), devices=None)
    for one in (growth(known, 0, unknown), growth(replace(known, devices=None), 0, reading(70, 35))):
        assert (one.seconds, one.cpu_time, one.devices, one.volumes) == (60, 30 * SECOND, False, {})


_STEPS = st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.booleans()), min_size=2, max_size=12)


@given(_STEPS)
def test_never_more_than_was_done(steps):
    """Each step does some work in a minute; before it the guest may restart, and the agent may."""
    at, done, process, counted, began = 0, 0, 1, 0, 0
    before, since, whole = None, None, Growth()
    for work, restarts, agent_restarts in steps:
        if agent_restarts:
            before = since = None
        if restarts:
            process, counted, began = process + 1, 0, at
        at, done, counted = at + 60, done + work, counted + work
        now = reading(at, counted, process=str(process), began=began)
        whole = together(whole, growth(before, since, now))
        before, since = now, now.at
    assert whole.cpu_time <= done * SECOND
    assert whole.nics.sent_bytes <= done
    if not any(agent_restarts for _, _, agent_restarts in steps[1:]):
        assert whole.cpu_time == (done - steps[0][0]) * SECOND


def test_two_times_are_added():
    one = growth(reading(0, 0, stores=("vdb",)), 0, reading(60, 5, stores=("vdb",)))
    other = growth(reading(60, 5), 0, reading(120, 9, volumes=("vol-1", "vol-2")))
    both = together(one, other)
    assert (both.seconds, both.cpu_time, both.devices) == (120, 9 * SECOND, True)
    assert {name: disk.writes for name, disk in both.volumes.items()} == {"vol-1": 9, "vol-2": 9}
    assert both.stores == DiskCounters(*[5] * 6)
    assert both.nics.received_packets == 9
    assert together(Growth(), Growth()) == Growth()
