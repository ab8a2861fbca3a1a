"""Reserve blocks of a subnet's addresses: interfaces get such an address only if the request names it.

Addresses in use are not affected when a block is reserved or the reservation is deleted.
See https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from sqlalchemy import delete, select

from stead_controller.catalog import ids
from stead_controller.db.tables import Subnet, SubnetCidrReservation
from stead_controller.errors import AlreadyExists, InvalidParameter, LimitExceeded
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.network import subnets
from stead_controller.resources.tags import Tagged

type DescribedSubnetCidrReservation = Tagged[SubnetCidrReservation]

KIND: Final = "subnet-cidr-reservation"
TYPES: Final = ("prefix", "explicit")
RESERVATIONS_PER_SUBNET: Final = 100

FILTERS: Final[dict[str, Condition]] = {
    "reservationType": text(SubnetCidrReservation.reservation_type),
    "subnet-id": text(SubnetCidrReservation.subnet_id),
}


@dataclass(frozen=True, slots=True)
class ReservationRequest:
    """What CreateSubnetCidrReservation asks for."""

    subnet_id: str
    cidr: str
    reservation_type: str
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def create(tx: Transaction, caller: Caller, asked: ReservationRequest, now: datetime) -> DescribedSubnetCidrReservation:
    """Reserve a block of a subnet.

    Raises MalformedId, NotFound, InvalidParameter for what is no block of the subnet or overlaps another reservation,
    AlreadyExists, LimitExceeded.
    """
    subnet = subnets.find(tx, caller, asked.subnet_id)
    if asked.reservation_type not in TYPES:
        raise InvalidParameter(
            f"Value ({asked.reservation_type[:64]}) for parameter reservationType is invalid. "
            f"Valid values: {', '.join(TYPES)}"
        )
    if asked.description is not None and len(asked.description) > 255:
        raise InvalidParameter("The description of a subnet CIDR reservation has at most 255 characters.")
    block = _block_of(subnet, asked.cidr)
    _check_others(tx, subnet, block)
    row = SubnetCidrReservation(
        id=ids.new_id(KIND),
        account_id=caller.account_id,
        subnet_id=subnet.id,
        cidr_block=str(block),
        ipv6=block.version == 6,
        reservation_type=asked.reservation_type,
        description=asked.description,
        created=now,
    )
    tx.session.add(row)
    subnet.has_reservations = True
    tx.session.flush()
    tags.create_on_launch(tx, caller, [(KIND, row.id)], {KIND: asked.tags})
    return tags.with_tags(tx, caller.account_id, [row])[0]


def remove(tx: Transaction, caller: Caller, reservation_id: str) -> DescribedSubnetCidrReservation:
    """Delete a reservation and return it; raises MalformedId, NotFound."""
    row = lookup.find(tx, caller, KIND, SubnetCidrReservation, reservation_id)
    was = tags.with_tags(tx, caller.account_id, [row])[0]
    tx.session.delete(row)
    tags.remove_all(tx, [row.id])
    tx.session.flush()
    left = select(SubnetCidrReservation.id).where(SubnetCidrReservation.subnet_id == row.subnet_id).limit(1)
    tx.session.get_one(Subnet, row.subnet_id).has_reservations = tx.session.scalar(left) is not None
    return was


def remove_of_subnet(tx: Transaction, subnet_id: str) -> None:
    """Forget the reservations of a subnet that is deleted."""
    mine = SubnetCidrReservation.subnet_id == subnet_id
    tags.remove_all(tx, tx.session.scalars(select(SubnetCidrReservation.id).where(mine)).all())
    tx.session.execute(delete(SubnetCidrReservation).where(mine).execution_options(synchronize_session=False))


def describe(tx: Transaction, caller: Caller, subnet_id: str, asked: Selection) -> list[DescribedSubnetCidrReservation]:
    """Find the reservations of an own subnet, sorted by id; raises MalformedId, NotFound."""
    subnet = subnets.find(tx, caller, subnet_id)
    mine = SubnetCidrReservation.subnet_id == subnet.id
    chosen = lookup.select_ids(tx, caller, SubnetCidrReservation.id, asked, mine, conditions=FILTERS)
    return tags.with_tags(tx, caller.account_id, lookup.rows(tx, SubnetCidrReservation, chosen))


def _block_of(subnet: Subnet, cidr: str) -> IPv4Network | IPv6Network:
    """Read a block that must be the subnet's, in its usual form."""
    try:
        block = ip_network(cidr, strict=False)
    except ValueError as error:
        raise InvalidParameter(
            f"Value ({cidr[:64]}) for parameter cidr is invalid. This is not a valid CIDR block."
        ) from error
    if not any(_is_within(block, ip_network(own)) for own in (subnet.cidr_block, subnet.ipv6_cidr_block) if own):
        raise InvalidParameter(f"The CIDR block {block} is not within the CIDR blocks of the subnet '{subnet.id}'.")
    return block


def _is_within(block: IPv4Network | IPv6Network, own: IPv4Network | IPv6Network) -> bool:
    if isinstance(block, IPv4Network) and isinstance(own, IPv4Network):
        return block.subnet_of(own)
    return isinstance(block, IPv6Network) and isinstance(own, IPv6Network) and block.subnet_of(own)


def _check_others(tx: Transaction, subnet: Subnet, block: IPv4Network | IPv6Network) -> None:
    others = select(SubnetCidrReservation.cidr_block).where(SubnetCidrReservation.subnet_id == subnet.id)
    known = list(tx.session.scalars(others))
    if str(block) in known:
        raise AlreadyExists(KIND, f"The CIDR block {block} of the subnet '{subnet.id}' is reserved already.")
    for other in _overlapping(block, known):
        raise InvalidParameter(
            f"The CIDR block {block} overlaps the reservation of {other} of the subnet '{subnet.id}'."
        )
    if len(known) >= RESERVATIONS_PER_SUBNET:
        raise LimitExceeded(
            f"The subnet '{subnet.id}' has reached its maximum number of CIDR reservations: {RESERVATIONS_PER_SUBNET}"
        )


def _overlapping(block: IPv4Network | IPv6Network, others: Iterable[str]) -> list[str]:
    return [
        other for other in others if ip_network(other).version == block.version and block.overlaps(ip_network(other))
    ]
