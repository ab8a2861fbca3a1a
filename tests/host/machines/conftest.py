"""A libvirtd of our own below /var/tmp, a bridge, and machines on them; whatever a test leaves behind is an error."""

import itertools
import json
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import libvirt
import libvirt_qemu
import pytest
from pyroute2 import IPRoute

from stead_agent.disks.disk_files import write_disk
from stead_agent.disks.disk_sources import FileSource, Format, Layer, secret_uuid
from stead_agent.disks.qcow2 import render_empty
from stead_agent.machines.boot_clock import Patience
from stead_agent.machines.daemon_dirs import DaemonDirs
from stead_agent.machines.interface import Disk, MachineSpec, Nic, OffReason, Power
from stead_agent.machines.libvirt_machines import LibvirtMachines
from stead_agent.programs.run import run
from stead_proto.tls import Identity
from tests.support import emulator, micro, private_libvirtd, waiting
from tests.support.fake_block_store import fake, store  # noqa: F401 - fixtures

_CONSOLE_BYTES = 1 << 16

MEMORY = 96 << 20


def pytest_collection_modifyitems(items):
    here = f"{Path(__file__).parent}/"
    for item in items:
        if str(item.path).startswith(here):  # the path's `parents` would take a second for all tests
            item.add_marker(pytest.mark.libvirt)
            item.add_marker(pytest.mark.root)


def wait_for(
    condition: Callable[[], object],
    what: str,
    seconds: float = 15.0,
    *,
    poll: float = 0.05,
    explain: Callable[[], str] | None = None,
) -> None:
    """Return when the condition holds; fail when it does not in time."""
    waiting.wait_for(condition, what, seconds, poll, explain=explain)


@dataclass
class Daemon:
    """A private libvirtd, to be killed at will."""

    root: Path
    uri: str

    @property
    def pid(self) -> int:
        return int((self.root / "libvirtd.pid").read_text())

    def revive(self) -> None:
        private_libvirtd.ensure_running(self.root)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """A libvirtd that runs, with nothing defined."""
    if os.geteuid() != 0 or not shutil.which("libvirtd"):
        pytest.skip("needs root and libvirtd")
    root = Path(f"/var/tmp/stead-test-{os.getpid()}")
    started = private_libvirtd.ensure_running(root)
    yield Daemon(root, started.uri)
    private_libvirtd.stop(root)
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def bridge() -> Iterator[str]:
    """A bridge with no way out."""
    name = f"sttest{secrets.token_hex(3)}"
    with IPRoute() as ip:
        ip.link("add", ifname=name, kind="bridge")
        index = ip.link_lookup(ifname=name)[0]
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text(
            "1"
        )  # no address appears in the middle of a test
        ip.link("set", index=index, state="up")
        yield name
        ip.link("del", index=index)


