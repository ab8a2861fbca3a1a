"""Event windows: create, change, find and remove them, and say of which instances' scheduled events they are.

What is scheduled already is never moved by a change of a window. See
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/event-windows.html.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import delete, func, select

from stead_controller.catalog import ids
from stead_controller.db.tables import DedicatedHost, EventWindowTarget, Instance, InstanceEventWindow
from stead_controller.errors import (
    AlreadyExists,
    InUse,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MissingParameter,
)
from stead_controller.placement.tenancy import HOST
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection, among, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.instances import event_window_times
from stead_controller.resources.instances.event_window_times import DAYS, WEEK

type Window = InstanceEventWindow
"""The row of a window."""

RESOURCE: Final = "instance-event-window"

MOST: Final = 200
"""The most windows of an account."""

INSTANCE: Final = "instance"
DEDICATED_HOST: Final = "dedicated-host"
TAG: Final = "tag"
"""The kinds of targets."""

_MOST_TARGETS: Final = {INSTANCE: 100, DEDICATED_HOST: 50, TAG: 50}
_MOST_RANGES: Final = WEEK // 2
_MOST_NAME: Final = 255
_MOST_KEY: Final = 127
_MOST_VALUE: Final = 256


def _of_target(kind: str, column: Any) -> Condition:
    query = select(EventWindowTarget.window_id).where(EventWindowTarget.kind == kind)
    return among(InstanceEventWindow.id, query, text(column), owner=EventWindowTarget.account_id)


FILTERS: Final[Mapping[str, Condition]] = {
    "dedicated-host-id": _of_target(DEDICATED_HOST, EventWindowTarget.name),
    "event-window-name": text(InstanceEventWindow.name),
    "instance-id": _of_target(INSTANCE, EventWindowTarget.name),
    "instance-tag": _of_target(TAG, EventWindowTarget.name + "=" + EventWindowTarget.value),
    "instance-tag-key": _of_target(TAG, EventWindowTarget.name),
    "instance-tag-value": _of_target(TAG, EventWindowTarget.value),
}
"""All filters by name, without those about the windows' own tags."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range of a week as a request says it: days by their English names, hours 0 to 23; None for what is missing."""

    start_day: str | None
    start_hour: int | None
    end_day: str | None
    end_hour: int | None


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """A window as a request describes it; None for what is not in the request."""

    name: str | None = None
    ranges: Sequence[TimeRange] | None = None
    cron: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Targets:
    """What a window is for: ids of instances or of Dedicated Hosts, or tags of instances as key and value."""

    instance_ids: Sequence[str] = ()
    dedicated_host_ids: Sequence[str] = ()
    tags: Sequence[tuple[str, str]] = ()

    def keys(self) -> list[tuple[str, str, str]]:
        """List kind, name and value of each, once."""
        named = [(INSTANCE, one, "") for one in self.instance_ids]
        named += [(DEDICATED_HOST, one, "") for one in self.dedicated_host_ids]
        return list(dict.fromkeys(named + [(TAG, key, value) for key, value in self.tags]))


@dataclass(frozen=True, slots=True)
class DescribedWindow:
    """A window with its targets and its own tags."""

    row: Window
    targets: Targets
    tags: Sequence[tuple[str, str]]


def create(tx: Transaction, caller: Caller, asked: WindowRequest) -> DescribedWindow:
    """Make a window for which there are no targets yet.

    Raises MissingParameter, InvalidCombination, InvalidParameter for times that EC2 does not take, LimitExceeded.
    """
    if asked.ranges is None and asked.cron is None:
        raise MissingParameter("TimeRange")
    mine = select(InstanceEventWindow.id).where(InstanceEventWindow.account_id == caller.account_id)
    there = mine.limit(MOST).subquery()
    if tx.session.scalars(select(func.count()).select_from(there)).one() >= MOST:
        raise LimitExceeded(f"You have reached the limit of {MOST} event windows.")
    made = InstanceEventWindow(id=ids.new_id(RESOURCE), account_id=caller.account_id, time_ranges=[])
    _describe_as(made, asked)
    tx.session.add(made)
    tags.create_on_launch(tx, caller, [(RESOURCE, made.id)], {RESOURCE: asked.tags})
    return _described(tx, caller, [made])[0]


def modify(tx: Transaction, caller: Caller, window_id: str, asked: WindowRequest) -> DescribedWindow:
    """Change the name or the times of a window; raises as `create`, MalformedId, NotFound."""
    window = lookup.find(tx, caller, RESOURCE, InstanceEventWindow, window_id)
    if asked.name is None and asked.ranges is None and asked.cron is None:
        raise MissingParameter("TimeRange")
    _describe_as(window, asked)
    return _described(tx, caller, [window])[0]


