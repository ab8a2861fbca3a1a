"""Where the blocks of snapshots and images are: in a folder of the controller, or in a bucket of an S3 server."""

from pathlib import Path
from typing import Any, Final

from stead_cli import settings as all_settings
from stead_cli.errors import CliError
from stead_cli.server_elsewhere import given, read_key, require_certificate
from stead_cli.settings import NO_BUCKET, Settings

_PREFIX: Final = "stead/"  # of the controller's objects: stead_controller/blocks/bucket.py
_SECONDS: Final = 10
_MOVING: Final = "docs/operate/settings.md#blocks-on-another-machine"


def options(chosen: Settings) -> list[str]:
    """What names the bucket to the controller; nothing where blocks are in its folder."""
    if not chosen.bucket:
        return []
    return given(
        block_bucket=chosen.bucket,
        block_endpoint=chosen.block_endpoint,
        block_region=chosen.block_region,
        block_key_file=chosen.block_key_file,
        block_ca_file=chosen.block_ca_file,
    )


def require(chosen: Settings) -> None:
    """Raise CliError where blocks would be lost: the cloud has them elsewhere so far, or another cloud has them there.

    The bucket is asked only where this cloud has not run with it yet: a server that is away keeps none from starting.
    """
    has_keys = (chosen.controller_dir / "ca.pem").exists()
    folder = chosen.controller_dir / "blocks"
    key = read_key(chosen.block_key_file, "STEAD_BLOCK_KEY_FILE") if chosen.bucket else ("", "")
    if chosen.bucket:
        require_certificate(chosen.block_ca_file, "STEAD_BLOCK_CA_FILE")
    if chosen.bucket and _has_blocks(folder):
        raise CliError(
            f"the blocks of this cloud are in {folder}, and STEAD_BLOCK_BUCKET names another place",
            f"to move them: {_MOVING}; to stay: STEAD_BLOCK_BUCKET={NO_BUCKET}",
        )
    former = all_settings.load({"STEAD_STATE_DIR": str(chosen.state_dir)})
    if has_keys and _place(former) == _place(chosen):
        return
    if not chosen.bucket:
        if has_keys and not _has_blocks(folder):
            raise CliError(
                f"the blocks of this cloud are in {_named(former)}, and not in {folder}", _how_to_move(former)
            )
        return
    there = _is_used(chosen, key)
    if has_keys and not there:
        raise CliError(
            f"the blocks of this cloud are in {_named(former)}, and none is in {_named(chosen)}", _how_to_move(former)
        )
    if there and not has_keys:
        raise CliError(
            f"{_named(chosen)} has the blocks of a cloud, whose keys are not in {chosen.controller_dir}",
            "of a further controller: copy them from the first, docs/operate/several-controllers.md; of a lost cloud:"
            " ./stead backup restore; for a new cloud: an empty bucket",
        )


def _how_to_move(former: Settings) -> str:
    return f"to move them: {_MOVING}; to stay: STEAD_BLOCK_BUCKET={former.bucket or NO_BUCKET}"


def _place(chosen: Settings) -> tuple[str, str]:
    return (chosen.bucket, chosen.block_endpoint) if chosen.bucket else ("", "")


def _named(chosen: Settings) -> str:
    if not chosen.bucket:
        return str(chosen.controller_dir / "blocks")
    return f"the bucket {chosen.bucket} of {chosen.block_endpoint or 'Amazon'}"


def _has_blocks(folder: Path) -> bool:
    """Tell whether a controller's folder has a block, which is at `ab/cd/…`."""
    return next(folder.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"), None) is not None


def _is_used(chosen: Settings, key: tuple[str, str]) -> bool:
    """Tell whether a bucket has blocks; raises CliError where it cannot be asked."""
    import botocore.session  # noqa: PLC0415 - a third of a second, needed only where the bucket is new to this cloud
    from botocore.config import Config  # noqa: PLC0415 - as above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    client: Any = botocore.session.Session().create_client(
        "s3",
        region_name=chosen.block_region,
        endpoint_url=chosen.block_endpoint or None,
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        verify=chosen.block_ca_file or None,
        config=Config(
            connect_timeout=_SECONDS,
            read_timeout=_SECONDS,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )
    try:
        found = client.list_objects_v2(Bucket=chosen.bucket, Prefix=_PREFIX, MaxKeys=1)
    except (BotoCoreError, ClientError) as error:
        raise CliError(
            f"{_named(chosen)} cannot be asked: {error}",
            "see: STEAD_BLOCK_BUCKET, STEAD_BLOCK_ENDPOINT, STEAD_BLOCK_KEY_FILE, STEAD_BLOCK_CA_FILE",
        ) from error
    finally:
        client.close()
    return bool(found.get("Contents"))
