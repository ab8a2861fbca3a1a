"""Requests for Spot Instances that wait for room, and their launch once there is some.

A request and its instance are written in one transaction, which finds that the request still waits: so it never gets a
second one, whichever controller tries, and however often one is killed. What is tried together are the requests of an
account with the same launch: if one of them finds no room, none of them does. See
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, case, delete, exists, func, literal, or_, select, update

from stead_controller.catalog import ids
from stead_controller.db.due_rows import DueRows
from stead_controller.db.insert import insert_new
from stead_controller.db.tables import SpotRequest, SpotRequestValue
from stead_controller.errors import InvalidParameter, LimitExceeded, NoCapacity, PriceTooLow, SteadError, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction, undone_on
from stead_controller.resources import quotas, tags
from stead_controller.resources.instances import launch_choices
from stead_controller.resources.instances.launch_choices import Choices
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import check_request, run_instances
from stead_controller.resources.instances.spot_instances import EVALUATED

type Read = Callable[[str, int], LaunchRequest]
"""Makes the launch of so many instances of a specification; raises BadRequest."""

AT_ONCE: Final = 50
"""How many requests are fulfilled in one transaction, which others wait for."""

CANCELLED: Final = "canceled-before-fulfillment"
EXPIRED: Final = "schedule-expired"
TOO_EARLY: Final = "not-scheduled-yet"
BAD: Final = "bad-parameters"
NO_CAPACITY: Final = "capacity-not-available"

_KIND: Final = "spot-instances-request"

_LOOKED_AT: Final = 500
_VALID: Final = timedelta(days=7)  # of a one-time request that does not say it
_SHORTEST: Final = timedelta(seconds=5)
_LONGEST: Final = timedelta(seconds=60)
_MOST_TRIES: Final = 4  # that are counted: the pause after them is the longest
_BATCH: Final = 500
_WAITS: Final = SpotRequest.next_try.is_not(None)
_OLDEST_FIRST: Final = (SpotRequest.created, SpotRequest.id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What each request of one call asks for: the launch, its text, what filters compare, and the request's tags.

    It is valid from a time to another, or always; one that is persistent wants an instance again when it has lost it.
    """

    launch: LaunchRequest
    specification: str
    values: Collection[tuple[str, str]]
    tags: Mapping[str, str]
    persistent: bool = False
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @property
    def count(self) -> int:
        """How many Spot Instances are wanted, each by a request of its own."""
        return self.launch.max_count

    @property
    def shape(self) -> str:
        """The same for all that can be launched together."""
        text = f"{self.persistent} {self.valid_from} {self.valid_until} {self.specification}"
        return hashlib.sha256(text.encode()).hexdigest()

    def check(self, now: datetime) -> None:
        """Raise InvalidParameter for times that are past, or in the wrong order."""
        for name, time, earliest in (
            ("validFrom", self.valid_from, now),
            ("validUntil", self.valid_until, self.valid_from or now),
        ):
            if time is not None and time <= earliest:
                raise InvalidParameter(f"Value ({time:%Y-%m-%dT%H:%M:%SZ}) for parameter {name} is invalid: too early.")


