"""Requests through a VPC endpoint: which hosts may send them, and the endpoint's policy."""

from dataclasses import dataclass

from sqlalchemy import and_, not_, or_, select

from stead_controller.authorization.policy_document import PolicyDocument, parse
from stead_controller.db.tables import VpcEndpoint, VpcEndpointInterface, VpcHost
from stead_controller.desired.endpoint_names import read_service
from stead_controller.errors import NotAuthorized
from stead_controller.request.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Via:
    """The endpoint that a request came through, as stated by the authenticated host; guests cannot influence it."""

    endpoint_id: str
    vpc_id: str
    service: str  # the last part of its name, such as s3
    is_interface: bool = False


def admit(tx: Transaction, host_id: str, endpoint_id: str) -> Via | None:
    """Return an endpoint if the host knows its VPC or has one of its interfaces; else None."""
    has_vpc = select(VpcHost.host_id).where(
        VpcHost.vpc_id == VpcEndpoint.vpc_id, VpcHost.host_id == host_id, VpcHost.gone_revision.is_(None)
    )
    home = select(VpcEndpointInterface.host_id).where(
        VpcEndpointInterface.endpoint_id == VpcEndpoint.id, VpcEndpointInterface.host_id == host_id
    )
    is_gateway = VpcEndpoint.endpoint_type == "Gateway"
    query = select(VpcEndpoint).where(
        VpcEndpoint.id == endpoint_id, or_(and_(is_gateway, has_vpc.exists()), and_(not_(is_gateway), home.exists()))
    )
    found = tx.session.scalar(query)
    if found is None:
        return None
    _, code = read_service(found.service)
    return Via(found.id, found.vpc_id, code, is_interface=found.endpoint_type == "Interface")


def policy_of(tx: Transaction, via: Via) -> PolicyDocument | None:
    """Return an endpoint's policy as it is now, None when it allows everything; NotAuthorized when it is deleted."""
    endpoint = tx.session.get(VpcEndpoint, via.endpoint_id)
    if endpoint is None:
        raise NotAuthorized("Access Denied", code="AccessDenied")
    return None if endpoint.policy is None else parse(endpoint.policy, "resource")
