"""Scheduled events: what an operator will do to an instance, and when; its user may move it up to a deadline.

Draining a host at a time stops its instances then. See
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instances-status-check_sched.html.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select

from stead_controller.catalog import ids
from stead_controller.db.tables import Instance, InstanceEvent
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, among, instant, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import event_window_times, instance_event_windows
from stead_controller.resources.instances.stop_instances import scheduled_stop

type Event = InstanceEvent
"""The row of an event."""

RESOURCE: Final = "instance-event"
STOP: Final = "instance-stop"

_DESCRIPTION: Final = "The instance is on a host that is to be taken out of service"
_ACTIVE: Final = "active"
_AT_ONCE: Final = 100
_SHOWN: Final = timedelta(days=7)
_TOO_SOON: Final = timedelta(minutes=5)
_LEAST_NOTICE: Final = timedelta(minutes=60)
_RUNNING: Final = ("pending", "running")


def _of_event(inner: Condition) -> Condition:
    return among(Instance.id, select(InstanceEvent.instance_id), inner, owner=InstanceEvent.account_id)


FILTERS: Final[dict[str, Condition]] = {
    "event.code": _of_event(text(InstanceEvent.code)),
    "event.description": _of_event(text(InstanceEvent.description)),
    "event.instance-event-id": _of_event(text(InstanceEvent.id)),
    "event.not-before": _of_event(instant(InstanceEvent.not_before)),
    "event.not-before-deadline": _of_event(instant(InstanceEvent.not_before_deadline)),
}
"""Filters of instances by their events."""


def schedule_stops(
    tx: Transaction, host_id: str, not_before: datetime, deadline: datetime | None, now: datetime
) -> None:
    """Schedule the stop of all instances that run on a host, at a time that their users may move up to the deadline.

    An instance that has an event window is stopped in it, if it opens before the deadline. Those that have such an
    event get the new time. Raises InvalidParameter for a time that is past, or after the deadline.
    """
    if not_before <= now:
        raise InvalidParameter("The time at which the host is to be drained is past.")
    if deadline is not None and deadline < not_before:
        raise InvalidParameter("The latest time is before the time at which the host is to be drained.")
    running = select(Instance).where(Instance.host_id == host_id, Instance.state.in_(_RUNNING))
    for instance in tx.session.scalars(running).all():
        event = next((one for one in of_instance(tx, instance.id) if _concerns(one, host_id)), None)
        if event is None:
            event = InstanceEvent(
                id=ids.new_id(RESOURCE),
                account_id=instance.account_id,
                instance_id=instance.id,
                host_id=host_id,
                code=STOP,
                description=_DESCRIPTION,
                state=_ACTIVE,
            )
            tx.session.add(event)
        event.not_before = _in_window(tx, instance, not_before, deadline)
        event.not_before_deadline = deadline
        instance.has_events = True
        desired_state.refresh_instance(tx, instance.id)


def carry_out(tx: Transaction, now: datetime) -> None:
    """Stop the instances whose time has come, some at once; to be repeated. One that is not there is left alone."""
    due = select(InstanceEvent).where(InstanceEvent.state == _ACTIVE, InstanceEvent.not_before <= now)
    for event in tx.session.scalars(due.order_by(InstanceEvent.not_before).limit(_AT_ONCE)).all():
        instance = tx.session.get(Instance, event.instance_id)
        if instance is not None and instance.host_id == event.host_id and instance.state in _RUNNING:
            _end(tx, event, "completed", now)
            scheduled_stop(tx, instance, now)
        else:
            _end(tx, event, "canceled", now)


def complete(tx: Transaction, host_id: str, now: datetime) -> None:
    """End the events of a host's instances, since what they announce is done now."""
    _end_all(tx, host_id, "completed", now)


def cancel(tx: Transaction, host_id: str, now: datetime) -> None:
    """Cancel the events of a host's instances: it stays in service."""
    _end_all(tx, host_id, "canceled", now)


def leave_host(tx: Transaction, instance: Instance, now: datetime) -> None:
    """Cancel the events of an instance that is on another host now."""
    if not instance.has_events:
        return
    for event in of_instance(tx, instance.id):
        if event.state == _ACTIVE and event.host_id != instance.host_id:
            _end(tx, event, "canceled", now)


