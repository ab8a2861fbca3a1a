"""EC2's operations on security groups and their rules."""

from typing import Final

from stead_controller.aws.authorization.rule import Rule, made, named, referred, rule, tagged

_GROUP = named("security-group", "GroupId")
_BY_NAME = referred("security-group", "name", "GroupName")
_OF_RULES = referred(
    "security-group", "rule", "SecurityGroupRuleIds", "SecurityGroupRuleDescriptions.SecurityGroupRuleId"
)

RULES: Final[dict[str, Rule]] = {
    "AuthorizeSecurityGroupEgress": rule(_GROUP, tagged("security-group-rule")),
    "AuthorizeSecurityGroupIngress": rule(_GROUP, _BY_NAME, tagged("security-group-rule")),
    "CreateSecurityGroup": rule(made("security-group"), named("vpc", "VpcId")),
    "DeleteSecurityGroup": rule(_GROUP, _BY_NAME),
    "ModifySecurityGroupRules": rule(_GROUP, named("security-group-rule", "SecurityGroupRules.SecurityGroupRuleId")),
    "RevokeSecurityGroupEgress": rule(_GROUP, _OF_RULES),
    "RevokeSecurityGroupIngress": rule(_GROUP, _BY_NAME, _OF_RULES),
    "UpdateSecurityGroupRuleDescriptionsEgress": rule(_GROUP, _BY_NAME, _OF_RULES),
    "UpdateSecurityGroupRuleDescriptionsIngress": rule(_GROUP, _BY_NAME, _OF_RULES),
}
