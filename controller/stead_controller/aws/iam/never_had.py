"""Lists that are always empty: certificates and SSH keys cannot be created.

Tools that delete a user call these first.
"""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.iam import entities


@operation("ListSSHPublicKeys", service="iam", writes=False)
def list_ssh_public_keys(call: Call, params: Params) -> Result:
    """List no SSH public keys of a user."""
    return {"SSHPublicKeys": _none(call, params), "IsTruncated": False}


@operation("ListSigningCertificates", service="iam", writes=False)
def list_signing_certificates(call: Call, params: Params) -> Result:
    """List no signing certificates of a user."""
    return {"Certificates": _none(call, params), "IsTruncated": False}


@operation("ListServiceSpecificCredentials", service="iam", writes=False)
def list_service_specific_credentials(call: Call, params: Params) -> Result:
    """List no service-specific credentials."""
    return {"ServiceSpecificCredentials": _none(call, params), "IsTruncated": False}


@operation("ListServerCertificates", service="iam", writes=False)
def list_server_certificates(call: Call, params: Params) -> Result:
    """List no server certificates."""
    del call, params
    return {"ServerCertificateMetadataList": [], "IsTruncated": False}


@operation("ListSAMLProviders", service="iam", writes=False)
def list_saml_providers(call: Call, params: Params) -> Result:
    """List no SAML providers."""
    del call, params
    return {"SAMLProviderList": []}


def _none(call: Call, params: Params) -> list[Result]:
    """Return an empty list for an existing user; raises NotFound."""
    if "UserName" in params:
        entities.find_user(call.tx, call.caller, params["UserName"])
    return []
