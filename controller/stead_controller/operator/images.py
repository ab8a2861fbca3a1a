"""The `Images` service."""

import asyncio
import logging
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc

from stead_controller.blocks import image_export
from stead_controller.blocks.bad_image import BadImageError
from stead_controller.blocks.confinement import ConversionError
from stead_controller.blocks.image_files import IncomingImage
from stead_controller.blocks.interface import BlockStoreError, MissingBlockError
from stead_controller.blocks.store import BlockStore
from stead_controller.catalog import ids
from stead_controller.clock import Clock
from stead_controller.errors import InvalidParameter, SteadError, Unavailable
from stead_controller.operator.refusals import partly_done
from stead_controller.operator.transactions import Transactions
from stead_controller.request.cloud import Cloud
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.resources.images import imported_images
from stead_controller.resources.images.imported_images import ImageFile, ImageRequest
from stead_controller.resources.storage import segments
from stead_proto import tls
from stead_proto.blocks import BadBlockError
from stead_proto.v1 import operator_pb2 as pb
from stead_proto.v1 import operator_pb2_grpc
from stead_proto.v1.blocks_pb2 import Segment

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.05
_SEGMENTS_AT_ONCE: Final = 4
_PIECE: Final = 1 << 20


class Images(operator_pb2_grpc.ImagesServicer):
    """Imports, exports, lists and removes images."""

    def __init__(self, database: Transactions, store: BlockStore, cloud: Cloud, clock: Clock, *, folder: Path) -> None:
        """Store the dependencies; uploaded files are stored below the folder."""
        self._database = database
        self._store = store
        self._cloud = cloud
        self._folder = folder
        self._clock = clock

    async def ImportImage(  # noqa: N802 - the name of the RPC
        self, request_iterator: AsyncIterator[pb.ImportImageRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ImportImageResponse]:
        """Import an image file: it is checked during and after the upload, then its blocks are stored."""
        operator = tls.peer_of(context).name
        first = await anext(aiter(request_iterator), None)
        if first is None or not first.HasField("header"):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be the header")
        image = _requested_image(first.header)
        await self._database.run(lambda tx: imported_images.check_request(tx, image), writes=False)
        yield pb.ImportImageResponse()
        try:
            image_id, sha256 = await self._receive(first.header, request_iterator)
        except BadImageError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except OSError as error:
            _log.warning("image_not_received", extra={"error": str(error)})
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the image cannot be stored: {error.strerror}")
        percent = -1
        while (found := await self._ingestion(image_id)).state == "pending":
            if found.percent != percent:
                percent = found.percent
                yield pb.ImportImageResponse(percent=percent)
            await asyncio.sleep(_LOOK_SECONDS)
        if found.state == "failed":
            await self._database.run(lambda tx: imported_images.remove_image(tx, image_id, self._clock()))
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, found.reason)
        _log.info("image_imported", extra={"image": image_id, "operator": operator})
        yield pb.ImportImageResponse(image_id=image_id, sha256=sha256, percent=100)

    async def _ingestion(self, image_id: str) -> imported_images.Ingestion:
        with partly_done():
            return await self._database.run(lambda tx: imported_images.ingestion(tx, image_id), writes=False)

    async def _receive(
        self, header: pb.ImportImageHeader, incoming: AsyncIterator[pb.ImportImageRequest]
    ) -> tuple[str, str]:
        """Receive the file and create the pending image; return its id and the file's SHA-256."""
        image = _requested_image(header)
        image_id = ids.new_id("image")
        with IncomingImage(self._folder / image_id, header.format, header.file_size) as upload:
            async for message in incoming:
                await asyncio.to_thread(upload.write, message.content)
            sha256, virtual_size = await asyncio.to_thread(upload.finish)
        file = ImageFile(upload.path, header.format, virtual_size, header.file_size, sha256)
        try:
            await self._database.run(
                lambda tx: imported_images.bring_image(tx, self._cloud, image_id, image, file, self._clock())
            )
        except SteadError as error:
            if not isinstance(error, Unavailable) or error.is_known:  # else the image may be there, and needs its file
                await asyncio.to_thread(shutil.rmtree, upload.path.parent)
            raise
        return image_id, sha256

    async def ExportImage(  # noqa: N802 - the name of the RPC
        self, request: pb.ExportImageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ExportImageResponse]:
        """Write a disk of an image in the requested format, and send it."""
        operator = tls.peer_of(context).name
        wanted = (request.image_id, request.device_name)
        if request.format not in image_export.FORMATS:
            raise InvalidParameter(f"'{request.format}' is no format: {', '.join(image_export.FORMATS)}.")
        disk = await self._database.run(lambda tx: imported_images.find_disk(tx, *wanted), writes=False)
        folder = self._folder / f"export-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700, parents=True)
        try:
            async for response in self._put_together(disk, folder / "disk"):
                yield response
            file = await asyncio.to_thread(image_export.convert, folder / "disk", request.format)
            async for response in _content(file):
                yield response
        except (BlockStoreError, MissingBlockError, BadBlockError, ConversionError, OSError) as error:
            _log.exception("image_not_exported", extra={"image": request.image_id})
            await context.abort(grpc.StatusCode.INTERNAL, str(error))
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)
        _log.info("image_exported", extra={"image": request.image_id, "operator": operator})

    async def _put_together(
        self, disk: imported_images.StoredDisk, path: Path
    ) -> AsyncIterator[pb.ExportImageResponse]:
        """Write a disk, and yield the progress."""
        percents = [0]

        async def more(first: int) -> list[Segment]:
            return await self._database.run(
                lambda tx: segments.page(tx, disk.snapshot_id, first, _SEGMENTS_AT_ONCE), writes=False
            )

        writing = asyncio.create_task(image_export.write_disk(self._store, more, path, disk.size, percents.append))
        try:
            reported = -1
            while not (await asyncio.wait({writing}, timeout=_LOOK_SECONDS))[0]:
                if percents[-1] != reported:
                    reported = percents[-1]
                    yield pb.ExportImageResponse(percent=reported)
            await writing
        finally:
            writing.cancel()
        yield pb.ExportImageResponse(percent=100)

    async def ListImages(  # noqa: N802 - the name of the RPC
        self, request: pb.ListImagesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListImagesResponse:
        """List the images of all accounts."""
        del request, context
        found = await self._database.run(imported_images.list_images, writes=False)
        return pb.ListImagesResponse(
            images=[
                pb.ImageSummary(
                    id=image.id,
                    name=image.name,
                    account_id="" if image.account_id == CLOUD_ACCOUNT else image.account_id,
                    state=image.state,
                    file_size=image.file_size,
                    virtual_size=image.virtual_size,
                    sha256=image.sha256,
                    created=int(image.created.timestamp()),
                    public=image.public,
                )
                for image in found
            ]
        )

    async def RemoveImage(  # noqa: N802 - the name of the RPC
        self, request: pb.RemoveImageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RemoveImageResponse:
        """Remove an image and its snapshots."""
        del context
        await self._database.run(lambda tx: imported_images.remove_image(tx, request.image_id, self._clock()))
        return pb.RemoveImageResponse()


async def _content(file: Path) -> AsyncIterator[pb.ExportImageResponse]:
    """Send a file in chunks, its size with the first."""
    size = (await asyncio.to_thread(file.stat)).st_size
    with file.open("rb") as opened:
        while piece := await asyncio.to_thread(opened.read, _PIECE):
            yield pb.ExportImageResponse(percent=100, file_size=size, content=piece)
            size = 0


def _requested_image(header: pb.ImportImageHeader) -> ImageRequest:
    return ImageRequest(
        name=header.name,
        description=header.description,
        architecture=header.architecture or "x86_64",
        boot_mode=header.boot_mode,
        public=header.public,
        account_id=header.account_id,
        root_device_name=header.root_device_name or "/dev/sda1",
        tags=dict(header.tags),
    )
