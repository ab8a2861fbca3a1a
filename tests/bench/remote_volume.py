"""Budget P13: a volume of another host costs <= 80 us more per operation than the same file opened directly.

    .venv/bin/python tests/bench/remote_volume.py [--rounds 5]

Operations of 4 KiB, one at a time, on qcow2 volumes whose clusters are allocated, in turns. A home flushes each write to a
qcow2 volume, so writes are compared with those that are flushed, too. Beside the time stands what the daemons took of
processors, and how often they slept.

The budget is of what a guest has once its QEMU asks the home itself, past the proxy: a node of QEMU's block layer just as
`machines/direct_nodes.py` makes it, with the credentials of an attachment, to a home as the agent serves it. qemu-io has the
node, since qemu-img has no credentials; so there is no virtual processor in it, nor in what it is compared with: the file
opened directly. Beside them one hop by daemons started by hand, over TCP, over TLS with certificates and with a shared key:
no way to another host whose packets are secret is shorter. And the way by the proxy, which a guest falls back to.

Below, with qemu-img, what that one (unix socket, proxy, TLS, home) is made of: one hop over a unix socket by hand, and both
hops without TLS.
"""

import argparse
import contextlib
import itertools
import re
import secrets
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from stead_agent.disks.exports.daemon import find  # noqa: E402 - the checkout comes first
from stead_proto import tls  # noqa: E402 - the checkout comes first
from stead_proto.tls import Identity  # noqa: E402 - the checkout comes first
from tests.host.exports.conftest import (  # noqa: E402 - the checkout comes first
    CLIENT,
    HOME,
    PORT,
    VOLUME,
    World,
    daemons_of,
    new_world,
    write,
)
from tests.support import box  # noqa: E402 - the checkout comes first
from tests.support.waiting import wait_for  # noqa: E402 - the checkout comes first

LIMIT = 80.0
COUNT = 4000
FLOOR_COUNT = 3000
KINDS = {  # of the remote ways; a file opened directly is flushed by the option, a home flushes by itself
    "reads": ((), ()),
    "writes, both flushed": (("-w", "-t", "writethrough"), ("-w",)),
    "writes, flushed by the home alone": (("-w",), ("-w",)),
}
_TOOK = re.compile(r"Run completed in ([0-9.]+) seconds")
_RATE = re.compile(r"([0-9.e+]+) ops/sec")
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
        """Measure once, with options of qemu-img's."""
        before = self._spent()
        command = ["qemu-img", "bench", "-c", str(COUNT), "-d", "1", "-s", "4096", *options, *self.image]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        took = _TOOK.search(said)
        assert took, said
        self._note(float(took[1]) * 1e6, COUNT, before)

    def measure_node(self, options: tuple[str, ...]) -> None:
        """Measure once with qemu-io, which tells of each operation how many there would be a second."""
        verb = "write" if "-w" in options else "read"
        words = [word for place in range(FLOOR_COUNT) for word in ("-c", f"{verb} {place * 4096} 4096")]
        # Without a word it flushes each write, as qemu-img does not.
        cache = [option for option in options if option != "-w"] or ["-t", "writeback"]
        command = ["qemu-io", *cache, *words, *self.image]
        before = self._spent()
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        rates = [float(rate) for rate in _RATE.findall(said.stdout)]
        assert len(rates) == FLOOR_COUNT, said.stdout[-500:] + said.stderr[-500:]
        self._note(sum(1e6 / rate for rate in rates), FLOOR_COUNT, before)

    def _spent(self) -> list[tuple[float, int]]:
        return [spent(pid) for pid in self.pids]

    def _note(self, microseconds: float, count: int, before: list[tuple[float, int]]) -> None:
        pairs = list(zip(self._spent(), before, strict=True))
        self.took.append(microseconds / count)
        self.used.append(sum(one[0] - other[0] for one, other in pairs) / count)
        self.slept.append(sum(one[1] - other[1] for one, other in pairs) / count)

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
    command = ["qemu-storage-daemon", "--pidfile", str(pidfile), "--object", "iothread,id=io", *options]
    with listens_at.with_suffix(".log").open("wb") as log:  # of hundreds of lines for each client that just went
        daemon = subprocess.Popen(command, stderr=log)
    try:
        wait_for(pidfile.exists, "the daemon listens", 20)
        yield daemon.pid
    finally:
        daemon.terminate()
        daemon.wait(20)


