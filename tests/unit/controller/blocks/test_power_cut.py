"""The power goes at any moment: what was answered is there, whatever the file system had not yet written.

The directory's calls to the kernel are recorded. Of the files and names that were not synced before the cut any part may
be lost, so the worst is tried: all of it. What a returned `put` promised must be there none the less.
"""

import os
import secrets
from pathlib import Path

import pytest

from stead_controller.blocks.directory import BlockDirectory
from stead_controller.resources.storage.block_names import BlockName
from stead_proto.blocks import BLOCK_BYTES, pack


def named(block):
    return BlockName.new(block.digest), block


class Disk:
    """What of a folder is on the disk for certain: contents of synced files, entries of synced folders."""

    def __init__(self, root):
        self.root = root
        self.contents = {}  # inode -> bytes that were synced
        self.entries = {root: {}}  # folder -> name -> inode or folder
        self.cuts = []  # the disk as it was at each call that changed it

    def synced(self, descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self.entries[path] = {
                entry.name: entry.inode() if entry.is_file() else Path(entry.path) for entry in os.scandir(path)
            }
        else:
            self.contents[os.fstat(descriptor).st_ino] = path.read_bytes()
        self.cut()

    def cut(self):
        self.cuts.append(self.surviving(self.root, ""))

    def surviving(self, folder, prefix):
        """What is found after a cut now: the content of each file by its path, empty where it was not synced."""
        found = {}
        for name, entry in self.entries.get(folder, {}).items():
            if isinstance(entry, Path):
                found |= self.surviving(entry, f"{prefix}{name}/")
            else:
                found[prefix + name] = self.contents.get(entry, b"")
        return found


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A directory store whose syncs are recorded."""
    root = tmp_path / "blocks"
    store = BlockDirectory(root)
    disk = Disk(root)
    fsync = os.fsync

    def recording(descriptor):
        fsync(descriptor)
        disk.synced(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    store._writers._max_workers = 1  # one after the other, so that each cut is between two calls
    return store, disk


def test_what_put_has_answered_survives(recorded, tmp_path):
    store, disk = recorded
    answered = []
    for batch in range(3):
        blocks = [named(pack(secrets.token_bytes(BLOCK_BYTES))) for _ in range(4)]
        store.put(blocks)
        answered += blocks
        survived = disk.surviving(disk.root, "")
        for name, block in answered:
            assert survived[name.path][1:] == block.content, batch
    # At no moment has a block its name without its whole content.
    for cut in disk.cuts:
        for path, content in cut.items():
            if BlockName.of_path(path) is not None:
                assert len(content) == BLOCK_BYTES + 1
    # After the cut the store starts over what is left and has all of it.
    left = tmp_path / "left"
    for path, content in disk.surviving(disk.root, "").items():
        file = left / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    again = BlockDirectory(left)
    assert all(again.get(name) == block for name, block in answered)


def test_a_folder_that_another_call_has_made_is_synced_too(recorded):
    """One put has made the folders and has not come to sync them when another one uses and answers for them."""
    store, disk = recorded
    block = pack(secrets.token_bytes(BLOCK_BYTES))
    name = BlockName.new(block.digest)
    (store._folder / name.path).parent.mkdir(parents=True)
    store.put([(name, block)])
    assert name.path in disk.surviving(disk.root, "")
