"""What programs of QEMU are passed about a disk's bytes; keys are in no word of it."""

import os
from pathlib import Path

import pytest

from stead_agent.disks.disk_options import access_to, address_space, bytes_options
from stead_agent.disks.disk_sources import BlockSource, FileSource, NbdSource, RbdSource

IMAGE = RbdSource("stead", "h-1.vol-1", Path("/a,b.conf"), "stead", "c2VjcmV0")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (FileSource(Path("/v/a,b")), "file.driver=file,file.filename=/v/a,,b"),
        (BlockSource(Path("/dev/g/v")), "file.driver=host_device,file.filename=/dev/g/v"),
        (NbdSource(Path("/s"), "vol"), "file.driver=nbd,file.server.type=unix,file.server.path=/s,file.export=vol"),
        (
            IMAGE,
            "file.driver=rbd,file.pool=stead,file.image=h-1.vol-1,file.conf=/a,,b.conf,file.user=stead,file.key-secret=access",
        ),
    ],
)
def test_each_source_is_named_by_its_driver(source, expected):
    assert bytes_options(source, "file") == expected


def test_a_key_comes_by_a_file_without_a_name():
    with access_to(IMAGE) as (options, handles):
        assert IMAGE.key not in " ".join(options)
        assert options[1].endswith(f"file=/proc/self/fd/{handles[0]}")
        assert os.pread(handles[0], 99, 0).decode() == IMAGE.key
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handles[0])
    assert IMAGE.key not in repr(IMAGE)


def test_a_file_needs_no_key_and_less_memory():
    with access_to(FileSource(Path("/v"))) as given:
        assert given == ([], [])
    assert address_space(FileSource(Path("/v")), 2) < address_space(IMAGE)
