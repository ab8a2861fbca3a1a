"""ModifySnapshotAttribute, DescribeSnapshotAttribute and ResetSnapshotAttribute."""

from typing import Any

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import repeated_permissions
from stead_controller.aws.ec2.storage.snapshot_view import permissions_view, product_codes_view
from stead_controller.errors import InvalidParameter, MissingParameter
from stead_controller.resources.storage import snapshot_attributes, snapshots
from stead_controller.resources.storage.snapshot_attributes import Change


@operation("ModifySnapshotAttribute")
def modify_snapshot_attribute(call: Call, params: Params) -> Result:
    """Grant or revoke others' permission to create volumes from a snapshot."""
    if params.get("Attribute") is not None:
        snapshot_attributes.check_attribute(params["Attribute"])
    snapshot_attributes.modify(call.tx, call.caller, call.cloud, params["SnapshotId"], _change(params))
    return {}


@operation("DescribeSnapshotAttribute", writes=False)
def describe_snapshot_attribute(call: Call, params: Params) -> Result:
    """Show who may create volumes from a snapshot."""
    snapshot = snapshots.find_own(call.tx, call.caller, params["SnapshotId"])
    if params["Attribute"] == "productCodes":
        return product_codes_view(snapshot.id)
    snapshot_attributes.check_attribute(params["Attribute"])
    return permissions_view(snapshot.id, snapshot_attributes.permissions(call.tx, snapshot))


@operation("ResetSnapshotAttribute")
def reset_snapshot_attribute(call: Call, params: Params) -> Result:
    """Revoke all permissions."""
    snapshot_attributes.reset(call.tx, call.caller, params["SnapshotId"], params["Attribute"])
    return {}


def _change(params: Params) -> Change:
    """Read the change, in either of its two forms."""
    permission: dict[str, Any] = params.get("CreateVolumePermission") or {}
    users, groups = tuple(params.get("UserIds", ())), tuple(params.get("GroupNames", ()))
    if permission:
        repeated_permissions.check(params, "CreateVolumePermission", "GroupNames")
        return Change(
            *_permissions(permission.get("Add", ())),
            *_permissions(permission.get("Remove", ())),
        )
    match params.get("OperationType"):
        case "add":
            return Change(add_users=users, add_groups=groups)
        case "remove":
            return Change(remove_users=users, remove_groups=groups)
        case None if users or groups:
            raise MissingParameter("OperationType")
        case None:
            return Change()
        case other:
            raise InvalidParameter(f"Value ({other}) for parameter operationType is invalid: add, remove.")


def _permissions(permissions: list[dict[str, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the users and the groups of a list of permissions."""
    users = tuple(one["UserId"] for one in permissions if one.get("UserId"))
    return users, tuple(one["Group"] for one in permissions if one.get("Group"))
