"""Whom a trust policy trusts: users and roles of the account are kept by their ids, and shown by their ARNs.

So one that is made anew under an old name is not trusted; a policy shows the id of one that is gone. See
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Select, select

from stead_controller.authorization.policy_document import MalformedPolicy
from stead_controller.db.tables import IamRole, IamUser
from stead_controller.resources import iam_entities
from stead_controller.resources.transaction import Transaction

_ARN: Final = re.compile(r"arn:aws:iam::(?P<account>[0-9]{12}):(?P<kind>user|role)/(?:[!-~]+/)?(?P<name>[\w+=,.@-]+)")
_ID: Final = re.compile(r"(?:AIDA|AROA)[A-Z2-7]{17}")


_MODELS: Final[dict[str, Any]] = {"user": IamUser, "role": IamRole}


def bound(tx: Transaction, account_id: str, text: str) -> str:
    """Give a trust policy with ids for ARNs of the account's users and roles; raises MalformedPolicy for one absent.

    Those of other accounts stay as they are written: nobody learns whether they exist.
    """

    def bind(principal: str) -> str:
        match = _ARN.fullmatch(principal)
        if not match or match["account"] != account_id:
            return principal
        row: IamUser | IamRole | None = tx.session.scalar(_named(_MODELS[match["kind"]], account_id, match["name"]))
        if row is None or iam_entities.arn_of(row) != principal:
            raise MalformedPolicy(f'Invalid principal in policy: "AWS":"{principal}"')
        return row.id

    return _replaced(text, bind) if _ARN.search(text) else text


def shown(tx: Transaction, account_id: str, texts: Sequence[str]) -> list[str]:
    """Give trust policies of an account with ARNs for the ids of its users and roles that are there."""
    ids = {found for text in texts for found in _ID.findall(text)}
    if not ids:
        return list(texts)
    arns: dict[str, str] = {}
    for model in _MODELS.values():
        rows: Iterable[IamUser | IamRole] = tx.session.scalars(
            select(model).where(model.id.in_(ids), model.account_id == account_id)
        )
        arns |= {row.id: iam_entities.arn_of(row) for row in rows}
    return [_replaced(text, lambda one: arns.get(one, one)) if _ID.search(text) else text for text in texts]


def _named(model: Any, account_id: str, name: str) -> Select[Any]:
    return select(model).where(model.account_id == account_id, model.name_lower == name.lower())


def _replaced(text: str, change: Callable[[str], str]) -> str:
    """Change each principal under `AWS` of a trust policy that is one."""
    document = json.loads(text)
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        element: Any = statement.get("Principal")
        if isinstance(element, dict) and "AWS" in element:
            given = element["AWS"]
            element["AWS"] = [change(one) for one in given] if isinstance(given, list) else change(given)
    return json.dumps(document, separators=(",", ":"))
