"""Budget P13: a guest's disk does at least 0.98 times what the same block graph does in a QEMU started by hand.

    sudo .venv/bin/python tests/bench/volume_io.py [--rounds 5]

Two guests of the same image, each with a data disk whose clusters are allocated: one is a machine of the agent's, one is
bare QEMU with the same disk options written out. Each does the same direct I/O in turns, the other being idle; what
counts is the time that the guest itself measures.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from stead_agent.machines.domain_xml import _TB_CACHE_MIB  # noqa: E402 - the checkout comes first
from tests.support import box  # noqa: E402 - the checkout comes first
from tests.support.serial_bench import SerialBench, serial_bench  # noqa: E402 - the checkout comes first
from tests.support.serial_shell import SerialShell  # noqa: E402 - the checkout comes first
from tests.support.waiting import wait_for  # noqa: E402 - the checkout comes first

LIMIT = 0.98
SIZE = 128 << 20
FILL = "dd if=/dev/urandom of=/dev/vdb bs=1M 2>/dev/null; sync"
WORK = {
    "reads of 4 KiB": "dd if=/dev/vdb of=/dev/null bs=4k count=8000 iflag=direct",
    "writes of 4 KiB": "dd if=/dev/zero of=/dev/vdb bs=4k count=4000 oflag=direct",
    "synced writes of 4 KiB": "dd if=/dev/zero of=/dev/vdb bs=4k count=300 oflag=direct,sync",
    "reads of 1 MiB": "dd if=/dev/vdb of=/dev/null bs=1M count=128 iflag=direct",
}
_TOOK = re.compile(r"real\s+(?:(\d+)m)?\s*([0-9.]+)s?")


class Shell(Protocol):
    """A root shell of a guest."""

    def run(self, command: str, seconds: float = 60.0) -> str:
        """Type a command and wait for its end; gives what it said."""


class BareGuest:
    """A guest of QEMU started by hand, spoken to by its serial port."""

    def __init__(self, folder: Path, base: Path, data: Path) -> None:
        root = folder / "bare-root.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, root, "96M"], check=True)
        self._heard = folder / "bare-console"
        self._keyboard = folder / "bare-keyboard"
        for end in (".in", ".out"):
            subprocess.run(["mkfifo", f"{self._keyboard}{end}"], check=True)
        disk = "discard=unmap,werror=enospc,format=qcow2,if=virtio"
        self._process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "pc,usb=off,hpet=off", "-accel", f"tcg,tb-size={_TB_CACHE_MIB}", "-cpu", "max",
             "-m", "96", "-smp", "1", "-nodefaults", "-display", "none", "-device", "virtio-rng-pci",
             "-drive", f"file={root},{disk}", "-drive", f"file={data},{disk}", "-serial", f"pipe:{self._keyboard}"],
        )  # fmt: skip
        self._said_by_guest = Path(f"{self._keyboard}.out").open("rb")  # noqa: SIM115 - closed by `close`
        self._console = subprocess.Popen(["tee", self._heard], stdin=self._said_by_guest, stdout=subprocess.DEVNULL)
        self._typing = Path(f"{self._keyboard}.in").open("wb", buffering=0)  # noqa: SIM115 - closed by `close`
        self._count = 0
        wait_for(lambda: b"# " in self._said(), "the guest has a shell", 120.0, poll=0.1)

    def run(self, command: str, seconds: float = 60.0) -> str:
        """Type a command and wait for its end; gives what it said."""
        self._count += 1
        first, last = f"begin-{self._count}-", f"end-{self._count}-"
        self._typing.write(f"echo {first[:5]}'{first[5:]}'; {command}; echo {last[:3]}'{last[3:]}'\n".encode())
        wait_for(lambda: last.encode() in self._said(), f"{command!r} has ended", seconds, poll=0.05)
        return self._said().decode(errors="replace").rpartition(last)[0].rpartition(first)[2].strip()

    def close(self) -> None:
        """End it."""
        self._typing.close()
        self._process.kill()
        self._process.wait()
        self._console.wait()
        self._said_by_guest.close()

    def _said(self) -> bytes:
        return self._heard.read_bytes() if self._heard.exists() else b""


def seconds_of(shell: Shell, command: str) -> float:
    """Let a guest do something, and give the seconds that it says it took."""
    said = shell.run(f"time sh -c '{command} 2>/dev/null' 2>&1", 300)
    took = _TOOK.search(said)
    assert took, said
    return 60 * float(took[1] or 0) + float(took[2])


def measure(bench: SerialBench, rounds: int) -> bool:
    """Measure all kinds of work in turns, print the raw values and the ratios; tells whether all are within the limit."""
    spec = bench.spec(bench.disk(96 << 20, bench.image), bench.disk(SIZE))
    bench.machines.start(spec, 1)
    ours = SerialShell(bench.machines, spec.id)
    ours.run(FILL, 300)
    data = bench.root / "bare-data.qcow2"
    shutil.copyfile(bench.disks / f"{spec.disks[1].id}.qcow2", data)
    bare = BareGuest(bench.root, bench.image, data)
    try:
        verdicts = [_compare(what, command, ours, bare, rounds) for what, command in WORK.items()]
        return all(verdicts)
    finally:
        bare.close()
        ours.close()


def _compare(what: str, command: str, ours: Shell, bare: Shell, rounds: int) -> bool:
    attached, by_hand = [], []
    for number in range(rounds + 1):
        values = (seconds_of(ours, command), seconds_of(bare, command))
        time.sleep(0.1)  # for what either wrote behind
        if number:  # the first round fills caches of both
            attached.append(values[0])
            by_hand.append(values[1])
    ratio = statistics.median(by_hand) / statistics.median(attached)
    raw = "; ".join(f"{one:.2f} s, by hand {other:.2f} s" for one, other in zip(attached, by_hand, strict=True))
    print(f"{what}: {ratio:.3f} x (limit {LIMIT})  {'ok' if ratio >= LIMIT else 'MISSED'}   [{raw}]", flush=True)
    return ratio >= LIMIT


def main() -> int:
    """Measure in a box."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    box.enter()
    with serial_bench() as bench:
        return 0 if measure(bench, chosen.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
