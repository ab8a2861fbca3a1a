"""Rooms of hosts and a need become the host to use: pure, no clock, no SQL."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """What one instance takes: vCPUs and bytes of memory, and the processor it must have."""

    vcpus: int
    memory: int
    architecture: str = "x86_64"


@dataclass(frozen=True, slots=True)
class Room:
    """What a host can still give, after overcommit and what it keeps for itself."""

    host_id: str
    zone: str
    cpus_free: int
    memory_free: int


def choose_host(rooms: Iterable[Room], need: Need) -> Room | None:
    """Choose the host with the most memory left, then the most vCPUs; None when none fits.

    Spreading keeps noisy neighbours apart; ties go to the smallest id, so that the choice can be foretold.
    """
    fitting = [room for room in rooms if room.cpus_free >= need.vcpus and room.memory_free >= need.memory]
    if not fitting:
        return None
    return min(fitting, key=lambda room: (-room.memory_free, -room.cpus_free, room.host_id))
