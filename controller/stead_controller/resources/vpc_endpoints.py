"""VPC endpoints: made, changed and deleted; hosts are told in the same transaction.

A gateway endpoint is a route in each of its route tables, from the prefix list of its service to the endpoint. See
https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.authorization.policy_document import MalformedPolicy, parse_new
from stead_controller.db.tables import PrefixList, Route, RouteTable, VpcEndpoint
from stead_controller.errors import AlreadyExists, InvalidParameter
from stead_controller.hosts import topics
from stead_controller.resources import (
    client_tokens,
    lookup,
    quotas,
    tags,
    topology_changes,
    vpc_endpoint_services,
    vpcs,
)
from stead_controller.resources.caller import Caller
from stead_controller.resources.client_tokens import Repeatable
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.route_destinations import PREFIX_LIST
from stead_controller.resources.route_targets import VPC_ENDPOINT
from stead_controller.resources.transaction import Transaction
from stead_proto import ids
from stead_proto.v1 import desired_pb2 as pb

POLICY_SIZE: Final = 20_480
"""https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-limits-endpoints.html"""


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """What CreateVpcEndpoint asks for."""

    vpc_id: str
    service: str
    endpoint_type: str = vpc_endpoint_services.GATEWAY
    policy: str | None = None
    route_table_ids: Sequence[str] = ()
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """What ModifyVpcEndpoint asks for; None is what stays."""

    policy: str | None = None
    reset_policy: bool = False
    add_route_table_ids: Sequence[str] = ()
    remove_route_table_ids: Sequence[str] = ()


def create(
    tx: Transaction, caller: Caller, cloud: Cloud, request: CreateRequest, *, repeatable: Repeatable, now: datetime
) -> str:
    """Make an endpoint and give its id; a repeated ClientToken gives the first one's.

    Raises MalformedId, NotFound (also InvalidServiceName), InvalidParameter (also InvalidPolicyDocument), AlreadyExists
    (RouteAlreadyExists), LimitExceeded, IdempotencyMismatch.
    """
    return client_tokens.once(tx, caller, repeatable, now, lambda: _create(tx, caller, cloud, request, now))


def _create(tx: Transaction, caller: Caller, cloud: Cloud, request: CreateRequest, now: datetime) -> str:
    vpc = vpcs.find(tx, caller, request.vpc_id)
    service = vpc_endpoint_services.find(cloud, request.service)
    if service.endpoint_type != request.endpoint_type:
        raise InvalidParameter(
            f"Endpoint type ({request.endpoint_type}) does not match available service types "
            f"([{service.endpoint_type}]).",
            code="InvalidParameter",
        )
    quotas.check(
        tx,
        caller.account_id,
        quotas.GATEWAY_ENDPOINTS,
        VpcEndpoint.id,
        VpcEndpoint.account_id == caller.account_id,
    )
    endpoint = VpcEndpoint(
        id=ids.new_id("vpc-endpoint"),
        account_id=caller.account_id,
        vpc_id=vpc.id,
        service=request.service,
        endpoint_type=request.endpoint_type,
        state="available",
        policy=None if request.policy is None else _policy(request.policy),
        created=now,
    )
    tx.session.add(endpoint)
    tx.session.flush()
    _add_routes(tx, caller, endpoint, request.route_table_ids, now)
    tags.create_on_launch(tx, caller, [("vpc-endpoint", endpoint.id)], request.tags)
    _tell(tx, endpoint)
    return endpoint.id


def modify(tx: Transaction, caller: Caller, endpoint_id: str, change: Change, now: datetime) -> None:
    """Change an endpoint's policy or route tables.

    Raises MalformedId, NotFound, InvalidParameter, AlreadyExists.
    """
    endpoint = lookup.find(tx, caller, "vpc-endpoint", VpcEndpoint, endpoint_id)
    if change.policy is not None and change.reset_policy:
        raise InvalidParameter(
            "A policy document and a reset of the policy cannot be asked for together.", code="InvalidParameter"
        )
    if change.policy is not None:
        endpoint.policy = _policy(change.policy)
    elif change.reset_policy:
        endpoint.policy = None
    _remove_routes(tx, caller, endpoint, change.remove_route_table_ids)
    _add_routes(tx, caller, endpoint, change.add_route_table_ids, now)


def remove(tx: Transaction, caller: Caller, endpoint_id: str) -> None:
    """Delete an endpoint with its routes; raises MalformedId, NotFound."""
    endpoint = lookup.find(tx, caller, "vpc-endpoint", VpcEndpoint, endpoint_id)
    for route in tx.session.scalars(select(Route).where(Route.target_id == endpoint.id)).all():
        _remove(tx, route)
    tx.session.delete(endpoint)
    tags.remove_all(tx, [endpoint.id])
    _tell(tx, endpoint)


def _add_routes(
    tx: Transaction, caller: Caller, endpoint: VpcEndpoint, table_ids: Iterable[str], now: datetime
) -> None:
    listed = vpc_endpoint_services.list_of(tx, endpoint.service)
    for table_id in dict.fromkeys(table_ids):
        table = lookup.find(tx, caller, "route-table", RouteTable, table_id)
        if table.vpc_id != endpoint.vpc_id:
            raise InvalidParameter(
                f"route table {table.id} and network {endpoint.vpc_id} belong to different networks",
                code="InvalidParameter",
            )
        before = tx.session.get(Route, (table.id, listed.id))
        if before is not None and before.target_id == endpoint.id:
            continue
        if before is not None:
            raise AlreadyExists(
                "route", f"route table {table.id} already has a route with destination-prefix-list-id {listed.id}"
            )
        quotas.check(tx, table.account_id, quotas.ROUTES_PER_TABLE, Route.destination, Route.route_table_id == table.id)
        _add(tx, endpoint, table, listed, now)


def _add(tx: Transaction, endpoint: VpcEndpoint, table: RouteTable, listed: PrefixList, now: datetime) -> None:
    tx.session.add(
        Route(
            route_table_id=table.id,
            destination=listed.id,
            vpc_id=table.vpc_id,
            family=PREFIX_LIST,
            target_type=VPC_ENDPOINT,
            target_id=endpoint.id,
            created=now,
        )
    )
    tx.session.flush()
    topology_changes.route_table(tx, table.id, table.vpc_id)


def _remove_routes(tx: Transaction, caller: Caller, endpoint: VpcEndpoint, table_ids: Iterable[str]) -> None:
    listed = vpc_endpoint_services.list_of(tx, endpoint.service)
    for table_id in dict.fromkeys(table_ids):
        table = lookup.find(tx, caller, "route-table", RouteTable, table_id)
        route = tx.session.get(Route, (table.id, listed.id))
        if route is None or route.target_id != endpoint.id:
            raise InvalidParameter(
                f"route table {table.id} is not associated with VPC endpoint {endpoint.id}", code="InvalidParameter"
            )
        _remove(tx, route)


def _remove(tx: Transaction, route: Route) -> None:
    tx.session.delete(route)
    tx.session.flush()
    topology_changes.route_table(tx, route.route_table_id, route.vpc_id)


def _policy(text: str) -> str:
    """Give the policy back; raises InvalidParameter (InvalidPolicyDocument)."""
    if len(text) > POLICY_SIZE:
        raise InvalidParameter(f"A policy has at most {POLICY_SIZE} characters.", code="InvalidPolicyDocument")
    try:
        parse_new(text, "resource")
    except MalformedPolicy as error:
        raise InvalidParameter(error.message, code="InvalidPolicyDocument") from None
    return text


def _tell(tx: Transaction, endpoint: VpcEndpoint) -> None:
    topics.refresh_part(tx, pb.KIND_VPC_ENDPOINT, endpoint.id, endpoint.vpc_id)
