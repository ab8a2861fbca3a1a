"""VPC endpoints as EC2 shows and filters them."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select

from stead_controller.db.tables import Route, Vpc, VpcEndpoint
from stead_controller.resources import lookup, tags
from stead_controller.resources.caller import Caller
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.conditions import Condition, Selection, constant, own, text
from stead_controller.resources.transaction import Transaction

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
            "SubnetIds": [],
            "Groups": [],
            "IpAddressType": _ADDRESS_TYPE,
            "DnsOptions": {"DnsRecordIpType": _ADDRESS_TYPE},
            "PrivateDnsEnabled": False,
            "RequesterManaged": False,
            "NetworkInterfaceIds": [],
            "DnsEntries": [],
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
