"""Create, change and find network ACLs, and associate them with subnets; notifies hosts in the same transaction.

See https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html and, for the limits,
https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, select

from stead_controller.catalog import ids
from stead_controller.db.tables import NetworkAcl, NetworkAclAssociation, NetworkAclEntry, Subnet, Vpc
from stead_controller.errors import AlreadyExists, InUse, InvalidParameter, NotFound
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Condition, Selection, exists_where, flag, number, shown_as, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import notify_hosts
from stead_controller.resources.network.acl_entries import ALL_PROTOCOLS, AskedEntry, check_number, read_entry

# EC2's default quotas

_ALLOW_IPV4: Final = 100
_ALLOW_IPV6: Final = 101
_DENY_IPV4: Final = 32767
_DENY_IPV6: Final = 32768
_ANY_IPV4: Final = "0.0.0.0/0"
_ANY_IPV6: Final = "::/0"

_associations: Final = select(NetworkAclAssociation.id).where(NetworkAclAssociation.acl_id == NetworkAcl.id)
_entries: Final = (
    select(NetworkAclEntry.rule_number).where(NetworkAclEntry.acl_id == NetworkAcl.id).correlate(NetworkAcl)
)
_associated: Final = _associations.correlate(NetworkAcl)

FILTERS: Final[dict[str, Condition]] = {
    "association.association-id": exists_where(_associated, text(NetworkAclAssociation.id)),
    "association.network-acl-id": exists_where(_associated, text(NetworkAclAssociation.acl_id)),
    "association.subnet-id": exists_where(_associated, text(NetworkAclAssociation.subnet_id)),
    "default": flag(NetworkAcl.is_default),
    "entry.cidr": exists_where(_entries, text(NetworkAclEntry.cidr_ipv4)),
    "entry.egress": exists_where(_entries, flag(NetworkAclEntry.egress)),
    "entry.icmp.code": exists_where(_entries, number(NetworkAclEntry.icmp_code)),
    "entry.icmp.type": exists_where(_entries, number(NetworkAclEntry.icmp_type)),
    "entry.ipv6-cidr": exists_where(_entries, text(NetworkAclEntry.cidr_ipv6)),
    "entry.port-range.from": exists_where(_entries, number(NetworkAclEntry.from_port)),
    "entry.port-range.to": exists_where(_entries, number(NetworkAclEntry.to_port)),
    "entry.protocol": exists_where(_entries, text(NetworkAclEntry.protocol)),
    "entry.rule-action": exists_where(_entries, shown_as(NetworkAclEntry.allow, {True: "allow", False: "deny"})),
    "entry.rule-number": exists_where(_entries, number(NetworkAclEntry.rule_number)),
    "network-acl-id": text(NetworkAcl.id),
    "owner-id": text(NetworkAcl.account_id),
    "vpc-id": text(NetworkAcl.vpc_id),
}


@dataclass(frozen=True, slots=True)
class DescribedNetworkAcl:
    """An ACL with its rules, the outbound ones first and by number, its associations and its tags."""

    acl: NetworkAcl
    entries: Sequence[NetworkAclEntry]
    associations: Sequence[NetworkAclAssociation]
    tags: Sequence[tuple[str, str]]


def create(
    tx: Transaction,
    caller: Caller,
    vpc_id: str,
    *,
    acl_tags: Mapping[str, str],
    repeatable: Repeatable,
    now: datetime,
) -> str:
    """Create an ACL that denies everything, and return its id.

    Raises MalformedId, NotFound, LimitExceeded, IdempotencyMismatch.
    """
    known = client_tokens.replay_request(tx, caller, repeatable, now)
    if known is not None:
        return known
    vpc = lookup.find(tx, caller, "vpc", Vpc, vpc_id)
    quotas.check(
        tx,
        vpc.account_id,
        quotas.NETWORK_ACLS_PER_VPC,
        NetworkAcl.id,
        NetworkAcl.vpc_id == vpc.id,
    )
    acl = _add(tx, vpc, is_default=False, now=now)
    tags.create_on_launch(tx, caller, [("network-acl", acl.id)], {"network-acl": acl_tags})
    notify_hosts.network_acl(tx, acl.id, acl.vpc_id)
    client_tokens.remember_request(tx, caller, repeatable, acl.id, now)
    return acl.id


def create_default(tx: Transaction, vpc: Vpc, now: datetime) -> None:
    """Make the default ACL of a new VPC, which allows everything."""
    acl = _add(tx, vpc, is_default=True, now=now)
    _add_entries(tx, acl.id, _ALLOW_IPV4, allow=True, cidr_ipv4=_ANY_IPV4)
    notify_hosts.network_acl(tx, acl.id, acl.vpc_id)


def associate_new_subnet(tx: Transaction, subnet: Subnet) -> None:
    """Associate a new subnet with its VPC's default ACL, as in EC2."""
    acl_id = tx.session.scalars(
        select(NetworkAcl.id).where(NetworkAcl.vpc_id == subnet.vpc_id, NetworkAcl.is_default.is_(True))
    ).one()
    association_id = ids.new_id("network-acl-association")
    tx.session.add(
        NetworkAclAssociation(id=association_id, account_id=subnet.account_id, acl_id=acl_id, subnet_id=subnet.id)
    )
    notify_hosts.subnet(tx, subnet)


