"""What calls to S3, CloudWatch and EBS cost is counted from their records in audit files, each once, whatever happens.

A record is in its file before its call is answered. The place up to which a file is read, and what was read there, are
written in one transaction. A file is known by its first line, not by its name: it may be copied or come back. Rules:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ErrorCodeBilling.html
"""

import asyncio
import contextlib
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import select

from stead_controller.audit.files import AuditFiles
from stead_controller.clock import Clock
from stead_controller.db.insert import upsert
from stead_controller.db.session import Database
from stead_controller.db.tables import PublicAddress, UsageFile
from stead_controller.metering import amounts, uses
from stead_controller.metering.ledger import Resource, Use
from stead_controller.object_store.answers import STATUSES
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import own_metrics
from stead_controller.resources.storage import bucket_sizes

SECONDS: Final = 30.0
_log = logging.getLogger(__name__)

_PIECE: Final = 1 << 20
_BUCKET: Final = "AWS::S3::Bucket"
_MARK: Final = f'"type":"{_BUCKET}"'.encode()  # in each line that can cost something
_ARN: Final = "arn:aws:s3:::"
_OBJECT_GOT: Final = "GetObject"
_UNKNOWN: Final = "Unknown"
_NOBODY: Final = "ANONYMOUS_PRINCIPAL"
_BAD_REQUEST, _FORBIDDEN, _SERVER_ERROR = 400, 403, 500
_NO_ZONE: Final = ""


class Cost(NamedTuple):
    """What some calls of a resource use, by an account; `source` is where bytes were sent to."""

    resource: str
    account_id: str
    usage: str
    operation: str
    source: str = ""


class ObjectUsage:
    """Reads what was added to audit files, and bills it."""

    def __init__(self, database: Database, files: Sequence[AuditFiles], clock: Clock) -> None:
        """Take the files: those of data events and the others."""
        self._database = database
        self._files = files
        self._clock = clock
        self._read: dict[Path, int] = {}  # up to which size; spares opening old files

    async def run(self) -> None:
        """Bill all calls whose records are in the files; raises OSError and what the database raises."""
        for files in self._files:
            for path, size in await asyncio.to_thread(files.whole):
                with contextlib.suppress(FileNotFoundError):  # too old, and removed just now
                    await self._bill_file(path, size)

    async def _bill_file(self, path: Path, size: int) -> None:
        if not size or self._read.get(path) == size:
            return
        digest = await asyncio.to_thread(_digest, path)
        if not digest:
            return
        while (start := await self._database.run(partial(_reached, digest=digest), writes=False)) < size:
            content = await asyncio.to_thread(_whole_lines, path, start, size)
            if not content:
                break
            costs = await asyncio.to_thread(tally, content.splitlines())
            end = start + len(content)
            bill = partial(_bill, digest=digest, start=start, end=end, costs=costs, now=self._clock())
            await self._database.run(bill)
        if start > size:
            _log.warning("audit_file_is_shorter", extra={"path": str(path)})
            await self._database.run(partial(_reach, digest=digest, end=size))
        self._read[path] = size


def tally(lines: Iterable[bytes]) -> Counter[Cost]:
    """Return what the calls cost whose records these are; pure."""
    found: Counter[Cost] = Counter()
    unreadable = 0
    for line in lines:
        if not any(mark in line for mark in _MARKS):
            continue
        try:
            found.update(dict(_costs(json.loads(line))))
        except (ValueError, KeyError, TypeError, AttributeError):
            unreadable += 1
    if unreadable:
        _log.warning("audit_lines_unreadable", extra={"count": unreadable})
    return found


def _costs(record: Mapping[str, Any]) -> Iterator[tuple[Cost, int]]:
    of_service = _OF_SERVICES.get(record["eventSource"])
    if of_service is not None:
        if "errorCode" not in record:
            yield from of_service(record)
        return
    buckets = [one for one in record["resources"] if one["type"] == _BUCKET and "accountId" in one]
    if not buckets or not _is_billed(record, buckets[0]["accountId"]):
        return
    bucket, owner = buckets[0]["ARN"].removeprefix(_ARN), buckets[0]["accountId"]
    operation = record["eventName"]
    if usage := uses.of_request(operation):
        yield Cost(bucket, owner, usage, operation), 1
    if operation == _OBJECT_GOT and "errorCode" not in record and "vpcEndpointId" not in record:
        sent = int(record["additionalEventData"]["bytesTransferredOut"])
        yield Cost(bucket, owner, uses.OUT, operation, record["sourceIPAddress"]), sent


