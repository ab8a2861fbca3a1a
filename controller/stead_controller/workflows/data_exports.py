"""Carries out exports that are due: files of costs are made and stored in buckets, a manifest last.

See `resources/data_exports/executions.py`. What is stored was whole before; an execution that is begun again after a
kill stores the same keys again.
"""

import asyncio
import gzip
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.metering import months
from stead_controller.metering.usage_sums import Period
from stead_controller.request.cloud import Cloud
from stead_controller.resources.data_exports import executions, exports, tables
from stead_controller.resources.data_exports.executions import Work
from stead_controller.workflows.image_tasks import ObjectError, Places

_PIECES: Final = 24  # between two renewals of the lease

_log = logging.getLogger(__name__)


class _NoLongerOurs(Exception):
    """The execution has ended elsewhere."""


class DataExports:
    """The exports of a controller; `run` is called when one is due."""

    def __init__(self, database: Database, cloud: Cloud, clock: Clock, places: Places) -> None:
        """Take the parts."""
        self._database = database
        self._cloud = cloud
        self._clock = clock
        self._objects = places.objects
        self._folder = places.settings.incoming_folder / "exports"

    async def run(self) -> None:
        """Carry out what is due now, one after the other."""
        while (work := await self._next()) is not None:
            try:
                reason = await self._carry_out(work)
            except _NoLongerOurs:  # it was changed or deleted meanwhile, and is carried out anew if it is there
                continue
            except ObjectError as error:
                _log.warning("data_export_refused", extra={"export": work.arn, "detail": str(error)})
                reason = executions.NO_PERMISSION
            except Exception:  # one that cannot be carried out must not keep others waiting
                _log.exception("data_export_failed", extra={"export": work.arn})
                reason = executions.INTERNAL
            await self._database.run(partial(executions.end, work=work, reason=reason, now=self._clock()))

    async def _next(self) -> Work | None:
        now = self._clock()
        if not await self._database.run(partial(executions.DUE.is_met, now=now), writes=False):
            return None
        return await self._database.run(partial(executions.begin, cloud=self._cloud, now=now))

    async def _carry_out(self, work: Work) -> str | None:
        """Write all months; returns the reason why it was not possible, if so."""
        if not await self._database.run(partial(executions.may_write, work=work), writes=False):
            return executions.NO_PERMISSION
        with self._workspace(work) as folder:
            for period in executions.periods(work.made, self._clock()):
                await self._go_on(work, executions.QUERYING)
                file = folder / "rows.csv.gz"
                await self._write(work, period, file)
                await self._go_on(work, executions.DELIVERING)
                await self._deliver(work, period, file, folder / "manifest.json")
        return None

    async def _go_on(self, work: Work, status: str) -> None:
        if not await self._database.run(partial(executions.go_on, work=work, status=status, now=self._clock())):
            raise _NoLongerOurs

    async def _write(self, work: Work, period: Period, file: Path) -> None:
        """Write the rows of a month, asked for piece by piece so that no transaction is long."""
        await asyncio.to_thread(_begin_file, file, [name for _, name in work.statement.columns])
        for number, piece in enumerate(executions.pieces(work, period)):
            ask = partial(executions.rows, work=work, region=self._cloud.region, piece=piece, now=self._clock())
            found = await self._database.run(ask, writes=False)
            if found:
                await asyncio.to_thread(_append, file, found)
            if number % _PIECES == 0:
                await self._go_on(work, executions.QUERYING)

    async def _deliver(self, work: Work, period: Period, file: Path, manifest: Path) -> None:
        """Store the rows, and then the manifest that names them."""
        made = work.definition
        store = partial(self._objects.store, work.owner, made.bucket)
        month = f"BILLING_PERIOD={datetime.fromtimestamp(period.begin, UTC):%Y-%m}"
        overwrites = made.overwrite == exports.OVERWRITE
        folder = f"{month}/" if overwrites else f"{month}/{work.begun:%Y-%m-%dT%H:%M:%SZ}-{work.execution_id}/"
        data = f"{made.folder}data/{folder}{made.name}-00001.csv.gz"
        await store(data, file)
        text = json.dumps(_manifest(work, period, f"s3://{made.bucket}/{data}"), indent=2)
        await asyncio.to_thread(manifest.write_text, text, encoding="utf-8")
        await store(f"{made.folder}metadata/{folder}{made.name}-Manifest.json", manifest)

    @contextmanager
    def _workspace(self, work: Work) -> Iterator[Path]:
        """Make a folder of this export, without what one that was killed has left."""
        folder = self._folder / work.export_id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _begin_file(file: Path, names: list[str]) -> None:
    file.unlink(missing_ok=True)
    _append(file, executions.as_csv([names]))


def _append(file: Path, rows: bytes) -> None:
    """Add rows; a gzip file may have several members, which readers take as one."""
    with file.open("ab") as raw:
        raw.write(gzip.compress(rows, mtime=0))


def _manifest(work: Work, period: Period, data: str) -> dict[str, Any]:
    following = period.begin + months.seconds_of(period.begin)
    begin, end = (datetime.fromtimestamp(one, UTC) for one in (period.begin, following))
    return {
        "exportArn": work.arn,
        "exportName": work.definition.name,
        "executionId": work.execution_id,
        "billingPeriod": {"start": f"{begin:%Y-%m-%dT%H:%M:%S.000Z}", "end": f"{end:%Y-%m-%dT%H:%M:%S.000Z}"},
        "columns": [{"name": name, "type": tables.type_of(column)} for column, name in work.statement.columns],
        "contentType": "text/csv",
        "compression": "GZIP",
        "dataFiles": [data],
        "additionalOutputFiles": [],
    }
