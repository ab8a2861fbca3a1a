"""The promise: what the rest of the agent may ask of this host's virtual machines.

Every method blocks, is safe to call from several threads for different machines, and may be repeated: asking again for
what is already so does nothing. A machine is known by its instance id only. Errors are `MachineError`s.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, Protocol

from stead_agent.disks.disk_sources import Format, Layer, Source


class MachineError(Exception):
    """A machine could not be made as asked; the message is for the operator."""


class MachineAbsentError(MachineError):
    """There is no machine of this id on the host."""


class MachinesUnavailableError(MachineError):
    """Libvirt cannot be asked just now: nothing is known about the machines, and nothing was changed by this call."""


class Power(Enum):
    """Whether a guest runs."""

    OFF = "off"
    RUNNING = "running"
    STOPPING = "stopping"  # runs, and was asked to stop
    PAUSED = "paused"  # its process exists and its processors stand still
    UNKNOWN = "unknown"  # libvirt is away and the process still exists, or a start was cut off: do not call it off


class OffReason(Enum):
    """Why a guest is off; each speaks of the start that the status names."""

    NONE = "none"  # it is not off, or it was never started
    ASKED = "asked"  # we stopped it
    GUEST = "guest"  # the guest powered itself off
    CRASHED = "crashed"  # its process failed or was killed, or nobody was there to see why it ended
    HOST = "host"  # the host went down under it: not the guest's wish, so it may be started again


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk as a guest sees it: a virtio disk with a serial number by which the guest knows it.

    Of a volume that is its id (`vol` + 17 hex digits), of an instance store disk `AWS` + 17 hex digits, as on EC2.
    """

    id: str  # the volume's, or an instance store disk's: see `instance_store_id`
    source: Source
    format: Format
    base: Layer | None = None  # below it, read-only
    secret: str = ""  # UUID of libvirt's secret that holds its LUKS key; empty: it is not encrypted
    encryption_key: bytes = field(default=b"", repr=False, compare=False)  # what that secret is made of
    iops: int = 0  # 0 = not limited
    throughput: int = 0  # bytes per second, 0 = not limited


def instance_store_id(machine_id: str, index: int) -> str:
    """Name an instance store disk: there is one of each index per machine."""
    return f"{machine_id}-store{index}"


@dataclass(frozen=True, slots=True)
class DiskHome:
    """Where a guest's QEMU can reach the home of a volume of another host itself."""

    volume_id: str
    generation: int  # of the attachment
    host_id: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Nic:
    """A network interface as a guest sees it; libvirt makes the tap and puts it, isolated, into the bridge."""

    interface_id: str
    mac_address: str
    bridge: str
    tap: str
    mtu: int = 0  # 0 = the bridge's


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """All that a guest is made of; the first disk boots, nics are in the order of their device index."""

    id: str
    vcpus: int
    memory: int  # bytes
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    architecture: str = "x86_64"
    boot_mode: Literal["legacy-bios", "uefi"] = "legacy-bios"
    instance_type: str = ""  # what the guest reads as its product name, as on EC2


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """What is known of a machine; it survives restarts of the agent and of libvirt."""

    id: str
    power: Power
    start_count: int  # the start this speaks of; a start that failed or was interrupted is not counted
    reboot_count: int  # reboots done
    off_reason: OffReason = OffReason.NONE
    volume_ids: frozenset[str] = frozenset()  # of those that the running guest has plugged in now
    full: frozenset[str] = frozenset()  # of those without room for what the guest wrote, so that it is paused
    dead_nics: frozenset[str] = frozenset()  # MAC addresses of a running guest's nics whose taps somebody deleted


class Machines(Protocol):
    """The virtual machines that this agent made on this host."""

    def start(self, spec: MachineSpec, start_count: int, reboot_count: int = 0) -> MachineStatus:
        """Make start number `start_count` happen, once: define the machine as `spec` says and start its guest.

        A start does for all reboots up to `reboot_count`. Does nothing when that start has already happened, whatever
        became of it, or when a later one has. While an earlier start still runs it raises MachineError. Only a few
        starts run at a time; the others wait in order.
        """

    def update(self, spec: MachineSpec) -> frozenset[str]:
        """Plug disks and nics in and out of a running guest until they are as `spec` says, and apply disk limits.

        Returns what must go and the guest still has (volume ids, MAC addresses): it was asked to let go, which may take
        it a while or for ever. Subscribers are told when it has; asking again does no harm, and helps with a guest that
        was not up yet. A nic whose tap was deleted gets a new one, which the network then puts into its bridge. A
        machine that is off takes everything from the spec of its next start: nothing is done then.
        """

    def stop(self, machine_id: str, *, force: bool = False) -> MachineStatus:
        """Ask the guest to shut down (ACPI), or pull the plug with `force`; then its off reason is ASKED.

        Returns at once when asking: the guest gets some minutes, then the plug is pulled, also across restarts of
        the agent. The end is told to subscribers.
        """

    def reboot(self, machine_id: str, reboot_count: int) -> MachineStatus:
        """Make reboot number `reboot_count` happen, once, by asking the guest (ACPI).

        Returns at once: a guest that did not reboot after some minutes is reset. `reboot_count` of the status follows
        when it is done. Of a machine that is off, the reboot counts as done.
        """

    def remove(self, machine_id: str) -> None:
        """End the guest at once and leave nothing of the machine on the host, except its disks."""

    def status(self, machine_id: str) -> MachineStatus | None:
        """Tell what is known of the machine, or None when there is none of this id."""

    def present(self) -> frozenset[str]:
        """List the ids of all machines this agent has made and not removed; raises when libvirt cannot be asked."""

    def resize_disk(self, machine_id: str, volume_id: str, size: int) -> None:
        """Let a running guest see its disk, of this host or another, grown to `size` bytes; one that does is left."""

    def reach_homes(self, machine_id: str, homes: Collection[DiskHome]) -> None:
        """Have a running guest use these of its volumes past the proxies of this host, wherever that is possible.

        Returns at once; it is tried behind, and again where it failed. To be called again whenever the machine's turn
        is over: volumes that are named no longer stay as they are until the guest has let go of them.
        """

    def cut_off(self, machine_id: str, volume_id: str) -> None:
        """Let all fail that a guest asks of a volume past the proxy, so that it can let go of it; see `refuse`."""

    def resume(self, machine_id: str) -> None:
        """Let a guest go on that was paused since a disk was full; one that is not paused for that is left alone.

        What it wrote then is written first; while there is still no room it is paused again at once.
        """

    def console_output(self, machine_id: str, last_bytes: int) -> bytes:
        """Return the end of what the guest of the latest start wrote to its serial port."""

    def password_data(self, machine_id: str) -> bytes:
        """Return the encrypted password that the guest wrote to its serial port, base64; nothing when it wrote none."""

    def screenshot(self, machine_id: str) -> bytes:
        """Return a picture of the running guest's screen, as PNG."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Have `callback(machine_id)` called, from a thread of ours, whenever that machine's status may have changed.

        After a time in which libvirt was away it is called for every machine. It must not block.
        """

    def close(self) -> None:
        """Let go of libvirt and end our threads; guests run on."""
