"""Inline policies of users, groups and roles."""

from typing import Final, NamedTuple

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.inline_policy_view import inline_policy_view
from stead_controller.resources.iam import inline_policies


class _Principals(NamedTuple):
    """The operations on the inline policies of a kind of principal, and the parameter that names the principal."""

    kind: str
    member: str
    put: str
    get: str
    list_names: str
    delete: str


_PRINCIPALS: Final = (
    _Principals("user", "UserName", "PutUserPolicy", "GetUserPolicy", "ListUserPolicies", "DeleteUserPolicy"),
    _Principals("group", "GroupName", "PutGroupPolicy", "GetGroupPolicy", "ListGroupPolicies", "DeleteGroupPolicy"),
    _Principals("role", "RoleName", "PutRolePolicy", "GetRolePolicy", "ListRolePolicies", "DeleteRolePolicy"),
)


def _define(of: _Principals) -> None:
    @operation(of.put, service="iam")
    def put(call: Call, params: Params) -> Result:
        policy_name, document = params["PolicyName"], params["PolicyDocument"]
        name = params[of.member]
        inline_policies.put(call.tx, call.caller, of.kind, name, policy_name=policy_name, document=document)
        return {}

    @operation(of.get, service="iam", writes=False)
    def get(call: Call, params: Params) -> Result:
        found = inline_policies.get(call.tx, call.caller, of.kind, params[of.member], params["PolicyName"])
        return {of.member: found.principal_name, **inline_policy_view(found)}

    @operation(of.list_names, service="iam", writes=False)
    def list_names(call: Call, params: Params) -> Result:
        return pages.listed(
            call,
            params,
            of.list_names,
            "PolicyNames",
            read=lambda part: inline_policies.names(call.tx, call.caller, of.kind, params[of.member], part),
            key=lambda policy_name: (policy_name,),
            view=str,
        )

    @operation(of.delete, service="iam")
    def delete(call: Call, params: Params) -> Result:
        inline_policies.remove(call.tx, call.caller, of.kind, params[of.member], params["PolicyName"])
        return {}


for _of in _PRINCIPALS:
    _define(_of)
