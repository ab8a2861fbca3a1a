"""Choose a host for an instance by the hosts' free capacity: pure, no clock, no SQL."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """What one instance needs: vCPUs, bytes of memory and of instance store, the architecture, UEFI firmware, a TPM."""

    vcpus: int
    memory: int
    architecture: str = "x86_64"
    instance_store: int = 0
    uefi: bool = False
    tpm: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """A host's free capacity, after overcommit and what it reserves for itself; negative after the host shrank.

    `threads` is its number of hardware threads, `accelerated` whether guests run with KVM instead of emulation.
    """

    host_id: str
    zone: str
    cpus_free: int
    memory_free: int
    threads: int
    accelerated: bool = False


def fits(room: Room, need: Need) -> bool:
    """Tell whether the need fits; a guest with more vCPUs than its host has threads would compete with itself."""
    return room.threads >= need.vcpus and room.cpus_free >= need.vcpus and room.memory_free >= need.memory


def choose_host(rooms: Iterable[Room], need: Need) -> Room | None:
    """Prefer a host with KVM to one that emulates, then the most free memory, then vCPUs; None when none fits.

    Spreading keeps noisy neighbours apart; ties go to the smallest id, so that the choice is deterministic.
    """
    fitting = [room for room in rooms if fits(room, need)]
    if not fitting:
        return None
    return min(fitting, key=lambda room: (not room.accelerated, -room.memory_free, -room.cpus_free, room.host_id))
