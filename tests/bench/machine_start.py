"""What a start and an end of a machine cost, beside QEMU alone and beside a shell loop of virsh (budgets P2 and P4).

    .venv/bin/python tests/bench/machine_start.py [--rounds 12] [--machines 20]

Every way starts the same guest (blank disk, one tap, 96 MiB), alternately, in one run. On the host only: nothing is awaited
inside of guests. Each line has the median wall time, the CPU time of all that worked for it, and the raw values.
"""

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pyroute2 import IPRoute  # noqa: E402 - the checkout comes first

from stead_agent.disks.disk_sources import FileSource  # noqa: E402 - the checkout comes first
from stead_agent.disks.disk_users import uid_of  # noqa: E402 - the checkout comes first
from stead_agent.disks.volumes.interface import VolumeSpec  # noqa: E402 - the checkout comes first
from stead_agent.disks.volumes.local_files import LocalStore  # noqa: E402 - the checkout comes first
from stead_agent.disks.volumes.open_pools import open_pools  # noqa: E402 - the checkout comes first
from stead_agent.disks.volumes.pooled_volumes import PooledVolumes  # noqa: E402 - the checkout comes first
from stead_agent.machines.daemon_dirs import DaemonDirs  # noqa: E402 - the checkout comes first
from stead_agent.machines.domain_xml import HostSide, render_domain, tb_cache_mib  # noqa: E402 - the checkout comes first
from stead_agent.machines.host_access import give_disk, make_private  # noqa: E402 - the checkout comes first
from stead_agent.machines.interface import Disk, MachineSpec, Nic  # noqa: E402 - the checkout comes first
from stead_agent.machines.libvirt_machines import LibvirtMachines  # noqa: E402 - the checkout comes first
from stead_agent.machines.life import Record  # noqa: E402 - the checkout comes first
from tests.support import box, private_libvirtd  # noqa: E402 - the checkout comes first
from tests.support.waiting import wait_for  # noqa: E402 - the checkout comes first

BRIDGE = "bench0"
MEMORY = 96 << 20
WARMING = 1  # rounds that are not counted: they fill caches, such as libvirt's capabilities
REPEATS = 2  # of many at once
START_LIMIT_MS = 600  # P2, for all of the way from the API on
MAKESPAN_LIMIT = 1.10  # P4


@dataclass
class Way:
    """One way of starting a machine, and what it took."""

    name: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def line(self) -> str:
        raw = " ".join(f"{1000 * value:.0f}" for value in self.wall)
        return f"{self.name:34} {1000 * statistics.median(self.wall):7.1f} ms   CPU {1000 * statistics.median(self.cpu):6.1f} ms   [{raw}]"


def _volumes(root: Path) -> PooledVolumes:
    store = LocalStore(root, trash_seconds=0)
    return PooledVolumes(store, open_pools(store, ()))


