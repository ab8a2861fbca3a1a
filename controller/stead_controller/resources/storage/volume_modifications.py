"""Volumes grow and change their type and speed while they are in use.

See https://docs.aws.amazon.com/ebs/latest/userguide/ebs-modify-volume.html.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from stead_controller.catalog.volume_types import ALL, Shape, check_root, complete
from stead_controller.db.tables import Instance, Volume, VolumeModification
from stead_controller.desired import desired_state
from stead_controller.errors import (
    InvalidParameter,
    LimitExceeded,
    MissingParameter,
    NotFound,
    Unsupported,
    WrongState,
)
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, constant, instant, number, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.storage import volume_life, volume_usage

MOST: Final = 4
"""How many modifications of a volume may begin within `WINDOW`."""

WINDOW: Final = timedelta(hours=24)

_CHOSEN_AT_FIRST: Final = 3000  # IOPS of a volume whose type becomes one for which they are chosen

FILTERS: Final[dict[str, Condition]] = {
    "modification-state": text(VolumeModification.state),
    "original-iops": number(VolumeModification.original_iops),
    "original-size": number(VolumeModification.original_size),
    "original-volume-type": text(VolumeModification.original_type),
    "originalMultiAttachEnabled": constant("false"),
    "start-time": instant(VolumeModification.started),
    "target-iops": number(VolumeModification.target_iops),
    "target-size": number(VolumeModification.target_size),
    "target-volume-type": text(VolumeModification.target_type),
    "targetMultiAttachEnabled": constant("false"),
    "volume-id": text(VolumeModification.volume_id),
}


@dataclass(frozen=True, slots=True)
class ModifyRequest:
    """ModifyVolume, parsed; what is None stays as it is. `size` in GiB."""

    volume_id: str
    size: int | None = None
    volume_type: str | None = None
    iops: int | None = None
    throughput: int | None = None
    multi_attach: bool | None = None


@dataclass(frozen=True, slots=True)
class DescribedModification:
    """A modification of a volume; `state` and `ended` are how it was when asked for: it may be complete since."""

    modification: VolumeModification
    state: str
    ended: datetime | None


def modify(
    tx: Transaction, caller: Caller, cloud: Cloud, request: ModifyRequest, now: datetime
) -> DescribedModification:
    """Begin to modify a volume and return the modification; it is complete when its home says that it is so.

    Raises MalformedId, NotFound, MissingParameter, InvalidParameter, InvalidCombination, WrongState, LimitExceeded,
    NoCapacity, Unsupported.
    """
    asked = (request.size, request.volume_type, request.iops, request.throughput, request.multi_attach)
    if all(one is None for one in asked):
        raise MissingParameter("Size, VolumeType, Iops, Throughput or MultiAttachEnabled")
    volume = lookup.find(tx, caller, "volume", Volume, request.volume_id)
    if volume.state not in ("available", "in-use"):
        raise WrongState("volume", f"Volume '{volume.id}' is in the '{volume.state}' state.", code="IncorrectState")
    if request.multi_attach:
        volume_life.refuse_multi_attach(request.volume_type or volume.volume_type)
    target = complete(_target(volume, request))
    if target.size < volume.size:
        raise InvalidParameter(f"New size cannot be smaller than existing size {volume.size}")
    _check_root(tx, volume, target)
    modification = _next(tx, volume, now)
    if not volume_homes.keeps_type(tx, volume, target.volume_type):
        raise Unsupported(f"The storage pool of '{volume.id}' does not keep volumes of the type {target.volume_type}.")
    if target.size > volume.size:
        volume_homes.grow(tx, cloud, volume, target.size)
    _begin(modification, volume, target, now)
    volume.size, volume.volume_type = target.size, target.volume_type
    volume.iops, volume.throughput = target.iops, target.throughput
    volume_usage.change(tx, volume, now)
    begun = _described(modification)
    desired_state.refresh_volume(tx, volume)
    if volume.host_id is None:
        settle(tx, volume, now)
    return begun


def _target(volume: Volume, request: ModifyRequest) -> Shape:
    """What a volume becomes: a type that stays keeps its speed, another one begins with its own."""
    iops, throughput = request.iops, request.throughput
    kind = ALL.get(request.volume_type or volume.volume_type)
    if request.volume_type in (None, volume.volume_type):
        chosen = kind is not None and kind.iops is not None
        iops = volume.iops if iops is None and chosen else iops
        throughput = volume.throughput if throughput is None else throughput
    elif kind is not None and kind.needs_iops and iops is None:
        iops = _CHOSEN_AT_FIRST
    size = request.size if request.size is not None else volume.size
    return Shape(size, request.volume_type or volume.volume_type, iops, throughput)


def _check_root(tx: Transaction, volume: Volume, target: Shape) -> None:
    """Raise InvalidParameter where an instance's root volume would become of a type that cannot be one."""
    instance = tx.session.get(Instance, volume.instance_id) if volume.instance_id is not None else None
    if instance is not None and volume.device_name == instance.root_device_name:
        check_root(target.volume_type)


