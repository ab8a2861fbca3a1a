"""A volume row becomes a `Volume`."""

from typing import Final

from stead_controller.db.tables import Volume
from stead_proto.v1 import desired_pb2 as pb

_GIB: Final = 1 << 30


def of_volume(volume: Volume) -> pb.Volume:
    """A volume as its home host makes it."""
    return pb.Volume(
        size=volume.size * _GIB,
        image_id=volume.image_id or "",
        volume_type=volume.volume_type,
        iops=volume.iops or 0,
        throughput=volume.throughput or 0,
    )