def remove(tx: Transaction, caller: Caller, window_id: str, *, force: bool) -> None:
    """Delete a window; raises MalformedId, NotFound, and InUse if it has targets, unless by `force`."""
    window = lookup.find(tx, caller, RESOURCE, InstanceEventWindow, window_id)
    if not force and _targets(tx, [window.id]):
        raise InUse(f"The event window '{window.id}' has targets. Disassociate them, or set ForceDelete.")
    tags.remove_all(tx, [window.id])
    tx.session.execute(delete(EventWindowTarget).where(EventWindowTarget.window_id == window.id))
    tx.session.execute(delete(InstanceEventWindow).where(InstanceEventWindow.id == window.id))


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedWindow]:
    """List the caller's windows, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, RESOURCE, InstanceEventWindow, asked, conditions=FILTERS)
    return _described(tx, caller, found)


def associate(tx: Transaction, caller: Caller, window_id: str, asked: Targets) -> DescribedWindow:
    """Add targets to a window.

    Raises MalformedId, NotFound, MissingParameter, InvalidCombination for targets of several kinds, InvalidParameter,
    LimitExceeded, AlreadyExists for a target that has another window.
    """
    window = lookup.find(tx, caller, RESOURCE, InstanceEventWindow, window_id)
    kind, keys = _one_kind(asked)
    _check_targets(tx, caller, asked)
    there = {(row.kind, row.name, row.value) for row in _targets(tx, [window.id])}
    if any(other != kind for other, _, _ in there):
        raise InvalidCombination(f"The event window '{window.id}' has targets of another type.")
    new = [key for key in keys if key not in there]
    if len(there) + len(new) > _MOST_TARGETS[kind]:
        raise LimitExceeded(f"An event window can have at most {_MOST_TARGETS[kind]} targets of this type.")
    for _, name, value in new:
        key = (caller.account_id, kind, name, value)
        elsewhere = tx.session.get(EventWindowTarget, key)
        if elsewhere is not None:
            shown = f"{name}={value}" if kind == TAG else name
            raise AlreadyExists(RESOURCE, f"'{shown}' is associated with the event window '{elsewhere.window_id}'.")
        row = EventWindowTarget(account_id=caller.account_id, kind=kind, name=name, value=value, window_id=window.id)
        tx.session.add(row)
    tx.session.flush()
    return _described(tx, caller, [window])[0]


def disassociate(tx: Transaction, caller: Caller, window_id: str, asked: Targets) -> DescribedWindow:
    """Remove targets from a window; raises as `associate`, and InvalidParameter for what is no target of it."""
    window = lookup.find(tx, caller, RESOURCE, InstanceEventWindow, window_id)
    _, keys = _one_kind(asked)
    there = {(row.kind, row.name, row.value): row for row in _targets(tx, [window.id])}
    absent = [name for kind, name, value in keys if (kind, name, value) not in there]
    if absent:
        _require(tx, caller, asked)
        raise InvalidParameter(f"'{absent[0]}' is not associated with the event window '{window.id}'.")
    for key in keys:
        tx.session.delete(there[key])
    tx.session.flush()
    return _described(tx, caller, [window])[0]


def hours_of(tx: Transaction, instance: Instance) -> frozenset[int] | None:
    """Return the hours of the week of an instance's window; None if it has none.

    The window of its Dedicated Host comes first, then its own, then that of its tags, of the first key that has one.
    """
    on_host = instance.tenancy == HOST and instance.dedicated_host_id is not None
    keys = [(DEDICATED_HOST, instance.dedicated_host_id)] if on_host else []
    for kind, name in [*keys, (INSTANCE, instance.id)]:
        target = tx.session.get(EventWindowTarget, (instance.account_id, kind, name, ""))
        if target is not None:
            return _hours(tx.session.get_one(InstanceEventWindow, target.window_id))
    for key, value in tags.pairs_of(tx, instance.account_id, [instance.id]).get(instance.id, ()):
        target = tx.session.get(EventWindowTarget, (instance.account_id, TAG, key, value))
        if target is not None:
            return _hours(tx.session.get_one(InstanceEventWindow, target.window_id))
    return None


def forget_instances(tx: Transaction, instance_ids: Sequence[str]) -> None:
    """Take instances out of their windows, before their rows are deleted."""
    _forget(tx, INSTANCE, instance_ids, Instance)


def forget_dedicated_hosts(tx: Transaction, host_ids: Sequence[str]) -> None:
    """Take Dedicated Hosts out of their windows, before their rows are deleted."""
    _forget(tx, DEDICATED_HOST, host_ids, DedicatedHost)


def _forget(tx: Transaction, kind: str, resource_ids: Sequence[str], table: Any) -> None:
    owners = select(table.account_id).where(table.id.in_(resource_ids))
    gone = (EventWindowTarget.account_id.in_(owners), EventWindowTarget.kind == kind)
    tx.session.execute(delete(EventWindowTarget).where(*gone, EventWindowTarget.name.in_(resource_ids)))


def _describe_as(window: Window, asked: WindowRequest) -> None:
    """Give a window the name and the times of a request."""
    if asked.ranges is not None and asked.cron is not None:
        raise InvalidCombination("The parameters TimeRange and CronExpression cannot be used together.")
    if asked.name is not None:
        if len(asked.name) > _MOST_NAME:
            raise InvalidParameter(f"The name of an event window has at most {_MOST_NAME} characters.")
        window.name = asked.name
    if asked.ranges is not None:
        if len(asked.ranges) > _MOST_RANGES:
            raise InvalidParameter(f"An event window can have at most {_MOST_RANGES} time ranges.")
        window.time_ranges, window.cron_expression = [_bounds(one) for one in asked.ranges], None
    if asked.cron is not None:
        window.time_ranges, window.cron_expression = [], asked.cron
    _hours(window)


def _hours(window: Window) -> frozenset[int]:
    """Return the hours of the week of a window; raises InvalidParameter for times that none can have."""
    if window.cron_expression is not None:
        return event_window_times.of_cron(window.cron_expression)
    return event_window_times.of_ranges((start, end) for start, end in window.time_ranges)


def _bounds(asked: TimeRange) -> tuple[int, int]:
    """Return the hours of the week at which a range begins and ends; raises MissingParameter, InvalidParameter."""
    start = _hour_of_week("Start", asked.start_day, asked.start_hour)
    return start, _hour_of_week("End", asked.end_day, asked.end_hour)


def _hour_of_week(which: str, day: str | None, hour: int | None) -> int:
    if day is None or hour is None:
        raise MissingParameter(f"TimeRange.{which}{'WeekDay' if day is None else 'Hour'}")
    if day not in DAYS:
        raise InvalidParameter(f"Value ({day}) for parameter {which}WeekDay is invalid. Expecting: {', '.join(DAYS)}.")
    if not 0 <= hour < 24:
        raise InvalidParameter(f"Value ({hour}) for parameter {which}Hour is invalid. Expecting 0 to 23.")
    return DAYS.index(day) * 24 + hour


def _one_kind(asked: Targets) -> tuple[str, list[tuple[str, str, str]]]:
    """Return the only kind of a request's targets, and each of them."""
    keys = asked.keys()
    kinds = {kind for kind, _, _ in keys}
    if len(kinds) > 1:
        raise InvalidCombination("Only one type of target can be specified: instances, Dedicated Hosts or tags.")
    if not keys:
        raise MissingParameter("AssociationTarget")
    return kinds.pop(), keys


