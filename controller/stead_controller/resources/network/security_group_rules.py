"""Authorize, revoke, modify and describe rules of security groups; hosts are notified in the same transaction.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html and
https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import delete, select

from stead_controller.catalog import ids
from stead_controller.db.tables import PrefixList, SecurityGroup, SecurityGroupRule, Vpc
from stead_controller.errors import AlreadyExists, NotFound
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import notify_hosts, rule_peers, security_groups
from stead_controller.resources.network.permissions import Permission, Rule, check_description

FILTERS: Final[dict[str, Condition]] = {
    "group-id": text(SecurityGroupRule.group_id),
    "security-group-rule-id": text(SecurityGroupRule.id),
}


@dataclass(frozen=True, slots=True)
class GroupName:
    """The group that a request names: by id, or by name in the default VPC."""

    group_id: str | None = None
    group_name: str | None = None


type RuleRow = SecurityGroupRule


@dataclass(frozen=True, slots=True)
class DescribedSecurityGroupRule:
    """A rule with its tags, and the status of the peering connection that it refers through, None of one without."""

    rule: SecurityGroupRule
    arn: str
    peering_status: str | None
    tags: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Revoked:
    """The result of a revocation: the removed rules, and the requested ones that a default VPC's group did not have."""

    rules: list[SecurityGroupRule]
    unknown: list[SecurityGroupRule]


def authorize(
    tx: Transaction,
    caller: Caller,
    name: GroupName,
    permissions: Sequence[Permission],
    *,
    egress: bool,
    rule_tags: Mapping[str, str],
) -> list[SecurityGroupRule]:
    """Add rules to a group, all or none.

    Raises MalformedId, NotFound, InvalidParameter, AlreadyExists (InvalidPermission.Duplicate), LimitExceeded.
    """
    group = security_groups.find(tx, caller, group_id=name.group_id, group_name=name.group_name)
    wanted = rule_peers.rules_of(tx, caller, group, permissions)
    existing = _existing(tx, group, egress=egress)
    _check_new(wanted, existing)
    check_quota(tx, group.account_id, [*existing, *wanted])
    rows = [_row(group, rule, egress=egress) for rule in wanted]
    tx.session.add_all(rows)
    tags.create_on_launch(
        tx, caller, [("security-group-rule", row.id) for row in rows], {"security-group-rule": rule_tags}
    )
    notify_hosts.security_group(tx, group.id, group.vpc_id)
    return rows


def revoke(
    tx: Transaction, caller: Caller, name: GroupName, permissions: Sequence[Permission], *, egress: bool
) -> Revoked:
    """Remove rules from a group by what they allow.

    Raises NotFound (InvalidPermission.NotFound) and removes nothing when the group has not all of them; in a default
    VPC the existing rules are removed and the others are reported, as in EC2.
    """
    group = security_groups.find(tx, caller, group_id=name.group_id, group_name=name.group_name)
    existing = _existing(tx, group, egress=egress)
    wanted = rule_peers.rules_of(tx, caller, group, permissions, known_peers=_peers_of(existing))
    unknown = [rule for rule in wanted if rule.identity not in existing]
    if unknown and not _is_default_vpc(tx, group):
        raise NotFound("security-group-rule", [str(rule) for rule in unknown], code="InvalidPermission.NotFound")
    doomed = [existing[rule.identity] for rule in wanted if rule.identity in existing]
    _remove(tx, group, doomed)
    return Revoked(doomed, [_row(group, rule, egress=egress) for rule in unknown])


def revoke_by_id(
    tx: Transaction, caller: Caller, name: GroupName, rule_ids: Sequence[str], *, egress: bool
) -> list[SecurityGroupRule]:
    """Remove rules of a group by their ids, all or none; raises MalformedId, NotFound."""
    group = security_groups.find(tx, caller, group_id=name.group_id, group_name=name.group_name)
    doomed = _require_direction(_rules_of(tx, group, rule_ids), egress=egress)
    _remove(tx, group, doomed)
    return doomed


