"""Permissions boundaries: the managed policy that limits what a user or role may do.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html.
"""

from stead_controller.db.tables import IamGroup
from stead_controller.errors import NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import entities, managed_policies


def check(tx: Transaction, caller: Caller, arn: str | None) -> str | None:
    """Check a boundary and return its ARN, if any; raises NotFound, InvalidParameter."""
    if arn is None:
        return None
    try:
        return managed_policies.find(tx, caller, arn).arn
    except NotFound as error:
        message = f"Scope ARN: {arn} does not exist or is not attachable."
        raise NotFound("iam-policy", arn, message=message) from error


def put(tx: Transaction, caller: Caller, kind: str, name: str, arn: str) -> None:
    """Set the boundary of a user or role; raises NotFound, InvalidParameter."""
    principal = entities.find_principal(tx, caller, kind, name)
    assert not isinstance(principal, IamGroup)
    principal.boundary_arn = check(tx, caller, arn)


def remove(tx: Transaction, caller: Caller, kind: str, name: str) -> None:
    """Remove the boundary of a user or role; raises NotFound where it has none."""
    principal = entities.find_principal(tx, caller, kind, name)
    assert not isinstance(principal, IamGroup)
    if principal.boundary_arn is None:
        message = f"Permissions boundary of the {kind} {name} cannot be found."
        raise NotFound("iam-policy", name, message=message)
    principal.boundary_arn = None
