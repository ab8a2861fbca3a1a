"""What volumes use, from their creation until their deletion begins."""

from datetime import datetime

from stead_controller.db.tables import Volume
from stead_controller.metering import ledger, uses
from stead_controller.metering.ledger import Resource, Use
from stead_controller.request.transaction import Transaction


def begin(tx: Transaction, volume: Volume, now: datetime) -> None:
    """Begin to bill a new volume."""
    ledger.begin(tx, _resource(volume), _uses(volume), now)


def change(tx: Transaction, volume: Volume, now: datetime) -> None:
    """Bill a modified volume as it is now, whenever its host has made it so, as EC2 does."""
    ledger.change(tx, _resource(volume), _uses(volume), now)


def end(tx: Transaction, volume: Volume, now: datetime) -> None:
    """Bill a volume no more."""
    ledger.end(tx, _resource(volume), now)


def _resource(volume: Volume) -> Resource:
    return Resource(volume.id, volume.account_id, volume.zone)


def _uses(volume: Volume) -> list[Use]:
    return uses.of_volume(volume.volume_type, volume.size, volume.iops, volume.throughput)
