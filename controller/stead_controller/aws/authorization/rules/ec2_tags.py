"""EC2's operations on the tags of any resources."""

from typing import Final

from stead_controller.aws.authorization.rule import Rule, by_id, rule

RULES: Final[dict[str, Rule]] = {
    "CreateTags": rule(by_id("Resources")),
    "DeleteTags": rule(by_id("Resources")),
}
