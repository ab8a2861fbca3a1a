"""DecodeAuthorizationMessage: shows the account that made a request why it was refused."""

from stead_controller.aws.authorization.refusal import decode
from stead_controller.aws.call import Call, Params, Result, operation


@operation("DecodeAuthorizationMessage", service="sts", writes=False)
def decode_authorization_message(call: Call, params: Params) -> Result:
    """Decode a message from an authorization error of EC2."""
    return {"DecodedMessage": decode(call.caller, params["EncodedMessage"], call.cloud.sealer)}
