"""DescribeSecurityGroups and DescribeSecurityGroupRules."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.resources import security_group_rules, security_groups


@operation("DescribeSecurityGroups", writes=False)
def describe_security_groups(call: Call, params: Params) -> Result:
    """List security groups with their rules."""
    asked, page = selection.paged(call, params, "DescribeSecurityGroups", security_groups.FILTERS, ids="GroupIds")
    names = params.get("GroupNames", ())
    found = security_groups.describe(call.tx, call.caller, call.cloud, asked, names)
    return selection.answer("SecurityGroups", found, page, "GroupId")


@operation("DescribeSecurityGroupRules", writes=False)
def describe_security_group_rules(call: Call, params: Params) -> Result:
    """List the rules of security groups, one peer each."""
    asked, page = selection.paged(
        call, params, "DescribeSecurityGroupRules", security_group_rules.FILTERS, ids="SecurityGroupRuleIds"
    )
    found = security_group_rules.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answer("SecurityGroupRules", found, page, "SecurityGroupRuleId")
