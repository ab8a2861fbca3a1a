"""Create, find and delete internet gateways, attach them to a VPC and detach them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import InternetGateway, NetworkInterface, PublicAddress
from stead_controller.errors import AlreadyExists, InUse, InvalidParameter, WrongState
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection, constant, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import notify_topology, vpcs
from stead_controller.resources.tags import Tagged

type DescribedInternetGateway = Tagged[InternetGateway]


def _attached(inner: Condition) -> Condition:
    return lambda asked: inner(asked) & InternetGateway.vpc_id.is_not(None)


FILTERS: Final[dict[str, Condition]] = {
    "attachment.state": _attached(constant("available")),
    "attachment.vpc-id": text(InternetGateway.vpc_id),
    "internet-gateway-id": text(InternetGateway.id),
    "owner-id": text(InternetGateway.account_id),
}


def create(tx: Transaction, caller: Caller, gateway_tags: Mapping[str, str], now: datetime) -> DescribedInternetGateway:
    """Create a gateway, which is not attached yet; raises LimitExceeded."""
    mine = InternetGateway.account_id == caller.account_id
    quotas.check(tx, caller.account_id, quotas.INTERNET_GATEWAYS, InternetGateway.id, mine)
    gateway = add(tx, caller.account_id, None, now)
    tags.create_on_launch(tx, caller, [("internet-gateway", gateway.id)], {"internet-gateway": gateway_tags})
    return tags.with_tags(tx, caller.account_id, [gateway])[0]


def add(tx: Transaction, account_id: str, vpc_id: str | None, now: datetime) -> InternetGateway:
    """Add a gateway's row, attached to a VPC that has none."""
    gateway = InternetGateway(id=ids.new_id("internet-gateway"), account_id=account_id, vpc_id=vpc_id, created=now)
    tx.session.add(gateway)
    tx.session.flush()
    return gateway


def remove(tx: Transaction, caller: Caller, gateway_id: str) -> None:
    """Delete a gateway that is not attached; raises MalformedId, NotFound, InUse."""
    gateway = _find(tx, caller, gateway_id)
    if gateway.vpc_id is not None:
        raise InUse(f"The internetGateway '{gateway.id}' has dependencies and cannot be deleted.")
    tx.session.delete(gateway)
    tags.remove_all(tx, [gateway.id])


def attach(tx: Transaction, caller: Caller, gateway_id: str, vpc_id: str) -> None:
    """Attach a gateway to a VPC; raises MalformedId, NotFound, AlreadyExists, InvalidParameter where it has one."""
    gateway = _find(tx, caller, gateway_id)
    vpc = vpcs.find(tx, caller, vpc_id)
    if gateway.vpc_id is not None:
        raise AlreadyExists(
            "internet-gateway", f"resource {gateway.id} is already attached to network {gateway.vpc_id}"
        )
    if of_vpc(tx, vpc.id) is not None:
        raise InvalidParameter(f"Network {vpc.id} already has an internet gateway attached")
    gateway.vpc_id = vpc.id
    notify_topology.target(tx, gateway.id)
    notify_topology.vpc(tx, vpc.id)


def detach(tx: Transaction, caller: Caller, gateway_id: str, vpc_id: str) -> None:
    """Detach a gateway from its VPC.

    Raises MalformedId, NotFound, WrongState (Gateway.NotAttached), InUse while public addresses are mapped there.
    """
    gateway = _find(tx, caller, gateway_id)
    vpc = vpcs.find(tx, caller, vpc_id)
    if gateway.vpc_id != vpc.id:
        raise WrongState(
            "internet-gateway",
            f"resource {gateway.id} is not attached to network {vpc.id}",
            code="Gateway.NotAttached",
        )
    mapped = (
        select(PublicAddress.address)
        .join(NetworkInterface, NetworkInterface.id == PublicAddress.interface_id)
        .where(NetworkInterface.vpc_id == vpc.id)
        .limit(1)
    )
    if tx.session.scalar(mapped) is not None:
        raise InUse(
            f"Network {vpc.id} has some mapped public address(es). Please unmap those public address(es) before "
            "detaching the gateway."
        )
    gateway.vpc_id = None
    notify_topology.target(tx, gateway.id)
    notify_topology.vpc(tx, vpc.id)


def of_vpc(tx: Transaction, vpc_id: str) -> str | None:
    """Return the id of the gateway that is attached to a VPC."""
    return tx.session.scalar(select(InternetGateway.id).where(InternetGateway.vpc_id == vpc_id))


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedInternetGateway]:
    """Find the caller's gateways, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "internet-gateway", InternetGateway, asked, conditions=FILTERS)
    return tags.with_tags(tx, caller.account_id, found)


def _find(tx: Transaction, caller: Caller, gateway_id: str) -> InternetGateway:
    return lookup.find(tx, caller, "internet-gateway", InternetGateway, gateway_id)
