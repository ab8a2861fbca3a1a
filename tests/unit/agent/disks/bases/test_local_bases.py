"""Bases fetched whole: right or not there, continued after a break, cached for the next volume and evicted."""

import errno
import hashlib
import os

import pytest

from stead_agent.disks.bases import local_bases
from stead_agent.disks.bases.filling import Filling
from stead_agent.disks.bases.interface import BaseAwayError, BaseError, BaseFullError, BaseSpec
from stead_agent.disks.bases.local_bases import LocalBases
from stead_agent.disks.disk_sources import FileSource, Layer
from stead_proto.blocks import BLOCK_BYTES
from stead_proto.v1.blocks_pb2 import Block
from tests.support.fake_block_store import random_disk

SNAP = "snap-0123456789abcdef0"
OTHER = "snap-0123456789abcdef1"
SIZE = 20 * BLOCK_BYTES + 4096


def spec(name=SNAP, size=SIZE):
    return BaseSpec(name, size, size)


@pytest.fixture
def bases(tmp_path, store):
    return LocalBases(tmp_path / "disks", store)


def content(bases, name=SNAP):
    layer = bases.source(name)
    assert isinstance(layer, Layer)
    assert isinstance(layer.source, FileSource)
    assert layer.format == "raw"
    return layer.source.path.read_bytes()


def test_a_base_comes_whole_and_sparse(bases, fake):
    disk = random_disk(1, SIZE, holes=0.7)
    fake.keep(SNAP, disk)
    assert bases.source(SNAP) is None
    bases.ensure(spec())
    assert content(bases) == disk
    assert bases.present() == {SNAP}
    path = bases.source(SNAP).source.path
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.stat().st_blocks * 512 <= SIZE - disk.count(bytes(BLOCK_BYTES)) * BLOCK_BYTES
    assert len(fake.fetched) == len(set(fake.fetched)), "equal blocks were fetched twice"
    bases.ensure(spec())
    assert sorted(each.name for each in bases.folder.iterdir()) == ["filling", path.name, "unused"]
    assert list((bases.folder / "filling").iterdir()) == []


def test_a_broken_fetch_goes_on_where_it_was(bases, fake):
    disk = random_disk(2, SIZE, holes=0)
    fake.keep(SNAP, disk)
    fake.break_after_fetched = 7
    with pytest.raises(BaseAwayError, match="on purpose"):
        bases.ensure(spec())
    assert bases.source(SNAP) is None
    assert bases.present() == {SNAP}
    before = set(fake.fetched)
    fake.fetched.clear()
    bases.ensure(spec())
    assert content(bases) == disk
    assert len(before & set(fake.fetched)) <= 1  # the one that broke on the way


def test_a_store_that_is_away_and_comes_back(bases, fake):
    fake.keep(SNAP, random_disk(3, SIZE))
    fake.stop()
    with pytest.raises(BaseAwayError):
        bases.ensure(spec())
    fake.start()
    bases.ensure(spec())
    assert bases.source(SNAP) is not None


def test_a_block_that_lies_never_gets_in(bases, fake):
    disk = random_disk(4, SIZE, holes=0)
    fake.keep(SNAP, disk)
    digest = hashlib.sha256(disk[3 * BLOCK_BYTES : 4 * BLOCK_BYTES]).digest()
    right = fake.blocks[digest]
    fake.blocks[digest] = Block(digest=digest, content=os.urandom(BLOCK_BYTES))
    with pytest.raises(BaseError, match="another content"):
        bases.ensure(spec())
    assert bases.source(SNAP) is None
    fake.blocks[digest] = right
    bases.ensure(spec())
    assert content(bases) == disk


def test_a_snapshot_that_is_not_for_this_host(bases):
    with pytest.raises(BaseError, match="NOT_FOUND"):
        bases.ensure(spec())
    assert bases.present() == {SNAP}  # begun, and removable
    bases.remove(SNAP)
    assert bases.present() == frozenset()


def test_no_path_is_made_of_anything_but_an_id(bases):
    for name in ("../x", "snap-1", "snap-0123456789abcdef0/../x", ""):
        with pytest.raises(BaseError):
            bases.ensure(spec(name))
        with pytest.raises(BaseError):
            bases.source(name)


def test_an_unused_base_stays_cached_for_the_next_volume(bases, fake):
    disk = random_disk(5, SIZE)
    fake.keep(SNAP, disk)
    bases.ensure(spec())
    bases.remove(SNAP)
    assert bases.source(SNAP) is None
    assert bases.present() == frozenset()
    fake.fetched.clear()
    bases.ensure(spec())
    assert content(bases) == disk
    assert fake.fetched == []


def test_the_longest_unused_goes_first(tmp_path, store, fake):
    bases = LocalBases(tmp_path / "disks", store, cache_bytes=BLOCK_BYTES * 15)
    for number, name in enumerate((SNAP, OTHER)):
        fake.keep(name, random_disk(number, 10 * BLOCK_BYTES, holes=0))
        bases.ensure(spec(name, 10 * BLOCK_BYTES))
    bases.remove(OTHER)
    os.utime(bases.folder / "unused" / f"{OTHER}.raw", (1, 1))
    bases.remove(SNAP)
    assert [path.stem for path in (bases.folder / "unused").iterdir()] == [SNAP]


def test_a_full_disk_deletes_unused_bases_and_is_reported(bases, fake, monkeypatch):
    fake.keep(OTHER, random_disk(6, SIZE))
    bases.ensure(spec(OTHER))
    bases.remove(OTHER)
    fake.keep(SNAP, random_disk(7, SIZE, holes=0))
    monkeypatch.setattr(LocalBases, "_free", lambda _self: 1000)
    with pytest.raises(BaseFullError):
        bases.ensure(spec())
    assert list((bases.folder / "unused").iterdir()) == []
    monkeypatch.undo()
    bases.ensure(spec())


def test_a_disk_that_becomes_full_while_it_fetches(bases, fake, monkeypatch):
    disk = random_disk(8, SIZE, holes=0)
    fake.keep(SNAP, disk)
    whole = Filling.put
    puts = []

    def full(self, block, what):
        puts.append(block)
        if len(puts) > 5:
            raise OSError(errno.ENOSPC, "full")
        whole(self, block, what)

    monkeypatch.setattr(local_bases.Filling, "put", full)
    with pytest.raises(BaseFullError):
        bases.ensure(spec())
    assert bases.source(SNAP) is None
    monkeypatch.undo()
    fake.fetched.clear()
    bases.ensure(spec())
    assert content(bases) == disk
    assert len(fake.fetched) < 21