def _costs_of_metrics(record: Mapping[str, Any]) -> Iterator[tuple[Cost, int]]:
    """Yield what a call of CloudWatch costs who made it."""
    operation, account_id = record["eventName"], record["recipientAccountId"]
    asked = (record["requestParameters"] or {}).get("metricDataQueries") or ()
    use = uses.of_metric_call(operation, max(1, sum("metricStat" in one for one in asked)))
    if use is not None:
        yield Cost(own_metrics.resource_of(account_id), account_id, use.usage, operation), use.quantity


def _costs_of_blocks(record: Mapping[str, Any]) -> Iterator[tuple[Cost, int]]:
    """Yield what a call of the EBS direct APIs costs who made it: each reads or writes one block."""
    operation, asked = record["eventName"], record["requestParameters"]
    if usage := uses.DIRECT_CALLS.get(operation):
        snapshot_id = asked.get("snapshotId") or asked["secondSnapshotId"]
        yield Cost(snapshot_id, record["recipientAccountId"], usage, operation), 1


_OF_SERVICES: Final = {"monitoring.amazonaws.com": _costs_of_metrics, "ebs.amazonaws.com": _costs_of_blocks}
_MARKS: Final = (_MARK, *(f'"eventSource":"{source}"'.encode() for source in _OF_SERVICES))


def _is_billed(record: Mapping[str, Any], owner: str) -> bool:
    """Tell whether a call costs its bucket's owner something: not if others were refused, nor if the server failed."""
    identity = record["userIdentity"]
    if identity["type"] == "AWSAccount" and identity["accountId"] != _NOBODY:
        return False  # the owner's own record of a call that another account has one of
    if record["eventName"] == _UNKNOWN:
        return False
    code = record.get("errorCode")
    status = STATUSES.get(code, _BAD_REQUEST) if code is not None else 0
    return status < _SERVER_ERROR and (status != _FORBIDDEN or identity.get("accountId") == owner)


def _digest(path: Path) -> str:
    """Return what tells a file from all others: each record has an id of its own; empty while it has no record."""
    with path.open("rb") as file:
        first = file.readline()
    return hashlib.sha256(first).hexdigest() if first.endswith(b"\n") else ""


def _whole_lines(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(min(_PIECE, size - start))
    return content[: content.rfind(b"\n") + 1]


def _reached(tx: Transaction, digest: str) -> int:
    row = tx.session.get(UsageFile, digest)
    return row.reached if row is not None else 0


def _reach(tx: Transaction, digest: str, end: int) -> None:
    upsert(tx.session, UsageFile, [{"digest": digest, "reached": end}])


def _bill(  # noqa: PLR0917 - which part of which file, what, when
    tx: Transaction, digest: str, start: int, end: int, costs: Mapping[Cost, int], now: datetime
) -> None:
    if _reached(tx, digest) != start:
        return  # somebody else has billed it
    inside = _inside(tx, {cost.source for cost in costs if cost.source})
    id_of = bucket_sizes.resource_ids(tx, {cost.resource for cost in costs}, now)
    total: Counter[tuple[Resource, str, str]] = Counter()
    for cost, count in costs.items():
        if cost.source not in inside:
            resource = Resource(id_of(cost.resource, cost.account_id), cost.account_id, _NO_ZONE)
            total[resource, cost.usage, cost.operation] += count
    used = [(resource, Use(usage, operation, count)) for (resource, usage, operation), count in total.items()]
    amounts.add(tx, used, now)
    _reach(tx, digest, end)


def _inside(tx: Transaction, addresses: set[str]) -> set[str]:
    """Return which addresses are this cloud's own: what is sent to those is free."""
    return set(tx.session.scalars(select(PublicAddress.address).where(PublicAddress.address.in_(addresses))))
