"""The security groups of a network interface: chosen by ids, replaced all at once."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, delete, insert, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import InterfaceGroup, NetworkInterface, SecurityGroup
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas

_DEFAULT: Final = Prepared(
    select(SecurityGroup.id).where(
        SecurityGroup.account_id == bindparam("account_id"),
        SecurityGroup.vpc_id == bindparam("vpc_id"),
        SecurityGroup.name == "default",
    )
)
_JOIN: Final = Prepared(insert(InterfaceGroup))


def choose(
    tx: Transaction, caller: Caller, vpc_id: str, group_ids: Sequence[str], subnet_id: str | None = None
) -> tuple[str, ...]:
    """Check ids of groups and remove duplicates, or return the VPC's default group when none is given.

    `subnet_id` is the one that a launch names. Raises MalformedId, NotFound for a group that is not the caller's,
    InvalidParameter for one of another VPC, LimitExceeded.
    """
    wanted = tuple(dict.fromkeys(group_ids))
    if not wanted:
        return (_default(tx, caller, vpc_id),)
    own = SecurityGroup.account_id == caller.account_id
    try:
        lookup.require(tx, "security-group", SecurityGroup.id, wanted, own, SecurityGroup.vpc_id == vpc_id)
    except NotFound as absent:
        lookup.require(tx, "security-group", SecurityGroup.id, absent.missing, own)
        raise _elsewhere(absent.missing[0], subnet_id) from absent
    most = quotas.limit(tx, caller.account_id, quotas.SECURITY_GROUPS_PER_INTERFACE)
    if len(wanted) > most:
        raise quotas.exceeded(quotas.SECURITY_GROUPS_PER_INTERFACE, most)
    return wanted


def _elsewhere(group_id: str, subnet_id: str | None) -> InvalidParameter:
    if subnet_id is not None:
        text = f"Security group {group_id} and subnet {subnet_id} belong to different networks."
        return InvalidParameter(text, code="InvalidParameter")
    return InvalidParameter(
        "You have specified two resources that belong to different networks.", code="InvalidGroup.NotFound"
    )


def ids_of(tx: Transaction, caller: Caller, vpc_id: str, names: Sequence[str]) -> list[str]:
    """Return the ids of the caller's groups of these names in a VPC; raises NotFound with all absent names."""
    if not names:
        return []
    query = select(SecurityGroup.name, SecurityGroup.id).where(
        SecurityGroup.account_id == caller.account_id, SecurityGroup.vpc_id == vpc_id, SecurityGroup.name.in_(names)
    )
    found = {row[0]: row[1] for row in tx.session.execute(query)}
    missing = [name for name in dict.fromkeys(names) if name not in found]
    if missing:
        raise NotFound("security-group", missing)
    return [found[name] for name in names]


def join(tx: Transaction, interface_id: str, group_ids: Sequence[str]) -> None:
    """Put a new interface, whose row is flushed, into groups."""
    _JOIN.many(tx.connection, [{"interface_id": interface_id, "group_id": group_id} for group_id in group_ids])


def of(tx: Transaction, interface_id: str) -> list[str]:
    """List the ids of an interface's groups, sorted."""
    query = select(InterfaceGroup.group_id).where(InterfaceGroup.interface_id == interface_id)
    return sorted(tx.session.scalars(query))


def replace(tx: Transaction, interface: NetworkInterface, group_ids: Sequence[str]) -> None:
    """Put an interface into exactly these groups; the caller must notify hosts."""
    mine = InterfaceGroup.interface_id == interface.id
    tx.session.execute(delete(InterfaceGroup).where(mine).execution_options(synchronize_session=False))
    join(tx, interface.id, group_ids)


def _default(tx: Transaction, caller: Caller, vpc_id: str) -> str:
    found: str | None = _DEFAULT.scalar(tx.connection, {"account_id": caller.account_id, "vpc_id": vpc_id})
    if found is None:
        raise NotFound("security-group", "default")
    return found
