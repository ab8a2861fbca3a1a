"""Create, change and delete VPC endpoints; hosts are notified in the same transaction.

A gateway endpoint is a route in each of its route tables, from the prefix list of its service to the endpoint; an
interface endpoint has an interface in each of its subnets. See
https://docs.aws.amazon.com/vpc/latest/privatelink/what-is-privatelink.html.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.authorization.policy_document import MalformedPolicy, parse_new
from stead_controller.catalog import ids
from stead_controller.db.tables import PrefixList, Route, RouteTable, SecurityGroup, Subnet, Vpc, VpcEndpoint
from stead_controller.desired.endpoint_names import private_names, read_service
from stead_controller.desired.route_targets import VPC_ENDPOINT
from stead_controller.errors import AlreadyExists, InvalidParameter, Unsupported, WrongState
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.route_destinations import PREFIX_LIST
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import (
    interface_groups,
    notify_topology,
    vpc_endpoint_interfaces,
    vpc_endpoint_services,
    vpcs,
)

POLICY_SIZE: Final = 20_480
"""https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-limits-endpoints.html"""


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """CreateVpcEndpoint, parsed; `subnets` has, by id, the requested address in a subnet, None for any.

    `private_dns_only_inbound` is DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint, None if it is not given.
    """

    vpc_id: str
    service: str
    endpoint_type: str = vpc_endpoint_services.GATEWAY
    policy: str | None = None
    route_table_ids: Sequence[str] = ()
    subnets: Mapping[str, str | None] = field(default_factory=dict)
    group_ids: Sequence[str] = ()
    private_dns: bool = False
    private_dns_only_inbound: bool | None = None
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """What ModifyVpcEndpoint asks for; None is what stays."""

    policy: str | None = None
    reset_policy: bool = False
    add_route_table_ids: Sequence[str] = ()
    remove_route_table_ids: Sequence[str] = ()
    add_subnets: Mapping[str, str | None] = field(default_factory=dict)
    remove_subnet_ids: Sequence[str] = ()
    add_group_ids: Sequence[str] = ()
    remove_group_ids: Sequence[str] = ()
    private_dns: bool | None = None
    private_dns_only_inbound: bool | None = None


def create(
    tx: Transaction, caller: Caller, cloud: Cloud, request: CreateRequest, *, repeatable: Repeatable, now: datetime
) -> str:
    """Make an endpoint and return its id; a repeated ClientToken gives the first one's.

    Raises MalformedId, NotFound (also InvalidServiceName), InvalidParameter (also InvalidPolicyDocument and
    DuplicateSubnetsInSameZone), AlreadyExists (RouteAlreadyExists), LimitExceeded, WrongState, IdempotencyMismatch.
    """
    return client_tokens.once(tx, caller, repeatable, now, lambda: _create(tx, caller, cloud, request, now))


def _create(tx: Transaction, caller: Caller, cloud: Cloud, request: CreateRequest, now: datetime) -> str:
    vpc = vpcs.find(tx, caller, request.vpc_id)
    types = [service.endpoint_type for service in vpc_endpoint_services.find(cloud, request.service)]
    if request.endpoint_type not in types:
        raise InvalidParameter(
            f"Endpoint type ({request.endpoint_type}) does not match available service types ([{', '.join(types)}]).",
            code="InvalidParameter",
        )
    _check_quota(tx, caller, request)
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
    if request.endpoint_type == vpc_endpoint_services.GATEWAY:
        _add_routes(tx, caller, endpoint, request.route_table_ids, now)
    else:
        group_ids = interface_groups.choose(tx, caller, vpc.id, request.group_ids)
        vpc_endpoint_interfaces.set_groups(tx, endpoint, group_ids)
        _set_private_dns(tx, endpoint, enabled=request.private_dns, only_inbound=request.private_dns_only_inbound)
        _add_subnets(tx, caller, endpoint, request.subnets, now)
    tags.create_on_launch(tx, caller, [("vpc-endpoint", endpoint.id)], request.tags)
    vpc_endpoint_interfaces.refresh(tx, endpoint)
    return endpoint.id


def _check_quota(tx: Transaction, caller: Caller, request: CreateRequest) -> None:
    """Raise LimitExceeded when the quota is reached."""
    same = (VpcEndpoint.account_id == caller.account_id, VpcEndpoint.endpoint_type == request.endpoint_type)
    if request.endpoint_type == vpc_endpoint_services.GATEWAY:
        quotas.check(tx, caller.account_id, quotas.GATEWAY_ENDPOINTS, VpcEndpoint.id, *same)
        return
    here = VpcEndpoint.vpc_id == request.vpc_id
    quotas.check(tx, caller.account_id, quotas.INTERFACE_ENDPOINTS_PER_VPC, VpcEndpoint.id, *same, here)


def find(tx: Transaction, caller: Caller, endpoint_id: str) -> VpcEndpoint:
    """Return one of the caller's endpoints; raises MalformedId, NotFound."""
    return lookup.find(tx, caller, "vpc-endpoint", VpcEndpoint, endpoint_id)


