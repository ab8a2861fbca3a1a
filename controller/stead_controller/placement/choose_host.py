"""Rooms of hosts and a need become the host to use: pure, no clock, no SQL."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """What one instance takes: vCPUs, bytes of memory and of instance store, and the processor it must have."""

    vcpus: int
    memory: int
    architecture: str = "x86_64"
    instance_store: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What a host can still give, after overcommit and what it keeps for itself; less than none after it shrank.

    `threads` is what it has of processors, `accelerated` whether guests run by KVM and are not emulated.
    """

    host_id: str
    zone: str
    cpus_free: int
    memory_free: int
    threads: int
    accelerated: bool = False


def fits(room: Room, need: Need) -> bool:
    """Tell whether a host can take it: a guest with more vCPUs than its host has threads would wait for itself."""
    return room.threads >= need.vcpus and room.cpus_free >= need.vcpus and room.memory_free >= need.memory


def choose_host(rooms: Iterable[Room], need: Need) -> Room | None:
    """Choose a host with KVM before one that emulates, then by most memory left, then most vCPUs; None when none fits.

    Spreading keeps noisy neighbours apart; ties go to the smallest id, so that the choice can be foretold.
    """
    fitting = [room for room in rooms if fits(room, need)]
    if not fitting:
        return None
    return min(fitting, key=lambda room: (not room.accelerated, -room.memory_free, -room.cpus_free, room.host_id))