def allow_ipv6(tx: Transaction, vpc_id: str) -> None:
    """Add the final IPv6 deny rule to all ACLs of a VPC with its first IPv6 block, and an allow rule to the default.

    See https://docs.aws.amazon.com/vpc/latest/userguide/default-network-acl.html. Idempotent.
    """
    for acl in tx.session.scalars(select(NetworkAcl).where(NetworkAcl.vpc_id == vpc_id)).all():
        known = set(
            tx.session.scalars(select(NetworkAclEntry.rule_number).where(NetworkAclEntry.acl_id == acl.id)).all()
        )
        if _DENY_IPV6 in known:
            continue
        _add_entries(tx, acl.id, _DENY_IPV6, allow=False, cidr_ipv6=_ANY_IPV6)
        if acl.is_default and _ALLOW_IPV6 not in known:
            _add_entries(tx, acl.id, _ALLOW_IPV6, allow=True, cidr_ipv6=_ANY_IPV6)
        tx.session.flush()
        notify_hosts.network_acl(tx, acl.id, acl.vpc_id)


def remove(tx: Transaction, caller: Caller, acl_id: str) -> None:
    """Delete an ACL; raises MalformedId, NotFound, InvalidParameter for a default one, InUse with subnets."""
    acl = lookup.find(tx, caller, "network-acl", NetworkAcl, acl_id)
    if acl.is_default:
        raise InvalidParameter(f"The network ACL '{acl.id}' is the default ACL of its VPC and cannot be deleted.")
    used = select(NetworkAclAssociation.id).where(NetworkAclAssociation.acl_id == acl.id).limit(1)
    if tx.session.scalar(used) is not None:
        raise InUse(f"The networkAcl '{acl.id}' has dependencies and cannot be deleted.")
    tx.session.delete(acl)
    tx.session.flush()
    notify_hosts.network_acl(tx, acl.id, acl.vpc_id)
    tags.remove_all(tx, [acl.id])


def remove_default(tx: Transaction, vpc_id: str) -> None:
    """Delete the default ACL of a VPC that is being deleted and has no subnets; the caller checks for other ACLs."""
    doomed = tx.session.scalars(
        select(NetworkAcl.id).where(NetworkAcl.vpc_id == vpc_id, NetworkAcl.is_default.is_(True))
    ).all()
    tx.session.execute(delete(NetworkAclAssociation).where(NetworkAclAssociation.acl_id.in_(doomed)))
    tx.session.execute(delete(NetworkAcl).where(NetworkAcl.id.in_(doomed)))
    for acl_id in doomed:
        notify_hosts.network_acl(tx, acl_id, vpc_id)
    tags.remove_all(tx, doomed)


