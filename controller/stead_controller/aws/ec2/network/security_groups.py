"""Security groups: CreateSecurityGroup, DeleteSecurityGroup, and the lists of groups, rules and references."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import dict_to_tags, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.security_group_rule_view import rule_view
from stead_controller.aws.ec2.network.security_group_view import (
    group_for_vpc_view,
    reference_view,
    security_group_view,
    stale_group_view,
)
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import security_group_references, security_group_rules, security_groups


@operation("CreateSecurityGroup")
def create_security_group(call: Call, params: Params) -> Result:
    """Create a group that allows all outbound and no inbound traffic."""
    group_tags = tags_on_create(params, "security-group")["security-group"]
    group = security_groups.create(
        call.tx,
        call.caller,
        params["GroupName"],
        params["Description"],
        params.get("VpcId"),
        group_tags=group_tags,
        now=call.now,
    )
    return {
        "GroupId": group.id,
        "SecurityGroupArn": security_groups.arn(call.cloud, group),
        "Tags": dict_to_tags(group_tags),
    }


@operation("DeleteSecurityGroup")
def delete_security_group(call: Call, params: Params) -> Result:
    """Delete an unused group."""
    removed = security_groups.remove(
        call.tx, call.caller, group_id=params.get("GroupId"), group_name=params.get("GroupName")
    )
    return {"Return": True, "GroupId": removed}


@operation("DescribeSecurityGroups", writes=False)
def describe_security_groups(call: Call, params: Params) -> Result:
    """List security groups with their rules."""
    asked, page = selection.paged(call, params, "DescribeSecurityGroups", security_groups.FILTERS, ids="GroupIds")
    names = params.get("GroupNames", ())
    found = security_groups.describe(call.tx, call.caller, call.cloud, asked, names)
    return selection.answered("SecurityGroups", found, page, lambda one: (one.group.id,), security_group_view)


@operation("DescribeSecurityGroupRules", writes=False)
def describe_security_group_rules(call: Call, params: Params) -> Result:
    """List the rules of security groups, one peer each."""
    asked, page = selection.paged(
        call, params, "DescribeSecurityGroupRules", security_group_rules.FILTERS, ids="SecurityGroupRuleIds"
    )
    found = security_group_rules.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answered("SecurityGroupRules", found, page, lambda one: (one.rule.id,), rule_view)


@operation("DescribeSecurityGroupReferences", writes=False)
def describe_security_group_references(call: Call, params: Params) -> Result:
    """List the VPCs on the other side of a peering connection that refer to groups."""
    found = security_group_references.references(call.tx, call.caller, params["GroupId"])
    return {"SecurityGroupReferenceSet": [reference_view(one) for one in found]}


@operation("DescribeStaleSecurityGroups", writes=False)
def describe_stale_security_groups(call: Call, params: Params) -> Result:
    """List the groups of a VPC with rules that refer to deleted groups or peering connections."""
    page = describe.page(call, params, "DescribeStaleSecurityGroups", at_most=255)
    asked = Selection(after=page.after, limit=page.fetch)
    found = security_group_references.stale(call.tx, call.caller, params["VpcId"], asked)
    return selection.answered("StaleSecurityGroupSet", found, page, lambda one: (one.group.id,), stale_group_view)


@operation("GetSecurityGroupsForVpc", writes=False)
def get_security_groups_for_vpc(call: Call, params: Params) -> Result:
    """List the groups that interfaces of a VPC may have."""
    known = security_group_references.FOR_VPC_FILTERS
    page = describe.page(call, params, "GetSecurityGroupsForVpc")
    asked = Selection((), describe.filters(params, known), page.after, page.fetch)
    found = security_group_references.for_vpc(call.tx, call.caller, params["VpcId"], asked)
    return selection.answered("SecurityGroupForVpcs", found, page, lambda one: (one.row.id,), group_for_vpc_view)
