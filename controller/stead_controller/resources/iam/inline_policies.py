"""Inline policies: parts of a user, group or role, with a limit on their total size."""

from dataclasses import dataclass

from sqlalchemy import select

from stead_controller.db.tables import IamInlinePolicy
from stead_controller.errors import LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import entities, iam_names, iam_quotas, policy_documents
from stead_controller.resources.iam.list_pages import Slice


@dataclass(frozen=True, slots=True)
class InlinePolicy:
    """An inline policy and its owner: the name of a user, group or role."""

    principal_name: str
    name: str
    document: str


def put(tx: Transaction, caller: Caller, kind: str, name: str, *, policy_name: str, document: str) -> None:
    """Set a policy; raises NotFound, InvalidParameter, LimitExceeded."""
    principal = entities.find_principal(tx, caller, kind, name)
    iam_names.check_name("policyName", policy_name)
    policy_documents.check_inline(document)
    others = select(IamInlinePolicy.document).where(
        IamInlinePolicy.principal_id == principal.id, IamInlinePolicy.name != policy_name
    )
    total = policy_documents.size(document) + sum(map(policy_documents.size, tx.session.scalars(others)))
    if total > iam_quotas.INLINE_SIZES[kind]:
        most = iam_quotas.INLINE_SIZES[kind]
        raise LimitExceeded(f"Maximum policy size of {most} bytes exceeded for {kind} {principal.name}")
    row = tx.session.get(IamInlinePolicy, (principal.id, policy_name))
    if row is None:
        tx.session.add(IamInlinePolicy(principal_id=principal.id, name=policy_name, document=document))
    else:
        row.document = document


def get(tx: Transaction, caller: Caller, kind: str, name: str, policy_name: str) -> InlinePolicy:
    """Find a policy; raises NotFound, InvalidParameter."""
    principal = entities.find_principal(tx, caller, kind, name)
    row = _find(tx, kind, principal.id, policy_name)
    return InlinePolicy(principal.name, row.name, row.document)


def names(tx: Transaction, caller: Caller, kind: str, name: str, part: Slice) -> list[str]:
    """The names of a principal's policies, sorted; raises NotFound, InvalidParameter."""
    principal = entities.find_principal(tx, caller, kind, name)
    mine = select(IamInlinePolicy.name).where(IamInlinePolicy.principal_id == principal.id)
    return list(tx.session.scalars(part.of(mine, IamInlinePolicy.name)))


def remove(tx: Transaction, caller: Caller, kind: str, name: str, policy_name: str) -> None:
    """Delete a policy; raises NotFound, InvalidParameter."""
    principal = entities.find_principal(tx, caller, kind, name)
    tx.session.delete(_find(tx, kind, principal.id, policy_name))


def _find(tx: Transaction, kind: str, principal_id: str, policy_name: str) -> IamInlinePolicy:
    row = tx.session.get(IamInlinePolicy, (principal_id, policy_name))
    if row is None:
        message = f"The {kind} policy with name {policy_name} cannot be found."
        raise NotFound("iam-policy", policy_name, message=message)
    return row
