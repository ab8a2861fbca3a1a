"""How long a snapshot holds a guest's writes up, and what it stores beside what changed (budget P14).

    .venv/bin/python tests/bench/snapshot_stall.py [--snapshots 5]

A guest writes records one after the other, each to the disk before the next. QEMU itself counts how long each write takes
(query-blockstats): without snapshots, then while snapshots are taken. Then single blocks are written, and what the next
snapshot stores is compared with them.
"""

import argparse
import secrets
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from stead_agent.disks.block_store import BlockStore  # noqa: E402 - the checkout comes first
from stead_agent.disks.snapshots.interface import SnapshotGroup, SnapshotProgress, SnapshotSpec  # noqa: E402 - the checkout comes first
from stead_agent.disks.snapshots.local_snapshots import LocalSnapshots  # noqa: E402 - the checkout comes first
from stead_agent.machines.backups import LibvirtBackups  # noqa: E402 - the checkout comes first
from stead_agent.machines.interface import MachineSpec  # noqa: E402 - the checkout comes first
from tests.support import box  # noqa: E402 - the checkout comes first
from tests.support.fake_block_store import FakeBlockStore  # noqa: E402 - the checkout comes first
from tests.support.serial_bench import SerialBench, serial_bench, settle  # noqa: E402 - the checkout comes first
from tests.support.serial_shell import SerialShell  # noqa: E402 - the checkout comes first
from tests.support.waiting import wait_for  # noqa: E402 - the checkout comes first

STALL_LIMIT_MS = 50
STORED_LIMIT = 1.1
SIZE = 256 << 20
BLOCK = 512 * 1024
BOUNDARIES_MS = (1, 2, 5, 10, 20, 30, 40, 50, 75, 100, 200, 500, 1000)
WRITER = "while :; do dd if=/dev/urandom of=/dev/vdb bs=4096 count=1 conv=notrunc,fsync 2>/dev/null; {REST}; done &"
REST = ":"  # what the guest does between two writes
FILLED = 64  # MiB
CHANGED = 8
WRITES = 150


def latencies(bench: SerialBench, machine_id: str, device: str) -> list[tuple[float, int]]:
    """Give the writes since the last reset by how many milliseconds they took at most."""
    for each in bench.monitor(machine_id, "query-blockstats"):
        if each.get("qdev", "").startswith(device):
            histogram: dict[str, Any] = each["stats"]["wr_latency_histogram"]
            return list(zip([*BOUNDARIES_MS, float("inf")], histogram["bins"], strict=True))
    raise AssertionError(f"no {device}")


def until_written(bench: SerialBench, machine_id: str, device: str, count: int) -> None:
    """Wait until the guest has written so often since the last reset."""
    wait_for(lambda: sum(each for _upper, each in latencies(bench, machine_id, device)) >= count, "it has written", 120)


def reset(bench: SerialBench, machine_id: str, device: str) -> None:
    """Count anew."""
    bounds = [each * 1_000_000 for each in BOUNDARIES_MS]
    bench.monitor(machine_id, "block-latency-histogram-set", id=device, boundaries=bounds)


def take(snapshots: LocalSnapshots, spec: MachineSpec, parent: str) -> tuple[str, SnapshotProgress, float]:
    """Take a snapshot of the second disk; gives its id, how it went, and the seconds it took."""
    name = f"snap-0{secrets.token_hex(8)}"
    group = SnapshotGroup(name, (SnapshotSpec(name, spec.disks[1].id, parent),), spec.id)
    began = time.monotonic()

    def done() -> SnapshotProgress | None:
        found = snapshots.ensure(group)[name]
        return found if found.complete else None

    return name, wait_for(done, "the snapshot is complete", 120, poll=0.02), time.monotonic() - began


def worst(counted: list[tuple[float, int]]) -> float:
    return max((upper for upper, count in counted if count), default=0.0)


def show(name: str, counted: list[tuple[float, int]]) -> None:
    raw = " ".join(f"<={upper:g}:{count}" for upper, count in counted if count)
    print(f"{name:28} {sum(count for _upper, count in counted):6} writes, none above {worst(counted):g} ms   [{raw}]")


def measure(bench: SerialBench, count: int) -> bool:
    fake = FakeBlockStore()
    fake.start()
    identity = fake.identity()
    store = BlockStore([fake.address], lambda: identity)
    backups = LibvirtBackups(bench.machines, bench.root / "agent" / "backups")
    snapshots = LocalSnapshots(bench.root / "state", bench.root / "run2", store, backups)
    spec = bench.spec(bench.disk(96 << 20, bench.image), bench.disk(SIZE))
    bench.machines.start(spec, 1)
    shell = SerialShell(bench.machines, spec.id)
    settle(shell)
    shell.run(f"dd if=/dev/urandom of=/dev/vdb bs=1M count={FILLED} 2>/dev/null", 300)
    device = "/machine/peripheral/virtio-disk1/virtio-backend"
    shell.begin(WRITER.replace("{REST}", REST))
    reset(bench, spec.id, device)
    until_written(bench, spec.id, device, WRITES * count)
    alone = latencies(bench, spec.id, device)
    reset(bench, spec.id, device)
    parent, taken = "", []
    for number in range(1, count + 1):
        parent, done, seconds = take(snapshots, spec, parent)
        taken.append(f"{done.blocks} blocks in {seconds:.2f} s")
        until_written(bench, spec.id, device, WRITES * number)
    beside = latencies(bench, spec.id, device)
    show("without snapshots", alone)
    show(f"while {count} are taken", beside)
    print(f"snapshots: {', '.join(taken)}")
    shell.run("kill %1; wait", 60)
    parent, _done, _seconds = take(snapshots, spec, parent)
    fake.received.clear()
    for at in range(CHANGED):
        shell.run(
            f"dd if=/dev/urandom of=/dev/vdb bs=4096 count=1 seek={(100 + 2 * at) * BLOCK // 4096} conv=notrunc,fsync 2>/dev/null"
        )
    _name, done, _seconds = take(snapshots, spec, parent)
    ratio = len(fake.received) / CHANGED
    print(f"stored {len(fake.received)} blocks of {CHANGED} that changed, {done.blocks} were read")
    print(
        f"P14: writes held up {worst(beside):g} ms at most, limit {STALL_LIMIT_MS}; stored {ratio:.2f} x, limit {STORED_LIMIT}"
    )
    shell.close()
    snapshots.close()
    fake.stop()
    return worst(beside) <= STALL_LIMIT_MS and ratio <= STORED_LIMIT


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--snapshots", type=int, default=5)
    chosen = options.parse_args()
    box.enter()
    with serial_bench() as bench:
        return 0 if measure(bench, chosen.snapshots) else 1


if __name__ == "__main__":
    sys.exit(main())
