"""What one instance takes of its host while it runs."""

from dataclasses import dataclass

from stead_controller.catalog.instance_type import DeviceCount
from stead_controller.placement.cores import CoreNeed


@dataclass(frozen=True, slots=True)
class Need:
    """What one instance needs: vCPUs, bytes of memory and of instance store, the architecture, UEFI firmware, a TPM.

    `uefi` is about x86_64: whatever runs arm64 has its firmware, by which alone it boots.
    The memory is what it takes of its host (`guest_memory.py`). With cores of its own it takes none of the vCPUs that
    all others share, and huge pages are no part of that memory.
    """

    vcpus: int
    memory: int
    architecture: str = "x86_64"
    instance_store: int = 0
    uefi: bool = False
    tpm: bool = False
    devices: tuple[DeviceCount, ...] = ()  # PCI devices of the host
    cores: CoreNeed | None = None
