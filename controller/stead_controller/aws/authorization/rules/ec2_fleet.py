"""EC2's operations on placement groups."""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Rule, making, named, rule


def _new_placement_group(asked: Asked) -> Iterator[Check]:
    """Check a group to be created, whose ARN is known before."""
    for name in asked.values("GroupName"):
        context = {"ec2:PlacementGroupName": name, "ec2:PlacementGroupStrategy": asked.params.get("Strategy")}
        yield from making(asked, "placement-group", context, name=name)


RULES: Final[dict[str, Rule]] = {
    "CreatePlacementGroup": rule(_new_placement_group),
    "DeletePlacementGroup": rule(named("placement-group", "GroupName")),
    "DescribePlacementGroups": rule(),
}
