"""VPC endpoints as EC2 shows and filters them."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select

from stead_controller.db.tables import (
    Route,
    SecurityGroup,
    Vpc,
    VpcEndpoint,
    VpcEndpointGroup,
    VpcEndpointInterface,
)
from stead_controller.desired.pictures.vpc_endpoint import endpoint_name, private_name
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, constant, own, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.network.vpc_endpoint_services import INTERFACE

_ADDRESS_TYPE: Final = "ipv4"
_OF_ROWS: Final[dict[str, Condition]] = {
    "ip-address-type": constant(_ADDRESS_TYPE),
    "service-name": text(VpcEndpoint.service),
    "vpc-endpoint-id": text(VpcEndpoint.id),
    "vpc-endpoint-state": text(VpcEndpoint.state),
    "vpc-endpoint-type": text(VpcEndpoint.endpoint_type),
    "vpc-id": own(VpcEndpoint.vpc_id, Vpc.id, Vpc.account_id),
}
FILTERS: Final = frozenset({*_OF_ROWS, "service-region"})
# What an endpoint has that was given no policy.
DEFAULT_POLICY: Final = json.dumps(
    {
        "Version": "2008-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
    }
)


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[dict[str, Any]]:
    """List the caller's endpoints in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    conditions = {**_OF_ROWS, "service-region": constant(cloud.region)}
    found = lookup.select_page(tx, caller, "vpc-endpoint", VpcEndpoint, asked, conditions=conditions)
    return _shown(tx, caller, cloud, found)


def show(tx: Transaction, caller: Caller, cloud: Cloud, endpoint_id: str) -> dict[str, Any]:
    """Show one of the caller's endpoints."""
    (shown,) = describe(tx, caller, cloud, Selection((endpoint_id,)))
    return shown


def _shown(tx: Transaction, caller: Caller, cloud: Cloud, rows: Sequence[VpcEndpoint]) -> list[dict[str, Any]]:
    endpoint_ids = [row.id for row in rows]
    tagged = tags.of(tx, caller.account_id, endpoint_ids)
    tables = _tables(tx, endpoint_ids)
    interfaces, groups = _interfaces(tx, endpoint_ids), _groups(tx, endpoint_ids)
    return [
        {
            "VpcEndpointId": row.id,
            "VpcEndpointType": row.endpoint_type,
            "VpcId": row.vpc_id,
            "ServiceName": row.service,
            "ServiceRegion": cloud.region,
            "State": row.state,
            "PolicyDocument": row.policy or DEFAULT_POLICY,
            "RouteTableIds": tables[row.id],
            "SubnetIds": [one.subnet_id for one in interfaces[row.id]],
            "Groups": groups[row.id],
            "IpAddressType": _ADDRESS_TYPE,
            "DnsOptions": {"DnsRecordIpType": _ADDRESS_TYPE},
            "PrivateDnsEnabled": row.private_dns,
            "RequesterManaged": False,
            "NetworkInterfaceIds": [one.interface_id for one in interfaces[row.id]],
            "DnsEntries": _names(row, interfaces[row.id]),
            "LastError": _error(interfaces[row.id]),
            "CreationTimestamp": row.created,
            "Tags": tagged.get(row.id, []),
            "OwnerId": row.account_id,
        }
        for row in rows
    ]


def _tables(tx: Transaction, endpoint_ids: Sequence[str]) -> dict[str, list[str]]:
    """Give the ids of the route tables of each endpoint, sorted."""
    found: dict[str, list[str]] = defaultdict(list)
    for batch in lookup.batches(endpoint_ids):
        query = select(Route.target_id, Route.route_table_id).where(Route.target_id.in_(batch))
        for endpoint_id, table_id in tx.session.execute(query.order_by(Route.route_table_id)):
            found[endpoint_id].append(table_id)
    return found


def _interfaces(tx: Transaction, endpoint_ids: Sequence[str]) -> dict[str, list[VpcEndpointInterface]]:
    """Give the interfaces of each endpoint by zone, without those that are being deleted."""
    found: dict[str, list[VpcEndpointInterface]] = defaultdict(list)
    row = VpcEndpointInterface
    for batch in lookup.batches(endpoint_ids):
        query = select(row).where(row.endpoint_id.in_(batch), row.state != "deleting")
        for one in tx.session.scalars(query.order_by(row.zone)):
            found[one.endpoint_id].append(one)
    return found


def _groups(tx: Transaction, endpoint_ids: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """Give the security groups of each endpoint, by id."""
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for batch in lookup.batches(endpoint_ids):
        query = (
            select(VpcEndpointGroup.endpoint_id, SecurityGroup.id, SecurityGroup.name)
            .join(SecurityGroup, SecurityGroup.id == VpcEndpointGroup.group_id)
            .where(VpcEndpointGroup.endpoint_id.in_(batch))
            .order_by(SecurityGroup.id)
        )
        for endpoint_id, group_id, name in tx.session.execute(query):
            found[endpoint_id].append({"GroupId": group_id, "GroupName": name})
    return found


def _names(row: VpcEndpoint, interfaces: Sequence[VpcEndpointInterface]) -> list[dict[str, str]]:
    """Give the names of an interface endpoint: its own, those of its zones, and the service's where it has that."""
    if row.endpoint_type != INTERFACE:
        return []
    _, _, region, code = row.service.split(".")
    names = [endpoint_name(row.id, row.service)]
    names += [endpoint_name(row.id, row.service, one.zone) for one in interfaces]
    names += [private_name(code, region)] if row.private_dns else []
    return [{"DnsName": name} for name in names]


def _error(interfaces: Sequence[VpcEndpointInterface]) -> dict[str, str] | None:
    """Say why an endpoint is not available, if a host has said why."""
    failed = next((one for one in interfaces if one.state == "pending" and one.host_error), None)
    if failed is None:
        return None
    return {"Code": "InternalError", "Message": f"The interface {failed.interface_id} could not be created"}
