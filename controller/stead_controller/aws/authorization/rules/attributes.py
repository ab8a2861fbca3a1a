"""What Modify…Attribute operations set, as condition keys: `ec2:Attribute`, `ec2:Attribute/Name`, `ec2:Add/group`.

See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html#amazonec2-policy-keys.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from stead_controller.aws.authorization.rule import Asked, Check, Part
from stead_controller.aws.call import Params

_NO_ATTRIBUTES: Final = frozenset(
    {"Attribute", "DryRun", "GroupNames", "OperationType", "UserGroups", "UserIds", "Value"}
)
_PERMISSIONS: Final = ("LaunchPermission", "CreateVolumePermission")
_MEMBERS: Final = {"Group": "group", "UserId": "userId"}
_FLAT: Final = {"GroupNames": "group", "UserGroups": "group", "UserIds": "userId"}


def setting(part: Part) -> Part:
    """Check what a part checks, with the attributes that the request sets."""

    def with_attributes(asked: Asked) -> Iterator[Check]:
        context = _context(asked.params)
        for check in part(asked):
            target = check.target
            yield Check(replace(target, context={**target.context, **context}), check.action)

    return with_attributes


def _context(params: Params) -> dict[str, Any]:
    names = [name for name in params if name not in _NO_ATTRIBUTES and not name.endswith("Id")]
    context: dict[str, Any] = {}
    for name in names:
        value = params[name].get("Value") if isinstance(params[name], Mapping) else params[name]
        if isinstance(value, str | int | bool):
            context[f"ec2:Attribute/{name}"] = value
    if "Attribute" in params:
        given = str(params["Attribute"])
        names.append(given[:1].upper() + given[1:])
        if "Value" in params:
            context[f"ec2:Attribute/{names[-1]}"] = params["Value"]
    return context | {"ec2:Attribute": names} | _permissions(params)


def _permissions(params: Params) -> dict[str, list[str]]:
    """Return to whom the request grants and from whom it revokes access, in either of the forms that EC2 accepts."""
    found: dict[str, list[str]] = {}
    for way in ("Add", "Remove"):
        for one in (one for name in _PERMISSIONS for one in params.get(name, {}).get(way, ())):
            for member, key in _MEMBERS.items():
                if member in one:
                    found.setdefault(f"ec2:{way}/{key}", []).append(one[member])
        if str(params.get("OperationType", "")).lower() == way.lower():
            for member, key in _FLAT.items():
                found.setdefault(f"ec2:{way}/{key}", []).extend(params.get(member, ()))
    return found
