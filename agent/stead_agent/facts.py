"""What this host is: read from the kernel and from libvirt."""

import socket
from collections.abc import Collection
from pathlib import Path

from stead_agent import hardware
from stead_agent.disks.volumes.interface import Volumes
from stead_agent.kvm_proof import Verdict
from stead_agent.machines import architectures, firmware
from stead_agent.pci import grants, inventory
from stead_agent.reconcile import translate
from stead_agent.settings import Settings
from stead_agent.whole_cores import Division
from stead_proto.v1 import host_pb2

_MEMINFO = Path("/proc/meminfo")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RealHost:
    """The host as the link reports it to the controller."""

    def __init__(
        self,
        volumes: Volumes,
        verdict: Verdict,
        versions: tuple[str, str],
        underlay_address: str,
        settings: Settings,
        *,
        division: Division,
        emulates: tuple[str, ...] = (),
    ) -> None:
        """Take the settings, and what was detected at the start; `versions` are libvirt's and QEMU's.

        `emulates` are the architectures beside its own that it runs.
        """
        self._emulates = emulates
        self._division = division
        self._memory = settings.memory
        self._devices = settings.devices
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
            architecture=architectures.own(),
            emulates=self._emulates,
            cpus=len(self._division.shared),
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
            lays_firmware=True,
            hardware=_hardware(self._division),
            devices=pci_devices(self._devices),
        )

    def pools(self) -> list[host_pb2.StoragePool]:
        """The storage pools, as of now."""
        return translate.storage_pools(self._volumes.pools())

    def disk_free(self) -> int:
        """Bytes free for guests' disks."""
        return self._volumes.capacity().free


def _hardware(division: Division) -> host_pb2.Hardware:
    found = hardware.read([*division.shared, *(thread for core in division.cores for thread in core.threads)])
    nodes = [
        host_pb2.NumaNode(number=node.number, threads=node.threads, memory=node.memory, huge_pages=node.huge_pages)
        for node in found.nodes
    ]
    return host_pb2.Hardware(
        cores=found.cores,
        cpu_model=found.model,
        cpu_features=found.features,
        numa_nodes=nodes,
        whole_cores=[
            host_pb2.WholeCore(number=core.number, numa_node=core.node, threads=core.threads) for core in division.cores
        ],
    )


def pci_devices(named: Collection[str], sysfs: Path = inventory.SYSFS) -> list[host_pb2.PciDevice]:
    """List the PCI devices that the operator has named for guests, as of now."""
    if not named:
        return []
    return [
        host_pb2.PciDevice(
            address=device.address,
            model=device.model,
            class_code=device.class_code,
            iommu_group=device.iommu_group or 0,
            driver=device.driver,
            numa_node=device.numa_node,
            reset=device.reset,
            refusal=refusal,
        )
        for device, refusal in ((one.device, one.refusal) for one in grants.grants(inventory.read(sysfs), named))
    ]


def boot_id() -> str:
    """The kernel's id of the current boot."""
    return _BOOT_ID.read_text().strip()


def memory_bytes() -> int:
    """All memory of the host but that of huge pages, which nothing else can use."""
    lines = (line.partition(":") for line in _MEMINFO.read_text().splitlines())
    kib = {name: int(value.split()[0]) for name, _, value in lines if name in {"MemTotal", "Hugetlb"}}
    return (kib["MemTotal"] - kib.get("Hugetlb", 0)) * 1024
