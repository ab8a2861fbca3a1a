"""Which kind of place backups are in: a folder, or s3://BUCKET/PREFIX."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_controller.backup.repository import BackupError, Repository

_SCHEME: Final = "s3://"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")


@dataclass(frozen=True, slots=True)
class Access:
    """How a bucket's server is reached; what is empty is as botocore finds it: environment, profile, Amazon's own."""

    endpoint: str = ""
    region: str = ""
    ca_file: Path | None = None
    key_file: Path | None = None


def opened(place: str, access: Access) -> Repository:
    """Give what has the backups of a place, without asking for it yet; raises BackupError, OSError."""
    if not place.startswith(_SCHEME):
        from stead_controller.backup.folder import FolderRepository  # noqa: PLC0415 - see below

        return FolderRepository(Path(place).absolute())
    from stead_controller.backup.bucket import BucketRepository  # noqa: PLC0415 - a quarter of a second, for buckets only
    from stead_controller.backup.objects import Objects  # noqa: PLC0415 - as above
    from stead_controller.blocks.bucket import Key  # noqa: PLC0415 - as above
    from stead_controller.blocks.s3 import open_client  # noqa: PLC0415 - as above

    bucket, _, prefix = place.removeprefix(_SCHEME).partition("/")
    if not _BUCKET.match(bucket):
        raise BackupError(f"{place} names no bucket: s3://BUCKET/PREFIX.")
    try:
        key = Key.from_file(access.key_file) if access.key_file is not None else None
    except (PermissionError, ValueError) as error:
        raise BackupError(f"{error}.") from error
    client = open_client(access.endpoint, access.region, access.ca_file, key)
    return BucketRepository(Objects(client, bucket, f"{prefix.strip('/')}/".lstrip("/")))
