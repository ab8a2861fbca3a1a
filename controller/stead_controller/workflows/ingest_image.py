"""Stores an uploaded image file as the content of a snapshot, and makes its image available."""

import asyncio
import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stead_controller.blocks.bad_image import BadImageError
from stead_controller.blocks.image_blocks import ImageBlocks
from stead_controller.blocks.ingestion import ingest
from stead_controller.blocks.store import BlockStore
from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.errors import NotFound
from stead_controller.resources.images import imported_images
from stead_controller.resources.storage import volume_keys
from stead_controller.secrets.sealing import Sealer
from stead_controller.workflows.engine import Done, GiveUp, Life, Next, Outcome
from stead_proto.block_cipher import BlockCipher

_PROGRESS_SECONDS: Final = 0.5


class IngestImage(Life):
    """The workflow of a snapshot made from a file: `begin` reads it, then `clean` removes it.

    The file is the only one in its folder; only this workflow may change it.
    """

    kind = imported_images.INGEST

    def __init__(  # noqa: PLR0917 - the parameters of all workflows, and two more
        self,
        database: Database,
        clock: Clock,
        subject_id: str,
        facts: Mapping[str, Any],
        store: BlockStore,
        sealer: Sealer,
    ) -> None:
        """Store the dependencies; the facts are the `path` of the file and its `format`."""
        super().__init__(database, clock, subject_id, facts)
        self._store = store
        self._sealer = sealer
        self._path = Path(facts["path"])
        self._percent = 0

    async def begin(self) -> Outcome:
        """Store all blocks, then complete the snapshot."""
        reporting = asyncio.create_task(self._report())
        try:
            await ingest(self._store, self.id, self._open, self._note, await self._cipher())
        except NotFound:
            return Next(self.clean)  # it was deleted meanwhile, or completed by an earlier attempt
        except BadImageError as error:
            raise GiveUp(str(error)) from error
        finally:
            reporting.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # cancelled one line above
                await reporting
        await self.database.run(lambda tx: imported_images.complete(tx, self.id, self.clock()))
        return Next(self.clean)

    async def _cipher(self) -> BlockCipher | None:
        """Return the cipher of an encrypted snapshot."""
        sealed = await self.database.run(lambda tx: imported_images.key_of(tx, self.id), writes=False)
        return None if sealed is None else BlockCipher(self._sealer.open(sealed, volume_keys.CONTEXT))

    async def clean(self) -> Outcome:
        """Remove the file, whose content is in the block store."""
        await asyncio.to_thread(self._remove)
        return Done()

    async def fail(self, message: str) -> None:
        """Mark the snapshot and the image as failed, and remove the file."""
        await self.database.run(lambda tx: imported_images.fail(tx, self.id, message))
        await asyncio.to_thread(self._remove)

    def _open(self) -> ImageBlocks:
        try:
            return ImageBlocks(self._path, self.facts["format"])
        except FileNotFoundError as error:
            raise BadImageError("the image's file is gone") from error

    def _remove(self) -> None:
        shutil.rmtree(self._path.parent, ignore_errors=not self._path.parent.exists())

    def _note(self, percent: int) -> None:
        self._percent = percent

    async def _report(self) -> None:
        """Write the progress periodically."""
        reported = 0
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            percent = self._percent
            if percent != reported:
                await self.database.run(lambda tx, percent=percent: imported_images.progress(tx, self.id, percent))  # type: ignore[misc]  # mypy: a default is no parameter of Callable
                reported = percent