def modify(tx: Transaction, caller: Caller, endpoint_id: str, change: Change, now: datetime) -> None:
    """Change an endpoint's policy, route tables, subnets, security groups or private DNS.

    Raises MalformedId, NotFound, InvalidParameter, AlreadyExists, LimitExceeded, WrongState.
    """
    endpoint = find(tx, caller, endpoint_id)
    if endpoint.state == "deleting":
        raise WrongState("vpc-endpoint", f"The VPC endpoint {endpoint.id} is being deleted.", code="IncorrectState")
    if change.policy is not None and change.reset_policy:
        raise InvalidParameter(
            "A policy document and a reset of the policy cannot be asked for together.", code="InvalidParameter"
        )
    if change.policy is not None:
        endpoint.policy = _policy(change.policy)
    elif change.reset_policy:
        endpoint.policy = None
    if endpoint.endpoint_type == vpc_endpoint_services.GATEWAY:
        _remove_routes(tx, caller, endpoint, change.remove_route_table_ids)
        _add_routes(tx, caller, endpoint, change.add_route_table_ids, now)
        return
    _change_groups(tx, caller, endpoint, change)
    if change.private_dns is not None or change.private_dns_only_inbound is not None:
        enabled = endpoint.private_dns if change.private_dns is None else change.private_dns
        _set_private_dns(tx, endpoint, enabled=enabled, only_inbound=change.private_dns_only_inbound)
    _remove_subnets(tx, caller, endpoint, change.remove_subnet_ids, now)
    _add_subnets(tx, caller, endpoint, change.add_subnets, now)
    vpc_endpoint_interfaces.settle_state(tx, endpoint)
    vpc_endpoint_interfaces.refresh(tx, endpoint)


def remove(tx: Transaction, caller: Caller, endpoint_id: str, now: datetime) -> None:
    """Delete an endpoint with its routes; one with interfaces is gone with the last of them.

    Raises MalformedId, NotFound.
    """
    endpoint = find(tx, caller, endpoint_id)
    for route in tx.session.scalars(select(Route).where(Route.target_id == endpoint.id)).all():
        _remove(tx, route)
    endpoint.state = "deleting"
    interfaces = vpc_endpoint_interfaces.of(tx, endpoint.id)
    if not interfaces:
        vpc_endpoint_interfaces.end(tx, endpoint)
        return
    for row in interfaces:
        vpc_endpoint_interfaces.remove(tx, row, now)
    vpc_endpoint_interfaces.refresh(tx, endpoint)


def _change_groups(tx: Transaction, caller: Caller, endpoint: VpcEndpoint, change: Change) -> None:
    """Add and remove security groups; raises MalformedId, NotFound, InvalidParameter, LimitExceeded."""
    if not change.add_group_ids and not change.remove_group_ids:
        return
    before = vpc_endpoint_interfaces.groups_of(tx, endpoint.id)
    for group_id in change.remove_group_ids:
        lookup.find(tx, caller, "security-group", SecurityGroup, group_id)
    removed = set(change.remove_group_ids)
    if absent := removed - set(before):
        raise InvalidParameter(
            f"security group {min(absent)} is not associated with VPC endpoint {endpoint.id}", code="InvalidParameter"
        )
    after = [group_id for group_id in (*before, *change.add_group_ids) if group_id not in removed]
    if not after:
        raise InvalidParameter("A VPC endpoint must have at least one security group.", code="InvalidParameter")
    group_ids = interface_groups.choose(tx, caller, endpoint.vpc_id, after)
    vpc_endpoint_interfaces.set_groups(tx, endpoint, group_ids)


def _set_private_dns(tx: Transaction, endpoint: VpcEndpoint, *, enabled: bool, only_inbound: bool | None) -> None:
    """Set whether the service's own name resolves to the endpoint inside its VPC; raises InvalidParameter.

    A service that has gateway endpoints too leaves its name to them, unless `only_inbound` is False: the interface
    endpoint's name is then for resolvers outside of the VPC only, of which this cloud has none.
    """
    if only_inbound is None:
        has_gateways = vpc_endpoint_services.has_gateways(endpoint.service)
        only_inbound = enabled and (endpoint.private_dns_only_inbound if endpoint.private_dns else has_gateways)
    if only_inbound:
        _check_only_inbound(tx, endpoint, enabled=enabled)
    vpc = tx.session.get_one(Vpc, endpoint.vpc_id)
    if enabled and not (vpc.dns_support and vpc.dns_hostnames):
        raise InvalidParameter(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true "
            f"for {vpc.id}",
            code="InvalidParameter",
        )
    others = select(VpcEndpoint.id).where(
        VpcEndpoint.vpc_id == vpc.id,
        VpcEndpoint.service == endpoint.service,
        VpcEndpoint.private_dns.is_(True),
        VpcEndpoint.state != "deleting",
        VpcEndpoint.id != endpoint.id,
    )
    if enabled and tx.session.scalar(others.limit(1)) is not None:
        region, code = read_service(endpoint.service)
        raise InvalidParameter(
            "private-dns-enabled cannot be set because there is already a conflicting DNS domain for "
            f"{private_names(code, region)[0]} in the VPC {vpc.id}",
            code="InvalidParameter",
        )
    endpoint.private_dns = enabled
    endpoint.private_dns_only_inbound = only_inbound


