"""Whether a host can run such a guest at all: architecture, firmware, TPM, hardware threads."""

from typing import Final

from stead_controller.placement.filters.filter import Filter
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search


def _architecture(room: Room, search: Search) -> str | None:
    its = search.need.architecture
    return None if room.runs(its) else f"its architecture is {room.architecture}, and it does not emulate {its}"


def _uefi(room: Room, search: Search) -> str | None:
    return "it has no UEFI firmware for guests" if search.need.uefi and not room.uefi else None


def _tpm(room: Room, search: Search) -> str | None:
    return "it has no TPM for guests" if search.need.tpm and not room.tpm else None


def _threads(room: Room, search: Search) -> str | None:
    """A guest with more vCPUs than its host has threads would compete with itself."""
    need = search.need
    return None if need.vcpus <= room.threads else f"it has {room.threads} threads for {need.vcpus} vCPUs"


FILTERS: Final = (
    Filter("architecture", _architecture),
    Filter("uefi", _uefi),
    Filter("tpm", _tpm),
    Filter("threads", _threads),
)
