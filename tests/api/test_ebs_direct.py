"""The EBS direct APIs through boto3: snapshots are read, compared and written block by block."""

import asyncio
import hashlib
import secrets
from base64 import b64encode
from datetime import timedelta

import pytest

from stead_controller.db.tables import Snapshot, StoredBlock, WrittenBlock
from stead_controller.resources.storage import written_snapshots
from stead_proto.blocks import BLOCK_BYTES, ZERO_BLOCK

ABSENT = "snap-00000000000000000"


def checksum(content):
    return b64encode(hashlib.sha256(content).digest()).decode()


def written(index, content, **changes):
    """Parameters of PutSnapshotBlock."""
    return {
        "BlockIndex": index,
        "BlockData": content,
        "DataLength": len(content),
        "Checksum": checksum(content),
        "ChecksumAlgorithm": "SHA256",
        **changes,
    }


@pytest.fixture
def ebs(api):
    return api.client(api.world.one, "ebs")


@pytest.fixture
def compose(api):
    """Do what the controller does every second."""

    async def work():
        while await api.blocks.compose():
            pass

    return lambda: asyncio.run(work())


@pytest.fixture
def write(api, ebs, compose):
    """Write a snapshot of 1 GiB of blocks by index, and give its id once it is complete."""

    def make(blocks, **start):
        snapshot_id = ebs.start_snapshot(VolumeSize=1, **start)["SnapshotId"]
        for index, content in blocks.items():
            assert ebs.put_snapshot_block(SnapshotId=snapshot_id, **written(index, content))["Checksum"] == checksum(
                content
            )
        digests = b"".join(hashlib.sha256(blocks[index]).digest() for index in sorted(blocks))
        aggregate = {"Checksum": checksum(digests), "ChecksumAggregationMethod": "LINEAR"}
        done = ebs.complete_snapshot(
            SnapshotId=snapshot_id, ChangedBlocksCount=len(blocks), ChecksumAlgorithm="SHA256", **aggregate
        )
        assert done["Status"] == "pending"
        compose()
        (shown,) = api.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        assert (shown["State"], shown["Progress"]) == ("completed", "100%")
        return snapshot_id

    return make


def noise():
    return secrets.token_bytes(BLOCK_BYTES)


def read(ebs, snapshot_id):
    """All blocks of a snapshot, by index."""
    found = {}
    for block in ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]:
        got = ebs.get_snapshot_block(SnapshotId=snapshot_id, **block)
        content = got["BlockData"].read()
        assert (got["DataLength"], got["Checksum"], got["ChecksumAlgorithm"]) == (
            BLOCK_BYTES,
            checksum(content),
            "SHA256",
        )
        found[block["BlockIndex"]] = content
    return found


def test_what_is_written_is_read(api, ebs, write):
    blocks = {0: noise(), 1: noise(), 1023: noise(), 1024: noise(), 2047: noise()}
    blocks[1024] = blocks[0]
    tags = [{"Key": "a", "Value": "b"}]
    snapshot_id = write(blocks, Description="mine", Tags=tags)
    assert read(ebs, snapshot_id) == blocks
    (shown,) = api.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert (shown["Description"], shown["Tags"], shown["VolumeSize"]) == ("mine", tags, 1)
    assert shown["FullSnapshotSizeInBytes"] == 5 * BLOCK_BYTES
    assert api.run(lambda tx: tx.session.query(WrittenBlock).count()) == 0
    references = api.run(lambda tx: sorted(row.reference_count for row in tx.session.query(StoredBlock)))
    assert references == [1, 1, 1, 2]


def test_over_a_parent(ebs, write):
    first, second, third = noise(), noise(), noise()
    parent = write({0: first, 1: second, 1500: third})
    child = write({1: third, 2: ZERO_BLOCK, 1500: ZERO_BLOCK}, ParentSnapshotId=parent)
    assert read(ebs, child) == {0: first, 1: third}
    listed = ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child)
    changes = {one["BlockIndex"]: set(one) - {"BlockIndex"} for one in listed["ChangedBlocks"]}
    assert changes == {1: {"FirstBlockToken", "SecondBlockToken"}, 1500: {"FirstBlockToken"}}
    token = listed["ChangedBlocks"][0]["FirstBlockToken"]
    got = ebs.get_snapshot_block(SnapshotId=parent, BlockIndex=1, BlockToken=token)
    assert got["BlockData"].read() == second
    assert (listed["VolumeSize"], listed["BlockSize"]) == (1, BLOCK_BYTES)
    backwards = ebs.list_changed_blocks(FirstSnapshotId=child, SecondSnapshotId=parent, StartingBlockIndex=2)
    assert [one["BlockIndex"] for one in backwards["ChangedBlocks"]] == [1500]


def test_pages(ebs, write, api):
    blocks = {index: bytes([index % 7 + 1]) * BLOCK_BYTES for index in range(0, 2048, 17)}
    snapshot_id = write(blocks)
    seen, more = [], {"StartingBlockIndex": 17}
    while more:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100, **more)
        assert len(page["Blocks"]) <= 100
        seen += [block["BlockIndex"] for block in page["Blocks"]]
        more = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
    assert seen == sorted(blocks)[1:]
    token = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100)["NextToken"]
    other = write({0: noise()})
    api.refused("ValidationException", ebs.list_snapshot_blocks, SnapshotId=other, NextToken=token)
    api.refused("ValidationException", ebs.list_snapshot_blocks, SnapshotId=other, MaxResults=10001)


