"""What the kernel's files say of a host becomes sums, of whole disks and interfaces with a device alone."""

import os
from pathlib import Path

import pytest

from stead_agent import activity

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@pytest.fixture
def kernel(tmp_path: Path) -> tuple[Path, Path]:
    """Folders as /proc and /sys are on a host with two processors, two disks, a loop device, two nics and a bridge."""
    proc, system = tmp_path / "proc", tmp_path / "sys"
    proc.mkdir()
    (proc / "stat").write_text(
        "cpu  100 20 30 4000 500 6 7 8 90 10\ncpu0 1 1 1 1 1 1 1 1 1 1\ncpu1 1 1 1 1 1 1 1 1 1 1\nintr 5 0\nctxt 9\n"
    )
    (proc / "meminfo").write_text(
        "MemTotal:        1000 kB\nMemFree:  100 kB\nMemAvailable:    400 kB\nHugePages_Total: 0\n"
    )
    for name, real, stat in (
        ("vda", True, "10 1 200 5 20 2 3000 6 0 7 8"),
        ("sda", True, "1 1 1 1 1 1 1 1 1 1 1"),
        ("loop0", False, "9 9 9 9 9 9 9 9 9 9 9"),
    ):
        (system / "block" / name).mkdir(parents=True)
        (system / "block" / name / "stat").write_text(f"   {stat}\n")
        if real:
            (system / "block" / name / "device").mkdir()
    for name, real, received in (("eth0", True, 11), ("eth1", True, 100), ("br0", False, 999)):
        folder = system / "class" / "net" / name / "statistics"
        folder.mkdir(parents=True)
        (folder / "rx_bytes").write_text(f"{received}\n")
        (folder / "tx_bytes").write_text(f"{received * 2}\n")
        if real:
            (system / "class" / "net" / name / "device").mkdir()
    return proc, system


def test_processors_memory_disks_and_nics_are_summed(kernel: tuple[Path, Path]) -> None:
    found = activity.of_host(*kernel)
    assert found.cpu_time == (100 + 20 + 30 + 6 + 7 + 8) * TICK, "idle and waiting is not busy, guests are in user time"
    assert (found.memory, found.memory_used) == (1000 << 10, 600 << 10)
    assert (found.read_bytes, found.written_bytes) == (201 * 512, 3001 * 512)
    assert (found.received_bytes, found.sent_bytes) == (111, 222)


def test_processors_are_counted(kernel: tuple[Path, Path]) -> None:
    (kernel[0] / "stat").write_text("cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 1\ncpu7 1\nintr 5\n")
    assert activity.of_host(*kernel).cpus == 2


def test_this_machine_can_be_read() -> None:
    first, second = activity.of_host(), activity.of_host()
    assert first.at < second.at
    assert first.cpu_time <= second.cpu_time
    assert first.cpus == os.cpu_count()
    assert 0 < first.memory_used < first.memory
