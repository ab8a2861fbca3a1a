"""Budget P13: a guest's disk does at least 0.98 times what the same block graph does in a QEMU started by hand.

    .venv/bin/python tests/bench/volume_io.py [--rounds 15]

Three guests of the same image, each with a data disk of the same random bytes: one is a machine of the agent's, two are
QEMU with the same nodes, devices and sandbox written out, the one started before it and the other after it. Each does the
same direct I/O in turns, the others being idle; what counts is the time that the guest itself measures. All are in the same
control groups, and libvirt is asked nothing. Where memory happens to lie makes two guests by hand differ by 15 %: a ratio
below the limit is a miss only where the agent's guest is slower than both.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from stead_agent.machines.domain_xml import tb_cache_mib  # noqa: E402 - the checkout comes first
from stead_agent.machines.libvirt_machines import LibvirtMachines  # noqa: E402 - the checkout comes first
from tests.support import box  # noqa: E402 - the checkout comes first
from tests.support.serial_bench import SerialBench, Shell, serial_bench, settle  # noqa: E402 - the checkout comes first
from tests.support.serial_shell import SerialShell  # noqa: E402 - the checkout comes first
from tests.support.waiting import wait_for  # noqa: E402 - the checkout comes first

LIMIT = 0.98
LEAST_SECONDS = 0.1  # of a measurement
SIZE = 128 << 20
WARMING = 1  # rounds that are not counted: they fill caches of all
BY_HAND = 2  # guests; with one it is compared with itself
WORK = {
    "reads of 4 KiB": "dd if=/dev/vdb of=/dev/null bs=4k count=4000 iflag=direct",
    "writes of 4 KiB": "dd if=/dev/zero of=/dev/vdb bs=4k count=4000 oflag=direct",
    "reads of 1 MiB": " && ".join(4 * ["dd if=/dev/vdb of=/dev/null bs=1M count=128 iflag=direct"]),
    # A program for each, since busybox's dd has no oflag=sync: its start is some milliseconds of either side's time.
    "synced writes of 4 KiB": (
        "for i in $(seq 150); do dd if=/dev/zero of=/dev/vdb bs=4k count=1 seek=$i conv=notrunc,fsync || exit 1; done"
    ),
}
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"  # libvirt's
_TOOK = re.compile(r"real\s+(?:(\d+)m)?\s*([0-9.]+)s?")


class QuietShell(SerialShell):
    """The shell of a machine whose console is read from its file: asking libvirt for it holds the guest up."""

    def __init__(self, machines: LibvirtMachines, machine_id: str) -> None:
        with machines.domain(machine_id) as domain:
            found = ET.fromstring(domain.XMLDesc(0)).find("devices/serial/log")
        assert found is not None
        self._log = Path(found.get("file", ""))
        super().__init__(machines, machine_id)

    def heard(self) -> bytes:
        """Give what the guest has said on its serial port."""
        return self._log.read_bytes() if self._log.exists() else b""


class BareGuest:
    """A guest of QEMU started by hand, spoken to by its serial port."""

    def __init__(self, folder: Path, base: Path, data: Path) -> None:
        """Boot it with a root disk over `base` and with `data`; what it needs besides is made in `folder`."""
        root = folder / "bare-root.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, root, "96M"], check=True)
        self._heard = folder / "bare-console"
        self._keyboard = folder / "bare-keyboard"
        for end in (".in", ".out"):
            subprocess.run(["mkfifo", f"{self._keyboard}{end}"], check=True)
        self._process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "pc,usb=off,hpet=off", "-accel", f"tcg,tb-size={tb_cache_mib(96 << 20, 1)}", "-cpu", "max",
             "-m", "96", "-smp", "1", "-nodefaults", "-display", "none", "-device", "VGA", "-device", "virtio-rng-pci",
             "-device", "virtio-serial-pci", "-sandbox", SANDBOX,
             *_node("base-bytes", driver="file", filename=str(base), read_only=True),
             *_node("root-bytes", driver="file", filename=str(root)),
             *_node("root", driver="qcow2", file="root-bytes", backing="base-bytes"),
             *_node("data-bytes", driver="file", filename=str(data)),
             *_node("data", driver="qcow2", file="data-bytes"),
             "-device", "virtio-blk-pci,drive=root,werror=enospc", "-device", "virtio-blk-pci,drive=data,werror=enospc",
             "-serial", f"pipe:{self._keyboard}", "-name", "bare,debug-threads=on"],
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

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def close(self) -> None:
        """End it."""
        self._typing.close()
        self._process.kill()
        self._process.wait()
        self._console.wait()
        self._said_by_guest.close()

    def _said(self) -> bytes:
        return self._heard.read_bytes() if self._heard.exists() else b""


def _node(name: str, *, read_only: bool = False, **options: str) -> tuple[str, str]:
    """Write out a node of the block graph."""
    return "-blockdev", json.dumps({"node-name": name, "read-only": read_only, "discard": "unmap", **options})


@dataclass
class Side:
    """A guest, its QEMU, and the seconds by its own clock and of processor time that work took each time."""

    shell: Shell
    pid: int
    took: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)

    def measure(self, command: str, *, counts: bool) -> None:
        """Let it do something once."""
        before = processor_seconds(self.pid)
        seconds = seconds_of(self.shell, command)
        used = processor_seconds(self.pid) - before
        if counts:
            self.took.append(seconds)
            self.used.append(used)
        time.sleep(0.1)  # for what it wrote behind


def processor_seconds(pid: int) -> float:
    """Tell how much processor time a process has taken, with its threads that have ended."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime: proc_pid_stat(5)


