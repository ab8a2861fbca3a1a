"""The ledger: what resources use, written in the transaction that begins, changes or ends the use.

A use has a meter while it goes on. When it ends, the meter becomes a line, which stays for ever. EC2's rules:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/concepts.html#pricing-for-amazon-ec2.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import UsageLine, UsageMeter
from stead_controller.request.transaction import Transaction

_METERS = Prepared(
    select(
        UsageMeter.usage,
        UsageMeter.account_id,
        UsageMeter.operation,
        UsageMeter.zone,
        UsageMeter.quantity,
        UsageMeter.least,
        UsageMeter.began,
    ).where(UsageMeter.resource_id == bindparam("resource_id"))
)
_BEGIN = Prepared(insert(UsageMeter))
_END = Prepared(
    delete(UsageMeter).where(UsageMeter.resource_id == bindparam("of"), UsageMeter.usage == bindparam("named"))
)
_RESUME = Prepared(
    update(UsageMeter)
    .where(UsageMeter.resource_id == bindparam("of"), UsageMeter.began <= bindparam("since"))
    .values(began=bindparam("until"))
)
_LINE = Prepared(insert(UsageLine))


@dataclass(frozen=True, slots=True)
class Use:
    """What a resource uses in each second, by AWS's names; it is billed for `least` seconds at least."""

    usage: str
    operation: str
    quantity: int = 1
    least: int = 0


class Meter(NamedTuple):
    """A use that goes on, as its row has it."""

    usage: str
    account_id: str
    operation: str
    zone: str
    quantity: int
    least: int
    began: int


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource whose use is measured."""

    id: str
    account_id: str
    zone: str


def begin(tx: Transaction, resource: Resource, uses: Iterable[Use], now: datetime) -> None:
    """Begin the uses of a resource that is new: it has no meters yet."""
    rows = [
        {
            "resource_id": resource.id,
            "usage": use.usage,
            "account_id": resource.account_id,
            "operation": use.operation,
            "zone": resource.zone,
            "quantity": use.quantity,
            "least": use.least,
            "began": int(now.timestamp()),
        }
        for use in uses
    ]
    if rows:
        _BEGIN.many(tx.connection, rows)


def change(tx: Transaction, resource: Resource, uses: Iterable[Use], now: datetime) -> None:
    """Make these the uses of a resource from now on: others end, and those that go on as they are stay untouched."""
    wanted = {use.usage: use for use in uses}
    _keep(tx, resource, wanted, now, least_counts=True)
    begin(tx, resource, wanted.values(), now)


def adjust(tx: Transaction, resource: Resource, use: Use, now: datetime, *, wanted: bool) -> None:
    """Begin or end one use of a resource that has others; a resource without any is not billed at the moment."""
    meters = [Meter(*row) for row in _METERS.all(tx.connection, {"resource_id": resource.id})]
    others = [Use(one.usage, one.operation, one.quantity, one.least) for one in meters if one.usage != use.usage]
    if others:
        change(tx, resource, [*others, use] if wanted else others, now)


def end(tx: Transaction, resource: Resource, moment: datetime) -> None:
    """End all uses of a resource; nothing happens where it has none, and none ends before it began."""
    _keep(tx, resource, {}, moment, least_counts=True)


def interrupt(tx: Transaction, resource: Resource, moment: datetime) -> None:
    """End all uses of a resource by no wish of its user, until they go on: their least times do not count."""
    _keep(tx, resource, {}, moment, least_counts=False)


def skip(tx: Transaction, resource: Resource, since: datetime, until: datetime) -> None:
    """Leave a time that is over out of all uses of a resource that had begun by then; once left out, it is no more."""
    first, last = int(since.timestamp()), int(until.timestamp())
    meters = [Meter(*row) for row in _METERS.all(tx.connection, {"resource_id": resource.id})]
    if begun := [meter for meter in meters if meter.began <= first < last]:
        _LINE.many(tx.connection, [_line(resource, meter, first) for meter in begun])
        _RESUME.many(tx.connection, [{"of": resource.id, "since": first, "until": last}])


def _keep(tx: Transaction, resource: Resource, wanted: dict[str, Use], moment: datetime, *, least_counts: bool) -> None:
    """End all uses of a resource but the wanted ones, and take those that go on out of `wanted`."""
    lines = []
    for row in _METERS.all(tx.connection, {"resource_id": resource.id}):
        meter = Meter(*row)
        if wanted.get(meter.usage) == Use(meter.usage, meter.operation, meter.quantity, meter.least):
            del wanted[meter.usage]
            continue
        ended = max(int(moment.timestamp()), meter.began + (meter.least if least_counts else 0))
        lines.append(_line(resource, meter, ended))
    if lines:
        _END.many(tx.connection, [{"of": resource.id, "named": each["usage"]} for each in lines])
        _LINE.many(tx.connection, lines)


def _line(resource: Resource, meter: Meter, ended: int) -> dict[str, Any]:
    return {
        "account_id": meter.account_id,
        "resource_id": resource.id,
        "usage": meter.usage,
        "operation": meter.operation,
        "zone": meter.zone,
        "quantity": meter.quantity,
        "began": meter.began,
        "ended": ended,
    }
