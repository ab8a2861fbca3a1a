"""StartSnapshot, PutSnapshotBlock and CompleteSnapshot."""

import binascii
import hashlib
import hmac
from base64 import b64decode
from typing import Final

from stead_controller.aws.call import Call, Params, Result, Then, operation
from stead_controller.aws.describe import repeatable, tags_to_dict
from stead_controller.errors import InvalidParameter
from stead_controller.request.questions import HostAnswer, WriteBlock
from stead_controller.resources.storage import volume_keys, written_snapshots
from stead_controller.resources.storage.written_snapshots import Ending, Start
from stead_proto.blocks import BLOCK_BYTES, ZERO_BLOCK

_VOLUME_SIZES: Final = range(1, 65_537)  # GiB
_TIMEOUTS: Final = range(10, 4321)  # minutes
_TIMEOUT: Final = 60
_ALGORITHM: Final = "SHA256"


@operation("StartSnapshot", service="ebs")
def start_snapshot(call: Call, params: Params) -> Result:
    """Begin a snapshot that the client writes block by block."""
    if params["VolumeSize"] not in _VOLUME_SIZES:
        raise InvalidParameter(f"VolumeSize must be from 1 to {_VOLUME_SIZES[-1]} GiB.")
    timeout = params.get("Timeout", _TIMEOUT)
    if timeout not in _TIMEOUTS:
        raise InvalidParameter(f"Timeout must be from {_TIMEOUTS[0]} to {_TIMEOUTS[-1]} minutes.")
    tags = params.get("Tags", ())
    asked = Start(
        volume_size=params["VolumeSize"],
        parent_id=params.get("ParentSnapshotId"),
        description=params.get("Description", ""),
        timeout=timeout,
        encrypted=params.get("Encrypted", False),
        kms_key_id=params.get("KmsKeyArn"),
        tags=tags_to_dict(tags),
    )
    once = repeatable("StartSnapshot", params)
    made = written_snapshots.start(call.tx, call.caller, call.cloud, asked, once, call.now)
    return {
        "SnapshotId": made.id,
        "OwnerId": made.account_id,
        "Status": "pending",
        "StartTime": made.started,
        "VolumeSize": made.volume_size,
        "BlockSize": BLOCK_BYTES,
        "Description": made.description or None,
        "ParentSnapshotId": made.parent_id,
        "Tags": list(tags) or None,
        "KmsKeyArn": made.kms_key_id,
        "SseType": "sse-kms" if made.encrypted else "none",
    }


@operation("PutSnapshotBlock", service="ebs")
def put_snapshot_block(call: Call, params: Params) -> Then:
    """Write a block to a pending snapshot; its content is checked by its checksum."""
    content: bytes = params["BlockData"]
    _check_content(params, content)
    index: int = params["BlockIndex"]
    started = written_snapshots.find_open(call.tx, call.caller, params["SnapshotId"])
    written_snapshots.check_index(started, index)
    cipher = volume_keys.cipher(call.cloud, started)
    is_stored_open = cipher is None or content == ZERO_BLOCK  # such a block is not stored

    def change(after: Call, answer: HostAnswer) -> Result:
        snapshot = written_snapshots.find_open(after.tx, after.caller, params["SnapshotId"])
        progress: int = params.get("Progress", 0)
        checksum = None if is_stored_open else hashlib.sha256(content).digest()
        written_snapshots.put(
            after.tx, snapshot, index, answer.content, progress=progress, now=after.now, checksum=checksum
        )
        return {"Checksum": params["Checksum"], "ChecksumAlgorithm": _ALGORITHM}

    stored = content if cipher is None or is_stored_open else cipher.encrypt(index, content)
    return Then(WriteBlock(stored), change)


@operation("CompleteSnapshot", service="ebs")
def complete_snapshot(call: Call, params: Params) -> Result:
    """End the writing of a snapshot; asked again, say how far it is, for which Nodepool's builders wait."""
    checksum = params.get("Checksum")
    if checksum is not None:
        _check_algorithm(params)
        if params.get("ChecksumAggregationMethod") != "LINEAR":
            raise InvalidParameter("ChecksumAggregationMethod must be LINEAR.")
    ending = Ending(params["ChangedBlocksCount"], None if checksum is None else _digest(checksum))
    status = written_snapshots.status_of_ended(call.tx, call.caller, params["SnapshotId"])
    if status is not None:
        return {"Status": status}
    snapshot = written_snapshots.find_open(call.tx, call.caller, params["SnapshotId"])
    written_snapshots.end(call.tx, snapshot, ending, call.now)
    return {"Status": "pending"}


def _check_content(params: Params, content: bytes) -> None:
    _check_algorithm(params)
    if params["DataLength"] != BLOCK_BYTES or len(content) != BLOCK_BYTES:
        raise InvalidParameter(f"A block has {BLOCK_BYTES} bytes.")
    if not hmac.compare_digest(hashlib.sha256(content).digest(), _digest(params["Checksum"])):
        raise InvalidParameter("The checksum is not that of the block.")
    if not 0 <= params.get("Progress", 0) <= 100:
        raise InvalidParameter("Progress must be from 0 to 100.")


def _check_algorithm(params: Params) -> None:
    if params.get("ChecksumAlgorithm") != _ALGORITHM:
        raise InvalidParameter(f"ChecksumAlgorithm must be {_ALGORITHM}.")


def _digest(checksum: str) -> bytes:
    try:
        return b64decode(checksum.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise InvalidParameter("The checksum is not base64.") from None
