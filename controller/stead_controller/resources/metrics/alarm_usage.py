"""What alarms use, from when they are made until they are deleted: by the number of metrics that they watch."""

import hashlib
from datetime import datetime
from typing import Final

from stead_controller.db.tables import Alarm
from stead_controller.metering import ledger, uses
from stead_controller.metering.ledger import Resource
from stead_controller.request.transaction import Transaction

_NO_ZONE: Final = ""
_LENGTH: Final = 34


def measure_metric_alarm(tx: Transaction, row: Alarm, metrics: int, period: int, now: datetime) -> None:
    """Bill an alarm as it is now: for each of its metrics."""
    ledger.change(tx, _resource(row), uses.of_metric_alarm(metrics, period), now)


def measure_composite_alarm(tx: Transaction, row: Alarm, now: datetime) -> None:
    """Bill an alarm on other alarms."""
    ledger.change(tx, _resource(row), uses.of_composite_alarm(), now)


def end(tx: Transaction, row: Alarm, now: datetime) -> None:
    """Bill an alarm no more."""
    ledger.end(tx, _resource(row), now)


def id_of(account_id: str, name: str) -> str:
    """Return the id by which the ledger knows an alarm, whose name may be longer than an id: a digest of it."""
    return f"alarm-{hashlib.sha256(f'{account_id}/{name}'.encode()).hexdigest()[:_LENGTH]}"


def _resource(row: Alarm) -> Resource:
    return Resource(id_of(row.account_id, row.name), row.account_id, _NO_ZONE)
