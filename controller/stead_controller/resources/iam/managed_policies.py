"""Find managed policies by their ARNs: those of an account, and AWS's, which every account has."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from stead_controller.authorization.aws_managed import CREATED, AwsPolicy, all_policies
from stead_controller.db.tables import IamPolicy
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction

_PARTS = 6


@dataclass(frozen=True, slots=True)
class Managed:
    """A managed policy: either the row of the account's own policy or one of AWS's."""

    arn: str
    row: IamPolicy | None = None
    aws: AwsPolicy | None = None

    @property
    def id(self) -> str:
        """Its `ANPA…`."""
        return self._known.id

    @property
    def name(self) -> str:
        """Its name without path."""
        return self.arn.rpartition("/")[2]

    @property
    def path(self) -> str:
        """Its path, `/` where it has none."""
        return self._known.path

    @property
    def description(self) -> str:
        """Its description, empty if it has none."""
        return self._known.description

    @property
    def default_version(self) -> int:
        """The number of its default version."""
        return self.row.default_version if self.row else 1

    @property
    def created(self) -> datetime:
        """When it was made."""
        return self.row.created if self.row else CREATED

    @property
    def updated(self) -> datetime:
        """When the policy or one of its versions was last changed."""
        return self.row.updated if self.row else CREATED

    @property
    def _known(self) -> IamPolicy | AwsPolicy:
        found = self.row or self.aws
        assert found is not None
        return found


def find(tx: Transaction, caller: Caller, arn: str, *, attachable: bool = False) -> Managed:
    """A policy that the caller's account has; raises NotFound, InvalidParameter for what is not a policy's ARN.

    `attachable` chooses IAM's message for a policy that is to be attached instead of shown.
    """
    parts = arn.split(":")
    if len(parts) != _PARTS or parts[0] != "arn" or not parts[5].startswith("policy/"):
        raise InvalidParameter(f"ARN {arn} is not valid.", code="InvalidInput")
    aws = all_policies().get(arn)
    if aws is not None:
        return Managed(arn, aws=aws)
    name = arn.rpartition("/")[2]
    row = tx.session.scalar(
        select(IamPolicy).where(IamPolicy.account_id == caller.account_id, IamPolicy.name_lower == name.lower())
    )
    if row is None or arn_of(row) != arn:
        what = "does not exist or is not attachable" if attachable else "was not found"
        raise NotFound("iam-policy", arn, message=f"Policy {arn} {what}.")
    return Managed(arn, row=row)


def find_own(tx: Transaction, caller: Caller, arn: str) -> IamPolicy:
    """A policy that the caller's account may change; raises NotFound, InvalidParameter for one of AWS's policies."""
    row = find(tx, caller, arn).row
    if row is None:
        raise InvalidParameter("Policies of AWS cannot be changed.", code="AccessDenied")
    return row


def arn_of(policy: IamPolicy) -> str:
    """The ARN of an account's policy."""
    return f"arn:aws:iam::{policy.account_id}:policy{policy.path}{policy.name}"
