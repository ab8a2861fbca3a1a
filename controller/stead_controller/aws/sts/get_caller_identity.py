"""GetCallerIdentity: who the caller is, which needs no permission."""

from stead_controller.aws.call import Call, Params, Result, operation


@operation("GetCallerIdentity", service="sts", writes=False)
def get_caller_identity(call: Call, params: Params) -> Result:
    """Answer the caller's account, user id and ARN."""
    del params
    return {"UserId": call.caller.user_id, "Account": call.caller.account_id, "Arn": call.caller.arn}
