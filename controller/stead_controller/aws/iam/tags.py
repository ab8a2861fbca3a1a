"""Tags of users, roles, instance profiles, policies, OIDC providers and MFA devices."""

from collections.abc import Callable
from typing import Final, NamedTuple

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.tags_view import given_tags, tags_view
from stead_controller.resources.iam import entities, iam_tags, managed_policies, mfa_devices, oidc_providers


class _Tagged(NamedTuple):
    """The operations on the tags of a resource type; `find` returns the id of the resource that a request names.

    `show` does the same for the list operation, which accepts resources whose tags cannot be changed.
    """

    tag: str
    untag: str
    list_tags: str
    find: Callable[[Call, Params], str]
    show: Callable[[Call, Params], str]


def _user_id(call: Call, params: Params) -> str:
    return entities.find_user(call.tx, call.caller, params["UserName"]).id


def _role_id(call: Call, params: Params) -> str:
    return entities.find_role(call.tx, call.caller, params["RoleName"]).id


def _profile_id(call: Call, params: Params) -> str:
    return entities.find_instance_profile(call.tx, call.caller, params["InstanceProfileName"]).id


def _policy_id(call: Call, params: Params) -> str:
    """Return the id of any policy, including AWS's, which have no tags."""
    return managed_policies.find(call.tx, call.caller, params["PolicyArn"]).id


def _own_policy_id(call: Call, params: Params) -> str:
    return managed_policies.find_own(call.tx, call.caller, params["PolicyArn"]).id


def _issuer_id(call: Call, params: Params) -> str:
    return oidc_providers.find(call.tx, call.caller, params["OpenIDConnectProviderArn"]).id


def _device_id(call: Call, params: Params) -> str:
    return mfa_devices.find(call.tx, call.caller, params["SerialNumber"]).id


_TAGGED: Final = (
    _Tagged("TagUser", "UntagUser", "ListUserTags", _user_id, _user_id),
    _Tagged("TagRole", "UntagRole", "ListRoleTags", _role_id, _role_id),
    _Tagged("TagInstanceProfile", "UntagInstanceProfile", "ListInstanceProfileTags", _profile_id, _profile_id),
    _Tagged("TagPolicy", "UntagPolicy", "ListPolicyTags", _own_policy_id, _policy_id),
    _Tagged(
        "TagOpenIDConnectProvider",
        "UntagOpenIDConnectProvider",
        "ListOpenIDConnectProviderTags",
        _issuer_id,
        _issuer_id,
    ),
    _Tagged("TagMFADevice", "UntagMFADevice", "ListMFADeviceTags", _device_id, _device_id),
)


def _define(kind: _Tagged) -> None:
    @operation(kind.tag, service="iam")
    def tag(call: Call, params: Params) -> Result:
        iam_tags.set_tags(call.tx, kind.find(call, params), given_tags(params))
        return {}

    @operation(kind.untag, service="iam")
    def untag(call: Call, params: Params) -> Result:
        iam_tags.remove_tags(call.tx, kind.find(call, params), params["TagKeys"])
        return {}

    @operation(kind.list_tags, service="iam", writes=False)
    def list_tags(call: Call, params: Params) -> Result:
        """List tags, which are few; keys could be too long for markers."""
        page = describe.marker_page(call, params, kind.list_tags)
        tags = iam_tags.pairs_of(call.tx, kind.show(call, params))
        shown = pages.cut_whole("Tags", tags, page, lambda pair: pair)
        return {**shown, "Tags": tags_view(shown["Tags"])}


for _kind in _TAGGED:
    _define(_kind)