def _check_targets(tx: Transaction, caller: Caller, asked: Targets) -> None:
    """Raise if a window cannot be for some targets: NotFound, InvalidParameter."""
    _require(tx, caller, asked)
    shared = select(Instance.id).where(Instance.id.in_(asked.instance_ids), Instance.tenancy == HOST)
    on_host = tx.session.scalar(shared.limit(1)) if asked.instance_ids else None
    if on_host is not None:
        raise InvalidParameter(f"The instance '{on_host}' is on a Dedicated Host. Specify the host instead.")
    for key, value in asked.tags:
        if not 1 <= len(key) <= _MOST_KEY or len(value) > _MOST_VALUE:
            raise InvalidParameter(
                f"A tag has a key of 1 to {_MOST_KEY} characters and a value of at most {_MOST_VALUE}."
            )


def _require(tx: Transaction, caller: Caller, asked: Targets) -> None:
    """Raise MalformedId or NotFound for instances and Dedicated Hosts that the caller has not, or not any more."""
    mine, there = Instance.account_id == caller.account_id, Instance.state != "terminated"
    lookup.require(tx, "instance", Instance.id, asked.instance_ids, mine, there)
    own, allocated = DedicatedHost.account_id == caller.account_id, DedicatedHost.ended.is_(None)
    lookup.require(tx, "dedicated-host", DedicatedHost.id, asked.dedicated_host_ids, own, allocated)


def _targets(tx: Transaction, window_ids: Iterable[str]) -> list[EventWindowTarget]:
    found: list[EventWindowTarget] = []
    for batch in lookup.batches(window_ids):
        query = select(EventWindowTarget).where(EventWindowTarget.window_id.in_(batch))
        order = (EventWindowTarget.window_id, EventWindowTarget.kind, EventWindowTarget.name, EventWindowTarget.value)
        found += tx.session.scalars(query.order_by(*order))
    return found


def _described(tx: Transaction, caller: Caller, windows: Sequence[Window]) -> list[DescribedWindow]:
    window_ids = [window.id for window in windows]
    tagged = tags.pairs_of(tx, caller.account_id, window_ids)
    of: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for row in _targets(tx, window_ids):
        of[row.window_id, row.kind].append((row.name, row.value))
    return [
        DescribedWindow(
            window,
            Targets(
                [name for name, _ in of[window.id, INSTANCE]],
                [name for name, _ in of[window.id, DEDICATED_HOST]],
                of[window.id, TAG],
            ),
            tagged.get(window.id, ()),
        )
        for window in windows
    ]
