"""The first sector of a disk: code, signature, the root's partition and the firmware's; what loads the kernel."""

import dataclasses
import struct

import pytest

from images import syslinux
from images.architectures import ARM64
from images.debian.build import plan_disk as plan_debian
from images.disk import efi_config, master_boot_record
from images.micro.build import plan_disk
from images.packages import ImageBuildError

PLAN = plan_disk()
CODE = bytes(range(256)) * 2


@pytest.mark.parametrize(("system_boots", "active_parts"), [(False, (0x80, 0)), (True, (0, 0x80))])
def test_root_goes_to_the_end_behind_the_efi_system_partition(
    system_boots: bool, active_parts: tuple[int, int]
) -> None:
    plan = dataclasses.replace(PLAN, size_mib=64, system_mib=7)
    sector = master_boot_record(CODE, plan, system_boots=system_boots)
    assert len(sector) == 512
    assert sector[:440] == CODE[:440]
    assert sector[440:444] == PLAN.identity.bytes[:4]
    root_active, kind, start, length = struct.unpack("<B3xB3xII", sector[446:462])
    assert (kind, start, length) == (0x83, 8 * 2048, 56 * 2048)
    system_active, kind, start, length = struct.unpack("<B3xB3xII", sector[462:478])
    assert (kind, start, length) == (0xEF, 2048, 7 * 2048)
    assert (root_active, system_active) == active_parts
    assert sector[478:510] == bytes(32)
    assert sector[510:] == b"\x55\xaa"


def test_short_boot_code_is_refused() -> None:
    with pytest.raises(ImageBuildError):
        master_boot_record(b"x", PLAN, system_boots=False)


def test_by_uefi_a_kernel_of_the_root_file_system_is_looked_for_there() -> None:
    plan = plan_debian(0)
    lines = efi_config(plan, in_root=True).splitlines()
    assert lines[0].endswith(f"--set=root {plan.identity}")
    assert lines[1:] == [f"linux {plan.kernel} {plan.command_line}", f"initrd {plan.initrd}", "boot"]


def test_by_uefi_a_kernel_beside_its_loader_is_not_looked_for() -> None:
    lines = efi_config(PLAN, in_root=False).splitlines()
    assert lines == [f"linux {PLAN.kernel} {PLAN.command_line}", f"initrd {PLAN.initrd}", "boot"]


def test_by_bios_the_same_kernel_starts_with_the_same_parameters() -> None:
    lines = [line.strip() for line in syslinux.config(PLAN.kernel, PLAN.initrd, PLAN.command_line).splitlines()]
    assert lines[-3:] == [f"KERNEL {PLAN.kernel}", f"INITRD {PLAN.initrd}", f"APPEND {PLAN.command_line}"]


def test_micro_has_its_kernel_beside_the_loader_only_where_a_bios_reads_it() -> None:
    assert (PLAN.kernel, PLAN.system_mib) == ("/vmlinuz", 23)
    arm = plan_disk(ARM64)
    assert (arm.kernel, arm.system_mib) == ("/boot/vmlinuz", 7)
