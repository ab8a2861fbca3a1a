"""Builds a `Volume` from its row, for its home host or for another host that uses it."""

from typing import Final

from stead_controller.catalog.volume_types import Shape, limits
from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, Volume
from stead_proto.v1 import desired_pb2 as pb

_GIB: Final = 1 << 30


def of_volume(tx: Transaction, volume: Volume, *, is_read: bool) -> pb.Volume:
    """A volume for its home host, with its key while it is read; exported where another host may use it."""
    iops, throughput = _limits(volume)
    message = pb.Volume(
        size=volume.size * _GIB,
        base_id=volume.snapshot_id or "",
        volume_type=volume.volume_type,
        iops=iops,
        throughput=throughput,
        pool=volume.pool,
        encrypted=volume.encrypted,
        encryption_key=(volume.sealed_key or b"") if is_read else b"",
        former_home_ids=volume.former_homes.split(),
        home_count=volume.home_count,
        record=pb.VolumeRecord(
            account_id=volume.account_id,
            created=int(volume.created.timestamp()),
            delete_on_termination=volume.delete_on_termination,
            kms_key_id=volume.kms_key_id or "",
        ),
    )
    if volume.attached_host_id not in (None, volume.host_id):
        client = tx.session.get(Host, volume.attached_host_id)
        message.export.CopyFrom(
            pb.VolumeExport(
                client_host_id=volume.attached_host_id,
                port=volume.export_port or 0,
                generation=volume.generation,
                client_enrolment=client.enrolment if client is not None else "",
                client_former_enrolment=client.former_enrolment if client is not None else None,
            )
        )
    return message


def of_used_volume(tx: Transaction, volume: Volume) -> pb.Volume:
    """A volume for the host of its instance: its own, or one that its home host exports."""
    if volume.attached_host_id == volume.host_id:
        return of_volume(tx, volume, is_read=True)
    iops, throughput = _limits(volume)
    home = tx.session.get(Host, volume.host_id)
    return pb.Volume(
        size=volume.size * _GIB,
        volume_type=volume.volume_type,
        iops=iops,
        throughput=throughput,
        encrypted=volume.encrypted,
        remote=pb.RemoteVolume(
            home_host_id=volume.host_id or "",
            address=home.underlay_address if home is not None else "",
            port=volume.export_port or 0,
            generation=volume.generation,
        ),
    )


def _limits(volume: Volume) -> tuple[int, int]:
    return limits(Shape(volume.size, volume.volume_type, volume.iops, volume.throughput))
