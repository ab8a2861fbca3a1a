"""What tests of a VPC's parts look at: the rows, and what the hosts of a VPC are sent."""

from typing import Any

from sqlalchemy import select

from stead_controller.db.tables import VpcResource
from stead_proto.v1 import desired_pb2 as pb

_SENT = ("client_tokens", "revisions", "vpc_resources")


def rows_of(api: Any) -> dict[str, Any]:
    """All rows, but for used client tokens and what hosts are sent: what was sent once leaves a row there."""
    return {table: rows for table, rows in api.dump().items() if table not in _SENT}


def with_network(api: Any, kind: int, resource_id: str) -> Any:
    """Give what the hosts of a VPC are sent of one of its parts now."""
    query = select(VpcResource.body).where(VpcResource.kind == kind, VpcResource.resource_id == resource_id)
    return pb.Resource.FromString(api.run(lambda tx: tx.session.scalars(query).one()))
