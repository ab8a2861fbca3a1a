"""Which exports are due, what they write, and what became of them.

An export that is carried out is put off by a lease, which is renewed while it goes on; when its controller dies, the
next one to look goes on with the same execution and writes the same keys again.
"""

import csv
import io
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, delete, exists, select

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Account, DataExport, DataExportExecution
from stead_controller.errors import BadRequest, InvalidParameter, NotFound
from stead_controller.metering import cost_tags, months, priced_uses
from stead_controller.metering.usage_sums import MOST_TAGS, Period, Question
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.data_exports import bucket_access, charges, exports, statement, tables
from stead_controller.resources.data_exports.charges import Charge
from stead_controller.resources.data_exports.exports import Definition
from stead_controller.resources.data_exports.statement import Statement

STARTED, QUERYING, DELIVERING = "INITIATION_IN_PROCESS", "QUERY_IN_PROCESS", "DELIVERY_IN_PROCESS"
SUCCESS, FAILURE = "DELIVERY_SUCCESS", "DELIVERY_FAILURE"
NO_PERMISSION, INTERNAL = "INSUFFICIENT_PERMISSION", "INTERNAL_FAILURE"
LEASE: Final = timedelta(minutes=5)
AGAIN: Final = timedelta(minutes=15)
"""When a failed export is tried again."""
_LATE: Final = timedelta(days=14)  # so long the month before may still change
_AFTER_MIDNIGHT: Final = timedelta(minutes=10)
_KEPT: Final = 100  # executions of an export
_DAY: Final = 86400
_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Work:
    """An execution that begins or goes on; `properties` are those of its table."""

    export_id: str
    execution_id: str
    arn: str
    account_id: str
    account_name: str
    definition: Definition
    made: datetime
    begun: datetime
    statement: Statement
    properties: dict[str, str]
    tag_keys: tuple[str, ...]

    @property
    def owner(self) -> str:
        """The account whose the bucket is."""
        return self.definition.owner or self.account_id

    @property
    def has_resources(self) -> bool:
        """Whether rows are apart by resource."""
        return self.properties.get(tables.RESOURCES, tables.TRUE) == tables.TRUE

    @property
    def granularity(self) -> str:
        """How long the time of a row is."""
        return self.properties.get(tables.GRANULARITY, tables.HOURLY)


DUE: Final = DueRows(exists().where(DataExport.due <= bindparam("now")))
"""Whether an export is due."""


def begin(tx: Transaction, cloud: Cloud, now: datetime) -> Work | None:
    """Begin with the export that has been due for longest, or go on with it; None if none is due."""
    query = select(DataExport).where(DataExport.due <= now).order_by(DataExport.due, DataExport.id).limit(1)
    row = tx.session.scalar(query)
    if row is None:
        return None
    if row.execution is None:
        row.execution = str(uuid.uuid4())
        about = {"export_id": row.id, "definition": row.definition, "created": now, "updated": now}
        tx.session.add(DataExportExecution(id=row.execution, status=STARTED, **about))
        _forget(tx, row)
    row.due = now + LEASE
    tx.session.flush()
    begun = tx.session.get_one(DataExportExecution, row.execution)
    definition = Definition.of_text(begun.definition)
    try:
        asked = statement.parse(definition.query)
        properties = asked.table.read(exports.properties(definition, asked.table.name, cloud, row.account_id))
    except BadRequest:  # a release that had more tables or properties made it
        _complete(tx, row, INTERNAL, now)
        row.reason, row.due = INTERNAL, now + AGAIN
        return None
    account = tx.session.get_one(Account, row.account_id)
    return Work(
        row.id,
        begun.id,
        exports.arn_of(cloud, row),
        row.account_id,
        account.name,
        definition,
        row.created,
        begun.created,
        asked,
        properties,
        tuple(sorted(cost_tags.active_keys(tx, row.account_id))[:MOST_TAGS]),
    )


def periods(made: datetime, now: datetime) -> list[Period]:
    """Return the months that are exported, until now: this one, and for two weeks the one before, if it was in time."""
    moment = int(now.timestamp())
    this = months.begin_of(moment)
    found = [Period(this, moment)] if this < moment else []
    if now - datetime.fromtimestamp(this, UTC) < _LATE and made.timestamp() < this:
        found.insert(0, Period(months.begin_of(this - 1), this))
    return found