def home(disk: Path, address: str, *security: str) -> list[str]:
    """Say how a daemon serves a disk as a home does, to a client of these credentials."""
    if security:
        address += ",tls-creds=tls"
    return [
        *security,
        "--blockdev", f"driver=file,node-name=bytes,filename={disk},discard=unmap,aio=io_uring",
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


def inet(port: int) -> str:
    """Say where a daemon listens, on loopback."""
    return f"addr.type=inet,addr.host=127.0.0.1,addr.port={port}"


def across(port: int, *security: str) -> tuple[str, ...]:
    """Name a volume as a guest would have it that asked the home itself, with credentials or without."""
    source = f"driver=raw,file.driver=nbd,file.server.type=inet,file.server.host=127.0.0.1,file.server.port={port}"
    secured = f",file.tls-creds=tls,file.tls-hostname={tls.host_server_name(HOME)}" if security else ""
    return *security, "--image-opts", f"{source},file.export={VOLUME}{secured}"


def past_proxy(world: World) -> tuple[str, ...]:
    """Name a volume as a guest's QEMU has it that asks the home itself."""
    folder = world.root / "x509-attachment"
    write_certificate(folder, "client", world.authority.issue_attachment(VOLUME, 1, CLIENT))
    credentials = f"tls-creds-x509,id=tls,endpoint=client,dir={folder},verify-peer=on"
    *security, options, node = across(PORT, "--object", credentials)
    return *security, options, f"{node},file.reconnect-delay=600,file.discard=unmap"


def certificates(world: World) -> tuple[list[str], list[str]]:
    """Keep both hosts' certificates for QEMU, and say how the home and the other host have theirs."""
    sides = []
    for endpoint, identity in (("server", world.home.identity), ("client", world.client.identity)):
        folder = world.root / f"x509-{endpoint}"
        write_certificate(folder, endpoint, identity)
        sides.append(["--object", f"tls-creds-x509,id=tls,endpoint={endpoint},dir={folder},verify-peer=on"])
    return sides[0], sides[1]


def write_certificate(folder: Path, endpoint: str, identity: Identity) -> None:
    """Write a key with its certificates by QEMU's names for them."""
    folder.mkdir(mode=0o700)
    (folder / "ca-cert.pem").write_bytes(identity.ca_pem)
    (folder / f"{endpoint}-cert.pem").write_bytes(identity.certificate_pem)
    (folder / f"{endpoint}-key.pem").write_bytes(identity.key_pem)


def shared_key(world: World) -> tuple[list[str], list[str]]:
    """Keep a key that both sides have, and say how they have it."""
    folder = world.root / "psk"
    folder.mkdir(mode=0o700)
    (folder / "keys.psk").write_text(f"stead:{secrets.token_hex(32)}\n")
    server = f"tls-creds-psk,id=tls,endpoint=server,dir={folder}"
    return ["--object", server], ["--object", f"tls-creds-psk,id=tls,endpoint=client,dir={folder},username=stead"]


@dataclass
class Ways:
    """The ways of the fall-back and of the budget: the file opened directly first, and ours last."""

    fall_back: list[Way]
    budget: list[Way]


@contextlib.contextmanager
def all_ways(world: World) -> Iterator[Ways]:
    """Have all ways, each to a disk of its own."""
    world.home.daemons.serve(world.export())
    source = world.client.daemons.connect(world.remote())
    write(source, 1, 0, 48 << 20)
    copies = (copy_of(world, number) for number in itertools.count())
    one, near, tcp, far, x509, psk = (
        world.root / name for name in ("one", "near", "tcp", "far", "pid-x509", "pid-psk")
    )
    ours = tuple(daemons_of(world.root))
    at_home = find(world.home.daemons._place(VOLUME))
    assert at_home is not None
    of_home, of_client = certificates(world)
    key_of_home, key_of_client = shared_key(world)
    with (
        by_hand(*home(next(copies), f"addr.type=unix,addr.path={one}"), listens_at=one) as over_unix,
        by_hand(*home(next(copies), inet(PORT + 1)), listens_at=tcp) as over_tcp,
        by_hand(*home(next(copies), inet(PORT + 2), *of_home), listens_at=x509) as over_tls,
        by_hand(*home(next(copies), inet(PORT + 3), *key_of_home), listens_at=psk) as over_psk,
        by_hand(*home(next(copies), inet(PORT + 4)), listens_at=far) as server,
        by_hand(*proxy(near, PORT + 4), listens_at=near) as client,
    ):
        direct = ("-f", "qcow2", str(next(copies)))
        yield Ways(
            [
                Way("the file opened directly", direct),
                Way("one hop by hand, unix socket", over(one), (over_unix,)),
                Way("both hops by hand, without TLS", over(near), (server, client)),
                Way("by the proxy", over(source.socket), ours),
            ],
            [
                Way("the file opened directly", direct),
                Way("one hop by hand, TCP", across(PORT + 1), (over_tcp,)),
                Way("one hop by hand, TLS, a shared key", across(PORT + 3, *key_of_client), (over_psk,)),
                Way("one hop by hand, TLS, certificates", across(PORT + 2, *of_client), (over_tls,)),
                Way("by the proxy", over(source.socket), ours),
                Way("of another host", past_proxy(world), (at_home,)),
            ],
        )


def copy_of(world: World, number: int) -> Path:
    """Copy the home's disk as it is now."""
    copy = world.root / f"copy-{number}.qcow2"
    subprocess.run(["cp", world.disk, copy], check=True)
    return copy


def median(way: Way) -> float:
    """Tell what an operation took, in microseconds."""
    return statistics.median(way.took)


def in_turns(ways: list[Way], rounds: int, measure: Callable[[Way], None]) -> None:
    """Measure all ways anew, each round in the other order."""
    for way in ways:
        way.took, way.used, way.slept = [], [], []
    for number in range(rounds):
        for way in ways if number % 2 else reversed(ways):
            measure(way)


def main() -> int:
    """Measure in a box; tells whether reads and flushed writes are within the limit."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    box.enter()
    within = True
    with new_world() as world, all_ways(world) as ways:
        print(f"load {Path('/proc/loadavg').read_text().split()[0]}")
        for kind, (direct, remote) in KINDS.items():
            opened = ways.budget[0]
            in_turns(ways.budget, rounds, lambda way: way.measure_node(direct if way is opened else remote))  # noqa: B023 - called at once
            floor, proxied, more = (median(way) - median(opened) for way in ways.budget[-3:])
            within = within and more <= LIMIT
            print(f"{kind}: {more:+.0f} us (limit {LIMIT:.0f})  {'ok' if more <= LIMIT else 'MISSED'}")
            print(f"  one hop by hand {floor:+.0f} us, by the proxy {proxied:+.0f} us")
            print("\n".join(way.line(median(opened)) for way in ways.budget), flush=True)
        for kind, (direct, remote) in KINDS.items():
            opened = ways.fall_back[0]
            in_turns(ways.fall_back, rounds, lambda way: way.measure(direct if way is opened else remote))  # noqa: B023 - called at once
            print(f"the fall-back, {kind}: {median(ways.fall_back[-1]) - median(opened):+.0f} us")
            print("\n".join(way.line(median(opened)) for way in ways.fall_back), flush=True)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
