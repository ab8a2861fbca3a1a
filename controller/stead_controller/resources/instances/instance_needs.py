"""The host capacity that an instance needs while it runs."""

from sqlalchemy import func, select

from stead_controller.catalog import boot_modes
from stead_controller.catalog.instance_type import DeviceCount, InstanceType
from stead_controller.db.tables import Image, Instance, InstanceStoreDisk
from stead_controller.placement.guest_memory import memory_of
from stead_controller.placement.need import Need
from stead_controller.request import instance_types
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.cpu_options import CpuOptions


def of(tx: Transaction, instance: Instance) -> Need:
    """Return the capacity that is reserved for an instance, or must be before it starts."""
    uefi = boots_by_uefi(instance)
    tpm = instance.sealed_tpm_key is not None
    return Need(
        instance.vcpus,
        memory_of(instance.memory, instance.vcpus, uefi=uefi, tpm=tpm),
        instance.architecture,
        _instance_store(tx, instance),
        tpm=tpm,
        uefi=uefi,
        devices=devices_of(tx, instance),
    )


def boots_by_uefi(instance: Instance) -> bool:
    """Tell whether an instance boots by UEFI."""
    return boot_modes.CURRENT[instance.boot_mode] == boot_modes.UEFI


def devices_of(tx: Transaction, instance: Instance) -> tuple[DeviceCount, ...]:
    """Return the PCI devices that an instance needs while it runs."""
    kind = instance_types.find(tx, instance.instance_type)
    return kind.devices if kind is not None else ()


def planned(image: Image, kind: InstanceType, cpus: CpuOptions, instance_store: int = 0) -> Need:
    """Return the capacity that an instance of an image will need, with so many bytes of instance store."""
    uefi = boot_modes.CURRENT[image.boot_mode] == boot_modes.UEFI
    tpm = bool(image.tpm_support)
    memory = memory_of(kind.memory, cpus.vcpus, uefi=uefi, tpm=tpm)
    return Need(cpus.vcpus, memory, image.architecture, instance_store, uefi=uefi, tpm=tpm, devices=kind.devices)


def _instance_store(tx: Transaction, instance: Instance) -> int:
    kind = instance_types.find(tx, instance.instance_type)
    if kind is not None and kind.instance_store is None:
        return 0
    total = select(func.sum(InstanceStoreDisk.size)).where(InstanceStoreDisk.instance_id == instance.id)
    return int(tx.session.scalar(total) or 0)