def test_tokens_are_good_for_their_block_alone(api, ebs, write):
    snapshot_id, other = write({0: noise(), 1: noise()}), write({0: noise()})
    first, second = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]
    get = ebs.get_snapshot_block
    changed = "x" if second["BlockToken"][0] != "x" else "y"
    for asked in (
        {"SnapshotId": snapshot_id, "BlockIndex": 1, "BlockToken": first["BlockToken"]},
        {"SnapshotId": other, "BlockIndex": 0, "BlockToken": first["BlockToken"]},
        {"SnapshotId": snapshot_id, "BlockIndex": 1, "BlockToken": "AAAA"},
        {"SnapshotId": snapshot_id, "BlockIndex": 1, "BlockToken": changed + second["BlockToken"][1:]},
    ):
        api.refused("ValidationException", get, **asked)
    theirs = api.client(api.world.other, "ebs")
    api.refused("ResourceNotFoundException", theirs.get_snapshot_block, SnapshotId=snapshot_id, **first)
    api.refused("ResourceNotFoundException", theirs.list_snapshot_blocks, SnapshotId=snapshot_id)
    api.ec2.modify_snapshot_attribute(SnapshotId=snapshot_id, OperationType="add", GroupNames=["all"])
    assert len(read(theirs, snapshot_id)) == 2


def test_what_cannot_be_written(api, ebs, compose):
    snapshot_id = ebs.start_snapshot(VolumeSize=1, ClientToken="once")["SnapshotId"]
    assert ebs.start_snapshot(VolumeSize=1, ClientToken="once")["SnapshotId"] == snapshot_id
    api.refused("ConflictException", ebs.start_snapshot, VolumeSize=2, ClientToken="once")
    put, complete = ebs.put_snapshot_block, ebs.complete_snapshot
    content = noise()
    for bad in (
        written(2048, content),
        written(0, content, Checksum=checksum(b"")),
        written(0, content, Checksum="?"),
        written(0, content, Progress=101),
        written(0, content[1:]),
        written(0, content, DataLength=512),
    ):
        api.refused("ValidationException", put, SnapshotId=snapshot_id, **bad)
    theirs = api.client(api.world.other, "ebs")
    for snapshot in (ABSENT, snapshot_id):
        api.refused("ResourceNotFoundException", theirs.put_snapshot_block, SnapshotId=snapshot, **written(0, content))
    api.refused("ValidationException", ebs.list_snapshot_blocks, SnapshotId=snapshot_id)
    volume_id = api.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    of_volume = api.ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
    api.run(lambda tx: setattr(tx.session.get_one(Snapshot, of_volume), "state", "completed"))
    api.refused("ValidationException", complete, SnapshotId=of_volume, ChangedBlocksCount=0)
    put(SnapshotId=snapshot_id, **written(0, content, Progress=30))
    put(SnapshotId=snapshot_id, **written(0, content))
    assert api.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["Progress"] == "30%"
    api.refused("ValidationException", complete, SnapshotId=snapshot_id, ChangedBlocksCount=2)
    wrong = {"Checksum": checksum(b""), "ChecksumAlgorithm": "SHA256", "ChecksumAggregationMethod": "LINEAR"}
    api.refused("ValidationException", complete, SnapshotId=snapshot_id, ChangedBlocksCount=1, **wrong)
    complete(SnapshotId=snapshot_id, ChangedBlocksCount=1)
    assert complete(SnapshotId=snapshot_id, ChangedBlocksCount=1)["Status"] == "pending"
    api.refused("ResourceNotFoundException", theirs.complete_snapshot, SnapshotId=snapshot_id, ChangedBlocksCount=1)
    api.refused("ValidationException", put, SnapshotId=snapshot_id, **written(0, content))
    compose()
    assert complete(SnapshotId=snapshot_id, ChangedBlocksCount=1)["Status"] == "completed"
    assert read(ebs, snapshot_id) == {0: content}
    for bad in (
        {"VolumeSize": 1, "Timeout": 4321},
        {"VolumeSize": 1, "KmsKeyArn": "alias/mine"},
        {"VolumeSize": 65537},
    ):
        api.refused("ValidationException", ebs.start_snapshot, **bad)
    api.refused("ResourceNotFoundException", ebs.start_snapshot, VolumeSize=1, ParentSnapshotId=ABSENT)


def test_unrelated_snapshots_are_not_compared(api, ebs, write):
    first, second = write({0: noise()}), write({0: noise()})
    asked = {"FirstSnapshotId": first, "SecondSnapshotId": second}
    api.refused("ValidationException", ebs.list_changed_blocks, **asked)
    api.refused("ValidationException", ebs.list_changed_blocks, SecondSnapshotId=second)


def test_a_snapshot_without_writes_fails(api, ebs):
    snapshot_id = ebs.start_snapshot(VolumeSize=1, Timeout=10)["SnapshotId"]
    ebs.put_snapshot_block(SnapshotId=snapshot_id, **written(0, noise()))
    last = api.run(lambda tx: tx.session.get_one(Snapshot, snapshot_id).last_written)

    def state():
        return api.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["State"]

    api.run(written_snapshots.fail_late, last + timedelta(minutes=9))
    assert state() == "pending"
    api.run(written_snapshots.fail_late, last + timedelta(minutes=10))
    assert ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)["Status"] == "error"
    assert state() == "error"
    api.refused("ValidationException", ebs.put_snapshot_block, SnapshotId=snapshot_id, **written(0, noise()))
    asyncio.run(api.blocks.collect())
    assert api.run(lambda tx: tx.session.query(WrittenBlock).count()) == 0
    api.ec2.delete_snapshot(SnapshotId=snapshot_id)