def has_others(tx: Transaction, vpc_id: str) -> bool:
    """Tell whether a VPC has ACLs besides its default one, so that it cannot be deleted."""
    query = select(NetworkAcl.id).where(NetworkAcl.vpc_id == vpc_id, NetworkAcl.is_default.is_(False)).limit(1)
    return tx.session.scalar(query) is not None


def create_entry(tx: Transaction, caller: Caller, acl_id: str, asked: AskedEntry) -> None:
    """Add a rule to an ACL.

    Raises MalformedId, NotFound, InvalidParameter, AlreadyExists for a number in use, LimitExceeded.
    """
    acl = lookup.find(tx, caller, "network-acl", NetworkAcl, acl_id)
    entry = read_entry(asked)
    if _find_entry(tx, acl.id, entry.rule_number, egress=entry.egress) is not None:
        raise AlreadyExists(
            "network-acl-entry", f"The network acl entry identified by {entry.rule_number} already exists."
        )
    same_block = NetworkAclEntry.cidr_ipv6 if entry.cidr_ipv6 else NetworkAclEntry.cidr_ipv4
    quotas.check(
        tx,
        acl.account_id,
        quotas.RULES_PER_NETWORK_ACL,  # for each direction and IP version, including the final deny rule
        NetworkAclEntry.rule_number,
        NetworkAclEntry.acl_id == acl.id,
        NetworkAclEntry.egress.is_(entry.egress),
        same_block.is_not(None),
    )
    tx.session.add(NetworkAclEntry(acl_id=acl.id, **asdict(entry)))
    tx.session.flush()
    notify_hosts.network_acl(tx, acl.id, acl.vpc_id)


def replace_entry(tx: Transaction, caller: Caller, acl_id: str, asked: AskedEntry) -> None:
    """Replace the rule with the same number; raises MalformedId, NotFound, InvalidParameter."""
    acl = lookup.find(tx, caller, "network-acl", NetworkAcl, acl_id)
    entry = read_entry(asked)
    row = _require_entry(tx, acl.id, entry.rule_number, egress=entry.egress)
    for name, value in asdict(entry).items():
        setattr(row, name, value)
    tx.session.flush()
    notify_hosts.network_acl(tx, acl.id, acl.vpc_id)


def remove_entry(tx: Transaction, caller: Caller, acl_id: str, rule_number: int, *, egress: bool) -> None:
    """Delete a rule of an ACL; raises MalformedId, NotFound, InvalidParameter for a final deny rule."""
    acl = lookup.find(tx, caller, "network-acl", NetworkAcl, acl_id)
    check_number(rule_number)
    tx.session.delete(_require_entry(tx, acl.id, rule_number, egress=egress))
    tx.session.flush()
    notify_hosts.network_acl(tx, acl.id, acl.vpc_id)


