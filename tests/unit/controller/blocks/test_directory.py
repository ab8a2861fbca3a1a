"""Blocks in a directory: durable, checked, and nothing left of what a kill has cut short."""

import os
import secrets
import stat

import pytest

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.blocks.interface import BlockStoreError, MissingBlockError, decode, encode
from stead_controller.resources.storage.block_names import BlockName
from stead_proto.blocks import BLOCK_BYTES, ZERO_BLOCK, BadBlockError, pack, unpack
from stead_proto.v1.blocks_pb2 import COMPRESSION_UNSPECIFIED, COMPRESSION_ZSTD


def noise():
    return pack(secrets.token_bytes(BLOCK_BYTES))


def named(block):
    return BlockName.new(block.digest), block


@pytest.fixture
def store(tmp_path):
    return BlockDirectory(tmp_path / "blocks")


def files(store):
    return sorted(path for path in store._folder.rglob("*") if path.is_file())


def test_what_is_put_comes_back(store):
    blocks = [named(noise()), named(pack(ZERO_BLOCK)), named(pack(b"ab" * (BLOCK_BYTES // 2)))]
    store.put(blocks)
    for name, block in blocks:
        assert unpack(store.get(name)) == unpack(block)
    assert {stored.name for stored in store.list_all()} == {name for name, _ in blocks}
    assert [stored.name.digest for stored in store.list_all()] == sorted(name.digest for name, _ in blocks)
    assert blocks[0][1].compression == COMPRESSION_UNSPECIFIED
    assert blocks[1][1].compression == COMPRESSION_ZSTD


def test_two_copies_of_a_block_are_apart(store):
    block = noise()
    first, second = BlockName.new(block.digest), BlockName.new(block.digest)
    store.put([(first, block)])
    store.put([(second, block)])
    store.remove([first])
    store.remove([first])
    with pytest.raises(MissingBlockError):
        store.get(first)
    assert store.get(second) == block


def test_files_are_private(store):
    store.put([named(noise())])
    for path in [store._folder, *store._folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("spoil", ["flip", "cut", "empty", "longer", "packing"])
@pytest.mark.parametrize("content", [b"\0" * BLOCK_BYTES, None])
def test_corruption_is_found_on_every_read(store, spoil, content):
    name, block = named(noise() if content is None else pack(content))
    store.put([(name, block)])
    (path,) = files(store)
    stored = bytearray(path.read_bytes())
    match spoil:
        case "flip":
            stored[len(stored) // 2] ^= 1
        case "cut":
            del stored[-1:]
        case "empty":
            stored.clear()
        case "longer":
            stored += b"\0" * BLOCK_BYTES
        case "packing":
            stored[0] = 7
    path.write_bytes(stored)
    with pytest.raises(BadBlockError):
        store.get(name)


def test_a_start_removes_what_was_half_written(store, tmp_path):
    block = noise()
    store.put([named(block)])
    part = tmp_path / "blocks" / "incoming" / "left"
    part.write_bytes(b"half")
    os.utime(part, (0, 0))
    others = part.with_name("others")
    others.write_bytes(b"another controller is writing it")
    again = BlockDirectory(tmp_path / "blocks")
    assert not part.exists()
    assert others.exists()
    assert len(list(again.list_all())) == 1


def test_other_files_are_left_alone(store):
    store.put([named(noise())])
    folder = files(store)[0].parent
    (folder / "notes").write_text("x")
    (store._folder / "lost").mkdir()
    assert len(list(store.list_all())) == 1


def test_names_are_paths_and_back():
    name = BlockName.new(bytes(range(32)))
    assert name.path.startswith("00/01/000102")
    assert BlockName.of_path(name.path) == name
    for path in ("", "incoming/x", name.path[3:], "ff" + name.path[2:], name.path + "\n", f"../{name.path}"):
        assert BlockName.of_path(path) is None
    assert BlockName.new(name.digest) != name


def test_a_write_that_fails_leaves_nothing(store, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BlockStoreError, match="No space left"):
        store.put([named(noise()), named(noise())])
    assert files(store) == []


def test_bytes_of_a_block_and_back():
    block = noise()
    assert decode(BlockName.new(block.digest), encode(block)) == block
