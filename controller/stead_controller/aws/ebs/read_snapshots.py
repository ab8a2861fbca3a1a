"""ListSnapshotBlocks, ListChangedBlocks and GetSnapshotBlock."""

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from stead_controller.aws import sealed_tokens as tokens
from stead_controller.aws.call import Call, Later, Params, Result, operation
from stead_controller.errors import InvalidParameter, MissingParameter
from stead_controller.request.questions import HostAnswer, ReadBlock
from stead_controller.resources.storage import snapshot_blocks, volume_keys
from stead_proto.blocks import BLOCK_BYTES

_PAGE: Final = 10_000
_LEAST: Final = 100


@dataclass(frozen=True, slots=True)
class _Page:
    """Where a page begins and how many blocks it may have; `purpose` is the purpose of its token."""

    start: int
    limit: int
    purpose: str


@operation("ListSnapshotBlocks", service="ebs", writes=False)
def list_snapshot_blocks(call: Call, params: Params) -> Result:
    """List the blocks of a snapshot that are not all zero."""
    snapshot = snapshot_blocks.find_readable(call.tx, call.caller, params["SnapshotId"])
    page = _page(call, params, f"blocks of {snapshot.id}")
    expires = call.now + tokens.LIFETIME
    found = snapshot_blocks.stored(call.tx, snapshot.id, page.start, page.limit + 1)
    blocks = [
        {"BlockIndex": index, "BlockToken": _token(call, snapshot.id, index, digest, expires)}
        for index, digest in found[: page.limit]
    ]
    return {"Blocks": blocks, **_rest(call, page, blocks, len(found) > page.limit, snapshot.volume_size)}


@operation("ListChangedBlocks", service="ebs", writes=False)
def list_changed_blocks(call: Call, params: Params) -> Result:
    """List the blocks in which two snapshots differ."""
    if not params.get("FirstSnapshotId"):
        raise MissingParameter("FirstSnapshotId")
    first = snapshot_blocks.find_readable(call.tx, call.caller, params["FirstSnapshotId"])
    second = snapshot_blocks.find_readable(call.tx, call.caller, params["SecondSnapshotId"])
    snapshot_blocks.require_related(first, second)
    page = _page(call, params, f"changes of {first.id} {second.id}")
    expires = call.now + tokens.LIFETIME
    found = snapshot_blocks.changed(call.tx, first, second, page.start, page.limit + 1)
    blocks = [
        {
            "BlockIndex": one.index,
            "FirstBlockToken": _token(call, first.id, one.index, one.first, expires),
            "SecondBlockToken": _token(call, second.id, one.index, one.second, expires),
        }
        for one in found[: page.limit]
    ]
    return {"ChangedBlocks": blocks, **_rest(call, page, blocks, len(found) > page.limit, second.volume_size)}


@operation("GetSnapshotBlock", service="ebs", writes=False)
def get_snapshot_block(call: Call, params: Params) -> Later:
    """Return the content of a block, by the token that a list returned for it."""
    snapshot = snapshot_blocks.find_readable(call.tx, call.caller, params["SnapshotId"])
    purpose = _purpose(snapshot.id, params["BlockIndex"])
    digest = tokens.open_token(call.page_key, purpose, params["BlockToken"], call.now)

    cipher = volume_keys.cipher(call.cloud, snapshot)

    def finish(answer: HostAnswer) -> Result:
        content = answer.content if cipher is None else cipher.decrypt(params["BlockIndex"], answer.content)
        return {
            "DataLength": len(content),
            "BlockData": content,
            "Checksum": b64encode(hashlib.sha256(content).digest()).decode(),
            "ChecksumAlgorithm": "SHA256",
        }

    return Later(ReadBlock(digest), finish)


def _purpose(snapshot_id: str, index: int) -> str:
    return f"block {index} of {snapshot_id}"


def _token(call: Call, snapshot_id: str, index: int, digest: bytes | None, expires: datetime) -> str | None:
    return None if digest is None else tokens.seal(call.page_key, _purpose(snapshot_id, index), digest, expires)


def _page(call: Call, params: Params, purpose: str) -> _Page:
    """Read MaxResults, StartingBlockIndex and NextToken; raises InvalidParameter."""
    purpose = f"{purpose} for {call.caller.account_id}"
    limit = params.get("MaxResults", _PAGE)
    if not _LEAST <= limit <= _PAGE:
        raise InvalidParameter(f"MaxResults must be from {_LEAST} to {_PAGE}.")
    if params.get("NextToken"):
        start = int.from_bytes(tokens.open_token(call.page_key, purpose, params["NextToken"], call.now), "big")
    else:
        start = params.get("StartingBlockIndex", 0)
    if start < 0:
        raise InvalidParameter("StartingBlockIndex must not be negative.")
    return _Page(start, limit, purpose)


def _rest(call: Call, page: _Page, blocks: list[dict[str, Any]], more: bool, volume_size: int) -> Result:
    expires = call.now + tokens.LIFETIME
    following = (blocks[-1]["BlockIndex"] + 1).to_bytes(8, "big") if more else b""
    return {
        "ExpiryTime": expires,
        "VolumeSize": volume_size,
        "BlockSize": BLOCK_BYTES,
        "NextToken": tokens.seal(call.page_key, page.purpose, following, expires) if more else None,
    }
