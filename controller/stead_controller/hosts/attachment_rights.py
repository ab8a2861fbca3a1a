"""Which host may have its guest's QEMU reach a volume's home by itself."""

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Volume
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.instances import volume_attachments


def may_reach_home(tx: Transaction, host_id: str, volume_id: str, generation: int) -> bool:
    """Tell whether a host has just this attachment of a volume, whose home is another host and stays so.

    A volume in a pool that hosts share may get another home while a guest uses it. What the guest had asked the first
    one then waits in the proxy, which asks the next one; a QEMU that had asked by itself could only fail it.
    """
    volume = tx.session.get(Volume, volume_id)
    return (
        volume is not None
        and volume.attached_host_id == host_id
        and volume.generation == generation
        and volume.export_port is not None
        and volume_attachments.is_remote(volume)
        and not volume_homes.shared_id(tx, volume)
    )
