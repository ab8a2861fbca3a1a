"""Launch templates of groups. As in AWS a group has both the id and the name of one, which Terraform needs."""

from collections.abc import Mapping
from typing import Any

from stead_controller.errors import InvalidParameter, SteadError
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.fleet import launch_templates
from stead_controller.resources.fleet.launch_templates import TemplateName


def stored(tx: Transaction, caller: Caller, given: Mapping[str, Any]) -> dict[str, str]:
    """Return a LaunchTemplateSpecification as it is stored and shown; raises InvalidParameter."""
    try:
        named = TemplateName(given.get("LaunchTemplateId"), given.get("LaunchTemplateName"))
        found = launch_templates.find(tx, caller, named)
    except SteadError as error:
        raise InvalidParameter(
            f"You must use a valid fully-formed launch template. {error.message}", code="ValidationError"
        ) from error
    return {
        "LaunchTemplateId": found.id,
        "LaunchTemplateName": found.name,
        "Version": given.get("Version") or "$Default",
    }


def to_find(specification: Mapping[str, str]) -> dict[str, str]:
    """Return what of a stored specification names its template, and nothing twice."""
    return {name: specification[name] for name in ("LaunchTemplateId", "Version")}