def modify_start(  # noqa: PLR0917 - what the operation asks
    tx: Transaction, caller: Caller, instance_id: str, event_id: str, not_before: datetime, now: datetime
) -> Event:
    """Choose another time for an event; raises MalformedId, NotFound, InvalidParameter where EC2 allows it not."""
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    event = next((one for one in of_instance(tx, instance.id) if one.id == event_id), None)
    if event is None:
        raise NotFound(RESOURCE, event_id)
    if event.state != _ACTIVE or event.not_before_deadline is None or event.not_before <= now + _TOO_SOON:
        raise _bad_time(f"The event '{event.id}' cannot be rescheduled.")
    if not_before < now + _LEAST_NOTICE:
        raise _bad_time("The new start time must be at least 60 minutes from now.")
    if not_before > event.not_before_deadline:
        raise _bad_time(f"The new start time is after the deadline, {event.not_before_deadline:%Y-%m-%dT%H:%M:%SZ}.")
    event.not_before = not_before
    desired_state.refresh_instance(tx, instance.id)
    return event


def of_instance(tx: Transaction, instance_id: str) -> list[InstanceEvent]:
    """Return the events of an instance, the earliest first."""
    return list(of_instances(tx, [instance_id]).get(instance_id, ()))


def of_instances(tx: Transaction, instance_ids: Iterable[str]) -> Mapping[str, Sequence[InstanceEvent]]:
    """Return the events of instances, by instance, the earliest first."""
    found: defaultdict[str, list[InstanceEvent]] = defaultdict(list)
    for batch in lookup.batches(instance_ids):
        mine = select(InstanceEvent).where(InstanceEvent.instance_id.in_(batch))
        for event in tx.session.scalars(mine.order_by(InstanceEvent.not_before, InstanceEvent.id)):
            found[event.instance_id].append(event)
    return found


def forget_old(tx: Transaction, now: datetime) -> None:
    """Delete events that ended a week ago."""
    old = select(InstanceEvent.instance_id).where(InstanceEvent.ended <= now - _SHOWN)
    for instance_id in sorted(set(tx.session.scalars(old))):
        gone = (InstanceEvent.instance_id == instance_id, InstanceEvent.ended <= now - _SHOWN)
        tx.session.execute(delete(InstanceEvent).where(*gone))
        instance = tx.session.get(Instance, instance_id)
        if instance is not None:
            instance.has_events = bool(of_instance(tx, instance_id))
            desired_state.refresh_instance(tx, instance_id)


def forget(tx: Transaction, instance_ids: Collection[str]) -> None:
    """Delete the events of instances whose rows are deleted."""
    tx.session.execute(delete(InstanceEvent).where(InstanceEvent.instance_id.in_(instance_ids)))


def _in_window(tx: Transaction, instance: Instance, not_before: datetime, deadline: datetime | None) -> datetime:
    """Return when an instance's event is: in its window if that opens before the deadline, else when the cloud says."""
    if deadline is None:
        return not_before
    hours = instance_event_windows.hours_of(tx, instance)
    if hours is None:
        return not_before
    opened = event_window_times.first_time(hours, not_before)
    return opened if opened <= deadline else not_before


def _concerns(event: InstanceEvent, host_id: str) -> bool:
    return event.state == _ACTIVE and event.host_id == host_id


def _end_all(tx: Transaction, host_id: str, state: str, now: datetime) -> None:
    active = select(InstanceEvent).where(InstanceEvent.host_id == host_id, InstanceEvent.state == _ACTIVE)
    for event in tx.session.scalars(active.order_by(InstanceEvent.id)).all():
        _end(tx, event, state, now)


def _end(tx: Transaction, event: InstanceEvent, state: str, now: datetime) -> None:
    event.state, event.ended = state, now
    event.description = f"[{state.capitalize()}] {event.description}"
    if tx.session.get(Instance, event.instance_id) is not None:
        desired_state.refresh_instance(tx, event.instance_id)


def _bad_time(message: str) -> InvalidParameter:
    return InvalidParameter(message, code="InvalidInstanceEventStartTime")
