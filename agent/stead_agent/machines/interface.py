"""The interface that the rest of the agent uses for this host's virtual machines.

Every method blocks, is safe to call from several threads for different machines, and is idempotent. A machine is
identified by its instance id only. Errors are `MachineError`s.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, Protocol

from stead_agent.disks.disk_sources import Format, Layer, Source


class MachineError(Exception):
    """A machine could not be made as requested; the message is for the operator."""


class MachineAbsentError(MachineError):
    """There is no machine of this id on the host."""


class MachinesUnavailableError(MachineError):
    """Libvirt cannot be reached now: the machines' state is unknown, and this call changed nothing."""


class Power(Enum):
    """Whether a guest runs."""

    OFF = "off"
    RUNNING = "running"
    STOPPING = "stopping"  # runs, and was asked to stop
    PAUSED = "paused"  # its process exists and its processors are stopped
    UNKNOWN = "unknown"  # libvirt is away and the process still exists, or a start was interrupted: not the same as off


class OffReason(Enum):
    """Why a guest is off, for the start that the status names."""

    NONE = "none"  # it is not off, or it was never started
    ASKED = "asked"  # we stopped it
    GUEST = "guest"  # the guest powered itself off
    CRASHED = "crashed"  # its process failed or was killed, or the reason was not observed
    HOST = "host"  # the host went down: not requested by the guest, so it may be started again


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk as a guest sees it: a virtio disk that the guest identifies by its serial number.

    For a volume that is its id (`vol` + 17 hex digits), for an instance store disk `AWS` + 17 hex digits, as on EC2.
    """

    id: str  # the volume's, or an instance store disk's: see `instance_store_id`
    source: Source
    format: Format
    base: Layer | None = None  # below it, read-only
    secret: str = ""  # UUID of libvirt's secret with its LUKS key; empty: not encrypted
    encryption_key: bytes = field(default=b"", repr=False, compare=False)  # the value of that secret
    iops: int = 0  # 0 = not limited
    throughput: int = 0  # bytes per second, 0 = not limited


def instance_store_id(machine_id: str, index: int) -> str:
    """Return the id of an instance store disk: one of each index per machine."""
    return f"{machine_id}-store{index}"


@dataclass(frozen=True, slots=True)
class DiskHome:
    """Where a guest's QEMU can directly reach the home of a volume of another host."""

    volume_id: str
    generation: int  # of the attachment
    host_id: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Nic:
    """A network interface as a guest sees it; libvirt creates the tap and adds it to the bridge as an isolated port."""

    interface_id: str
    mac_address: str
    bridge: str
    tap: str
    mtu: int = 0  # 0 = the bridge's


@dataclass(frozen=True, slots=True)
class Tpm:
    """A TPM 2.0 of a guest, whose state on the host is encrypted."""

    secret: str  # UUID of libvirt's secret with the key
    key: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Pinning:
    """The hardware threads that a guest has alone, one for each vCPU in order, and the memory node of all of them."""

    threads: tuple[int, ...]
    node: int
    huge_pages: bool = False  # its memory is made of pages of 2 MiB of that node


@dataclass(frozen=True, slots=True)
class Saved:
    """What a guest has saved of the rate of all its volumes together, in thousandths of all that it can save."""

    bytes: int = 1000
    operations: int = 1000


@dataclass(frozen=True, slots=True)
class JointLimit:
    """What all volumes of a guest together may do per second; the instance store does not count, nor do discards.

    What it does not use of a baseline is saved, and spent on up to the most.
    """

    baseline_bytes: int
    most_bytes: int
    baseline_operations: int
    most_operations: int
    saved: Saved = field(default=Saved(), compare=False)  # by a machine that this host does not know yet


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """The complete description of a guest; the first disk boots, nics are in the order of their device index."""

    id: str
    vcpus: int
    memory: int  # bytes
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    architecture: str = "x86_64"
    boot_mode: Literal["legacy-bios", "uefi"] = "legacy-bios"
    tpm: Tpm | None = None  # only with UEFI
    uefi_variables: bytes = field(default=b"", repr=False)  # with which it begins: zlib of a variable store
    threads_per_core: int = 1  # of the vCPUs, which are a multiple of it
    instance_type: str = ""  # what the guest reads as its product name, as on EC2
    devices: tuple[str, ...] = ()  # PCI addresses of the host's devices that it has alone, whole IOMMU groups
    pinning: Pinning | None = None  # None: it runs on the threads that all such guests share
    joint: JointLimit | None = None  # None: only the limits of each volume count


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """What is known of a machine; it survives restarts of the agent and of libvirt."""

    id: str
    power: Power
    start_count: int  # the start that this describes; a start that failed or was interrupted is not counted
    reboot_count: int  # reboots done
    off_reason: OffReason = OffReason.NONE
    volume_ids: frozenset[str] = frozenset()  # volumes attached to the running guest now
    full: frozenset[str] = frozenset()  # those without room for the guest's writes, so that it is paused
    dead_nics: frozenset[str] = frozenset()  # MAC addresses of a running guest's nics whose taps were deleted by others
    stalled: frozenset[str] = frozenset()  # volumes of a running guest whose requests fail, or wait for long
    agent_silent_since: int = 0  # Unix seconds; 0 = the guest's agent answers, or there is none
    hung_since: int = 0  # Unix seconds; 0 = the QEMU of the running guest answers
    off_since: int = 0  # Unix seconds of its end, or when it was last seen running; 0 = it runs, or that is not known
    lost_since: int = 0  # of one that runs again after its host was down: Unix seconds since when it had not
    lost_until: int = 0  # and when it was started again; 0 = it was not lost in this start
    hibernated: bool = False  # it is off, and its memory is saved: the next start resumes it
    saved: Saved | None = None  # of a machine that is off and has a joint limit


