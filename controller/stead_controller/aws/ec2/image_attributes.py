"""DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute and CancelImageLaunchPermission."""

from collections.abc import Iterable, Mapping
from typing import Any

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, Unsupported
from stead_controller.resources import image_attributes
from stead_controller.resources.image_attributes import Permissions

_ORGANIZATIONS = ("OrganizationArns", "OrganizationalUnitArns", "OrganizationArn", "OrganizationalUnitArn")


@operation("DescribeImageAttribute", writes=False)
def describe_image_attribute(call: Call, params: Params) -> Result:
    """Show one attribute of an image."""
    return image_attributes.describe(call.tx, call.caller, params["ImageId"], params["Attribute"])


@operation("ModifyImageAttribute")
def modify_image_attribute(call: Call, params: Params) -> Result:
    """Change one attribute of an image."""
    image_id, attribute = params["ImageId"], params.get("Attribute")
    if params.get("ProductCodes") or attribute == "productCodes":
        raise Unsupported("Product codes are not supported.")
    changes = _changes(params)
    if len(changes) > 1:
        raise InvalidCombination("Only one attribute can be modified at a time.")
    if not changes:
        raise MissingParameter("Attribute")
    ((name, value),) = changes.items()
    if attribute not in (None, "", name):
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
    """Take the right to launch an image from all others."""
    image_attributes.reset(call.tx, call.caller, params["ImageId"], params["Attribute"])
    return {}


@operation("CancelImageLaunchPermission")
def cancel_image_launch_permission(call: Call, params: Params) -> Result:
    """Give up the caller's own right to launch another's image."""
    image_attributes.give_up_permission(call.tx, call.caller, params["ImageId"])
    return {"Return": True}


def _changes(params: Params) -> dict[str, Any]:
    """Read what is to be changed, said by the structures or by the older flat parameters."""
    found: dict[str, Any] = {}
    attribute = params.get("Attribute")
    for member, name in (("Description", "description"), ("ImdsSupport", "imdsSupport")):
        if member in params:
            found[name] = params[member].get("Value", "")
        elif attribute == name and "Value" in params:
            found[name] = params["Value"]
    if "LaunchPermission" in params:
        given = params["LaunchPermission"]
        found["launchPermission"] = (_permissions(given.get("Add", ())), _permissions(given.get("Remove", ())))
    elif attribute == "launchPermission" or params.get("UserIds") or params.get("UserGroups"):
        found["launchPermission"] = _flat(params)
    if attribute not in (None, "", "description", "imdsSupport", "launchPermission"):
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
