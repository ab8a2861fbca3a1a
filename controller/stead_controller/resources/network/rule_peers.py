"""Convert a request's permissions to rules: parse blocks, find groups and prefix lists."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import SecurityGroup, SecurityGroupRule
from stead_controller.desired import peered_vpcs
from stead_controller.errors import InvalidParameter, MissingParameter, NotFound
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import vpc_endpoint_services
from stead_controller.resources.network.permissions import (
    GroupReference,
    Permission,
    Reached,
    Rule,
    canonical,
    check_description,
    rules_of_blocks,
)

_PERMISSIONS_AT_ONCE: Final = 1000


def rules_of(
    tx: Transaction,
    caller: Caller,
    group: SecurityGroup,
    permissions: Sequence[Permission],
    *,
    known_peers: Collection[str] = (),
) -> list[Rule]:
    """Return the rules that a request names, each once.

    `known_peers` are ids of groups that are accepted even if deleted: those in the group's existing rules.
    Raises MissingParameter, InvalidParameter, MalformedId, NotFound.
    """
    if not permissions:
        raise MissingParameter("ipPermissions")
    if len(permissions) > _PERMISSIONS_AT_ONCE:
        raise InvalidParameter(f"At most {_PERMISSIONS_AT_ONCE} permissions can be given at once")
    rules: list[Rule] = []
    for permission in permissions:
        found = list(rules_of_blocks(permission))
        for reference in permission.groups:
            description = check_description(reference.description)
            peer_id, reached = reference.group_id, None
            if peer_id not in known_peers:
                peer_id, reached = _find_group(tx, caller, group, reference)
            allowed = canonical(permission)
            found.append(replace(allowed, peer_group_id=peer_id, reached=reached, description=description))
        for listed in permission.prefix_lists:
            prefix_list = vpc_endpoint_services.find_list(tx, caller, listed.prefix_list_id)
            description = check_description(listed.description)
            found.append(replace(canonical(permission), prefix_list_id=prefix_list.id, description=description))
        if not found:
            raise InvalidParameter(
                "The specified security group rule names no IP range, no group and no prefix list",
                code="InvalidPermission.Malformed",
            )
        rules += found
    repeated = [rule for rule, times in Counter(rule.identity for rule in rules).items() if times > 1]
    if repeated:
        raise InvalidParameter(f"The same permission must not appear multiple times ({repeated[0]})")
    return rules


def of_row(row: SecurityGroupRule) -> Rule:
    """Return a row as a rule, without its description."""
    return Rule(
        row.protocol,
        row.from_port,
        row.to_port,
        row.cidr_ipv4,
        row.cidr_ipv6,
        row.peer_group_id,
        row.prefix_list_id,
        reached=Reached(row.peer_account_id, row.peer_vpc_id or "", row.peering_id) if row.peering_id else None,
    )


def _find_group(
    tx: Transaction, caller: Caller, group: SecurityGroup, reference: GroupReference
) -> tuple[str, Reached | None]:
    """Return the id of a group that a rule may refer to, and how a group of a peered VPC is reached.

    Another account's group is found only behind an active peering connection, and only with that account's id.
    """
    named = reference.group_id or reference.group_name
    if not named:
        raise MissingParameter("groupId")
    owner = reference.user_id or caller.account_id
    theirs = select(SecurityGroup).where(SecurityGroup.account_id == owner)
    if reference.group_id:
        lookup.check_form("security-group", [reference.group_id])
        found = tx.session.scalar(theirs.where(SecurityGroup.id == reference.group_id))
    else:
        found = tx.session.scalar(theirs.where(SecurityGroup.name == named, SecurityGroup.vpc_id == group.vpc_id))
    if found is None:
        raise NotFound("security-group", named)
    if reference.vpc_id not in (None, found.vpc_id):
        raise NotFound("security-group", named)
    if found.vpc_id == group.vpc_id:
        if reference.peering_id is not None:
            raise NotFound("vpc-peering-connection", reference.peering_id)
        return found.id, None
    peering = peered_vpcs.active_between(tx, group.vpc_id, found.vpc_id)
    if peering is None and owner != caller.account_id:
        raise NotFound("security-group", named)
    if peering is None:
        raise InvalidParameter(
            "You have specified two resources that belong to different networks.", code="InvalidGroup.NotFound"
        )
    if reference.peering_id is not None and reference.peering_id != peering.id:
        raise NotFound("vpc-peering-connection", reference.peering_id)
    return found.id, Reached(owner if owner != caller.account_id else None, found.vpc_id, peering.id)
