"""What this host is: read from the kernel and from libvirt."""

import os
import platform
import socket
from pathlib import Path

from stead_agent.disks.volumes.interface import Volumes
from stead_agent.kvm_proof import Verdict
from stead_agent.machines import firmware
from stead_agent.reconcile import translate
from stead_proto.v1 import host_pb2

_MEMINFO = Path("/proc/meminfo")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RealHost:
    """The host as the link reports it to the controller."""

    def __init__(
        self, volumes: Volumes, verdict: Verdict, versions: tuple[str, str], underlay_address: str, memory: int = 0
    ) -> None:
        """Take what was detected at the start; `versions` are libvirt's and QEMU's, `memory` is Settings.memory."""
        self._memory = memory
        self._volumes = volumes
        self._verdict = verdict
        self._versions = versions
        self._underlay_address = underlay_address

    def facts(self) -> host_pb2.HostFacts:
        """What the host is, as of now."""
        capacity = self._volumes.capacity()
        libvirt, qemu = self._versions
        return host_pb2.HostFacts(
            hostname=socket.gethostname(),
            architecture=platform.machine(),
            cpus=len(os.sched_getaffinity(0)),
            memory=self._memory or memory_bytes(),
            disk=capacity.total,
            virtualization=self._verdict.virtualization,
            virtualization_reason=self._verdict.reason,
            boot_id=boot_id(),
            underlay_address=self._underlay_address,
            libvirt_version=libvirt,
            qemu_version=qemu,
            pools=self.pools(),
            boot_modes=firmware.boot_modes(),
            tpm=firmware.has_tpm(),
        )

    def pools(self) -> list[host_pb2.StoragePool]:
        """The storage pools, as of now."""
        return translate.storage_pools(self._volumes.pools())

    def disk_free(self) -> int:
        """Bytes free for guests' disks."""
        return self._volumes.capacity().free


def boot_id() -> str:
    """The kernel's id of the current boot."""
    return _BOOT_ID.read_text().strip()


def memory_bytes() -> int:
    """All memory of the host."""
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_MEMINFO} has no MemTotal")