def modify(tx: Transaction, caller: Caller, group_id: str, changes: Mapping[str, Permission]) -> None:
    """Modify rules of a group, by their ids, all or none.

    See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySecurityGroupRules.html.
    Raises MalformedId, NotFound, InvalidParameter, AlreadyExists, LimitExceeded.
    """
    group = lookup.find(tx, caller, "security-group", SecurityGroup, group_id)
    rows = _rules_of(tx, group, list(changes))
    for egress in (False, True):
        doomed = [row for row in rows if row.egress is egress]
        if not doomed:
            continue
        existing = _existing(tx, group, egress=egress)
        changed = {row.id for row in doomed}
        remaining = {rule: row for rule, row in existing.items() if row.id not in changed}
        known = _peers_of(existing)
        wanted = rule_peers.rules_of(tx, caller, group, [changes[row.id] for row in doomed], known_peers=known)
        _check_new(wanted, remaining)
        check_quota(tx, group.account_id, [*remaining, *wanted])
        reached = {rule.peer_group_id: rule.reached for rule in existing}
        for row, rule in zip(doomed, wanted, strict=True):
            _fill(row, replace(rule, reached=rule.reached or reached.get(rule.peer_group_id)))
    tx.session.flush()
    notify_hosts.security_group(tx, group.id, group.vpc_id)


def describe_again(
    tx: Transaction, caller: Caller, name: GroupName, permissions: Sequence[Permission], *, egress: bool
) -> None:
    """Update the descriptions of rules, which are found by what they allow.

    Raises NotFound (InvalidPermission.NotFound) and changes nothing when the group has not all of them.
    """
    group = security_groups.find(tx, caller, group_id=name.group_id, group_name=name.group_name)
    existing = _existing(tx, group, egress=egress)
    wanted = rule_peers.rules_of(tx, caller, group, permissions, known_peers=_peers_of(existing))
    unknown = [str(rule) for rule in wanted if rule.identity not in existing]
    if unknown:
        raise NotFound("security-group-rule", unknown, code="InvalidPermission.NotFound")
    for rule in wanted:
        existing[rule.identity].description = rule.description


def describe_again_by_id(
    tx: Transaction, caller: Caller, name: GroupName, descriptions: Mapping[str, str | None], *, egress: bool
) -> None:
    """Update the descriptions of rules, which are found by their ids, all or none.

    Raises MalformedId, NotFound, InvalidParameter.
    """
    group = security_groups.find(tx, caller, group_id=name.group_id, group_name=name.group_name)
    checked = {rule_id: check_description(description) for rule_id, description in descriptions.items()}
    for row in _require_direction(_rules_of(tx, group, list(descriptions)), egress=egress):
        row.description = checked[row.id]


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedSecurityGroupRule]:
    """Find the rules of the caller's groups, sorted by id; raises MalformedId, NotFound."""
    of_groups = (one for one in asked.filters if one.name == "group-id")
    lookup.check_form("security-group", (value for one in of_groups for value in one.exact))
    found = lookup.select_page(tx, caller, "security-group-rule", SecurityGroupRule, asked, conditions=FILTERS)
    return described(tx, caller, cloud, found)


def described(
    tx: Transaction, caller: Caller, cloud: Cloud, rows: Sequence[SecurityGroupRule]
) -> list[DescribedSecurityGroupRule]:
    """Return rules with their details."""
    tagged = tags.pairs_of(tx, caller.account_id, [row.id for row in rows])
    arn = f"arn:{cloud.partition}:ec2:{cloud.region}:{caller.account_id}:security-group-rule"
    statuses = security_groups.peering_statuses(tx, rows)
    return [
        DescribedSecurityGroupRule(
            row,
            f"{arn}/{row.id}",
            None if row.peering_id is None else statuses.get(row.peering_id, security_groups.FORGOTTEN_PEERING),
            tagged.get(row.id, ()),
        )
        for row in rows
    ]


def _existing(tx: Transaction, group: SecurityGroup, *, egress: bool) -> dict[Rule, SecurityGroupRule]:
    """Return a group's rules of one direction by what they allow."""
    query = select(SecurityGroupRule).where(
        SecurityGroupRule.group_id == group.id, SecurityGroupRule.egress.is_(egress)
    )
    return {rule_peers.of_row(row): row for row in tx.session.scalars(query)}


def _peers_of(rules: Iterable[Rule]) -> set[str]:
    return {rule.peer_group_id for rule in rules if rule.peer_group_id is not None}


