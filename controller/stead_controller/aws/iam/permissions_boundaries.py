"""Permissions boundaries of users and roles."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.iam import permissions_boundaries

_PRINCIPALS: Final = (
    ("user", "UserName", "PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary"),
    ("role", "RoleName", "PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary"),
)


def _define(kind: str, member: str, put_name: str, delete_name: str) -> None:
    @operation(put_name, service="iam")
    def put(call: Call, params: Params) -> Result:
        permissions_boundaries.put(call.tx, call.caller, kind, params[member], params["PermissionsBoundary"])
        return {}

    @operation(delete_name, service="iam")
    def delete(call: Call, params: Params) -> Result:
        permissions_boundaries.remove(call.tx, call.caller, kind, params[member])
        return {}


for _names in _PRINCIPALS:
    _define(*_names)
