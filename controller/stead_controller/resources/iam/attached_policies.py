"""Managed policies attached to users, groups and roles."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, func, literal, or_, select

from stead_controller.db.tables import IamAttachedPolicy, IamGroup, IamInlinePolicy, IamRole, IamUser
from stead_controller.errors import InUse, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.iam import entities as iam_entities
from stead_controller.resources.iam import iam_quotas, managed_policies
from stead_controller.resources.iam.list_pages import ALL, Slice

_MODELS: Final[dict[str, Any]] = {"group": IamGroup, "role": IamRole, "user": IamUser}


class PolicyEntity(NamedTuple):
    """A principal that has a policy: `user`, `group` or `role`, its id and its name."""

    kind: str
    id: str
    name: str


def attach(tx: Transaction, caller: Caller, kind: str, name: str, policy_arn: str) -> None:
    """Attach a policy, if it is not yet; raises NotFound, InvalidParameter, LimitExceeded."""
    principal = iam_entities.find_principal(tx, caller, kind, name)
    policy = managed_policies.find(tx, caller, policy_arn, attachable=True)
    if tx.session.get(IamAttachedPolicy, (principal.id, policy.arn)) is not None:
        return
    iam_quotas.check(
        tx,
        f"PoliciesPer{kind.capitalize()}",
        quotas.limit(tx, caller.account_id, iam_quotas.POLICIES_PER[kind]),
        IamAttachedPolicy.policy_arn,
        IamAttachedPolicy.principal_id == principal.id,
    )
    tx.session.add(
        IamAttachedPolicy(
            principal_id=principal.id,
            policy_arn=policy.arn,
            policy_id=policy.row.id if policy.row else None,
            principal_type=kind,
            account_id=caller.account_id,
        )
    )


def detach(tx: Transaction, caller: Caller, kind: str, name: str, policy_arn: str) -> None:
    """Detach a policy; raises NotFound where it is not attached."""
    principal = iam_entities.find_principal(tx, caller, kind, name)
    gone = delete(IamAttachedPolicy).where(
        IamAttachedPolicy.principal_id == principal.id, IamAttachedPolicy.policy_arn == policy_arn
    )
    if not tx.session.execute(gone.returning(IamAttachedPolicy.policy_arn)).all():
        raise NotFound("iam-policy", policy_arn, message=f"Policy {policy_arn} was not found.")


def of_principal(tx: Transaction, caller: Caller, kind: str, name: str, path_prefix: str) -> list[str]:
    """The sorted ARNs of a principal's attached policies under a path prefix; raises NotFound, InvalidParameter."""
    principal = iam_entities.find_principal(tx, caller, kind, name)
    mine = select(IamAttachedPolicy.policy_arn).where(IamAttachedPolicy.principal_id == principal.id)
    arns = tx.session.scalars(mine.order_by(IamAttachedPolicy.policy_arn))
    return [arn for arn in arns if _path_of(arn).startswith(path_prefix)]


def _path_of(arn: str) -> str:
    return arn.split(":", 5)[5].removeprefix("policy").rpartition("/")[0] + "/"


def require_none(tx: Transaction, principal_id: str) -> None:
    """Raise InUse where a principal that is to be deleted has policies of any kind."""
    tx.session.flush()
    attached = select(IamAttachedPolicy.policy_arn).where(IamAttachedPolicy.principal_id == principal_id)
    if tx.session.scalar(attached.limit(1)) is not None:
        raise InUse("Cannot delete entity, must detach all policies first.")
    inline = select(IamInlinePolicy.name).where(IamInlinePolicy.principal_id == principal_id)
    if tx.session.scalar(inline.limit(1)) is not None:
        raise InUse("Cannot delete entity, must delete policies first.")


def counts(tx: Transaction, account_id: str, arns: Iterable[str]) -> dict[str, int]:
    """Return to how many principals of an account each policy is attached, without those attached to none."""
    rows = tx.session.execute(
        select(IamAttachedPolicy.policy_arn, func.count())
        .where(IamAttachedPolicy.account_id == account_id, IamAttachedPolicy.policy_arn.in_(list(arns)))
        .group_by(IamAttachedPolicy.policy_arn)
    )
    return dict(rows.all())


def boundary_counts(tx: Transaction, account_id: str, arns: Iterable[str]) -> dict[str, int]:
    """Return for how many users and roles of an account each policy is the boundary, without those of none."""
    wanted, found = list(arns), dict[str, int]()
    for model in (IamUser, IamRole):
        rows = tx.session.execute(
            select(model.boundary_arn, func.count())
            .where(model.account_id == account_id, model.boundary_arn.in_(wanted))
            .group_by(model.boundary_arn)
        )
        for arn, count in rows:
            if arn is not None:
                found[arn] = found.get(arn, 0) + count
    return found


def entities(
    tx: Transaction, caller: Caller, policy_arn: str, part: Slice, *, kinds: Iterable[str], usages: Iterable[str]
) -> list[PolicyEntity]:
    """The principals that have a policy attached, or as their boundary, by kind and id.

    `usages` are of `PermissionsPolicy`, `PermissionsBoundary`. Raises NotFound, InvalidParameter.
    """
    managed_policies.find(tx, caller, policy_arn)
    found: list[PolicyEntity] = []
    for kind in sorted(kinds):
        left = None if part.fetch is None else part.fetch - len(found)
        after = part.after or ("", "")
        if kind < after[0] or left == 0:
            continue
        model = _MODELS[kind]
        rest = Slice(left, (after[1],) if kind == after[0] else None)
        # Where every path matches, the principals after this page need not be read.
        few = rest if part.path_prefix == "/" else ALL
        users = [model.id.in_(_users_of(caller, policy_arn, kind, usage, few)) for usage in usages]
        mine = select(model.id, model.name).where(or_(*users), model.account_id == caller.account_id)
        rows = tx.session.execute(rest.of(mine.where(*part.paths(model.path)), model.id))
        found += [PolicyEntity(kind, row.id, row.name) for row in rows]
    return found


def _users_of(caller: Caller, policy_arn: str, kind: str, usage: str, part: Slice) -> Any:
    """Return the ids of principals of a kind that use a policy in a given way."""
    if usage == "PermissionsPolicy":
        attached = select(IamAttachedPolicy.principal_id).where(
            IamAttachedPolicy.account_id == caller.account_id,
            IamAttachedPolicy.policy_arn == policy_arn,
            IamAttachedPolicy.principal_type == kind,
        )
        return part.of(attached, IamAttachedPolicy.principal_id)
    model = _MODELS[kind]
    if model is IamGroup:
        return select(literal("")).where(literal(False))
    bounded = select(model.id).where(model.account_id == caller.account_id, model.boundary_arn == policy_arn)
    return part.of(bounded, model.id)
