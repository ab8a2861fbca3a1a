"""The first sector of a disk: code, signature, the root's partition and the firmware's; what GRUB loads by UEFI."""

import dataclasses
import struct

import pytest

from images.disk import efi_config, master_boot_record
from images.micro.build import plan_disk
from images.packages import ImageBuildError

PLAN = plan_disk()
CODE = bytes(range(256)) * 2


def test_root_goes_to_the_end_behind_the_efi_system_partition() -> None:
    sector = master_boot_record(CODE, dataclasses.replace(PLAN, size_mib=64))
    assert len(sector) == 512
    assert sector[:440] == CODE[:440]
    assert sector[440:444] == PLAN.identity.bytes[:4]
    active, kind, start, length = struct.unpack("<B3xB3xII", sector[446:462])
    assert (active, kind, start, length) == (0x80, 0x83, 8 * 2048, 56 * 2048)
    active, kind, start, length = struct.unpack("<B3xB3xII", sector[462:478])
    assert (active, kind, start, length) == (0, 0xEF, 2048, 7 * 2048)
    assert sector[478:510] == bytes(32)
    assert sector[510:] == b"\x55\xaa"


def test_short_boot_code_is_refused() -> None:
    with pytest.raises(ImageBuildError):
        master_boot_record(b"x", PLAN)


def test_by_uefi_the_kernel_is_found_on_the_root_file_system() -> None:
    lines = efi_config(PLAN).splitlines()
    assert lines[0].endswith(f"--set=root {PLAN.identity}")
    assert lines[1:] == [f"linux {PLAN.kernel} {PLAN.command_line}", f"initrd {PLAN.initrd}", "boot"]
