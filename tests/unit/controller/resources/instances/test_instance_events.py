"""Scheduled events: a host is to be drained at a time, of which its instances' users know and which they may move."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stead_controller.db.tables import Instance, InstanceEvent
from stead_controller.errors import InvalidParameter, MalformedId, NotFound, SteadError
from stead_controller.resources.instances import instance_event_windows, instance_events
from stead_controller.resources.instances.instance_event_windows import Targets, WindowRequest
from stead_proto.v1 import desired_pb2 as desired
from tests.support import rows
from tests.support.life import Life
from tests.support.rows import NOW

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


class Announced:
    """A host that is to be drained in a day, with one running instance."""

    def __init__(self, life: Life) -> None:
        self.life, self.host_id = life, life.world.host_id
        self.instance_id = self.launch()
        self.schedule()

    def launch(self) -> str:
        [made] = self.life.launch()
        self.life.is_running(made)
        return str(made)

    def schedule(self, not_before: Any = NOW + DAY, deadline: Any = NOW + 3 * DAY, now: Any = NOW) -> None:
        self.life.run(instance_events.schedule_stops, self.host_id, not_before, deadline, now)

    @property
    def event(self) -> InstanceEvent:
        (found,) = self.life.run(instance_events.of_instance, self.instance_id)
        return found  # type: ignore[no-any-return]  # `run` is for every function

    @property
    def instance(self) -> Instance:
        found: Instance = self.life.instance(self.instance_id)
        return found

    def sent(self) -> list[tuple[str, str, int]]:
        events = self.life.wanted()[0][self.instance_id].machine.metadata.events
        return [(event.id, event.state, event.not_before) for event in events]

    def move(self, not_before: Any, now: Any = NOW) -> None:
        ids = (self.instance_id, self.event.id)
        self.life.run(instance_events.modify_start, self.life.caller, *ids, not_before, now)

    def add_like_it(self, **changes: Any) -> None:
        """Add another event, which differs from the first in this."""
        first = self.life.run(instance_events.of_instance, self.instance_id)[0]
        named = {column.name: getattr(first, column.name) for column in InstanceEvent.__table__.columns}
        self.life.run(lambda tx: tx.session.add(InstanceEvent(**named | changes)))

    def carry_out(self, now: Any) -> None:
        self.life.run(instance_events.carry_out, now)


@pytest.fixture
def announced(life: Life) -> Announced:
    return Announced(life)


def test_each_instance_that_runs_there_has_an_event(announced: Announced) -> None:
    event = announced.event
    assert (event.code, event.state, event.ended) == ("instance-stop", "active", None)
    assert (event.not_before, event.not_before_deadline) == (NOW + DAY, NOW + 3 * DAY)
    assert announced.sent() == [(event.id, "active", int((NOW + DAY).timestamp()))]
    assert announced.instance.has_events


def test_only_what_runs_on_that_host_is_concerned(announced: Announced) -> None:
    life, other = announced.life, rows.host(hostname="box2")
    life.run(lambda tx: tx.session.add(other))
    elsewhere, stopped, ended = (announced.launch() for _ in range(3))

    def change(tx: Any) -> None:
        tx.session.get_one(Instance, elsewhere).host_id = other.id
        tx.session.get_one(Instance, stopped).state = "stopped"
        tx.session.get_one(Instance, ended).state = "shutting-down"

    life.run(change)
    announced.schedule()
    for instance_id in (elsewhere, stopped, ended):
        assert life.run(instance_events.of_instance, instance_id) == []


def test_an_instance_that_has_an_event_of_another_host_has_one_of_this_one_too(announced: Announced) -> None:
    other = rows.host(hostname="box2")
    announced.life.run(lambda tx: tx.session.add(other))
    announced.life.run(lambda tx: tx.session.query(InstanceEvent).update({"host_id": other.id}))
    announced.schedule(NOW + 2 * DAY)
    events = announced.life.run(instance_events.of_instance, announced.instance_id)
    assert [(one.host_id, one.not_before) for one in events] == [
        (other.id, NOW + DAY),
        (announced.host_id, NOW + 2 * DAY),
    ]


def test_another_time_is_the_same_event(announced: Announced) -> None:
    first = announced.event.id
    announced.schedule(NOW + 2 * DAY, None)
    assert (announced.event.id, announced.event.not_before) == (first, NOW + 2 * DAY)
    assert announced.event.not_before_deadline is None


def test_a_time_must_be_ahead_and_before_the_latest(announced: Announced) -> None:
    with pytest.raises(InvalidParameter, match="is past"):
        announced.schedule(NOW)
    with pytest.raises(InvalidParameter, match="latest time"):
        announced.schedule(NOW + DAY, NOW + DAY - SECOND)
    announced.schedule(NOW + SECOND, NOW + SECOND)
    assert announced.event.not_before == NOW + SECOND


def test_the_instance_is_stopped_at_the_time_and_not_before(announced: Announced) -> None:
    announced.carry_out(NOW + DAY - SECOND)
    assert (announced.instance.state, announced.event.state) == ("running", "active")
    for _ in range(2):
        announced.carry_out(NOW + DAY)
    assert (announced.instance.state, announced.instance.state_reason_code) == ("stopping", "Server.ScheduledStop")
    event = announced.event
    assert (event.state, event.ended) == ("completed", NOW + DAY)
    assert event.description == "[Completed] The instance is on a host that is to be taken out of service"
    machine = announced.life.wanted()[0][announced.instance_id].machine
    assert machine.power == desired.POWER_STOPPED
    assert [one.state for one in machine.metadata.events] == ["completed"]


@pytest.mark.parametrize("state", ["stopped", "stopping", "terminated"])
def test_what_does_not_run_then_is_left_alone(announced: Announced, state: str) -> None:
    announced.life.run(lambda tx: setattr(tx.session.get_one(Instance, announced.instance_id), "state", state))
    announced.carry_out(NOW + DAY)
    assert (announced.instance.state, announced.event.state) == (state, "canceled")
    assert announced.event.description.startswith("[Canceled] The instance")


def test_what_is_on_another_host_by_then_is_left_alone(announced: Announced) -> None:
    life, other = announced.life, rows.host(hostname="box2")
    life.run(lambda tx: tx.session.add(other))
    life.run(lambda tx: setattr(tx.session.get_one(Instance, announced.instance_id), "host_id", other.id))
    life.run(lambda tx: instance_events.leave_host(tx, tx.session.get_one(Instance, announced.instance_id), NOW))
    assert announced.event.state == "canceled"
    announced.carry_out(NOW + DAY)
    assert announced.instance.state == "running"


def test_what_is_elsewhere_or_no_more_is_not_stopped_though_its_event_is_there(announced: Announced) -> None:
    life, other = announced.life, rows.host(hostname="box2")
    life.run(lambda tx: tx.session.add(other))
    life.run(lambda tx: setattr(tx.session.get_one(Instance, announced.instance_id), "host_id", other.id))
    announced.add_like_it(id="instance-event-0123456789abcdef0", instance_id="i-0123456789abcdef0")
    announced.carry_out(NOW + DAY)
    assert (announced.instance.state, announced.event.state) == ("running", "canceled")
    (of_nobody,) = life.run(instance_events.of_instance, "i-0123456789abcdef0")
    assert of_nobody.state == "canceled"


def test_what_is_over_stays_as_it_ended(announced: Announced) -> None:
    life, other = announced.life, rows.host(hostname="box2")
    life.run(lambda tx: tx.session.add(other))
    announced.carry_out(NOW + DAY)
    ended = announced.event.state, announced.event.ended, announced.event.description

    def leave(tx: Any) -> None:
        instance = tx.session.get_one(Instance, announced.instance_id)
        instance.host_id = other.id
        instance_events.leave_host(tx, instance, NOW + 2 * DAY)

    life.run(leave)
    assert (announced.event.state, announced.event.ended, announced.event.description) == ended


def test_the_earliest_event_is_the_first(announced: Announced) -> None:
    announced.add_like_it(id="instance-event-fffffffffffffffff", not_before=NOW + DAY - SECOND)
    first, second = announced.life.run(instance_events.of_instance, announced.instance_id)
    assert (first.not_before, second.not_before) == (NOW + DAY - SECOND, NOW + DAY)


def test_only_events_of_the_instances_that_are_meant_are_read(announced: Announced) -> None:
    another = announced.launch()
    announced.schedule()
    assert announced.life.run(instance_events.of_instances, [another]).keys() == {another}


def test_of_an_instance_that_never_had_one_no_events_are_read(announced: Announced, statements: list[str]) -> None:
    life, other = announced.life, announced.launch()
    statements.clear()
    life.run(lambda tx: instance_events.leave_host(tx, tx.session.get_one(Instance, other), NOW))
    assert not [one for one in statements if "instance_events" in one]


def test_an_instance_that_starts_on_the_same_host_is_still_concerned(announced: Announced) -> None:
    life = announced.life
    life.run(lambda tx: instance_events.leave_host(tx, tx.session.get_one(Instance, announced.instance_id), NOW))
    assert announced.event.state == "active"


def test_a_host_that_stays_in_service_or_is_drained_now_ends_the_events(announced: Announced) -> None:
    announced.life.run(instance_events.cancel, "h-00000000000000009", NOW)
    assert announced.event.state == "active"
    announced.life.run(instance_events.cancel, announced.host_id, NOW)
    assert (announced.event.state, announced.event.ended) == ("canceled", NOW)
    assert [state for _, state, _ in announced.sent()] == ["canceled"]
    announced.schedule()
    events = announced.life.run(instance_events.of_instance, announced.instance_id)
    assert sorted(event.state for event in events) == ["active", "canceled"]
    announced.life.run(instance_events.complete, announced.host_id, NOW + MINUTE)
    events = announced.life.run(instance_events.of_instance, announced.instance_id)
    assert sorted((event.state, event.ended) for event in events) == [
        ("canceled", NOW),
        ("completed", NOW + MINUTE),
    ]


def test_its_user_chooses_another_time(announced: Announced) -> None:
    announced.move(NOW + 60 * MINUTE)
    assert announced.event.not_before == NOW + 60 * MINUTE
    announced.move(NOW + 3 * DAY)
    assert announced.sent()[0][2] == int((NOW + 3 * DAY).timestamp())
    announced.carry_out(NOW + DAY)
    assert announced.instance.state == "running"


def refused(announced: Announced, error: type[SteadError], *times: Any, words: str = "") -> None:
    before = announced.event.not_before
    with pytest.raises(error, match=words) as refusal:
        announced.move(*times)
    if error is InvalidParameter:
        assert refusal.value.code == "InvalidInstanceEventStartTime"
    assert announced.event.not_before == before


def test_a_time_that_ec2_would_not_allow_is_refused(announced: Announced) -> None:
    refused(announced, InvalidParameter, NOW + 60 * MINUTE - SECOND, words="60 minutes")
    refused(announced, InvalidParameter, NOW + 3 * DAY + SECOND, words="after the deadline")
    soon = NOW + DAY - 5 * MINUTE
    refused(announced, InvalidParameter, NOW + 2 * DAY, soon, words="cannot be rescheduled")
    announced.move(NOW + 2 * DAY, soon - SECOND)
    announced.schedule(NOW + DAY, None)
    refused(announced, InvalidParameter, NOW + 2 * DAY, words="cannot be rescheduled")
    announced.schedule()
    announced.life.run(instance_events.cancel, announced.host_id, NOW)
    refused(announced, InvalidParameter, NOW + 2 * DAY, words="cannot be rescheduled")


def test_only_own_events_of_that_instance_are_found(announced: Announced) -> None:
    modify, life, event_id = instance_events.modify_start, announced.life, announced.event.id
    other = announced.launch()
    later = NOW + 2 * DAY
    with pytest.raises(NotFound):
        life.run(modify, life.caller, other, event_id, later, NOW)
    with pytest.raises(NotFound):
        life.run(modify, life.world.other.caller, announced.instance_id, event_id, later, NOW)
    with pytest.raises(NotFound):
        life.run(modify, life.caller, announced.instance_id, "instance-event-00000000000000000", later, NOW)
    with pytest.raises(MalformedId):
        life.run(modify, life.caller, "i-x", event_id, later, NOW)


def test_an_ended_event_is_shown_for_a_week(announced: Announced, statements: list[str]) -> None:
    announced.carry_out(NOW + DAY)
    statements.clear()
    announced.life.run(instance_events.forget_old, NOW + 8 * DAY - SECOND)
    assert not [one for one in statements if one.startswith(("DELETE", "UPDATE"))], "nor is anything sent anew"
    assert announced.event.state == "completed"
    announced.schedule(NOW + 9 * DAY, None, NOW + 2 * DAY)  # of the instance, that is stopping: none
    announced.life.run(instance_events.forget_old, NOW + 8 * DAY)
    assert announced.life.run(instance_events.of_instance, announced.instance_id) == []
    assert not announced.instance.has_events
    assert announced.sent() == []


def test_only_what_is_old_is_forgotten(announced: Announced) -> None:
    announced.life.run(instance_events.cancel, announced.host_id, NOW)
    younger, of_nobody = "instance-event-fffffffffffffffff", "instance-event-eeeeeeeeeeeeeeeee"
    announced.add_like_it(id=younger, ended=NOW + SECOND)
    announced.add_like_it(id=of_nobody, instance_id="i-0123456789abcdef0")
    other = announced.launch()
    announced.schedule()
    announced.life.run(instance_events.forget_old, NOW + 7 * DAY)
    left = announced.life.run(instance_events.of_instance, announced.instance_id)
    assert sorted(str(one.ended) for one in left) == sorted(map(str, (NOW + SECOND, None)))
    assert announced.instance.has_events
    assert [len(announced.life.run(instance_events.of_instance, one)) for one in (other, "i-0123456789abcdef0")] == [
        1,
        0,
    ]


def test_an_active_event_is_never_old(announced: Announced) -> None:
    announced.life.run(instance_events.forget_old, NOW + 30 * DAY)
    assert announced.event.state == "active"
    announced.life.run(instance_events.forget, ["i-00000000000000009"])
    assert announced.event.state == "active"
    announced.life.run(instance_events.forget, [announced.instance_id])
    assert announced.life.run(instance_events.of_instance, announced.instance_id) == []


def in_window(announced: Announced, cron: str, deadline: Any) -> Any:
    """When the instance's event is, if it has such a window."""
    life = announced.life
    windows, targets = instance_event_windows, Targets(instance_ids=[announced.instance_id])
    made = life.run(windows.create, life.caller, WindowRequest(cron=cron))
    life.run(windows.associate, life.caller, made.row.id, targets)
    announced.schedule(deadline=deadline)
    life.run(windows.remove, life.caller, made.row.id, force=True)
    assert announced.event.not_before_deadline == deadline
    return announced.event.not_before


def test_the_event_is_in_the_window_of_its_instance(announced: Announced) -> None:
    planned = NOW + DAY  # a Thursday, 05:06:07
    opens = datetime(2026, 3, 6, 18, tzinfo=UTC)
    for deadline, start in {opens + SECOND: opens, opens: opens, opens - SECOND: planned, None: planned}.items():
        assert in_window(announced, "* 18-23 * * FRI", deadline) == start
    assert in_window(announced, "* 2-8 * * 4", planned + DAY) == planned
    assert announced.sent()[0][2] == int(planned.timestamp())
    assert in_window(announced, "* 6-10 * * 4", planned + DAY) == datetime(2026, 3, 5, 6, tzinfo=UTC)
    assert announced.sent()[0][2] == int(datetime(2026, 3, 5, 6, tzinfo=UTC).timestamp())
    another = announced.launch()
    announced.schedule()
    assert announced.life.run(instance_events.of_instance, another)[0].not_before == planned