def add(
    tx: Transaction, caller: Caller, cloud: Cloud, wanted: Wanted, now: datetime, *, choices: Choices | None = None
) -> str:
    """Make requests and fulfil those for which there is room now; return the id of the first, which is their batch.

    They wait for their turn if others with the same launch wait already. `choices` are those of the launch, if they
    were made in this transaction. Raises what `run_instances` raises, but for NoCapacity, and what `check` raises.
    """
    wanted.check(now)
    check_request(wanted.launch)
    choices = choices or launch_choices.choose(tx, caller, cloud, wanted.launch)
    vcpus = choices.cpu_options.vcpus
    in_use = _vcpus_awaited(tx, caller.account_id)
    quotas.launchable(tx, caller.account_id, in_use + vcpus * wanted.count, 1, 1)
    others = _of_shape(tx, caller.account_id, wanted.shape, 1)
    until = wanted.valid_until or (None if wanted.persistent else now + _VALID)
    made = sorted(ids.new_id(_KIND) for _ in range(wanted.count))
    for request_id in made:
        row = SpotRequest(
            id=request_id,
            account_id=caller.account_id,
            created=now,
            batch_id=made[0],
            specification=wanted.specification,
            shape=wanted.shape,
            vcpus=vcpus,
            status=EVALUATED if wanted.valid_from is None else TOO_EARLY,
            status_time=now,
            next_try=wanted.valid_from or now,
            persistent=wanted.persistent,
            valid_from=wanted.valid_from,
            valid_until=until,
            expires=until,
        )
        insert_new(tx.session, row)
        for name, value in wanted.values:
            insert_new(tx.session, SpotRequestValue(request_id=request_id, name=name, value=value))
    tags.create_on_launch(tx, caller, [(_KIND, each) for each in made], {_KIND: wanted.tags})
    if others:
        tx.makes_room = True  # they are all tried, in their order
    elif wanted.valid_from is None:
        request = replace(wanted.launch, spot_request_ids=tuple(made))
        _try(tx, caller, cloud, lambda: request, now, shape=wanted.shape, tries=0, choices=choices)
    return made[0]


def cancel(request: SpotRequest, now: datetime) -> None:
    """Cancel a request that waits: it is never fulfilled."""
    request.cancelled = now
    _end(request, CANCELLED, now)


def try_oldest(tx: Transaction, cloud: Cloud, read: Read, now: datetime, *, but: Collection[str]) -> str | None:
    """Try to fulfil the requests that wait longest, with those of the same shape, `but` not those of these shapes.

    Returns the shape with its account, None if no such request is among the first that wait.
    """
    waiting = select(SpotRequest.account_id, SpotRequest.shape).where(_WAITS, _has_begun(now)).order_by(*_OLDEST_FIRST)
    for row in tx.session.execute(waiting.limit(_LOOKED_AT)):
        name = f"{row.account_id}/{row.shape}"
        if name not in but:
            _try_shape(tx, cloud, read, now, row.account_id, row.shape)
            return name
    return None


def try_due(tx: Transaction, cloud: Cloud, read: Read, now: datetime) -> bool:
    """Try to fulfil one request whose time has come, with those of the same shape; tell whether there was one."""
    query = select(SpotRequest.account_id, SpotRequest.shape).where(_is_due(now, now + _LONGEST))
    due = tx.session.execute(query.order_by(SpotRequest.next_try).limit(1)).first()
    if due is None:
        return False
    _try_shape(tx, cloud, read, now, due.account_id, due.shape)
    return True


def expire(tx: Transaction, now: datetime) -> None:
    """End the waiting of requests that are not valid any longer, some at once; an instance goes on without one."""
    due = select(SpotRequest).where(SpotRequest.expires <= now).order_by(SpotRequest.expires).limit(_BATCH)
    for request in tx.session.scalars(due).all():
        _expire(request, now)


def _expire(request: SpotRequest, now: datetime) -> None:
    if request.instance_id is None:
        _end(request, EXPIRED, now)
    else:
        request.cancelled, request.expires = now, None


def forget(tx: Transaction, since: datetime) -> None:
    """Delete requests that ended by then without an instance."""
    old = list(tx.session.scalars(select(SpotRequest.id).where(SpotRequest.ended <= since).limit(_BATCH)))
    if old:
        tags.remove_all(tx, old)
        tx.session.execute(delete(SpotRequest).where(SpotRequest.id.in_(old)))


def _has_begun(now: Any) -> ColumnElement[bool]:
    return or_(SpotRequest.valid_from.is_(None), SpotRequest.valid_from <= now)


def _is_due(now: Any, longest: Any) -> ColumnElement[bool]:
    """Whether a request's next try is due; also where a clock that was ahead has set its time."""
    return and_(_WAITS, or_(SpotRequest.next_try <= now, and_(_has_begun(now), SpotRequest.next_try > longest)))


DUE: Final = DueRows(exists().where(_is_due(bindparam("now"), bindparam("longest_try"))), {"longest_try": _LONGEST})
"""Whether a request is to be tried again, even if nothing has made room."""


