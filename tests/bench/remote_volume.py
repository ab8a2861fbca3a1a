"""Budget P13: a volume of another host costs <= 80 us more per operation than the same file opened directly.

    sudo .venv/bin/python tests/bench/remote_volume.py [--rounds 5]

Operations of 4 KiB, one at a time, on qcow2 volumes whose clusters are allocated, in turns: the file opened directly; by the
way that a guest of another host has (unix socket, proxy, TLS, home); and by daemons started by hand, to tell what is
QEMU's own: one hop over a unix socket, and both hops without TLS. A home flushes each write to a qcow2 volume, so writes are
compared with those that are flushed, too. Beside the time stands what the daemons took of processors, and how often they slept.
"""

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.host.exports.conftest import PORT, VOLUME, World, daemons_of, new_world, write  # noqa: E402 - the checkout comes first
from tests.support import box  # noqa: E402 - the checkout comes first
from tests.support.waiting import wait_for  # noqa: E402 - the checkout comes first

LIMIT = 80.0
COUNT = 4000
KINDS = {  # of the remote ways; a file opened directly is flushed by the option, a home flushes by itself
    "reads": ((), ()),
    "writes, both flushed": (("-w", "-t", "writethrough"), ("-w",)),
    "writes, flushed by the home alone": (("-w",), ("-w",)),
}
_TOOK = re.compile(r"Run completed in ([0-9.]+) seconds")
_SLEPT = re.compile(r"\nvoluntary_ctxt_switches:\s+(\d+)")


@dataclass
class Way:
    """How the bytes are reached, and what it took each time: microseconds per operation."""

    name: str
    image: tuple[str, ...]
    pids: tuple[int, ...] = ()  # of its daemons
    took: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def measure(self, options: tuple[str, ...]) -> None:
        """Measure once."""
        command = ["qemu-img", "bench", "-c", str(COUNT), "-d", "1", "-s", "4096", *options, *self.image]
        before = [spent(pid) for pid in self.pids]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        after = [spent(pid) for pid in self.pids]
        took = _TOOK.search(said)
        assert took, said
        self.took.append(float(took[1]) / COUNT * 1e6)
        self.used.append(sum(one[0] - other[0] for one, other in zip(after, before, strict=True)) / COUNT)
        self.slept.append(sum(one[1] - other[1] for one, other in zip(after, before, strict=True)) / COUNT)

    def line(self, direct: float) -> str:
        """Say what it took, and how much more than the direct way."""
        more = statistics.median(self.took) - direct
        raw = " ".join(f"{value:.0f}" for value in self.took)
        daemons = f"daemons: {statistics.median(self.used):.0f} us CPU, {statistics.median(self.slept):.1f} sleeps"
        return f"  {self.name:34} {statistics.median(self.took):6.0f} us  +{more:.0f}  [{raw}]  {daemons if self.pids else ''}"


def spent(pid: int) -> tuple[float, int]:
    """Tell the microseconds of processor that a process's threads took, and how often they slept."""
    used, slept = 0.0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a worker that has ended
            used += int((task / "schedstat").read_text().split()[0]) / 1000
            found = _SLEPT.search((task / "status").read_text())
            slept += int(found[1]) if found else 0
    return used, slept


@contextlib.contextmanager
def by_hand(*options: str, listens_at: Path) -> Iterator[int]:
    """Have a storage daemon of these options and a thread `io`, until the end; gives its process id."""
    pidfile = listens_at.with_suffix(".pid")  # written when it listens
    daemon = subprocess.Popen(["qemu-storage-daemon", "--pidfile", pidfile, "--object", "iothread,id=io", *options])
    try:
        wait_for(pidfile.exists, "the daemon listens", 20)
        yield daemon.pid
    finally:
        daemon.terminate()
        daemon.wait(20)


def home(disk: Path, address: str) -> list[str]:
    """Say how a daemon serves a disk as a home does."""
    return [
        "--blockdev", f"driver=file,node-name=bytes,filename={disk},discard=unmap",
        "--blockdev", "driver=qcow2,node-name=disk,file=bytes,discard=unmap",
        "--nbd-server", address,
        "--export", f"nbd,id=e,node-name=disk,name={VOLUME},writable=on,writethrough=on,iothread=io",
    ]  # fmt: skip


def proxy(socket: Path, port: int) -> list[str]:
    """Say how a daemon brings what another serves."""
    return [
        "--blockdev", f"driver=nbd,node-name=disk,server.type=inet,server.host=127.0.0.1,server.port={port},export={VOLUME}",
        "--nbd-server", f"addr.type=unix,addr.path={socket}",
        "--export", f"nbd,id=e,node-name=disk,name={VOLUME},writable=on,iothread=io",
    ]  # fmt: skip


def over(socket: Path) -> tuple[str, ...]:
    """Name a volume as a guest has it."""
    return "-f", "raw", f"nbd+unix:///{VOLUME}?socket={socket}"


@contextlib.contextmanager
def all_ways(world: World) -> Iterator[list[Way]]:
    """Have all ways, each to a disk of its own."""
    world.home.daemons.serve(world.export())
    source = world.client.daemons.connect(world.remote())
    write(source, 1, 0, 48 << 20)
    copies = [world.root / f"copy-{number}.qcow2" for number in range(3)]
    for copy in copies:
        subprocess.run(["cp", world.disk, copy], check=True)
    one, near, far = (world.root / name for name in ("one", "near", "far"))
    inet = f"addr.type=inet,addr.host=127.0.0.1,addr.port={PORT + 1}"
    ours = tuple(daemons_of(world.root))
    with (
        by_hand(*home(copies[1], f"addr.type=unix,addr.path={one}"), listens_at=one) as single,
        by_hand(*home(copies[2], inet), listens_at=far) as server,
        by_hand(*proxy(near, PORT + 1), listens_at=near) as client,
    ):
        yield [
            Way("the file opened directly", ("-f", "qcow2", str(copies[0]))),
            Way("one hop by hand, unix socket", over(one), (single,)),
            Way("both hops by hand, without TLS", over(near), (server, client)),
            Way("of another host", over(source.socket), ours),
        ]


def main() -> int:
    """Measure in a box; tells whether reads and flushed writes are within the limit."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    box.enter()
    within = True
    with new_world() as world, all_ways(world) as ways:
        for kind, (direct, remote) in KINDS.items():
            for way in ways:
                way.took, way.used, way.slept = [], [], []
            for number in range(chosen.rounds):
                for way in ways if number % 2 else reversed(ways):
                    way.measure(direct if way is ways[0] else remote)
            base = statistics.median(ways[0].took)
            more = statistics.median(ways[-1].took) - base
            within = within and more <= LIMIT
            print(f"{kind}: +{more:.0f} us (limit {LIMIT:.0f})  {'ok' if more <= LIMIT else 'MISSED'}")
            print("\n".join(way.line(base) for way in ways), flush=True)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