def _next(tx: Transaction, volume: Volume, now: datetime) -> VolumeModification:
    """Return the row of a volume's next modification; raises WrongState, LimitExceeded when it comes too soon."""
    latest = tx.session.get(VolumeModification, volume.id)
    if latest is None:
        latest = VolumeModification(volume_id=volume.id, account_id=volume.account_id)
        tx.session.add(latest)
        return latest
    if latest.state != "completed":
        raise WrongState(
            "volume",
            f"Cannot modify volume {volume.id}, it is currently in modification state {latest.state.upper()}",
            code="IncorrectModificationState",
        )
    begun = _begun_lately(latest, now)
    if len(begun) >= MOST:
        raise LimitExceeded(
            f"You've reached the maximum modification rate per volume limit, {MOST} in 24 hours. The next modification "
            f"of {volume.id} can begin at {begun[0] + WINDOW:%Y-%m-%dT%H:%M:%SZ}.",
            code="VolumeModificationRateExceeded",
        )
    latest.earlier = " ".join(each.isoformat() for each in begun)
    return latest


def _begun_lately(latest: VolumeModification, now: datetime) -> list[datetime]:
    """Return when the modifications of the last 24 hours began, the latest one last."""
    begun = [*(datetime.fromisoformat(each) for each in latest.earlier.split()), latest.started]
    return [each for each in begun if now < each + WINDOW]


def _begin(modification: VolumeModification, volume: Volume, target: Shape, now: datetime) -> None:
    modification.state = "modifying"
    modification.original_size = volume.size
    modification.original_type = volume.volume_type
    modification.original_iops = volume.iops
    modification.original_throughput = volume.throughput
    modification.target_size = target.size
    modification.target_type = target.volume_type
    modification.target_iops = target.iops
    modification.target_throughput = target.throughput
    modification.started = now
    modification.ended = None


def settle(tx: Transaction, volume: Volume, now: datetime, *, size: int = 0) -> None:
    """Record that the host that uses a volume, or else its home, has applied its desired state.

    It has `size` bytes there (0 = unknown); while these are too few, the modification goes on.
    """
    modification = lookup.get_rare(tx, VolumeModification, volume.id)
    if modification is None or modification.state == "completed":
        return
    if 0 < size < volume.size << 30:
        modification.state = "optimizing"
        return
    modification.state = "completed"
    modification.ended = now


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedModification]:
    """Find the latest modifications of the caller's volumes, sorted by volume; raises MalformedId, NotFound.

    EC2 refuses a named volume that was never modified with a code of its own.
    """
    lookup.require(tx, "volume", Volume.id, asked.ids, Volume.account_id == caller.account_id)
    mine = VolumeModification.account_id == caller.account_id
    column = VolumeModification.volume_id
    known = set(tx.session.scalars(select(column).where(mine, column.in_(asked.ids)))) if asked.ids else set()
    if missing := [volume_id for volume_id in asked.ids if volume_id not in known]:
        raise NotFound("volume-modification", missing, code="InvalidVolumeModification.NotFound")
    found = lookup.select_ids(tx, caller, column, asked, mine, conditions=FILTERS)
    rows: list[VolumeModification] = []
    for batch in lookup.batches(found):
        rows += tx.session.scalars(select(VolumeModification).where(column.in_(batch)))
    return [_described(row) for row in sorted(rows, key=lambda row: row.volume_id)]


def _described(row: VolumeModification) -> DescribedModification:
    return DescribedModification(row, row.state, row.ended)
