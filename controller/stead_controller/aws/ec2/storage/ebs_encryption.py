"""Encryption by default for an account's new volumes, and its key."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.storage import ebs_encryption


@operation("EnableEbsEncryptionByDefault")
def enable_ebs_encryption_by_default(call: Call, _params: Params) -> Result:
    """Encrypt all new volumes."""
    return {"EbsEncryptionByDefault": ebs_encryption.set_by_default(call.tx, call.caller, on=True)}


@operation("DisableEbsEncryptionByDefault")
def disable_ebs_encryption_by_default(call: Call, _params: Params) -> Result:
    """Encrypt new volumes only on request."""
    return {"EbsEncryptionByDefault": ebs_encryption.set_by_default(call.tx, call.caller, on=False)}


@operation("GetEbsEncryptionByDefault", writes=False)
def get_ebs_encryption_by_default(call: Call, _params: Params) -> Result:
    """Tell whether all new volumes are encrypted."""
    on = ebs_encryption.is_by_default(call.tx, call.caller.account_id)
    return {"EbsEncryptionByDefault": on, "SseType": "sse-kms" if on else None}


@operation("GetEbsDefaultKmsKeyId", writes=False)
def get_ebs_default_kms_key_id(call: Call, _params: Params) -> Result:
    """Show the key of encrypted volumes for which none is named."""
    return {"KmsKeyId": ebs_encryption.default_key(call.tx, call.caller.account_id)}


@operation("ModifyEbsDefaultKmsKeyId")
def modify_ebs_default_kms_key_id(call: Call, params: Params) -> Result:
    """Set the key of encrypted volumes for which none is named."""
    return {"KmsKeyId": ebs_encryption.set_default_key(call.tx, call.caller, call.cloud, params["KmsKeyId"])}


@operation("ResetEbsDefaultKmsKeyId")
def reset_ebs_default_kms_key_id(call: Call, _params: Params) -> Result:
    """Reset the key to that of new accounts."""
    return {"KmsKeyId": ebs_encryption.reset_default_key(call.tx, call.caller)}
