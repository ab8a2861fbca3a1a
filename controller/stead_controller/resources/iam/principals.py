"""Convert a caller to the policy evaluator's principal."""

from stead_controller.authorization.principals import Principal
from stead_controller.request.caller import Caller


def principal_of(caller: Caller) -> Principal:
    """Return the caller as a principal of policies."""
    return Principal(
        arn=caller.principal_arn or caller.arn,
        account_id=caller.account_id,
        kind=caller.kind,
        session_arn=caller.arn if caller.kind in ("role", "federated") else "",
        user_id=caller.principal_id,
    )
