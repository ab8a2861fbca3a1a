"""What this host does, by counters of its kernel that only grow, and the memory that is in use now.

Sources: proc_stat(5), proc_meminfo(5); Linux's Documentation: block/stat.rst, ABI/testing/sysfs-class-net-statistics.
Disks and network interfaces are those with a device behind them, so that what passes a bridge, too, counts once.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_SYS: Final = Path("/sys")
_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # nanoseconds
# Columns of /proc/stat's first line: time that a processor was not idle; what guests used is in the first two.
_BUSY: Final = (0, 1, 2, 5, 6, 7)
_SECTOR: Final = 512
_READ, _WRITTEN = 2, 6  # columns of a disk's stat, in sectors


@dataclass(frozen=True, slots=True)
class HostActivity:
    """The host at a moment, in nanoseconds since its boot; times of processors in nanoseconds, all else in bytes."""

    at: int
    cpus: int
    cpu_time: int
    memory: int
    memory_used: int
    read_bytes: int
    written_bytes: int
    received_bytes: int
    sent_bytes: int


def of_host(proc: Path = _PROC, sys: Path = _SYS) -> HostActivity:
    """Read the counters; raises OSError."""
    lines = (proc / "stat").read_text(encoding="ascii").splitlines()
    ticks = [int(word) for word in lines[0].split()[1:]]
    memory = dict(_memory(proc))
    disks = [_numbers(path.parent / "stat") for path in sorted((sys / "block").glob("*/device"))]
    nics = [path.parent / "statistics" for path in sorted((sys / "class" / "net").glob("*/device"))]
    return HostActivity(
        at=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        cpus=sum(line.startswith("cpu") for line in lines) - 1,
        cpu_time=sum(ticks[column] for column in _BUSY) * _TICK,
        memory=memory["MemTotal"],
        memory_used=memory["MemTotal"] - memory["MemAvailable"],
        read_bytes=sum(numbers[_READ] for numbers in disks) * _SECTOR,
        written_bytes=sum(numbers[_WRITTEN] for numbers in disks) * _SECTOR,
        received_bytes=sum(_numbers(nic / "rx_bytes")[0] for nic in nics),
        sent_bytes=sum(_numbers(nic / "tx_bytes")[0] for nic in nics),
    )


def _memory(proc: Path) -> Iterator[tuple[str, int]]:
    for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        yield name, int(value.split()[0]) << 10


def _numbers(path: Path) -> list[int]:
    return [int(word) for word in path.read_text(encoding="ascii").split()]
