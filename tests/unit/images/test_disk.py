"""The first sector of a disk: code, signature, one partition."""

import dataclasses
import struct

import pytest

from images.disk import master_boot_record
from images.micro.build import PLAN
from images.packages import ImageBuildError

CODE = bytes(range(256)) * 2


def test_partition_goes_from_one_mebibyte_to_the_end() -> None:
    sector = master_boot_record(CODE, dataclasses.replace(PLAN, size_mib=64))
    assert len(sector) == 512
    assert sector[:440] == CODE[:440]
    assert sector[440:444] == PLAN.identity.bytes[:4]
    active, kind, start, length = struct.unpack("<B3xB3xII", sector[446:462])
    assert (active, kind, start, length) == (0x80, 0x83, 2048, 63 * 2048)
    assert sector[462:510] == bytes(48)
    assert sector[510:] == b"\x55\xaa"


def test_short_boot_code_is_refused() -> None:
    with pytest.raises(ImageBuildError):
        master_boot_record(b"x", PLAN)