class Bench:
    """A libvirtd of our own, a bridge, and machines that are made up one after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.daemon = private_libvirtd.ensure_running(root)
        self.volumes = _volumes(root / "disks")
        self.count = 0
        with IPRoute() as ip:
            ip.link("add", ifname=BRIDGE, kind="bridge")
            ip.link("set", index=ip.link_lookup(ifname=BRIDGE)[0], state="up")

    def machines(self) -> LibvirtMachines:
        dirs = DaemonDirs(self.root / "run" / "qemu", self.root / "lib" / "qemu")
        return LibvirtMachines(self.daemon.uri, self.root / "agent", owner="bench", virtualization="qemu", dirs=dirs)

    def spec(self) -> MachineSpec:
        self.count += 1
        digits = f"{self.count:017x}"
        source = self.volumes.ensure(VolumeSpec(f"vol-{digits}", 1 << 30))
        nic = Nic(f"eni-{digits}", f"0a:00:00:00:00:{self.count:02x}", BRIDGE, f"sb-{digits[-10:]}", 1450)
        return MachineSpec(f"i-{digits}", 1, MEMORY, (Disk(f"vol-{digits}", source.source, "qcow2"),), (nic,))

    def xml(self, spec: MachineSpec) -> str:
        for disk in spec.disks:
            give_disk(disk.source, disk.base, uid_of(spec.id))
        screens = self.root / "screens" / spec.id
        make_private(screens, uid_of(spec.id))
        host = HostSide(
            "qemu",
            64055,
            self.root / f"{spec.id}.log",
            screens / "vnc",
            self.root / "no-variables",
            Path("/usr/bin/qemu-system-x86_64"),
            keeps_for_emulation=True,
        )
        return render_domain(spec, Record("virsh"), host)

    def cpu_of_libvirtd(self) -> float:
        pid = (self.root / "libvirtd.pid").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(int(value) for value in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def measure(self, way: Way, work: Callable[[], None]) -> None:
        before = self.cpu_of_libvirtd() + _own_cpu()
        begin = time.perf_counter()
        work()
        way.wall.append(time.perf_counter() - begin)
        way.cpu.append(self.cpu_of_libvirtd() + _own_cpu() - before)

    def virsh(self, *arguments: str) -> None:
        subprocess.run(["virsh", "-q", "-c", self.daemon.uri, *arguments], check=True, capture_output=True, timeout=120)


def _own_cpu() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def start_qemu(spec: MachineSpec, runtime: Path) -> subprocess.Popen[bytes]:
    """Start the same guest with QEMU alone, and return when it runs."""
    qmp = runtime / "qmp"
    qmp.unlink(missing_ok=True)
    nic = spec.nics[0]
    source = spec.disks[0].source
    assert isinstance(source, FileSource)
    disk = f"driver=qcow2,file.driver=file,file.filename={source.path},node-name=d"
    process = subprocess.Popen(
        [
            *(
                "qemu-system-x86_64",
                "-nodefaults",
                "-no-user-config",
                "-machine",
                "pc,hpet=off",
                "-accel",
                f"tcg,tb-size={tb_cache_mib(MEMORY, 1)}",
            ),
            *(
                "-cpu",
                "max",
                "-m",
                str(MEMORY >> 20),
                "-display",
                "none",
                "-vnc",
                f"unix:{runtime / 'vnc'}",
                "-device",
                "VGA",
            ),
            *(
                "-blockdev",
                disk,
                "-device",
                "virtio-blk-pci,drive=d",
                "-device",
                "virtio-rng-pci",
                "-device",
                "virtio-serial-pci",
            ),
            *("-netdev", f"tap,id=n,ifname={nic.tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=n,mac={nic.mac_address},romfile="),
            *("-serial", "null", "-qmp", f"unix:{qmp},server=on,wait=off"),
        ],
        stderr=subprocess.DEVNULL,
    )
    with socket.socket(socket.AF_UNIX) as monitor:
        wait_for(lambda: not monitor.connect_ex(str(qmp)), "QEMU listens", poll=0.001)
        file = monitor.makefile("rw")
        file.readline()
        for command in ("qmp_capabilities", "query-status"):
            file.write(json.dumps({"execute": command}) + "\n")
            file.flush()
            answer = json.loads(file.readline())
    if not answer["return"]["running"]:
        raise AssertionError(answer)
    return process


def one_by_one(bench: Bench, rounds: int) -> bool:
    """Start and end machines in each way in turn."""
    qemu, ours, virsh = (
        Way("start: QEMU alone"),
        Way("start: stead_agent.machines"),
        Way("start: virsh define, virsh start"),
    )
    end, status = Way("end: stop(force)"), Way("status")
    disk, remove = Way("disk made (qcow2, fsync)"), Way("remove (of one that is off)")
    machines = bench.machines()
    for number in range(1 - WARMING, rounds + 1):
        spec = bench.spec()
        raw: list[subprocess.Popen[bytes]] = []
        bench.measure(qemu, lambda raw=raw, spec=spec: raw.append(start_qemu(spec, bench.root)))
        raw[0].kill()
        raw[0].wait()
        stored: list[MachineSpec] = []
        bench.measure(disk, lambda stored=stored: stored.append(bench.spec()))
        spec = stored[0]
        bench.measure(ours, lambda spec=spec: machines.start(spec, 1))
        bench.measure(status, lambda spec=spec: machines.status(spec.id))
        bench.measure(end, lambda spec=spec: machines.stop(spec.id, force=True))
        bench.measure(remove, lambda spec=spec: machines.remove(spec.id))
        spec = bench.spec()
        file = bench.root / "domain.xml"
        file.write_text(bench.xml(spec))
        bench.measure(
            virsh, lambda spec=spec, file=file: (bench.virsh("define", str(file)), bench.virsh("start", spec.id))
        )
        bench.virsh("destroy", spec.id)
        bench.virsh("undefine", spec.id)
        if number < 1:
            for way in (qemu, ours, virsh, end, status, disk, remove):
                way.wall.clear()
                way.cpu.clear()
    machines.close()
    for way in (qemu, ours, virsh, end, remove, status, disk):
        print(way.line())
    found = 1000 * statistics.median(ours.wall)
    ratio = statistics.median(ours.wall) / statistics.median(qemu.wall)
    print(f"P2 (host side): start {found:.0f} ms, limit {START_LIMIT_MS} ms; {ratio:.1f} x QEMU alone")
    return found <= START_LIMIT_MS


def many_at_once(bench: Bench, count: int) -> bool:
    """Start many machines at once: all asked of us at the same time, and four virsh at a time."""
    machines = bench.machines()
    ours, virsh = Way(f"{count} at once: stead_agent.machines"), Way(f"{count} at once: virsh, 4 at a time")
    for _ in range(REPEATS):
        specs = [bench.spec() for _ in range(count)]
        bench.measure(virsh, lambda specs=specs: _by_virsh(bench, specs))
        for spec in specs:
            bench.virsh("destroy", spec.id)
            bench.virsh("undefine", spec.id)
        specs = [bench.spec() for _ in range(count)]
        bench.measure(
            ours, lambda specs=specs: _together([lambda spec=spec: machines.start(spec, 1) for spec in specs])
        )
        for spec in specs:
            machines.remove(spec.id)
    machines.close()
    print(ours.line(), virsh.line(), sep="\n")
    ratio = min(ours.wall) / min(virsh.wall)
    print(f"P4: makespan {ratio:.2f} x virsh, limit {MAKESPAN_LIMIT}")
    return ratio <= MAKESPAN_LIMIT


def _by_virsh(bench: Bench, specs: list[MachineSpec]) -> None:
    turns = threading.Semaphore(4)

    def start(spec: MachineSpec) -> None:
        with turns:
            file = bench.root / f"{spec.id}.xml"
            file.write_text(bench.xml(spec))
            bench.virsh("define", str(file))
            bench.virsh("start", spec.id)

    _together([lambda spec=spec: start(spec) for spec in specs])


def _together(works: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=12)
    options.add_argument("--machines", type=int, default=20)
    chosen = options.parse_args()
    box.enter()
    root = Path(f"/var/tmp/stead-bench-{os.getpid()}")
    bench = Bench(root)
    try:
        well = one_by_one(bench, chosen.rounds) & many_at_once(bench, chosen.machines)
    finally:
        private_libvirtd.stop(root)
        shutil.rmtree(root)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