def _of_shape(tx: Transaction, account_id: str, shape: str, limit: int) -> Sequence[SpotRequest]:
    same = select(SpotRequest).where(SpotRequest.account_id == account_id, SpotRequest.shape == shape, _WAITS)
    found = same.order_by(*_OLDEST_FIRST).limit(limit).execution_options(populate_existing=True)
    return tx.session.scalars(found).all()


def _vcpus_awaited(tx: Transaction, account_id: str) -> int:
    awaited = select(func.coalesce(func.sum(SpotRequest.vcpus), 0)).where(SpotRequest.account_id == account_id, _WAITS)
    return tx.session.scalars(awaited).one()


def _try_shape(  # noqa: PLR0917 - a try depends on all of these
    tx: Transaction, cloud: Cloud, read: Read, now: datetime, account_id: str, shape: str
) -> None:
    found = _of_shape(tx, account_id, shape, AT_ONCE)
    over = [each for each in found if each.expires is not None and each.expires <= now]
    for each in over:
        _expire(each, now)
    tx.session.flush()
    found = [each for each in found if each not in over]
    if not found:
        return
    specification = found[0].specification or ""
    caller = Caller(account_id, f"arn:{cloud.partition}:iam::{account_id}:root", account_id, "")
    wanted = tuple(request.id for request in found)

    def request() -> LaunchRequest:
        return replace(read(specification, len(wanted)), spot_request_ids=wanted)

    _try(tx, caller, cloud, request, now, shape=shape, tries=found[0].tries)
    if _of_shape(tx, account_id, shape, 1) and len(wanted) == AT_ONCE:
        tx.makes_room = True  # there may be room for more than are launched at once


def _try(
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    request: Callable[[], LaunchRequest],
    now: datetime,
    *,
    shape: str,
    tries: int,
    choices: Choices | None = None,
) -> None:
    """Launch as many of the requests of a shape as there is room for; the others wait, or fail if they never can."""
    account_id = caller.account_id
    try:
        with undone_on(tx, SteadError):
            run_instances(tx, caller, cloud, request(), now, choices=choices)
    except (NoCapacity, LimitExceeded, PriceTooLow, Unsupported) as refusal:
        _hold(tx, account_id, shape, _status(refusal, request), now, tries=tries)
    except SteadError as error:
        if choices is not None:
            raise  # the call that makes the requests is refused
        for one in _of_shape(tx, account_id, shape, AT_ONCE):
            one.fault = error.message
            _end(one, BAD, now)
    else:
        _hold(tx, account_id, shape, NO_CAPACITY, now, tries=0)
    tx.session.flush()


def _status(refusal: SteadError, request: Callable[[], LaunchRequest]) -> str:
    """Return EC2's code of the status in which a request waits after a refusal."""
    if isinstance(refusal, LimitExceeded):
        return "limit-exceeded"
    if isinstance(refusal, PriceTooLow):
        return "price-too-low"
    if isinstance(refusal, Unsupported):
        return "constraint-not-fulfillable"
    group = request().group
    return NO_CAPACITY if group.name is None and group.group_id is None else "placement-group-constraint"


def _hold(tx: Transaction, account_id: str, shape: str, status: str, now: datetime, *, tries: int) -> None:
    """Have all requests of a shape that are left wait for room, or for the next try."""
    pause = min(_LONGEST, _SHORTEST * 2**tries)
    left = update(SpotRequest).where(SpotRequest.account_id == account_id, SpotRequest.shape == shape, _WAITS)
    began = literal(now, SpotRequest.status_time.type)
    values = {
        "status": status,
        "status_time": case((SpotRequest.status == status, SpotRequest.status_time), else_=began),
        "next_try": now + pause,
        "tries": min(tries + 1, _MOST_TRIES),
    }
    tx.session.execute(left.values(values).execution_options(synchronize_session=False))


def _end(request: SpotRequest, status: str, now: datetime) -> None:
    request.status, request.status_time, request.ended = status, now, now
    request.next_try = request.expires = None