def replace_association(tx: Transaction, caller: Caller, association_id: str, acl_id: str) -> str:
    """Associate the subnet of an association with another ACL of its VPC, and return the new association's id.

    Raises MalformedId, NotFound, InvalidParameter for an ACL of another VPC.
    """
    known = lookup.find(tx, caller, "network-acl-association", NetworkAclAssociation, association_id)
    acl = lookup.find(tx, caller, "network-acl", NetworkAcl, acl_id)
    subnet = tx.session.get_one(Subnet, known.subnet_id)
    if acl.vpc_id != subnet.vpc_id:
        raise InvalidParameter(f"networkAcl {acl.id} and subnet {subnet.id} belong to different networks")
    tx.session.delete(known)
    tx.session.flush()
    made = NetworkAclAssociation(
        id=ids.new_id("network-acl-association"), account_id=subnet.account_id, acl_id=acl.id, subnet_id=subnet.id
    )
    tx.session.add(made)
    tx.session.flush()
    notify_hosts.subnet(tx, subnet)
    return made.id


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedNetworkAcl]:
    """Find the caller's ACLs, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "network-acl", NetworkAcl, asked, conditions=FILTERS)
    acl_ids = [acl.id for acl in found]
    entries, associations = _entries_of(tx, acl_ids), _associations_of(tx, acl_ids)
    tagged = tags.pairs_of(tx, caller.account_id, acl_ids)
    return [DescribedNetworkAcl(acl, entries[acl.id], associations[acl.id], tagged.get(acl.id, ())) for acl in found]


def _add(tx: Transaction, vpc: Vpc, *, is_default: bool, now: datetime) -> NetworkAcl:
    """Add an ACL with only its final deny rules: for IPv6 too, if another ACL of the VPC has that."""
    with_ipv6 = (
        select(NetworkAclEntry.acl_id)
        .join(NetworkAcl, NetworkAcl.id == NetworkAclEntry.acl_id)
        .where(NetworkAcl.vpc_id == vpc.id, NetworkAclEntry.rule_number == _DENY_IPV6)
        .limit(1)
    )
    has_ipv6 = tx.session.scalar(with_ipv6) is not None
    acl = NetworkAcl(
        id=ids.new_id("network-acl"), account_id=vpc.account_id, vpc_id=vpc.id, is_default=is_default, created=now
    )
    tx.session.add(acl)
    tx.session.flush()
    _add_entries(tx, acl.id, _DENY_IPV4, allow=False, cidr_ipv4=_ANY_IPV4)
    if has_ipv6:
        _add_entries(tx, acl.id, _DENY_IPV6, allow=False, cidr_ipv6=_ANY_IPV6)
    tx.session.flush()
    return acl


def _add_entries(tx: Transaction, acl_id: str, rule_number: int, *, allow: bool, **block: str) -> None:
    """Add a rule about all protocols in both directions."""
    for egress in (False, True):
        common = {"rule_number": rule_number, "protocol": ALL_PROTOCOLS, "allow": allow}
        tx.session.add(NetworkAclEntry(acl_id=acl_id, egress=egress, **common, **block))


def _count(tx: Transaction, vpc_id: str) -> int:
    return tx.session.scalars(select(func.count()).where(NetworkAcl.vpc_id == vpc_id)).one()


def _find_entry(tx: Transaction, acl_id: str, rule_number: int, *, egress: bool) -> NetworkAclEntry | None:
    return tx.session.get(NetworkAclEntry, (acl_id, egress, rule_number))


def _require_entry(tx: Transaction, acl_id: str, rule_number: int, *, egress: bool) -> NetworkAclEntry:
    found = _find_entry(tx, acl_id, rule_number, egress=egress)
    if found is None:
        direction = "egress" if egress else "ingress"
        raise NotFound("network-acl-entry", f"{direction} rule {rule_number} of {acl_id}")
    return found


def _entries_of(tx: Transaction, acl_ids: Sequence[str]) -> Mapping[str, list[NetworkAclEntry]]:
    found: dict[str, list[NetworkAclEntry]] = defaultdict(list)
    for batch in lookup.batches(acl_ids):
        query = (
            select(NetworkAclEntry)
            .where(NetworkAclEntry.acl_id.in_(batch))
            .order_by(NetworkAclEntry.egress.desc(), NetworkAclEntry.rule_number)
        )
        for entry in tx.session.scalars(query):
            found[entry.acl_id].append(entry)
    return found


def _associations_of(tx: Transaction, acl_ids: Iterable[str]) -> Mapping[str, list[NetworkAclAssociation]]:
    found: dict[str, list[NetworkAclAssociation]] = defaultdict(list)
    for batch in lookup.batches(acl_ids):
        query = (
            select(NetworkAclAssociation)
            .where(NetworkAclAssociation.acl_id.in_(batch))
            .order_by(NetworkAclAssociation.id)
        )
        for one in tx.session.scalars(query):
            found[one.acl_id].append(one)
    return found
