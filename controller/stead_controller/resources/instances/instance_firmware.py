"""What a UEFI guest stores beside its volumes, its variables and the state of its TPM: it goes where the guest starts.

When a start has ended, the host reports what the guest had stored then. From there to the next start that is the newest
there is, wherever the instance goes meanwhile. A guest that runs makes a newer one: then this one is no more.
"""

from stead_controller.catalog import boot_modes
from stead_controller.db.tables import Instance, InstanceFirmware
from stead_controller.desired import desired_state
from stead_controller.request.transaction import Transaction
from stead_proto.v1 import host_pb2 as pb


def is_kept(tx: Transaction, instance: Instance) -> bool:
    """Tell whether what a stopped instance had stored is here, so that any host can have it."""
    return tx.session.get(InstanceFirmware, instance.id) is not None


def note(tx: Transaction, instance: Instance, machine: pb.MachineStatus) -> None:
    """Keep what the host of an instance reports, and drop what is older than the guest's latest start there."""
    if boot_modes.CURRENT[instance.boot_mode] != boot_modes.UEFI:
        return
    kept = tx.session.get(InstanceFirmware, instance.id)
    is_off = machine.power == pb.MACHINE_POWER_OFF
    if machine.HasField("firmware") and is_off and (kept is None or kept.start_count < machine.start_count):
        new = kept or InstanceFirmware(instance_id=instance.id)
        new.start_count, new.is_moved = machine.start_count, False
        new.variables, new.tpm = machine.firmware.variables, machine.firmware.tpm
        tx.session.add(new)
    elif kept is not None and machine.start_count >= kept.start_count + is_off:
        tx.session.delete(kept)
    else:
        return
    desired_state.refresh_instance(tx, instance.id)


def move(tx: Transaction, instance: Instance) -> None:
    """Have the next host of an instance lay what its guest had stored: its last one removes it."""
    kept = tx.session.get(InstanceFirmware, instance.id)
    if kept is not None:
        kept.is_moved = True


def forget(tx: Transaction, instance: Instance) -> None:
    """Remove what an instance that has ended had stored."""
    kept = tx.session.get(InstanceFirmware, instance.id)
    if kept is not None:
        tx.session.delete(kept)