def _check_only_inbound(tx: Transaction, endpoint: VpcEndpoint, *, enabled: bool) -> None:
    """Raise InvalidParameter unless the VPC reaches the service by a gateway endpoint."""
    name = "PrivateDnsOnlyForInboundResolverEndpoint"
    if not vpc_endpoint_services.has_gateways(endpoint.service):
        raise InvalidParameter(f"{name} is not supported for this service.", code="InvalidParameter")
    if not enabled:
        raise InvalidParameter(f"To set {name} to true, private DNS must be enabled.", code="InvalidParameter")
    gateway = select(VpcEndpoint.id).where(
        VpcEndpoint.vpc_id == endpoint.vpc_id,
        VpcEndpoint.service == endpoint.service,
        VpcEndpoint.endpoint_type == vpc_endpoint_services.GATEWAY,
    )
    if tx.session.scalar(gateway.limit(1)) is None:
        raise InvalidParameter(
            f"To set {name} to true, the VPC {endpoint.vpc_id} must have a Gateway endpoint for the service.",
            code="InvalidParameter",
        )


def _add_subnets(
    tx: Transaction, caller: Caller, endpoint: VpcEndpoint, subnets: Mapping[str, str | None], now: datetime
) -> None:
    """Give an endpoint an interface in each of some subnets, one in each zone."""
    known = {row.zone: row.subnet_id for row in vpc_endpoint_interfaces.of(tx, endpoint.id)}
    for subnet_id, address in subnets.items():
        subnet = lookup.find(tx, caller, "subnet", Subnet, subnet_id)
        if subnet.vpc_id != endpoint.vpc_id:
            raise InvalidParameter(
                f"subnet {subnet.id} and network {endpoint.vpc_id} belong to different networks",
                code="InvalidParameter",
            )
        if subnet.cidr_block is None:
            raise InvalidParameter(
                f"The subnet '{subnet.id}' is an IPv6 only subnet: the services of this cloud have IPv4 addresses only",
                code="InvalidParameter",
            )
        if known.get(subnet.zone) == subnet.id:
            if address is not None:
                raise Unsupported("The address of an interface of an endpoint cannot be changed by this cloud.")
            continue
        if subnet.zone in known:
            raise InvalidParameter(
                f"Found another VPC endpoint subnet in the availability zone of {subnet.id}. VPC endpoint subnets "
                "should be in different availability zones supported by the VPC endpoint service.",
                code="DuplicateSubnetsInSameZone",
            )
        known[subnet.zone] = subnet.id
        vpc_endpoint_interfaces.add(tx, endpoint, subnet, address, now)


def _remove_subnets(
    tx: Transaction, caller: Caller, endpoint: VpcEndpoint, subnet_ids: Iterable[str], now: datetime
) -> None:
    known = {row.subnet_id: row for row in vpc_endpoint_interfaces.of(tx, endpoint.id)}
    for subnet_id in dict.fromkeys(subnet_ids):
        lookup.find(tx, caller, "subnet", Subnet, subnet_id)
        if subnet_id not in known:
            raise InvalidParameter(
                f"subnet {subnet_id} is not associated with VPC endpoint {endpoint.id}", code="InvalidParameter"
            )
        vpc_endpoint_interfaces.remove(tx, known[subnet_id], now)
    tx.session.flush()


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
    notify_topology.route_table(tx, table.id, table.vpc_id)


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
    notify_topology.route_table(tx, route.route_table_id, route.vpc_id)


def _policy(text: str) -> str:
    """Check and return the policy; raises InvalidParameter (InvalidPolicyDocument)."""
    if len(text) > POLICY_SIZE:
        raise InvalidParameter(f"A policy has at most {POLICY_SIZE} characters.", code="InvalidPolicyDocument")
    try:
        parse_new(text, "resource")
    except MalformedPolicy as error:
        raise InvalidParameter(error.message, code="InvalidPolicyDocument") from None
    return text
