"""EC2's operations on security groups and their rules."""

from typing import Final

from stead_controller.aws.authorization.rule import Rule, made, named, referred, rule

_GROUP = named("security-group", "GroupId")
_BY_NAME = referred("security-group", "name", "GroupName")
_RULES = named("security-group-rule", "SecurityGroupRuleIds")

RULES: Final[dict[str, Rule]] = {
    "AuthorizeSecurityGroupEgress": rule(_GROUP, made("security-group-rule")),
    "AuthorizeSecurityGroupIngress": rule(_GROUP, _BY_NAME, made("security-group-rule")),
    "CreateSecurityGroup": rule(made("security-group"), named("vpc", "VpcId")),
    "DeleteSecurityGroup": rule(_GROUP, _BY_NAME),
    "ModifySecurityGroupRules": rule(_GROUP, named("security-group-rule", "SecurityGroupRules.SecurityGroupRuleId")),
    "RevokeSecurityGroupEgress": rule(_GROUP, _RULES),
    "RevokeSecurityGroupIngress": rule(_GROUP, _BY_NAME, _RULES),
    "UpdateSecurityGroupRuleDescriptionsEgress": rule(_GROUP, _BY_NAME),
    "UpdateSecurityGroupRuleDescriptionsIngress": rule(_GROUP, _BY_NAME),
}
