"""Builds from a snapshot row the `Snapshot` that a host takes, or the `Base` that its volumes are laid over."""

from collections.abc import Sequence

from stead_controller.db.tables import Snapshot
from stead_proto.v1 import desired_pb2 as pb


def of_snapshot(snapshot: Snapshot, set_volume_ids: Sequence[str] = (), after_reboot: int = 0) -> pb.Snapshot:
    """A snapshot as a host must take it; `set_volume_ids` are the volumes of its set.

    With `after_reboot` it is taken as soon as that reboot of the volume's machine is done, if the machine runs.
    """
    return pb.Snapshot(
        volume_id=snapshot.volume_id,
        parent_id=snapshot.parent_id or "",
        set_id=snapshot.set_id or "",
        set_volume_ids=sorted(set_volume_ids),
        encryption_key=snapshot.sealed_key or b"",
        after_reboot=after_reboot,
    )


def of_base(snapshot: Snapshot, *, is_read: bool) -> pb.Base:
    """A completed snapshot as a base for a host's volumes that are laid over it; with its key while one is read."""
    return pb.Base(
        size=snapshot.size,
        stored_size=snapshot.stored_size,
        encrypted=snapshot.encrypted,
        encryption_key=(snapshot.sealed_key or b"") if is_read else b"",
    )
