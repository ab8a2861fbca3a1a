"""Tags of users, roles, instance profiles, policies, issuers and MFA devices."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.resources.iam import entities, iam_tags, managed_policies, mfa_devices, oidc_providers


@operation("TagUser", service="iam")
def tag_user(call: Call, params: Params) -> Result:
    """Set tags of a user."""
    iam_tags.set_tags(call.tx, _user_id(call, params), params["Tags"])
    return {}


@operation("UntagUser", service="iam")
def untag_user(call: Call, params: Params) -> Result:
    """Remove tags of a user."""
    iam_tags.remove_tags(call.tx, _user_id(call, params), params["TagKeys"])
    return {}


@operation("ListUserTags", service="iam", writes=False)
def list_user_tags(call: Call, params: Params) -> Result:
    """List the tags of a user."""
    return _tags(call, params, "ListUserTags", _user_id(call, params))


@operation("TagRole", service="iam")
def tag_role(call: Call, params: Params) -> Result:
    """Set tags of a role."""
    iam_tags.set_tags(call.tx, _role_id(call, params), params["Tags"])
    return {}


@operation("UntagRole", service="iam")
def untag_role(call: Call, params: Params) -> Result:
    """Remove tags of a role."""
    iam_tags.remove_tags(call.tx, _role_id(call, params), params["TagKeys"])
    return {}


@operation("ListRoleTags", service="iam", writes=False)
def list_role_tags(call: Call, params: Params) -> Result:
    """List the tags of a role."""
    return _tags(call, params, "ListRoleTags", _role_id(call, params))


@operation("TagInstanceProfile", service="iam")
def tag_instance_profile(call: Call, params: Params) -> Result:
    """Set tags of an instance profile."""
    iam_tags.set_tags(
        call.tx,
        _profile_id(call, params),
        params["Tags"],
    )
    return {}


@operation("UntagInstanceProfile", service="iam")
def untag_instance_profile(call: Call, params: Params) -> Result:
    """Remove tags of an instance profile."""
    iam_tags.remove_tags(
        call.tx,
        _profile_id(call, params),
        params["TagKeys"],
    )
    return {}


@operation("ListInstanceProfileTags", service="iam", writes=False)
def list_instance_profile_tags(call: Call, params: Params) -> Result:
    """List the tags of an instance profile."""
    return _tags(
        call,
        params,
        "ListInstanceProfileTags",
        _profile_id(call, params),
    )


@operation("TagPolicy", service="iam")
def tag_policy(call: Call, params: Params) -> Result:
    """Set tags of a policy."""
    iam_tags.set_tags(call.tx, _own_policy_id(call, params), params["Tags"])
    return {}


@operation("UntagPolicy", service="iam")
def untag_policy(call: Call, params: Params) -> Result:
    """Remove tags of a policy."""
    iam_tags.remove_tags(call.tx, _own_policy_id(call, params), params["TagKeys"])
    return {}


@operation("ListPolicyTags", service="iam", writes=False)
def list_policy_tags(call: Call, params: Params) -> Result:
    """List the tags of a policy."""
    return _tags(call, params, "ListPolicyTags", _policy_id(call, params))


@operation("TagOpenIDConnectProvider", service="iam")
def tag_open_id_connect_provider(call: Call, params: Params) -> Result:
    """Set tags of an issuer."""
    iam_tags.set_tags(call.tx, _issuer_id(call, params), params["Tags"])
    return {}


@operation("UntagOpenIDConnectProvider", service="iam")
def untag_open_id_connect_provider(call: Call, params: Params) -> Result:
    """Remove tags of an issuer."""
    iam_tags.remove_tags(call.tx, _issuer_id(call, params), params["TagKeys"])
    return {}


@operation("ListOpenIDConnectProviderTags", service="iam", writes=False)
def list_open_id_connect_provider_tags(call: Call, params: Params) -> Result:
    """List the tags of an issuer."""
    return _tags(
        call,
        params,
        "ListOpenIDConnectProviderTags",
        _issuer_id(call, params),
    )


@operation("TagMFADevice", service="iam")
def tag_mfa_device(call: Call, params: Params) -> Result:
    """Set tags of a device."""
    iam_tags.set_tags(call.tx, _device_id(call, params), params["Tags"])
    return {}


@operation("UntagMFADevice", service="iam")
def untag_mfa_device(call: Call, params: Params) -> Result:
    """Remove tags of a device."""
    iam_tags.remove_tags(call.tx, _device_id(call, params), params["TagKeys"])
    return {}


@operation("ListMFADeviceTags", service="iam", writes=False)
def list_mfa_device_tags(call: Call, params: Params) -> Result:
    """List the tags of a device."""
    return _tags(call, params, "ListMFADeviceTags", _device_id(call, params))


def _tags(call: Call, params: Params, operation_name: str, resource_id: str) -> Result:
    """List tags, which are few; keys could be too long for markers."""
    page = describe.marker_page(call, params, operation_name)
    return pages.cut_whole("Tags", iam_tags.show(call.tx, resource_id), page)


def _policy_id(call: Call, params: Params) -> str:
    """The id of any policy, AWS's too, which have no tags."""
    return managed_policies.find(call.tx, call.caller, params["PolicyArn"]).id


def _own_policy_id(call: Call, params: Params) -> str:
    return managed_policies.find_own(call.tx, call.caller, params["PolicyArn"]).id


def _user_id(call: Call, params: Params) -> str:
    return entities.find_user(call.tx, call.caller, params["UserName"]).id


def _role_id(call: Call, params: Params) -> str:
    return entities.find_role(call.tx, call.caller, params["RoleName"]).id


def _profile_id(call: Call, params: Params) -> str:
    return entities.find_instance_profile(call.tx, call.caller, params["InstanceProfileName"]).id


def _device_id(call: Call, params: Params) -> str:
    return mfa_devices.find(call.tx, call.caller, params["SerialNumber"]).id


def _issuer_id(call: Call, params: Params) -> str:
    return oidc_providers.find(call.tx, call.caller, params["OpenIDConnectProviderArn"]).id
