"""Rows of workflows: begun in the requesting transaction, leased to one controller, advanced step by step, ended."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, exists, not_, or_, select, update

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Workflow
from stead_controller.request.transaction import Transaction

_REASON_LENGTH = 512


def begin(
    tx: Transaction, kind: str, subject_id: str, facts: Mapping[str, Any], *, now: datetime, patience: timedelta
) -> None:
    """Begin a workflow of a resource, with the timeout `patience`; its first step is `begin`."""
    tx.session.add(
        Workflow(
            id=subject_id,
            kind=kind,
            step="begin",
            facts=json.dumps(dict(facts), sort_keys=True),
            started=now,
            due=now,
            deadline=now + patience,
        )
    )
    tx.workflows = True


def _is_free(now: Any) -> ColumnElement[bool]:
    return or_(Workflow.lease_until.is_(None), Workflow.lease_until < now)


DUE: Final = DueRows(exists().where(Workflow.due <= bindparam("now"), _is_free(bindparam("now"))))
"""Whether a workflow is due that no controller has leased."""


def lease_due(tx: Transaction, holder: str, now: datetime, until: datetime, limit: int) -> list[Workflow]:
    """Lease workflows that are due and not leased to any controller, at most `limit`, the longest due first."""
    free = _is_free(now)
    due = select(Workflow.id).where(Workflow.due <= now, free).order_by(Workflow.due).limit(limit)
    taken = []
    for workflow_id in tx.session.scalars(due).all():
        won = tx.session.execute(
            update(Workflow)
            .where(Workflow.id == workflow_id, free)
            .values(lease_holder=holder, lease_until=until)
            .execution_options(synchronize_session=False)
        )
        if won.rowcount:  # type: ignore[attr-defined]  # an UPDATE has a row count
            taken.append(workflow_id)
    return list(tx.session.scalars(select(Workflow).where(Workflow.id.in_(taken))))


def renew(tx: Transaction, workflow_id: str, holder: str, until: datetime) -> bool:
    """Extend a lease; false where another controller has it by now, or the workflow has ended."""
    row = held(tx, workflow_id, holder)
    if row is None:
        return False
    row.lease_until = until
    return True


def held(tx: Transaction, workflow_id: str, holder: str) -> Workflow | None:
    """Return a workflow if this controller holds its lease."""
    row = tx.session.get(Workflow, workflow_id)
    return row if row is not None and row.lease_holder == holder else None


class LeaseLost(Exception):
    """Another controller has this workflow's lease by now, or it has ended."""


def require_held(tx: Transaction, workflow_id: str, holder: str) -> None:
    """Raise LeaseLost unless the workflow is still leased to this holder."""
    if held(tx, workflow_id, holder) is None:
        raise LeaseLost(workflow_id)


def move(tx: Transaction, row: Workflow, step: str, due: datetime, reason: str = "", *, tries: int = 0) -> None:
    """Set the next step and its time, and release the lease; `tries` is how often the step has failed."""
    row.tries = tries
    row.step, row.due, row.reason = step, due, reason[:_REASON_LENGTH]
    row.lease_holder = row.lease_until = None
    tx.workflows = True


def end(tx: Transaction, row: Workflow) -> None:
    """Delete a workflow that has ended."""
    tx.session.delete(row)


def follow_clock(tx: Transaction, step: timedelta, since: datetime, now: datetime) -> int:
    """Adjust the times of workflows after the clock was set by `step`, and return how many were adjusted.

    Those begun between `since` and `now`, in the time of the new clock, are right already.
    """
    rows = tx.session.scalars(select(Workflow).where(not_(Workflow.started.between(since, now)))).all()
    for row in rows:
        _move_times(row, step)
    return len(rows)


def begin_anew(tx: Transaction, now: datetime, pause: timedelta) -> None:
    """Clean up after an earlier process, if no other runs: release its leases, fix times of a clock that was ahead.

    Those times are recognised by being further in the future than the longest pause.
    """
    for row in tx.session.scalars(select(Workflow)).all():
        row.lease_holder = row.lease_until = None
        if row.due > now + pause:
            _move_times(row, now + pause - row.due)


def _move_times(row: Workflow, step: timedelta) -> None:
    row.due += step
    row.deadline += step
    if row.lease_until is not None:
        row.lease_until += step
