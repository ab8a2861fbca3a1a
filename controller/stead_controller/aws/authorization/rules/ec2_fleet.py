"""EC2's operations on launch templates and placement groups."""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Rule, made, making, named, referred, rule


def _new_placement_group(asked: Asked) -> Iterator[Check]:
    """Check a group to be created, whose ARN is known before."""
    for name in asked.values("GroupName"):
        context = {"ec2:PlacementGroupName": name, "ec2:PlacementGroupStrategy": asked.params.get("Strategy")}
        yield from making(asked, "placement-group", context, name=name)


_TEMPLATE: Final = (
    named("launch-template", "LaunchTemplateId"),
    referred("launch-template", "name", "LaunchTemplateName"),
)

RULES: Final[dict[str, Rule]] = {
    "CreateLaunchTemplate": rule(made("launch-template")),
    "CreateLaunchTemplateVersion": rule(*_TEMPLATE),
    "CreatePlacementGroup": rule(_new_placement_group),
    "DeleteLaunchTemplate": rule(*_TEMPLATE),
    "DeleteLaunchTemplateVersions": rule(*_TEMPLATE),
    "DeletePlacementGroup": rule(named("placement-group", "GroupName")),
    "DescribeLaunchTemplateVersions": rule(),
    "DescribeLaunchTemplates": rule(),
    "DescribePlacementGroups": rule(),
    "ModifyLaunchTemplate": rule(*_TEMPLATE),
}