def _rules_of(tx: Transaction, group: SecurityGroup, rule_ids: Sequence[str]) -> list[SecurityGroupRule]:
    """Return rules of a group by their ids, each once; raises MalformedId, NotFound for those of other groups."""
    lookup.check_form("security-group-rule", rule_ids)
    query = select(SecurityGroupRule).where(SecurityGroupRule.group_id == group.id)
    known = {row.id: row for row in tx.session.scalars(query)}
    missing = [rule_id for rule_id in dict.fromkeys(rule_ids) if rule_id not in known]
    if missing:
        raise NotFound("security-group-rule", missing)
    return [known[rule_id] for rule_id in dict.fromkeys(rule_ids)]


def _require_direction(rows: list[SecurityGroupRule], *, egress: bool) -> list[SecurityGroupRule]:
    """Return the rows; raises NotFound for those of the other direction."""
    others = [row.id for row in rows if row.egress is not egress]
    if others:
        raise NotFound("security-group-rule", others)
    return rows


def _check_new(wanted: Iterable[Rule], existing: Collection[Rule]) -> None:
    for rule in wanted:
        if rule.identity in existing:
            raise AlreadyExists("security-group-rule", f'the specified rule "{rule}" already exists')


def check_quota(tx: Transaction, account_id: str, rules: Iterable[Rule]) -> None:
    """Raise LimitExceeded when a group of an account cannot have all these rules of one direction.

    IPv4 and IPv6 are counted apart; a reference to a group counts for both.
    A prefix list counts with its maximum number of entries, for its own IP version.
    """
    versions: Counter[int] = Counter()
    listed: Counter[str] = Counter()
    for rule in rules:
        if rule.prefix_list_id is not None:
            listed[rule.prefix_list_id] += 1
        else:
            versions[4] += rule.cidr_ipv6 is None
            versions[6] += rule.cidr_ipv4 is None
    for prefix_list in lookup.rows(tx, PrefixList, listed):
        version = 6 if prefix_list.address_family == "IPv6" else 4
        versions[version] += listed[prefix_list.id] * prefix_list.max_entries
    most = quotas.limit(tx, account_id, quotas.RULES_PER_SECURITY_GROUP)
    if max(versions.values(), default=0) > most:
        raise quotas.exceeded(quotas.RULES_PER_SECURITY_GROUP, most)


def check_group_quota(tx: Transaction, group_id: str) -> None:
    """Raise LimitExceeded when a group has too many rules, because a prefix list in its rules grew."""
    rows = tx.session.scalars(select(SecurityGroupRule).where(SecurityGroupRule.group_id == group_id)).all()
    for egress in (False, True):
        of_one = [row for row in rows if row.egress is egress]
        if of_one:
            check_quota(tx, of_one[0].account_id, [rule_peers.of_row(row) for row in of_one])


def _row(group: SecurityGroup, rule: Rule, *, egress: bool) -> SecurityGroupRule:
    row = SecurityGroupRule(
        id=ids.new_id("security-group-rule"), account_id=group.account_id, group_id=group.id, egress=egress
    )
    _fill(row, rule)
    return row


def _fill(row: SecurityGroupRule, rule: Rule) -> None:
    """Set a row's columns by a rule."""
    row.protocol = rule.protocol
    row.from_port = rule.from_port
    row.to_port = rule.to_port
    row.cidr_ipv4 = rule.cidr_ipv4
    row.cidr_ipv6 = rule.cidr_ipv6
    row.peer_group_id = rule.peer_group_id
    row.prefix_list_id = rule.prefix_list_id
    row.description = rule.description
    row.peer_account_id = rule.reached.account_id if rule.reached else None
    row.peer_vpc_id = rule.reached.vpc_id if rule.reached else None
    row.peering_id = rule.reached.peering_id if rule.reached else None


def _remove(tx: Transaction, group: SecurityGroup, doomed: Sequence[SecurityGroupRule]) -> None:
    doomed_ids = [row.id for row in doomed]
    for batch in lookup.batches(doomed_ids):
        tx.session.execute(
            delete(SecurityGroupRule)
            .where(SecurityGroupRule.id.in_(batch))
            .execution_options(synchronize_session=False)
        )
    tags.remove_all(tx, doomed_ids)
    notify_hosts.security_group(tx, group.id, group.vpc_id)


def _is_default_vpc(tx: Transaction, group: SecurityGroup) -> bool:
    return tx.session.get_one(Vpc, group.vpc_id).is_default
