"""DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute and CancelImageLaunchPermission."""

from collections.abc import Iterable, Mapping
from typing import Any

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import repeated_permissions
from stead_controller.aws.ec2.images.image_view import attribute_view, permissions_view
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, Unsupported
from stead_controller.resources.images import image_attributes
from stead_controller.resources.images.image_attributes import Permissions

_ORGANIZATIONS = ("OrganizationArns", "OrganizationalUnitArns", "OrganizationArn", "OrganizationalUnitArn")


@operation("DescribeImageAttribute", writes=False)
def describe_image_attribute(call: Call, params: Params) -> Result:
    """Show one attribute of an image."""
    attribute = params["Attribute"]
    image = image_attributes.find_with(call.tx, call.caller, params["ImageId"], attribute)
    if attribute == "launchPermission":
        return permissions_view(image.id, image_attributes.permissions(call.tx, image))
    return attribute_view(image, attribute)


@operation("ModifyImageAttribute")
def modify_image_attribute(call: Call, params: Params) -> Result:
    """Change one attribute of an image."""
    image_id, attribute = params["ImageId"], _attribute(params)
    if params.get("ProductCodes") or attribute == "productCodes":
        raise Unsupported("Product codes are not supported.")
    changes = _changes(params, attribute)
    if len(changes) > 1:
        raise InvalidCombination("Only one attribute can be modified at a time.")
    if not changes:
        raise InvalidCombination("No attributes specified.")
    ((name, value),) = changes.items()
    if attribute not in ("", name):
        raise InvalidCombination(f"The attribute {attribute} cannot be modified together with {name}.")
    match name:
        case "description":
            image_attributes.set_description(call.tx, call.caller, image_id, value)
        case "imdsSupport":
            image_attributes.set_imds_support(call.tx, call.caller, image_id, value)
        case _:
            add, remove = value
            image_attributes.change_permissions(call.tx, call.caller, call.cloud, image_id, add=add, remove=remove)
    return {}


@operation("ResetImageAttribute")
def reset_image_attribute(call: Call, params: Params) -> Result:
    """Revoke all launch permissions of an image."""
    image_attributes.reset(call.tx, call.caller, params["ImageId"], params["Attribute"])
    return {}


@operation("CancelImageLaunchPermission")
def cancel_image_launch_permission(call: Call, params: Params) -> Result:
    """Give up the caller's own permission to launch an image of another account."""
    image_attributes.give_up_permission(call.tx, call.caller, params["ImageId"])
    return {"Return": True}


def _attribute(params: Params) -> str:
    """Read an attribute's name as images have it, ignoring case; empty if there is none."""
    given: str = params.get("Attribute") or ""
    return next((known for known in image_attributes.ATTRIBUTES if known.lower() == given.lower()), given)


def _changes(params: Params, attribute: str) -> dict[str, Any]:
    """Read the changes, given either as structures or as the older flat parameters."""
    found: dict[str, Any] = {}
    for member, name in (("Description", "description"), ("ImdsSupport", "imdsSupport")):
        if member in params:
            found[name] = params[member].get("Value", "")
        elif attribute == name and "Value" in params:
            found[name] = params["Value"]
    if "LaunchPermission" in params:
        repeated_permissions.check(params, "LaunchPermission", "UserGroups")
        given = params["LaunchPermission"]
        found["launchPermission"] = (_permissions(given.get("Add", ())), _permissions(given.get("Remove", ())))
    elif any(params.get(name) for name in (*_ORGANIZATIONS, "OperationType", "UserIds", "UserGroups")):
        found["launchPermission"] = _flat(params)
    if found or attribute in ("", "launchPermission"):
        return found
    if attribute in ("description", "imdsSupport"):
        raise MissingParameter("Value")
    if attribute in image_attributes.ATTRIBUTES:
        raise InvalidParameter(f"The attribute {attribute} cannot be modified.", code="InvalidParameter")
    if "Value" in params:
        raise InvalidParameter(f"Value ( {attribute} ) for parameter attribute is invalid. Unknown attribute.")
    return found


def _flat(params: Params) -> tuple[Permissions, Permissions]:
    for name in _ORGANIZATIONS:
        if params.get(name):
            raise Unsupported("Organizations are not supported.")
    kind = params.get("OperationType")
    if kind not in ("add", "remove"):
        raise (
            MissingParameter("OperationType")
            if not kind
            else InvalidParameter(f"Value ({kind}) for parameter operationType is invalid.")
        )
    named = [{"UserId": user} for user in params.get("UserIds", ())]
    named += [{"Group": group} for group in params.get("UserGroups", ())]
    changed = _permissions(named)
    return (changed, Permissions()) if kind == "add" else (Permissions(), changed)


def _permissions(given: Iterable[Mapping[str, str]]) -> Permissions:
    accounts: list[str] = []
    everybody = False
    for one in given:
        if any(one.get(name) for name in _ORGANIZATIONS):
            raise Unsupported("Organizations are not supported.")
        if one.get("UserId"):
            accounts.append(one["UserId"])
        if one.get("Group"):
            if one["Group"] != "all":
                raise InvalidParameter(
                    f'Invalid attribute item value "{one["Group"]}" for group item type.',
                    code="InvalidAMIAttributeItemValue",
                )
            everybody = True
    return Permissions(tuple(accounts), all=everybody)
