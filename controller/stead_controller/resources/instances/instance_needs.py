"""The host capacity that an instance needs while it runs."""

from sqlalchemy import func, select

from stead_controller.catalog import boot_modes
from stead_controller.catalog.instance_type import EVERYWHERE, InstanceType
from stead_controller.db.tables import Image, Instance, InstanceStoreDisk
from stead_controller.placement import cores
from stead_controller.placement.guest_memory import memory_of
from stead_controller.placement.need import Need
from stead_controller.request import instance_types
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.cpu_options import CpuOptions


def of(tx: Transaction, instance: Instance) -> Need:
    """Return the capacity that is reserved for an instance, or must be before it starts."""
    kind = instance_types.find(tx, instance.instance_type)
    cpus = CpuOptions(instance.vcpus // instance.threads_per_core, instance.threads_per_core)
    uefi, tpm = boots_by_uefi(instance), instance.sealed_tpm_key is not None
    store = _instance_store(tx, instance, kind)
    return need_of(kind, cpus, instance.memory, instance.architecture, store, uefi=uefi, tpm=tpm)


def boots_by_uefi(instance: Instance) -> bool:
    """Tell whether an instance boots by UEFI."""
    return boot_modes.CURRENT[instance.boot_mode] == boot_modes.UEFI


def planned(image: Image, kind: InstanceType, cpus: CpuOptions, instance_store: int = 0) -> Need:
    """Return the capacity that an instance of an image will need, with so many bytes of instance store."""
    uefi = boot_modes.CURRENT[image.boot_mode] == boot_modes.UEFI
    tpm = bool(image.tpm_support)
    return need_of(kind, cpus, kind.memory, image.architecture, instance_store, uefi=uefi, tpm=tpm)


def need_of(
    kind: InstanceType | None,
    cpus: CpuOptions,
    memory: int,
    architecture: str,
    instance_store: int,
    *,
    uefi: bool,
    tpm: bool,
) -> Need:
    """Return the capacity that a guest of a type takes with so many bytes of memory, and bytes of instance store."""
    own_cores = cores.needed(kind, cpus.cores, cpus.threads_per_core) if kind is not None else None
    huge = own_cores is not None and own_cores.huge_pages > 0
    return Need(
        cpus.vcpus if own_cores is None else 0,
        memory_of(memory, cpus.vcpus, uefi=uefi, tpm=tpm, huge=huge, architecture=architecture),
        architecture,
        instance_store,
        uefi=uefi and architecture == EVERYWHERE,
        tpm=tpm,
        devices=kind.devices if kind is not None else (),
        cores=own_cores,
    )


def _instance_store(tx: Transaction, instance: Instance, kind: InstanceType | None) -> int:
    if kind is not None and kind.instance_store is None:
        return 0
    total = select(func.sum(InstanceStoreDisk.size)).where(InstanceStoreDisk.instance_id == instance.id)
    return int(tx.session.scalar(total) or 0)
