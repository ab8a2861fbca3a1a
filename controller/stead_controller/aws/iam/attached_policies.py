"""Managed policies attached to users, groups and roles."""

from typing import Final, NamedTuple

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.policy_view import attached_policy_view
from stead_controller.resources.iam import attached_policies, iam_names


class _Principals(NamedTuple):
    """The operations on policies attached to a kind of principal, and the parameter that names the principal."""

    kind: str
    member: str
    attach: str
    detach: str
    list_attached: str


_PRINCIPALS: Final = (
    _Principals("user", "UserName", "AttachUserPolicy", "DetachUserPolicy", "ListAttachedUserPolicies"),
    _Principals("group", "GroupName", "AttachGroupPolicy", "DetachGroupPolicy", "ListAttachedGroupPolicies"),
    _Principals("role", "RoleName", "AttachRolePolicy", "DetachRolePolicy", "ListAttachedRolePolicies"),
)


def _define(of: _Principals) -> None:
    @operation(of.attach, service="iam")
    def attach(call: Call, params: Params) -> Result:
        attached_policies.attach(call.tx, call.caller, of.kind, params[of.member], params["PolicyArn"])
        return {}

    @operation(of.detach, service="iam")
    def detach(call: Call, params: Params) -> Result:
        attached_policies.detach(call.tx, call.caller, of.kind, params[of.member], params["PolicyArn"])
        return {}

    @operation(of.list_attached, service="iam", writes=False)
    def list_attached(call: Call, params: Params) -> Result:
        """List a principal's attached policies, which are few; ARNs would be too long for markers."""
        page = describe.marker_page(call, params, of.list_attached)
        prefix = iam_names.check_path_prefix(params.get("PathPrefix"))
        found = attached_policies.of_principal(call.tx, call.caller, of.kind, params[of.member], prefix)
        return pages.cut_whole("AttachedPolicies", found, page, attached_policy_view)


for _of in _PRINCIPALS:
    _define(_of)