@dataclass(frozen=True, slots=True)
class FirmwareState:
    """What a UEFI guest stores beside its disks."""

    variables: bytes = field(repr=False)  # zlib of the variable store
    tpm: bytes = field(default=b"", repr=False)  # the state of its TPM, encrypted with its key; empty: it has none


class FirmwareStates(Protocol):
    """What this host's UEFI guests store beside their disks; to be used while a guest is off, and by one at a time."""

    def read(self, machine_id: str, *, tpm: bool) -> FirmwareState | None:
        """Return what a guest has stored, with the state of its TPM if it has one; None if not all of it is here."""

    def lay(self, machine_id: str, state: FirmwareState) -> None:
        """Put what a guest has stored on another host in the place of what is here; it is on the disk then.

        Raises MachineError for variables that are no store of the firmware's size.
        """

    def remove(self, machine_id: str) -> None:
        """Remove what a guest has stored, if there is anything."""


class Machines(Protocol):
    """The virtual machines that this agent made on this host."""

    def start(self, spec: MachineSpec, start_count: int, reboot_count: int = 0) -> MachineStatus:
        """Perform start number `start_count` once: define the machine as `spec` says and start its guest.

        A hibernated guest is resumed instead, with the devices that it had. If its memory cannot be loaded that is an
        error, and the guest boots when the start is repeated. A start counts for all reboots up to `reboot_count`. Does
        nothing when that start has already happened, whatever its result, or when a later one has. While an earlier
        start still runs it raises MachineError. Only a few starts run at a time; the others wait in order.
        """

    def update(self, spec: MachineSpec) -> frozenset[str]:
        """Attach and detach disks and nics of a running guest to match `spec`, and apply disk limits.

        Returns what is to be detached and the guest still has (volume ids, MAC addresses): it was asked to release it,
        which may take a while or never happen. Subscribers are notified when it has; asking again does no harm, and
        helps with a guest that was still booting. A nic whose tap was deleted gets a new one, which the network then
        adds to its bridge. Does nothing for a machine that is off, since its next start has a new spec.
        """

    def stop(self, machine_id: str, *, force: bool = False, hasten: bool = False) -> MachineStatus:
        """Ask the guest to shut down (ACPI), or power it off with `force`; then its off reason is ASKED.

        Returns at once when asking: the guest gets some time, less with `hasten`, also if it was asked before. Then it
        is powered off, also across restarts of the agent. Subscribers are notified of the end.
        """

    def hibernate(self, machine_id: str, encryption_key: bytes) -> MachineStatus:
        """Save the memory of a running guest, encrypted, and end its process; then its off reason is ASKED.

        The key is that of its root disk, which must be encrypted and of this host. May take as long as it takes to
        write the memory. Raises MachineError when it cannot be saved: then the guest runs on.
        """

    def reboot(self, machine_id: str, reboot_count: int) -> MachineStatus:
        """Perform reboot number `reboot_count` once, by asking the guest (ACPI).

        Returns at once: a guest that did not reboot after some minutes is reset. `reboot_count` of the status follows
        when it is done. If the machine is off, the reboot counts as done.
        """

    def remove(self, machine_id: str) -> None:
        """End the guest at once and remove everything of the machine from the host, except its disks."""

    def status(self, machine_id: str) -> MachineStatus | None:
        """Return the status of the machine, or None when there is none of this id."""

    def present(self) -> frozenset[str]:
        """List the ids of all machines this agent has made and not removed; raises when libvirt cannot be asked."""

    def resize_disk(self, machine_id: str, volume_id: str, size: int) -> None:
        """Show a running guest its disk, of this host or another, grown to `size` bytes, unless it has that size."""

    def reach_homes(self, machine_id: str, homes: Collection[DiskHome]) -> None:
        """Have a running guest bypass this host's proxies for these of its volumes, wherever that is possible.

        Returns at once; it is tried, and retried, in the background. To be called again after each reconciliation of
        the machine: volumes that are no longer named stay as they are until the guest has released them.
        """

    def renew_credentials(self, authorities: bytes) -> bool:
        """Have guests reach homes by credentials that came with these authorities (a digest); tell whether all do."""

    def cut_off(self, machine_id: str, volume_id: str) -> None:
        """Make all direct requests of a guest to a volume's home fail, so that it can be detached; see `refuse`."""

    def resume(self, machine_id: str) -> None:
        """Resume a guest that was paused because a disk was full; does nothing if it is not paused for that.

        The failed writes are repeated first; while there is still no room it is paused again at once.
        """

    def console_output(self, machine_id: str, last_bytes: int) -> bytes:
        """Return the end of what the guest of the latest start wrote to its serial port."""

    def password_data(self, machine_id: str) -> bytes:
        """Return the encrypted password that the guest wrote to its serial port, base64; nothing when it wrote none."""

    def open_console(self, machine_id: str) -> int:
        """Open the running guest's serial port; return a file descriptor of the caller's, which never blocks.

        What the guest writes while nobody reads is in its console output alone.
        """

    def screenshot(self, machine_id: str, *, wake_up: bool = False) -> bytes:
        """Return a picture of the running guest's screen, as PNG, after the press of a key if it is to wake up."""

    def interrupt(self, machine_id: str) -> None:
        """Send the running guest a non-maskable interrupt, at which most systems crash and write a dump."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call `callback(machine_id)`, in a thread of ours, whenever that machine's status may have changed.

        After libvirt was away it is called for every machine. It must not block.
        """

    def close(self) -> None:
        """Close the connection to libvirt and end our threads; guests run on."""
