"""What buckets keep is billed, as bytes times hours: a size counts from when it was counted until the next count.

S3's rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/aws-usage-report-understand.html.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Select, or_, select, update

from stead_controller.db.insert import new_row
from stead_controller.db.tables import BucketSize, UsageAmount
from stead_controller.metering import amounts, uses
from stead_controller.metering.ledger import Resource
from stead_controller.request.transaction import Transaction

_HOUR: Final = 3600
_COUNTED_AGAIN: Final = 86400  # seconds after which a bucket is counted also if nobody wrote to it
_BILLED_EACH: Final = 300
_NO_ZONE: Final = ""
_ID_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class ToCount:
    """A bucket that may have another size than was counted; `written` is what tells later writes from earlier ones."""

    backend_name: str
    written: int


def begin(tx: Transaction, backend_name: str, name: str, account_id: str, now: datetime) -> None:
    """Begin to bill a bucket that is new, and empty."""
    at = int(now.timestamp())
    where = {"backend_name": backend_name, "name": name, "account_id": account_id}
    tx.session.add(new_row(BucketSize, **where, bytes=0, counted=at, written=0, seen=0, billed=at, rest=0))


def write_begins(tx: Transaction, backend_name: str) -> None:
    """Note that a bucket is going to be written to, so that it is counted again, whoever does that."""
    mine = BucketSize.backend_name == backend_name
    tx.session.execute(update(BucketSize).where(mine).values(written=BucketSize.written + 1))


def to_count(tx: Transaction, also: Iterable[str], now: datetime) -> list[ToCount]:
    """Return the buckets that are to be counted, and with them those named, as far as they exist."""
    long_ago = int(now.timestamp()) - _COUNTED_AGAIN
    wanted = or_(
        BucketSize.written != BucketSize.seen, BucketSize.counted <= long_ago, BucketSize.backend_name.in_(also)
    )
    query = select(BucketSize.backend_name, BucketSize.written).where(wanted).order_by(BucketSize.backend_name)
    return [ToCount(*row) for row in tx.connection.execute(query)]


def count(tx: Transaction, bucket: ToCount, size: int, now: datetime, *, is_quiet: bool) -> None:
    """Bill a bucket's old size until now, and its new one from now on; nothing happens if it was removed meanwhile.

    Without `is_quiet` writes that had begun before were not over: it is counted once more.
    """
    row = tx.session.get(BucketSize, bucket.backend_name)
    if row is None:
        return
    _bill(tx, [row], now)
    row.bytes = size
    row.counted = int(now.timestamp())
    if is_quiet:
        row.seen = bucket.written


def end(tx: Transaction, backend_name: str, now: datetime) -> None:
    """Bill a bucket that is removed until now, and forget it; idempotent."""
    row = tx.session.get(BucketSize, backend_name)
    if row is not None:
        _bill(tx, [row], now)
        tx.session.delete(row)


def has_to_bill(tx: Transaction, now: datetime) -> bool:
    """Tell whether `bill` has something to do."""
    return tx.session.scalar(_unbilled(now).limit(1)) is not None


def bill(tx: Transaction, now: datetime) -> None:
    """Bill until now what all buckets keep, of those for which that was not done for some minutes."""
    _bill(tx, list(tx.session.scalars(_unbilled(now))), now)


def _unbilled(now: datetime) -> Select[BucketSize]:
    return select(BucketSize).where(BucketSize.bytes > 0, BucketSize.billed <= int(now.timestamp()) - _BILLED_EACH)


def _bill(tx: Transaction, rows: list[BucketSize], now: datetime) -> None:
    """Add whole hours of a byte to the ledger; what is less than one stays in the rows."""
    moment = int(now.timestamp())
    id_of = resource_ids(tx, {row.name for row in rows}, now)
    used = []
    for row in rows:
        if row.billed >= moment:  # the clock was set back: this time is billed already
            continue
        hours, row.rest = divmod(row.bytes * (moment - row.billed) + row.rest, _HOUR)
        row.billed = moment
        used.append((Resource(id_of(row.name, row.account_id), row.account_id, _NO_ZONE), uses.of_bytes_kept(hours)))
    amounts.add(tx, used, now)


def resource_ids(tx: Transaction, buckets: set[str], now: datetime) -> Callable[[str, str], str]:
    """Return how the ledger names a bucket of an account: by its name, and apart if that was another's in this hour."""
    hour = int(now.timestamp()) // _HOUR
    query = select(UsageAmount.resource_id, UsageAmount.account_id).where(
        UsageAmount.hour == hour, UsageAmount.resource_id.in_(buckets)
    )
    owners = {row[0]: row[1] for row in tx.connection.execute(query)}

    def id_of(bucket: str, account_id: str) -> str:
        if owners.setdefault(bucket, account_id) == account_id:
            return bucket
        return f"{bucket[: _ID_LENGTH - 1 - len(account_id)]}.{account_id}"

    return id_of