@dataclass
class World:
    """One agent's machines, with what they need, and all that was heard of them."""

    daemon: Daemon
    bridge: str
    root: Path
    machines: LibvirtMachines = None  # type: ignore[assignment]  # set by the fixture
    heard: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    patience: Patience = field(default_factory=Patience)
    credentials: Callable[[str, int], Identity] | None = None
    shared_threads: str = ""

    def connect(self) -> LibvirtMachines:
        """Be a new agent process: know nothing but what the host holds."""
        if self.machines:
            self.machines.close()
        self.machines = LibvirtMachines(
            self.daemon.uri,
            self.root,
            owner=str(self.root),
            virtualization="qemu",
            revive=self.daemon.revive,
            patience=self.patience,
            dirs=DaemonDirs(self.daemon.root / "run" / "qemu", self.daemon.root / "lib" / "qemu"),
            credentials=self.credentials,
            shared_threads=self.shared_threads,
        )
        self.machines.subscribe(self._hear)
        return self.machines

    def _hear(self, machine_id: str) -> None:
        with self.changed:
            self.heard.append(machine_id)
            self.changed.notify_all()

    def spec(self, *, bootable: bool = False, base: bool = False, nics: int = 1, **changes) -> MachineSpec:
        """Make up a machine; without `bootable` its disk is blank, so its firmware waits for ever.

        With `base` its disk is laid over an image all the same.
        """
        digits = secrets.token_hex(8)
        spec = MachineSpec(
            id=f"i-0{digits}",
            vcpus=1,
            memory=MEMORY,
            disks=(self.disk(base=self.image(bootable=bootable) if bootable or base else None),),
            nics=tuple(self.nic() for _ in range(nics)),
        )
        self.ids.append(spec.id)
        return replace(spec, **changes)

    def disk(self, base: Path | None = None, base_format: Format = "qcow2") -> Disk:
        volume = f"vol-0{secrets.token_hex(8)}"
        path = self.root / "disks" / f"{volume}.qcow2"
        if base is None:
            run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], timeout=60)
            return Disk(volume, FileSource(path), "qcow2")
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", base_format, path], timeout=60)
        return Disk(volume, FileSource(path), "qcow2", Layer(FileSource(base), base_format))

    def encrypted_disk(self, key: bytes, base: Path | None = None) -> Disk:
        """A disk that only QEMU with the key can read, blank or laid over a raw base."""
        volume = f"vol-0{secrets.token_hex(8)}"
        path = self.root / "disks" / f"{volume}.qcow2"
        path.touch()
        size, below = (base.stat().st_size, Layer(FileSource(base), "raw")) if base else (64 << 20, None)
        write_disk(path, render_empty(size, str(base or ""), "raw" if base else "", encryption_key=key))
        return Disk(volume, FileSource(path), "qcow2", below, secret=secret_uuid(volume), encryption_key=key)

    def image(self, *, bootable: bool) -> Path:
        """An image of our own to lay disks over."""
        ours = self.root / "disks" / f"base-{bootable}.qcow2"
        if not ours.exists():
            if bootable:
                shutil.copyfile(micro.build(), ours)
            else:
                run(["qemu-img", "create", "-q", "-f", "qcow2", ours, "64M"], timeout=60)
            ours.chmod(0o444)
        return ours

    def nic(self) -> Nic:
        digits = secrets.token_hex(8)
        mac = "0a:" + ":".join(digits[i : i + 2] for i in range(0, 10, 2))
        return Nic(f"eni-0{digits}", mac, self.bridge, f"sv-{digits[:12]}", 1450)

    def boot[Found](self, spec: MachineSpec, until_up: Callable[[], Found]) -> Found:
        """Start a machine and wait for its guest; once more if its QEMU died of itself, as `check` tells `until_up`."""
        starts = itertools.count(1)

        def boot() -> Found:
            self.machines.start(spec, next(starts))
            return until_up()

        return emulator.booted(boot)

    def check(self, machine_id: str) -> None:
        """Raise EmulatorDiedError when a machine's QEMU has failed of itself, AssertionError when it was made to."""
        try:
            emulator.check_console(self.machines.console_output(machine_id, _CONSOLE_BYTES).decode("utf-8", "replace"))
        except emulator.EmulatorDiedError:
            os.kill(self.process_of(machine_id), signal.SIGKILL)
            self.wait_for_power(machine_id, Power.OFF)
            raise
        status = self.machines.status(machine_id)
        if status is not None and status.off_reason is OffReason.CRASHED:
            emulator.raise_for_log(self.daemon.root / "log" / "qemu" / f"{machine_id}.log")

    def process_of(self, machine_id: str) -> int:
        return int((self.daemon.root / "run" / "qemu" / f"{machine_id}.pid").read_text())

    def press_power_button(self, machine_id: str) -> None:
        """Press it past the agent: to it, the guest powers itself off; one that comes too early in its boot is lost."""
        live = libvirt.open(self.daemon.uri)
        try:
            libvirt_qemu.qemuMonitorCommand(
                live.lookupByName(machine_id), json.dumps({"execute": "system_powerdown"}), 0
            )
        except libvirt.libvirtError:
            pass  # it is off already
        finally:
            live.close()

    def wait_for_power(self, machine_id: str, power, seconds: float = 15.0) -> None:
        wait_for(lambda: self.machines.status(machine_id).power is power, f"{machine_id} is {power}", seconds)

    def leaks(self) -> list[str]:
        """Name all that is left of our machines on the host."""
        with IPRoute() as ip:
            taps = [link.get_attr("IFLA_IFNAME") for link in ip.get_links()]
        left = [f"tap {tap}" for tap in taps if tap.startswith("sv-")]
        for name in self.ids:
            for pid in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if f"guest={name},".encode() in pid.read_bytes():
                        left.append(f"process {pid}")
                except OSError:
                    continue  # the process has ended meanwhile
            left += [str(path) for path in self.daemon.root.rglob(f"*{name}*") if path.suffix != ".log"]
            left += [str(path) for path in self.root.glob(f"*/{name}*")]
        return left


@pytest.fixture
def world(daemon: Daemon, bridge: str) -> Iterator[World]:
    """An agent that has just started, on a host without machines; afterwards nothing may be left of its machines."""
    with new_world(daemon, bridge) as made:
        yield made


@contextmanager
def new_world(daemon: Daemon, bridge: str) -> Iterator[World]:
    """What `world` is, for those who share one."""
    daemon.revive()
    root = daemon.root / f"agent-{secrets.token_hex(3)}"
    (root / "disks").mkdir(parents=True, mode=0o711)
    root.chmod(0o711)
    world = World(daemon, bridge, root)
    world.connect()
    yield world
    daemon.revive()
    wait_for(lambda: _can_list(world), "libvirt is there again")
    for machine_id in world.machines.present():
        world.machines.remove(machine_id)
    world.machines.close()
    assert not world.leaks()
    shutil.rmtree(root)


def _can_list(world: World) -> bool:
    try:
        world.machines.present()
    except Exception:  # whatever goes wrong: not yet
        return False
    return True
