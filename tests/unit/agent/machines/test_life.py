"""What a record and libvirt's state mean."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.disks.disk_users import uid_of
from stead_agent.machines.interface import MachineStatus, OffReason, Power
from stead_agent.machines.life import (
    Record,
    Shutoff,
    State,
    View,
    parse_record,
    status_of,
    uuid_of,
    with_loss,
    with_off_seen,
)

ID = "i-0123456789abcdef0"
RECORDS = st.builds(
    Record,
    owner=st.text("abc/<&'\"", min_size=1),
    boot_id=st.text("0123-"),
    start_count=st.integers(0, 9),
    started_before=st.integers(0, 9),
    reboot_count=st.integers(0, 9),
    stop_asked_of=st.integers(0, 9),
    stop_due=st.integers(0, 1 << 40),
    reboot_asked=st.integers(0, 9),
    reboot_due=st.integers(0, 1 << 40),
    off_of=st.just(0),
    off_reason=st.just(""),
)
VIEWS = st.builds(
    View, st.just(False), st.just(State.SHUTOFF), st.sampled_from(Shutoff), st.sampled_from(["b", "c"]), st.booleans()
)


def view(state=State.SHUTOFF, reason=0, log=True, boot="b"):
    return View(state != State.SHUTOFF, state, reason, boot, log)


def record(**changes):
    return Record(**{"owner": "us", "boot_id": "b", "start_count": 5, "started_before": 4} | changes)


@pytest.mark.parametrize(
    ("stored", "seen", "power", "start", "reason"),
    [
        # it runs
        (record(), view(State.RUNNING), Power.RUNNING, 5, OffReason.NONE),
        (record(), view(State.BLOCKED), Power.RUNNING, 5, OffReason.NONE),
        (record(), view(State.RUNNING, log=False), Power.RUNNING, 5, OffReason.NONE),
        (record(), view(State.PAUSED), Power.PAUSED, 5, OffReason.NONE),
        (record(stop_asked_of=5), view(State.RUNNING), Power.STOPPING, 5, OffReason.NONE),
        (record(stop_asked_of=4), view(State.RUNNING), Power.RUNNING, 5, OffReason.NONE),
        (record(), view(State.SHUTDOWN), Power.STOPPING, 5, OffReason.NONE),
        # libvirt died in the middle of the start
        (record(), view(State.PAUSED, 11), Power.UNKNOWN, 4, OffReason.NONE),
        (record(), view(State.PAUSED, 1, log=False), Power.UNKNOWN, 4, OffReason.NONE),
        # it ran, and ended
        (record(), view(reason=Shutoff.SHUTDOWN), Power.OFF, 5, OffReason.GUEST),
        (record(stop_asked_of=5), view(reason=Shutoff.SHUTDOWN), Power.OFF, 5, OffReason.ASKED),
        (record(stop_asked_of=5), view(reason=Shutoff.DAEMON), Power.OFF, 5, OffReason.ASKED),
        (record(stop_asked_of=4), view(reason=Shutoff.SHUTDOWN), Power.OFF, 5, OffReason.GUEST),
        (record(), view(reason=Shutoff.DESTROYED), Power.OFF, 5, OffReason.ASKED),
        (record(), view(reason=Shutoff.CRASHED), Power.OFF, 5, OffReason.CRASHED),
        (record(), view(reason=Shutoff.DAEMON), Power.OFF, 5, OffReason.CRASHED),
        # libvirtd has forgotten why
        (record(), view(reason=Shutoff.UNKNOWN), Power.OFF, 5, OffReason.CRASHED),
        (record(), view(reason=Shutoff.UNKNOWN, boot="c"), Power.OFF, 5, OffReason.HOST),
        (record(off_of=5, off_reason="guest"), view(reason=Shutoff.UNKNOWN, boot="c"), Power.OFF, 5, OffReason.GUEST),
        (record(stop_asked_of=5), view(reason=Shutoff.UNKNOWN, boot="c"), Power.OFF, 5, OffReason.ASKED),
        # the start was meant, and has not happened
        (record(off_of=4, off_reason="asked"), view(log=False), Power.OFF, 4, OffReason.ASKED),
        (record(off_of=4, off_reason="guest"), view(reason=Shutoff.FAILED), Power.OFF, 4, OffReason.GUEST),
        (record(), view(log=False, reason=Shutoff.SHUTDOWN), Power.OFF, 4, OffReason.CRASHED),
        (record(started_before=0), view(log=False), Power.OFF, 0, OffReason.NONE),
    ],
)  # fmt: skip
def test_what_is_known(stored, seen, power, start, reason):
    status = status_of(ID, stored, seen)
    assert (status.power, status.start_count, status.off_reason) == (power, start, reason)


@given(RECORDS)
def test_a_record_is_read_back(stored):
    assert parse_record(stored.to_plain_xml()) == stored


def test_a_record_holds_only_what_is_not_as_in_the_beginning():
    assert Record("us", start_count=2).to_plain_xml() == '<machine owner="us" start_count="2" />'
    assert ET.tostring(Record("us").to_element()) == b'<stead:machine xmlns:stead="urn:stead:machine:1" owner="us" />'


def test_disks_of_a_running_guest_are_reported_and_of_another_none():
    seen = replace(view(), volume_ids=frozenset({"v"}), full=frozenset({"f"}), dead_nics=frozenset({"m"}))
    running = status_of(ID, record(), replace(seen, active=True, state=State.RUNNING))
    assert (running.volume_ids, running.full, running.dead_nics) == ({"v"}, {"f"}, {"m"})
    off = status_of(ID, record(), seen)
    assert (off.volume_ids, off.full, off.dead_nics) == (set(), set(), set())


def test_what_is_not_ours_is_no_record():
    assert parse_record("<machine/>") is None
    assert parse_record("<other owner='us'/>") is None
    assert parse_record("<machine owner='us' later='1'/>") == Record("us")


@given(RECORDS, VIEWS, VIEWS, st.integers(0, 1 << 40))
def test_an_end_once_noted_does_not_change_its_reason_nor_its_time(stored, seen, later, since):
    found = status_of(ID, stored, seen)
    assert found.off_since == 0, "it was not noted yet"
    status = replace(found, off_since=since) if found.start_count else found
    noted = with_off_seen(stored, status)
    after = status_of(
        ID,
        noted,
        View(False, State.SHUTOFF, Shutoff.UNKNOWN, later.boot_id, seen.log_exists and seen.reason != Shutoff.FAILED),
    )
    assert after == status


@pytest.mark.parametrize(
    ("reason", "since", "lost"),
    [(OffReason.HOST, 77, (77, 99)), (OffReason.HOST, 0, (0, 0)), (OffReason.CRASHED, 77, (0, 0))],
)
def test_a_loss_of_the_host_is_noted_until_another_start(reason, since, lost):
    status = MachineStatus(ID, Power.OFF, 5, 0, reason, off_since=since)
    noted = with_loss(record(lost_since=1, lost_until=2), status, 99)
    assert (noted.lost_since, noted.lost_until) == lost
    running = status_of(ID, noted, view(State.RUNNING))
    assert (running.lost_since, running.lost_until) == lost
    ended = status_of(ID, noted, view())
    assert (ended.lost_since, ended.lost_until) == (0, 0), "it is of one that runs"


def test_what_was_never_started_has_no_end_to_note():
    never = Record("us")
    assert with_off_seen(never, status_of(ID, never, view(log=False))) == never


def test_a_running_machine_has_no_end_to_note():
    assert with_off_seen(record(), status_of(ID, record(), view(State.RUNNING))) == record()


@given(st.text("0123456789abcdef", min_size=17, max_size=17))
def test_uuids_and_user_ids(digits):
    found = uuid_of(f"i-{digits}")
    assert str(found).startswith("ec2")
    assert (found.version, found.variant) == (8, "specified in RFC 4122")
    assert found == uuid_of(f"i-{digits}")
    assert 0x70000000 <= uid_of(f"i-{digits}") < 0x78000000


def test_different_machines_differ():
    names = [f"i-{number:017x}" for number in range(500)]
    assert len({uuid_of(name) for name in names}) == 500
    assert len({uid_of(name) for name in names}) == 500