def share_alike(pid: int, model: int) -> None:
    """Put threads into the control groups of another process's threads of the same names.

    Else the one has more of a busy machine than the other. With cgroups v2 alone this does nothing: be on a quiet machine.
    """
    groups = {(task / "comm").read_text(): task / "cgroup" for task in Path(f"/proc/{model}/task").iterdir()}
    main = Path(f"/proc/{model}/cgroup")
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in groups.get((task / "comm").read_text(), main).read_text().splitlines():
            _number, controllers, path = line.split(":", 2)
            if controllers:
                Path(f"/sys/fs/cgroup/{controllers.removeprefix('name=')}{path}/tasks").write_text(task.name)


def seconds_of(shell: Shell, command: str) -> float:
    """Let a guest do something, and give the seconds that it says it took."""
    said = shell.run(f"time sh -c '{{ {command}; }} 2>/dev/null && echo DONE' 2>&1", 300)
    took = _TOOK.search(said)
    assert took, said
    assert "DONE" in said, said
    seconds = 60 * float(took[1] or 0) + float(took[2])
    assert seconds > LEAST_SECONDS, f"{command}: {seconds} s are too few to be compared"
    return seconds


def measure(bench: SerialBench, rounds: int) -> bool:
    """Measure all kinds of work in turns, print the raw values and the ratios; tells whether all are within the limit."""
    spec = bench.spec(bench.disk(96 << 20, bench.image), bench.disk(SIZE))
    random, data = bench.root / "random", bench.disks / f"{spec.disks[1].id}.qcow2"
    with random.open("wb") as file:
        for _ in range(SIZE >> 20):
            file.write(os.urandom(1 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", random, data], check=True)
    random.unlink()
    folders = [bench.root / name for name in ("before", "after")][:BY_HAND]
    for folder in folders:
        folder.mkdir()
        subprocess.run(["cp", data, folder / "data.qcow2"], check=True)
    with contextlib.ExitStack() as stack:

        def by_hand(folder: Path) -> Side:
            guest = BareGuest(folder, bench.image, folder / "data.qcow2")
            stack.callback(guest.close)
            settle(guest)
            return Side(guest, guest.pid)

        before = by_hand(folders[0])
        bench.machines.start(spec, 1)
        attached = int((bench.root / "run" / "qemu" / f"{spec.id}.pid").read_text())
        ours = QuietShell(bench.machines, spec.id)
        stack.callback(ours.close)
        settle(ours)
        sides = {"before": before, "attached": Side(ours, attached)}
        sides["after"] = by_hand(folders[1]) if BY_HAND > 1 else before
        for side in sides.values():
            if side.pid != attached:
                share_alike(side.pid, attached)
            settle(side.shell)
        verdicts = [_compare(what, command, sides, rounds) for what, command in WORK.items()]
        return all(verdicts)


def _compare(what: str, command: str, sides: dict[str, Side], rounds: int) -> bool:
    """Do one kind of work in turns; the ratio is to the mean of the guests by hand."""
    for side in sides.values():
        side.took, side.used = [], []
    for number in range(1 - WARMING, rounds + 1):
        for side in list(sides.values())[:: 1 if number % 2 else -1]:
            side.measure(command, counts=number > 0)
    took = {name: statistics.median(side.took) for name, side in sides.items()}
    used = {name: statistics.median(side.used) for name, side in sides.items()}
    ours, slowest = took["attached"], max(took["before"], took["after"])
    ratio = (took["before"] + took["after"]) / 2 / ours
    verdict = "ok" if ratio >= LIMIT else "within what two by hand differ" if ours <= slowest else "MISSED"
    print(f"{what}: {ratio:.3f} x (limit {LIMIT})  {verdict}", end="; ")
    print(f"by hand, the one against the other {took['before'] / took['after']:.3f} x", end="; ")
    print(f"processor time {used['attached'] * 2 / (used['before'] + used['after']):.3f} of that by hand")
    for name, side in sides.items():
        print(f"  {name:9} {' '.join(f'{value:.2f}' for value in side.took)} s; median {used[name]:.2f} s CPU")
    sys.stdout.flush()
    return verdict != "MISSED"


def main() -> int:
    """Measure in a box."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=15)
    chosen = options.parse_args()
    box.enter()
    with serial_bench() as bench:
        return 0 if measure(bench, chosen.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
