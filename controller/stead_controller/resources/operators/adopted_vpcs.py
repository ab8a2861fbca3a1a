"""Adopts VPCs that this database does not know, or what it lacks of them: by the rows that their hosts keep of them.

A VPC is adopted with the first instance, NAT gateway or interface endpoint in it, as are those that have a peering with
it: with subnets, gateways, route tables, ACLs, groups and their tags. Every host of a VPC has all its parts.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import inspect, select
from sqlalchemy.exc import IntegrityError

from stead_controller.db.insert import insert_if_absent, with_defaults
from stead_controller.db.tables import (
    Account,
    DhcpOptions,
    DhcpOptionValue,
    EgressOnlyInternetGateway,
    FlowLog,
    InternetGateway,
    NetworkAcl,
    NetworkAclAssociation,
    NetworkAclEntry,
    NetworkInterface,
    PrefixList,
    PrefixListEntry,
    Route,
    RouteTable,
    RouteTableAssociation,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetCidrReservation,
    Tag,
    UnclaimedResource,
    Vpc,
    VpcCidrBlock,
    VpcEndpoint,
    VpcEndpointGroup,
    VpcHost,
    VpcPeeringConnection,
    VpcResource,
)
from stead_controller.db.tables.base import Base
from stead_controller.desired import topics
from stead_controller.desired.messages import noted_rows
from stead_controller.desired.messages.noted_rows import NotedRows
from stead_controller.desired.parts import PARTS
from stead_controller.desired.route_targets import INTERFACE
from stead_controller.errors import WrongState
from stead_controller.request.transaction import Transaction
from stead_controller.resources.operators import unclaimed_resources
from stead_controller.resources.operators.adopted_state import differing
from stead_controller.resources.operators.unclaimed_resources import Unclaimed
from stead_proto.v1 import desired_pb2 as pb

_TABLES: Final[Sequence[type[Base]]] = (
    Vpc,
    VpcCidrBlock,
    DhcpOptions,
    DhcpOptionValue,
    InternetGateway,
    EgressOnlyInternetGateway,
    PrefixList,
    PrefixListEntry,
    RouteTable,
    NetworkAcl,
    NetworkAclEntry,
    SecurityGroup,
    Subnet,
    SubnetCidrReservation,
    RouteTableAssociation,
    NetworkAclAssociation,
    Route,
    SecurityGroupRule,
    FlowLog,
    VpcEndpoint,
    VpcEndpointGroup,
    VpcPeeringConnection,
    Tag,
)
"""The tables of which hosts keep rows, each after those that it refers to; rows of others are not taken."""

_MODELS: Final[Mapping[int, type[Base]]] = {
    pb.KIND_VPC: Vpc,
    pb.KIND_SUBNET: Subnet,
    pb.KIND_ROUTE_TABLE: RouteTable,
    pb.KIND_SECURITY_GROUP: SecurityGroup,
    pb.KIND_MAPPING: NetworkInterface,
    pb.KIND_NETWORK_ACL: NetworkAcl,
    pb.KIND_PEERING: VpcPeeringConnection,
    pb.KIND_FLOW_LOG: FlowLog,
    pb.KIND_VPC_ENDPOINT: VpcEndpoint,
}
"""The table of each kind of part."""

_PARENTS: Final[Mapping[type[Base], str]] = {
    DhcpOptionValue: "options_id",
    NetworkAclEntry: "acl_id",
    PrefixListEntry: "prefix_list_id",
    Route: "route_table_id",
    Tag: "resource_id",
    VpcEndpointGroup: "endpoint_id",
}
"""The column by which a row belongs to another one of the same part."""

_ANEW: Final[Mapping[type[Base], Mapping[str, Any]]] = {VpcEndpoint: {"state": "available"}}
"""What hosts do not keep, as it is when they have the rest."""


@dataclass(slots=True)
class Networks:
    """VPCs under adoption: what hosts said of their parts, and what the operator should know of them."""

    now: datetime
    vpc_ids: set[str] = field(default_factory=set)
    parts: list[Unclaimed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_account(tx: Transaction, host_id: str, account_id: str) -> list[str]:
    """Make the row of an account again if it is not known and a host keeps it; return what to know of that."""
    if tx.session.get(Account, account_id) is not None:
        return []
    for each in unclaimed_resources.list_all(tx, host_id):
        for row in _rows(each).get(Account.__tablename__, ()) if each.kind == pb.KIND_VPC else ():
            values = noted_rows.values(Account, row)
            if values.get("id") != account_id:
                continue
            taken = select(Account.id).where(Account.name == values["name"])
            if tx.session.scalar(taken) is not None:
                values["name"] = account_id
            tx.session.add(Account(**values))
            tx.session.flush()
            key = f"a root key is made by: stead account create-key {account_id}"
            return [
                f"the account {account_id} ({values['name']}) was made again, without its users, roles and keys; {key}"
            ]
    return []


def take(tx: Transaction, networks: Networks, host_id: str, vpc_id: str, account_id: str) -> None:
    """Make what is not known of a VPC, and of those that have a peering with it, by what one host keeps of them.

    Raises WrongState for what is in the way. The caller adopts what is in these VPCs, then calls `settle`.
    """
    waiting = [(vpc_id, account_id)]
    while waiting:
        each, owner = waiting.pop()
        if each in networks.vpc_ids:
            continue
        networks.vpc_ids.add(each)
        parts = _newest(tx, networks, _parts(tx, host_id, each))
        new = [part for part in parts if not _is_known(tx, part) and not _is_named_anew(tx, part)]
        if new:
            _make(tx, networks, host_id, new, each, owner)
        peers = {part.resource.peering.peer_vpc_id for part in parts if part.resource is not None} - {""}
        waiting += [(peer, owner_of(tx, host_id, peer)) for peer in sorted(peers)]
    for each in sorted({vpc_of(part) for part in networks.parts}):
        topics.draw_vpc(tx, each)


def settle(tx: Transaction, vpc_ids: Collection[str]) -> None:
    """Forget as unclaimed what hosts are sent of these VPCs now; hosts that have nothing else there keep it."""
    key = (UnclaimedResource.host_id, UnclaimedResource.kind, UnclaimedResource.resource_id)
    known = (
        select(*key)
        .join(VpcHost, VpcHost.host_id == UnclaimedResource.host_id)
        .join(
            VpcResource,
            (VpcResource.vpc_id == VpcHost.vpc_id)
            & (VpcResource.kind == UnclaimedResource.kind)
            & (VpcResource.resource_id == UnclaimedResource.resource_id),
        )
        .where(VpcHost.vpc_id.in_(sorted(vpc_ids)), VpcHost.gone_revision.is_(None), VpcResource.body.is_not(None))
    )
    unclaimed_resources.forget(tx, [(row[0], row[1], row[2]) for row in tx.session.execute(known).all()])


def appliances(tx: Transaction, vpc_ids: Collection[str]) -> list[str]:
    """List the interfaces to which routes of VPCs lead and which are not known: routes to them would be dead."""
    known = select(NetworkInterface.id).where(NetworkInterface.id == Route.target_id)
    query = select(Route.target_id).where(
        Route.vpc_id.in_(sorted(vpc_ids)), Route.target_type == INTERFACE, ~known.exists()
    )
    return list(tx.session.scalars(query.distinct().order_by(Route.target_id)))


def vpc_of(one: Unclaimed) -> str:
    """Return the VPC that a part belongs to, or that it is; empty where its host has not said."""
    if one.kind == pb.KIND_VPC:
        return one.id
    body = one.resource.WhichOneof("body") if one.resource is not None else None
    return str(getattr(getattr(one.resource, body), "vpc_id", "")) if body is not None else ""


def _parts(tx: Transaction, host_id: str, vpc_id: str) -> list[Unclaimed]:
    """List what is unclaimed of a VPC on one host, and of which that keeps rows."""
    found = unclaimed_resources.list_all(tx, host_id)
    return [each for each in found if each.kind in PARTS and vpc_of(each) == vpc_id and _rows(each)]


def _newest(tx: Transaction, networks: Networks, parts: Sequence[Unclaimed]) -> list[Unclaimed]:
    """Return each part as that host has it which was sent it last: others had not heard of a change, such as of rules.

    A host has a part at the revision of its last change or of the host's subscription, so the highest knows most.
    """
    found = {(each.kind, each.id): each for each in parts}
    for one in unclaimed_resources.list_all(tx):
        mine = found.get((one.kind, one.id))
        if mine is None or not _rows(one) or _revision(one) <= _revision(mine):
            continue
        found[one.kind, one.id] = one
        if differing(_of(mine), _of(one)):
            networks.notes.append(f"{_name(one)} is as {one.host_id} has it, which has heard of a later change")
    return [found[each.kind, each.id] for each in parts]


def _of(one: Unclaimed) -> pb.Resource:
    assert one.resource is not None
    return one.resource


def _revision(one: Unclaimed) -> int:
    return one.resource.revision if one.resource is not None else 0


def owner_of(tx: Transaction, host_id: str, vpc_id: str) -> str:
    """Return the account of a VPC: as the database has it, else as a host does."""
    if (known := tx.session.get(Vpc, vpc_id)) is not None:
        return known.account_id
    owners = [row.get("account_id", "") for each in _parts(tx, host_id, vpc_id) for row in _rows(each).get("vpcs", ())]
    return next(iter(owners), "")


def _make(  # noqa: PLR0917 - what a VPC is made of
    tx: Transaction,
    networks: Networks,
    host_id: str,
    parts: Sequence[Unclaimed],
    vpc_id: str,
    account_id: str,
) -> None:
    if tx.session.get(Account, account_id) is None:
        raise WrongState("vpc", f"{vpc_id} has to do with a VPC of an account that is not known: {account_id or '?'}.")
    is_new = any(each.kind == pb.KIND_VPC for each in parts)
    silent = _silent(tx, host_id, vpc_id)
    if is_new and (bare := [each.id for each in silent if each.resource is not None]):
        raise WrongState(
            "vpc",
            f"{host_id} does not know enough of {', '.join(bare)}, as the controller of an earlier release "
            f"told it less. Restore a newer backup; or save what is on the disks in {vpc_id}, and remove its guests.",
        )
    lacks = f" ({', '.join(each.id for each in silent)}: {unclaimed_resources.NO_WORD})" if silent else ""
    rows: dict[type[Base], list[dict[str, Any]]] = {}
    known: set[str] = set()
    for part in parts:
        for model, values in _own_rows(part, vpc_id, account_id):
            rows.setdefault(model, []).append(values)
            if "id" in values and tx.session.get(model, values["id"]) is not None:
                known.add(values["id"])
    try:
        with tx.savepoint():
            for model in _TABLES:
                for values in rows.get(model, ()):
                    if values.get(_PARENTS.get(model, "")) not in known:  # what is of those is as the database has it
                        _insert(tx, networks, model, values)
            tx.session.flush()
    except IntegrityError as error:
        raise WrongState("vpc", f"{vpc_id} refers to what is not known: {error.orig}{lacks}.") from error
    if is_new and not _has_main_table(tx, vpc_id):
        raise WrongState("vpc", f"The main route table of {vpc_id} is not known{lacks}.")
    if is_new:
        networks.notes.append(f"the VPC {vpc_id} was made again, as it was when it last changed")
    else:
        networks.notes += [f"{_name(each)} was made again" for each in parts]
    networks.parts += [each for each in parts if each.kind != pb.KIND_PEERING or _is_whole(tx, each)]


def _silent(tx: Transaction, host_id: str, vpc_id: str) -> list[Unclaimed]:
    """List what is not known and of which a host keeps no rows, if it may be of a VPC."""
    found = unclaimed_resources.list_all(tx, host_id)
    mine = [each for each in found if each.kind in PARTS and vpc_of(each) in {vpc_id, ""}]
    return [each for each in mine if not _rows(each) and not _is_known(tx, each)]


def _has_main_table(tx: Transaction, vpc_id: str) -> bool:
    main = (RouteTableAssociation.vpc_id == vpc_id, RouteTableAssociation.subnet_id.is_(None))
    return tx.session.scalar(select(RouteTableAssociation.route_table_id).where(*main)) is not None


def _name(one: Unclaimed) -> str:
    if one.resource is not None and one.kind == pb.KIND_SECURITY_GROUP:
        return f"the security group {one.id} ({one.resource.security_group.name})"
    return f"the {pb.Kind.Name(pb.Kind.ValueType(one.kind)).removeprefix('KIND_').replace('_', ' ').lower()} {one.id}"


def _is_known(tx: Transaction, one: Unclaimed) -> bool:
    """Tell whether the database has a part, perhaps as it was earlier: its word counts."""
    return tx.session.get(_MODELS[one.kind], one.id.partition(":")[0]) is not None


def _is_named_anew(tx: Transaction, one: Unclaimed) -> bool:
    """Tell whether another group of the VPC has the name of a group by now: then it is not made again."""
    if one.resource is None or one.kind != pb.KIND_SECURITY_GROUP:
        return False
    body = one.resource.security_group
    same = (SecurityGroup.vpc_id == body.vpc_id, SecurityGroup.name == body.name, SecurityGroup.id != one.id)
    return tx.session.scalar(select(SecurityGroup.id).where(*same)) is not None


def _is_whole(tx: Transaction, one: Unclaimed) -> bool:
    """Tell whether both VPCs of a peering connection are known."""
    assert one.resource is not None
    body = one.resource.peering
    return all(tx.session.get(Vpc, each) is not None for each in (body.vpc_id, body.peer_vpc_id))


def _rows(one: Unclaimed) -> NotedRows:
    """Return the rows that a host keeps of a part; raises WrongState for what are none."""
    body = one.resource.WhichOneof("body") if one.resource is not None else None
    if body is None:
        return {}
    try:
        return noted_rows.read(getattr(getattr(one.resource, body), "rows", b""))
    except ValueError as error:
        raise WrongState("vpc", f"What {one.host_id} keeps of {one.id} cannot be read: {error}.") from error


def _own_rows(one: Unclaimed, vpc_id: str, account_id: str) -> Iterator[tuple[type[Base], dict[str, Any]]]:
    """List the rows of a part; raises WrongState for any that belong to another account or to another VPC."""
    rows = _rows(one)
    ids = {row.get("id") for found in rows.values() for row in found}
    for model in _TABLES:
        for row in rows.get(model.__tablename__, ()):
            values = noted_rows.values(model, row)
            is_tag_of_peer = one.kind == pb.KIND_PEERING and model is Tag
            owners = {values.get("account_id", account_id), values.get("accepter_account_id")}
            its_own = account_id in owners or is_tag_of_peer
            here = {values.get("vpc_id", vpc_id), values.get("accepter_vpc_id"), values.get("requester_vpc_id")}
            parent = _PARENTS.get(model)
            if not its_own or vpc_id not in here or (parent is not None and values.get(parent) not in ids):
                raise WrongState("vpc", f"What {one.host_id} keeps of {one.id} belongs to others.")
            yield model, values


def _insert(tx: Transaction, networks: Networks, model: type[Base], values: dict[str, Any]) -> None:
    """Insert a row unless it is there; raises WrongState where another one is in its place."""
    values |= _ANEW.get(model, {})
    key = tuple(values.get(column.name) for column in inspect(model).primary_key)
    if tx.session.get(model, key) is not None:
        return
    if model is Vpc and values.get("is_default") and _has_default(tx, str(values["account_id"])):
        values["is_default"] = False
        networks.notes.append(f"{values['id']} is not the default VPC any more: there is another one")
    if missing := [each for each in _required(model) if values.get(each) is None]:
        raise WrongState("vpc", f"{key[0]} cannot be made again: its host does not know {', '.join(missing)}.")
    if not insert_if_absent(tx.session, model, with_defaults(model, values)):
        raise WrongState("vpc", f"{key[0]} of {model.__tablename__} cannot be made again: another one has its place.")


def _required(model: type[Base]) -> Iterable[str]:
    """List the columns of a table that must be given."""
    return (each.key for each in inspect(model).columns if not each.nullable and each.default is None)


def _has_default(tx: Transaction, account_id: str) -> bool:
    mine = (Vpc.account_id == account_id, Vpc.is_default.is_(True))
    return tx.session.scalar(select(Vpc.id).where(*mine)) is not None
