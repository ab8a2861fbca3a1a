"""Selects the kind of block store from the settings."""

from stead_controller.blocks.bucket import Bucket, Key
from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.interface import BlockFiles
from stead_controller.settings import Settings


def open_files(settings: Settings) -> BlockFiles:
    """Open the configured bucket, else the directory; raises OSError, ValueError for a bad key file."""
    if not settings.block_bucket:
        return BlockDirectory(settings.block_folder)
    if settings.block_key_file is None:
        raise ValueError("a bucket for blocks needs a file with the access key: --block-key-file")
    from stead_controller.blocks.s3 import BlockBucket  # noqa: PLC0415 - takes a quarter of a second, for buckets only

    bucket = Bucket(
        settings.block_bucket, settings.block_endpoint, settings.block_region, ca_file=settings.block_ca_file
    )
    return BlockBucket(bucket, Key.from_file(settings.block_key_file))
