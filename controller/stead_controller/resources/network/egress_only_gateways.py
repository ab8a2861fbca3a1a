"""Create, find and delete egress-only internet gateways."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from stead_controller.catalog import ids
from stead_controller.db.tables import EgressOnlyInternetGateway
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import notify_topology, vpcs
from stead_controller.resources.tags import Tagged

type DescribedEgressOnlyGateway = Tagged[EgressOnlyInternetGateway]

_TYPE: Final = "egress-only-internet-gateway"
FILTERS: Final[dict[str, Condition]] = {}


def create(
    tx: Transaction, caller: Caller, vpc_id: str, gateway_tags: Mapping[str, str], now: datetime
) -> EgressOnlyInternetGateway:
    """Make a gateway of a VPC; raises MalformedId, NotFound, LimitExceeded."""
    vpc = vpcs.find(tx, caller, vpc_id)
    mine = EgressOnlyInternetGateway.account_id == caller.account_id
    quotas.check(
        tx,
        caller.account_id,
        quotas.EGRESS_ONLY_INTERNET_GATEWAYS,
        EgressOnlyInternetGateway.id,
        mine,
    )
    gateway = EgressOnlyInternetGateway(id=ids.new_id(_TYPE), account_id=vpc.account_id, vpc_id=vpc.id, created=now)
    tx.session.add(gateway)
    tx.session.flush()
    tags.create_on_launch(tx, caller, [(_TYPE, gateway.id)], {_TYPE: gateway_tags})
    notify_topology.vpc(tx, vpc.id)
    return gateway


def remove(tx: Transaction, caller: Caller, gateway_id: str) -> None:
    """Delete a gateway; routes to it become blackholes. Raises MalformedId, NotFound."""
    gateway = lookup.find(tx, caller, _TYPE, EgressOnlyInternetGateway, gateway_id)
    tx.session.delete(gateway)
    tags.remove_all(tx, [gateway.id])
    notify_topology.target(tx, gateway.id)
    notify_topology.vpc(tx, gateway.vpc_id)


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedEgressOnlyGateway]:
    """Find the caller's gateways, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, _TYPE, EgressOnlyInternetGateway, asked, conditions=FILTERS)
    return tags.with_tags(tx, caller.account_id, found)
