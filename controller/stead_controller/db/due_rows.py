"""Conditions on rows that are true when something is to be done, and one statement that looks at many of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import ColumnElement, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction


@dataclass(frozen=True)
class DueRows:
    """A condition with the parameter `now`; further parameters are times by how much they are after now."""

    condition: ColumnElement[bool]
    times: Mapping[str, timedelta] = field(default_factory=dict)

    def __or__(self, other: "DueRows") -> "DueRows":
        """Return a condition that is met when either is; raises ValueError as DueLook does."""
        return DueRows(self.condition | other.condition, _joined(self, other))

    def is_met(self, tx: Transaction, now: datetime) -> bool:
        """Tell whether there is something to do."""
        return bool(self._query.scalar(tx.connection, _parameters(self.times, now)))

    @cached_property
    def _query(self) -> Prepared:
        return Prepared(select(self.condition))


class DueLook:
    """Conditions by name, looked at in one statement."""

    def __init__(self, dues: Mapping[str, DueRows]) -> None:
        """Take the conditions; raises ValueError where two mean different times by one parameter."""
        self._dues = dict(dues)
        self._times = _joined(*self._dues.values())
        self._query = Prepared(select(*(due.condition.label(name) for name, due in self._dues.items())))

    def met(self, tx: Transaction, now: datetime) -> list[str]:
        """Return the names of what there is to do."""
        (row,) = self._query.all(tx.connection, _parameters(self._times, now))
        return [name for name, is_met in zip(self._dues, row, strict=True) if is_met]


def _parameters(times: Mapping[str, timedelta], now: datetime) -> dict[str, datetime]:
    return {"now": now} | {name: now + after for name, after in times.items()}


def _joined(*dues: DueRows) -> dict[str, timedelta]:
    times: dict[str, timedelta] = {}
    for due in dues:
        for name, after in due.times.items():
            if times.setdefault(name, after) != after:
                raise ValueError(f"two conditions have a parameter {name}")
    return times
