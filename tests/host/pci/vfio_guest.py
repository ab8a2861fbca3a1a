"""VFIO for real: `python -m tests.host.pci.vfio_guest` boots a guest with an emulated IOMMU and tries it there.

It takes some three minutes on two cores, and the kernel that Debian installs on machines (100 MB, fetched once by apt), so
it is no part of the suite. Ends with 1 if a trial failed; names of trials as arguments choose some.

What it shows: the agent finds devices and groups in a real sysfs, binds and returns them, a QEMU of a guest's user (one of
libvirt, too) opens them, reads and writes their registers, their DMA reaches that guest's memory through the IOMMU, and
nothing of one guest is left for the next. What it does not: a driver in a guest, interrupts, real hardware and its quirks of
reset, GPUs.
"""

import json
import sys
from typing import Final

from tests.host.pci import vfio_life
from tests.support import stock_kernel
from tests.support.stock_kernel import Hardware

_HARDWARE: Final = Hardware(
    options=(
        *("-device", "intel-iommu,intremap=on"),
        *("-device", "pcie-root-port,id=one,chassis=1", "-device", "e1000e,bus=one"),
        *("-device", "pcie-root-port,id=two,chassis=2", "-device", "edu,bus=two"),
    ),
    kernel_options="intel_iommu=on no_timer_check",  # the kernel's check of its timer fails on a slow emulator
    physical=True,
    seconds=1200,
)


def main(names: list[str]) -> int:
    """Print each trial's result and return the exit status."""
    command = " ".join([".venv/bin/python -m tests.host.pci.vfio_life", *names, "2>&1"])
    ended = stock_kernel.run(command, disk=1 << 20, hardware=_HARDWARE)
    lines = [line.removeprefix("result ") for line in ended.output.splitlines() if line.startswith("result ")]
    results = dict(json.loads(line) for line in lines)
    for name, result in results.items():
        print(f"{name}: {result}")
    if ended.status or (not names and len(results) != len(vfio_life.TRIALS)):
        print(ended.output[-4000:], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