def pieces(work: Work, period: Period) -> list[Period]:
    """Divide a month into what is asked of the ledger at once: rows of one time only, so that no answer is large."""
    if work.granularity == tables.MONTHLY:
        return [period]
    step = _HOUR if work.granularity == tables.HOURLY else _DAY
    return [Period(begin, min(begin + step, period.end)) for begin in range(period.begin, period.end, step)]


def rows(tx: Transaction, work: Work, region: str, piece: Period, now: datetime) -> bytes:
    """Return the rows of a piece as CSV, of the account's own uses only."""
    asked = Question(work.account_id, by_zone=True, by_resource=work.has_resources, tags=work.tag_keys)
    columns = tuple(column for column, _ in work.statement.columns)
    found = (
        charges.row(Charge(priced, work.account_name, region, work.tag_keys), columns)
        for priced in priced_uses.between(tx, (piece.begin, piece.end), now, asked, region)
    )
    return as_csv(found)


def as_csv(found: Iterable[Sequence[str]]) -> bytes:
    """Write rows as CSV (RFC 4180, but for the ends of lines)."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(found)
    return text.getvalue().encode()


def may_write(tx: Transaction, work: Work) -> bool:
    """Tell whether the bucket still takes what the export writes."""
    made, owner = work.definition, work.owner
    try:
        bucket_access.require(tx, made.bucket, owner, made.folder, work.arn, work.account_id)
    except InvalidParameter:
        return False
    return True


def go_on(tx: Transaction, work: Work, status: str, now: datetime) -> bool:
    """Note how far an execution is, and renew its lease; tell whether it is still to go on."""
    row = tx.session.get(DataExport, work.export_id)
    if row is None or row.execution != work.execution_id:
        return False
    found = tx.session.get_one(DataExportExecution, work.execution_id)
    found.status, found.updated = status, now
    row.due = now + LEASE
    return True


def end(tx: Transaction, work: Work, reason: str | None, now: datetime) -> None:
    """Note what became of an execution, None for success, and when the export is due next."""
    row = tx.session.get(DataExport, work.export_id)
    if row is None or row.execution != work.execution_id:
        return
    _complete(tx, row, reason, now)
    row.reason = reason
    if reason is None:
        row.refreshed = now
        row.due = _midnight_after(now) + _AFTER_MIDNIGHT
    else:
        row.due = now + AGAIN


def abandon(tx: Transaction, row: DataExport, now: datetime) -> None:
    """End the execution of an export that is changed, if one goes on: it will begin anew."""
    if row.execution is not None:
        _complete(tx, row, INTERNAL, now)


def page(
    tx: Transaction, row: DataExport, *, after: tuple[str, ...] | None, limit: int
) -> Sequence[DataExportExecution]:
    """List the executions of an export, the newest first."""
    found = DataExportExecution
    query = select(found).where(found.export_id == row.id)
    if after is not None:
        begun = datetime.fromtimestamp(int(after[0]) / 1000, UTC)
        query = query.where((found.created < begun) | ((found.created == begun) & (found.id < after[1])))
    return tx.session.scalars(query.order_by(found.created.desc(), found.id.desc()).limit(limit)).all()


def key_of(row: DataExportExecution) -> tuple[str, ...]:
    """Return where an execution stands in the list."""
    return str(round(row.created.timestamp() * 1000)), row.id


def find(tx: Transaction, row: DataExport, execution_id: str) -> DataExportExecution:
    """Return an execution of an export; raises NotFound."""
    found = tx.session.get(DataExportExecution, execution_id)
    if found is None or found.export_id != row.id:
        raise NotFound("execution", execution_id, message=f"The execution {execution_id[:100]} does not exist.")
    return found


def _complete(tx: Transaction, row: DataExport, reason: str | None, now: datetime) -> None:
    found = tx.session.get_one(DataExportExecution, row.execution)
    found.status, found.reason = SUCCESS if reason is None else FAILURE, reason
    found.updated = found.completed = now
    row.execution = None


def _midnight_after(now: datetime) -> datetime:
    return datetime.fromtimestamp((int(now.timestamp()) // _DAY + 1) * _DAY, UTC)


def _forget(tx: Transaction, row: DataExport) -> None:
    """Delete the oldest executions of an export, of which a hundred are kept."""
    found = DataExportExecution
    mine = select(found.id).where(found.export_id == row.id).order_by(found.created.desc(), found.id.desc())
    old = tx.session.scalars(mine.offset(_KEPT)).all()
    if old:
        tx.session.execute(delete(found).where(found.id.in_(old)))
