"""Whether a host's guest may connect its QEMU directly to a volume's home host."""

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Volume
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.instances import volume_attachments


def may_reach_home(tx: Transaction, host_id: str, volume_id: str, generation: int) -> bool:
    """Tell whether a host has exactly this attachment of a volume, whose home is another host and will not change.

    A volume in a pool that hosts share may get another home while a guest uses it. Requests that the guest sent to the
    first home then wait in the proxy, which sends them to the next one; a directly connected QEMU could only fail them.
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
