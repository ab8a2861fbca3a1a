"""Find VPC endpoints by ids and filters, with their details."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import (
    Route,
    SecurityGroup,
    Vpc,
    VpcEndpoint,
    VpcEndpointGroup,
    VpcEndpointInterface,
)
from stead_controller.desired.endpoint_names import endpoint_name, has_names_below, private_names, read_service
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, constant, own, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.network.vpc_endpoint_services import INTERFACE

_OF_ROWS: Final[dict[str, Condition]] = {
    "ip-address-type": constant("ipv4"),
    "service-name": text(VpcEndpoint.service),
    "vpc-endpoint-id": text(VpcEndpoint.id),
    "vpc-endpoint-state": text(VpcEndpoint.state),
    "vpc-endpoint-type": text(VpcEndpoint.endpoint_type),
    "vpc-id": own(VpcEndpoint.vpc_id, Vpc.id, Vpc.account_id),
}
FILTERS: Final = frozenset({*_OF_ROWS, "service-region"})


@dataclass(frozen=True, slots=True)
class DescribedVpcEndpoint:
    """An endpoint with its details; `groups` are the ids and names of security groups.

    `failed_interface_id` is an interface that a host could not create, so that the endpoint is not available.
    """

    endpoint: VpcEndpoint
    route_table_ids: Sequence[str]
    interfaces: Sequence[VpcEndpointInterface]
    groups: Sequence[tuple[str, str]]
    dns_names: Sequence[str]
    failed_interface_id: str | None
    tags: Sequence[tuple[str, str]]


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedVpcEndpoint]:
    """Find the caller's endpoints with their details, sorted by id; raises MalformedId, NotFound."""
    conditions = {**_OF_ROWS, "service-region": constant(cloud.region)}
    rows = lookup.select_page(tx, caller, "vpc-endpoint", VpcEndpoint, asked, conditions=conditions)
    endpoint_ids = [row.id for row in rows]
    tagged = tags.pairs_of(tx, caller.account_id, endpoint_ids)
    tables = _tables(tx, endpoint_ids)
    interfaces, groups = _interfaces(tx, endpoint_ids), _groups(tx, endpoint_ids)
    return [
        DescribedVpcEndpoint(
            row,
            route_table_ids=tables[row.id],
            interfaces=interfaces[row.id],
            groups=groups[row.id],
            dns_names=_names(row, interfaces[row.id]),
            failed_interface_id=_failed(interfaces[row.id]),
            tags=tagged.get(row.id, ()),
        )
        for row in rows
    ]


def _tables(tx: Transaction, endpoint_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids of the route tables of each endpoint, sorted."""
    found: dict[str, list[str]] = defaultdict(list)
    for batch in lookup.batches(endpoint_ids):
        query = select(Route.target_id, Route.route_table_id).where(Route.target_id.in_(batch))
        for endpoint_id, table_id in tx.session.execute(query.order_by(Route.route_table_id)):
            found[endpoint_id].append(table_id)
    return found


def _interfaces(tx: Transaction, endpoint_ids: Sequence[str]) -> dict[str, list[VpcEndpointInterface]]:
    """Return the interfaces of each endpoint by zone, without those that are being deleted."""
    found: dict[str, list[VpcEndpointInterface]] = defaultdict(list)
    row = VpcEndpointInterface
    for batch in lookup.batches(endpoint_ids):
        query = select(row).where(row.endpoint_id.in_(batch), row.state != "deleting")
        for one in tx.session.scalars(query.order_by(row.zone)):
            found[one.endpoint_id].append(one)
    return found


def _groups(tx: Transaction, endpoint_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return the ids and names of the security groups of each endpoint, by id."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for batch in lookup.batches(endpoint_ids):
        query = (
            select(VpcEndpointGroup.endpoint_id, SecurityGroup.id, SecurityGroup.name)
            .join(SecurityGroup, SecurityGroup.id == VpcEndpointGroup.group_id)
            .where(VpcEndpointGroup.endpoint_id.in_(batch))
            .order_by(SecurityGroup.id)
        )
        for endpoint_id, group_id, name in tx.session.execute(query):
            found[endpoint_id].append((group_id, name))
    return found


def _names(row: VpcEndpoint, interfaces: Sequence[VpcEndpointInterface]) -> list[str]:
    """Return the DNS names of an interface endpoint: its own, those of its zones, and for private DNS the service's."""
    if row.endpoint_type != INTERFACE:
        return []
    region, code = read_service(row.service)
    has_below = has_names_below(code)
    names = [endpoint_name(row.id, row.service, zone) for zone in ("", *(one.zone for one in interfaces))]
    if has_below:
        names = [f"*.{name}" for name in names]
    for name in private_names(code, region) if row.private_dns else ():
        names += [name, f"*.{name}"] if has_below else [name]
    return names


def _failed(interfaces: Sequence[VpcEndpointInterface]) -> str | None:
    """Return the first pending interface that its host failed to create."""
    return next((one.interface_id for one in interfaces if one.state == "pending" and one.host_error), None)
