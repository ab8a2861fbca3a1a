"""What exists on a simulated host besides its agent: kernel, disks and guests, which outlive it as the real ones do.

With a file, the world survives kill -9 of the process, so an agent's restart with running guests can be tested. Each
call of a subsystem goes through `call`, which injects faults and checks the rules between subsystems.
"""

import contextlib
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stead_agent.credits.interface import Balance, Terms
from stead_agent.dhcp.interface import VpcDhcp
from stead_agent.disks.exports.interface import Export, Remote
from stead_agent.disks.volumes.interface import VolumeSpec
from stead_agent.firewall.interface import VpcFirewall
from stead_agent.machines.interface import DiskHome, FirmwareState, MachineSpec, OffReason, Power
from stead_agent.network.interface import Bandwidth, VpcNetwork
from stead_agent.simulated.world_file import WorldFile


@dataclass(slots=True)
class Guest:
    """A simulated machine: its domain and its state."""

    spec: MachineSpec
    power: Power = Power.OFF
    start_count: int = 0
    reboot_count: int = 0
    off_reason: OffReason = OffReason.NONE
    boots: int = 0  # of the latest start: 1, and one more for each reboot
    wrote: bytes = b""  # to its serial port, besides the lines about its boots
    hangs: bool = False  # ignores the power button
    waits_for: frozenset[str] = frozenset()  # volumes without room: it is paused
    stalled: frozenset[str] = frozenset()  # volumes that do no requests
    agent_silent_since: int = 0  # Unix seconds; 0 = it answers
    hung_since: int = 0  # Unix seconds; 0 = its QEMU answers
    off_since: int = 0  # Unix seconds; 0 = it runs
    lost_since: int = 0  # Unix seconds of when its host went down in this start
    lost_until: int = 0  # and of when it was started again
    dead_nics: frozenset[str] = frozenset()  # MAC addresses of those whose taps were deleted
    holds_disks: bool = False  # does not release devices to be detached
    hibernated: bool = False  # is off, and its next start resumes it
    hears_at: float = 0.0  # the time from which it reacts to the power button
    epoch: int = 0  # counts its scheduled events; those of another epoch do not happen


@dataclass(frozen=True, slots=True)
class CreditAccount:
    """The CPU credits of a simulated machine."""

    terms: Terms
    start_count: int  # 0 = it is off
    balance: Balance


@dataclass(slots=True)
class TakenSnapshot:
    """A snapshot that a simulated host takes."""

    volume_id: str
    taken_at: int  # Unix milliseconds
    begun: float  # the host's clock
    blocks: int
    lost: bool = False
    quiet: bool = False  # no guest has had the disk since


@dataclass(slots=True)
class Objects:
    """All objects of a world; what of it changes is pickled (`world_file.py`)."""

    boot_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    public_pools: tuple[str, ...] = ()
    underlay_peers: frozenset[str] = frozenset()
    networks: dict[str, VpcNetwork] = field(default_factory=dict)
    bandwidths: dict[str, Bandwidth | None] = field(default_factory=dict)  # of the interfaces that guests were given
    firewalls: dict[str, VpcFirewall] = field(default_factory=dict)
    dhcps: dict[str, VpcDhcp] = field(default_factory=dict)
    bases: dict[str, int] = field(default_factory=dict)
    volumes: dict[str, VolumeSpec] = field(default_factory=dict)
    exports: dict[str, Export] = field(default_factory=dict)
    remotes: dict[str, Remote] = field(default_factory=dict)
    snapshots: dict[str, TakenSnapshot] = field(default_factory=dict)
    stores: dict[str, VolumeSpec] = field(default_factory=dict)  # instance store disks
    full: set[str] = field(default_factory=set)  # volumes without room for guests' writes
    refused: list[str] = field(default_factory=list)  # volumes of other hosts of which guests got errors
    cut_off: list[tuple[str, str]] = field(default_factory=list)  # machines and their volumes of other hosts
    homes: dict[str, tuple[DiskHome, ...]] = field(default_factory=dict)  # that machines reach without proxies
    devices: dict[str, str] = field(default_factory=dict)  # PCI addresses, and the machine that has each
    trash: list[str] = field(default_factory=list)
    guests: dict[str, Guest] = field(default_factory=dict)
    firmware: dict[str, FirmwareState] = field(default_factory=dict)  # of UEFI guests that have started
    credits: dict[str, CreditAccount] = field(default_factory=dict)
    starts: Counter[tuple[str, int]] = field(default_factory=Counter)  # how often each start happened
    violations: list[str] = field(default_factory=list)  # interface rules that the caller violated


@dataclass(slots=True)
class Fault:
    """An error that the next calls of a name end with."""

    error: Exception
    times: int
    after: bool  # the call has done its work when it fails


Watcher = Callable[[str, str, bool], None]
"""Called for each call: with its name, its subject, and whether it is done; may end the process or raise."""


class World:
    """The objects of one simulated host, and the requested faults."""

    def __init__(self, file: Path | None = None) -> None:
        """Begin empty, or with what an earlier process left in the file."""
        self._file = WorldFile(file, Objects()) if file is not None else None
        self._faults: dict[str, list[Fault]] = {}
        self.lock = threading.RLock()
        self.watcher: Watcher | None = None
        self.objects = Objects() if self._file is None else self._file.objects

    def fail_next(self, name: str, error: Exception, *, times: int = 1, after: bool = False) -> None:
        """Let the next calls of a name, such as `machines.start`, end with an error, before or after their work."""
        with self.lock:
            self._faults.setdefault(name, []).append(Fault(error, times, after))

    @contextlib.contextmanager
    def call(self, name: str, subject: str = "") -> Iterator[Objects]:
        """Wrap one call of a subsystem that changes the world."""
        with self.lock:
            self._watch(name, subject, done=False)
            self._fail(name, after=False)
            yield self.objects
            self.save()
            self._watch(name, subject, done=True)
            self._fail(name, after=True)

    def broken(self, promise: str) -> None:
        """Record that a caller violated a rule of the interfaces."""
        self.objects.violations.append(promise)

    def save(self) -> None:
        """Write the objects to the file, if there is one, as the kernel would retain them if we died now."""
        if self._file is not None:
            self._file.save()

    def _watch(self, name: str, subject: str, *, done: bool) -> None:
        if self.watcher is not None:
            self.watcher(name, subject, done)

    def _fail(self, name: str, *, after: bool) -> None:
        for fault in self._faults.get(name, []):
            if fault.times > 0 and fault.after == after:
                fault.times -= 1
                raise fault.error
