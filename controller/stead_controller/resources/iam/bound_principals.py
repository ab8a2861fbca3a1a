"""The principals in a role's or bucket's policy: users and roles are stored by their ids, and shown by their ARNs.

So a new user or role does not inherit the rights of a deleted one with the same name; a policy shows the id of a
deleted one. As in AWS, the author of a policy learns whether the ARNs in it exist, also those of other accounts. See
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-bucket-user-policy-specifying-principal-intro.html.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import select

from stead_controller.authorization.policy_document import MalformedPolicy
from stead_controller.db.tables import Account, IamRole, IamUser
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import entities

_ARN: Final = re.compile(r"arn:aws:iam::(?P<account>[0-9]{12}):(?P<kind>user|role)/(?:[!-~]+/)?(?P<name>[\w+=,.@-]+)")
_ACCOUNT: Final = re.compile(r"(?:arn:aws:iam::)?(?P<account>[0-9]{12})(?::root)?")
_ID: Final = re.compile(r"\b(?:AIDA|AROA)[A-Z0-9]{17}\b")
_ELEMENTS: Final = ("Principal", "NotPrincipal")

_MODELS: Final[dict[str, Any]] = {"user": IamUser, "role": IamRole}
_BY_PREFIX: Final[dict[str, Any]] = {"AIDA": IamUser, "AROA": IamRole}


def bound(tx: Transaction, text: str) -> str:
    """Return a policy, whose form has been checked, with the ARNs of users and roles replaced by their ids.

    Raises MalformedPolicy where a user, a role or an account does not exist, or is named by its canonical id, which is
    not supported. Sessions stay as they are written.
    """
    has_ids = False
    for element in _elements(json.loads(text)):
        if "CanonicalUser" in element:
            raise MalformedPolicy(f'Invalid principal in policy: "CanonicalUser":"{element["CanonicalUser"]}"')

    def bind(principal: str) -> str:
        nonlocal has_ids
        found = _bind(tx, principal)
        if found is None:
            raise MalformedPolicy(f'Invalid principal in policy: "AWS":"{principal}"')
        has_ids |= found != principal
        return found

    replaced = _replaced(text, bind)
    return replaced if has_ids else text


def _bind(tx: Transaction, principal: str) -> str | None:
    """Return the stored form of a principal; None if it does not exist."""
    named = _ARN.fullmatch(principal)
    if named:
        model = _MODELS[named["kind"]]
        mine = select(model).where(model.account_id == named["account"], model.name_lower == named["name"].lower())
        row: IamUser | IamRole | None = tx.session.scalar(mine)
        return row.id if row is not None and entities.arn_of(row) == principal else None
    account = _ACCOUNT.fullmatch(principal)
    if account:
        return principal if tx.session.get(Account, account["account"]) is not None else None
    if _ID.fullmatch(principal):
        return principal if tx.session.get(_BY_PREFIX[principal[:4]], principal) is not None else None
    return principal


def shown(tx: Transaction, texts: Sequence[str]) -> list[str]:
    """Return policies with the ids of existing users and roles replaced by their ARNs."""
    ids = {found for text in texts for found in _ID.findall(text)}
    if not ids:
        return list(texts)
    arns: dict[str, str] = {}
    for model in _MODELS.values():
        rows: Iterable[IamUser | IamRole] = tx.session.scalars(select(model).where(model.id.in_(ids)))
        arns |= {row.id: entities.arn_of(row) for row in rows}
    return [_replaced(text, lambda one: arns.get(one, one)) if _ID.search(text) else text for text in texts]


def _replaced(text: str, change: Callable[[str], str]) -> str:
    """Replace each principal under `AWS` of a policy."""
    document = json.loads(text)
    for element in _elements(document):
        if "AWS" in element:
            given = element["AWS"]
            element["AWS"] = [change(one) for one in given] if isinstance(given, list) else change(given)
    return json.dumps(document, separators=(",", ":"))


def _elements(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a policy's Principal and NotPrincipal elements, by kind, to be changed in place."""
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        for element in (statement.get(name) for name in _ELEMENTS):
            if isinstance(element, dict):
                yield element
