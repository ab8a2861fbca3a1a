"""Security groups, and the references between them, as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.network.security_group_rule_view import permissions_view
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.security_group_references import (
    DescribedGroupForVpc,
    SecurityGroupReference,
    StaleSecurityGroup,
)
from stead_controller.resources.network.security_groups import DescribedSecurityGroup


def security_group_view(found: DescribedSecurityGroup) -> Result:
    """Show a group with its rules."""
    group, statuses = found.group, found.peering_statuses
    return {
        "GroupId": group.id,
        "GroupName": group.name,
        "Description": group.description,
        "OwnerId": group.account_id,
        "VpcId": group.vpc_id,
        "SecurityGroupArn": found.arn,
        "IpPermissions": permissions_view((rule for rule in found.rules if not rule.egress), statuses),
        "IpPermissionsEgress": permissions_view((rule for rule in found.rules if rule.egress), statuses),
        "Tags": tags_view(found.tags),
    }


def reference_view(found: SecurityGroupReference) -> Result:
    """Show a reference from a peered VPC to a group."""
    return {
        "GroupId": found.group_id,
        "ReferencingVpcId": found.referencing_vpc_id,
        "VpcPeeringConnectionId": found.peering_id,
    }


def stale_group_view(found: StaleSecurityGroup) -> Result:
    """Show a group with its stale rules."""
    group = found.group
    return {
        "GroupId": group.id,
        "GroupName": group.name,
        "Description": group.description,
        "VpcId": group.vpc_id,
        "StaleIpPermissions": _stale_permissions(found, egress=False),
        "StaleIpPermissionsEgress": _stale_permissions(found, egress=True),
    }


def group_for_vpc_view(found: DescribedGroupForVpc) -> Result:
    """Show a group that interfaces of a VPC may have."""
    group = found.row
    return {
        "GroupId": group.id,
        "GroupName": group.name,
        "Description": group.description,
        "OwnerId": group.account_id,
        "PrimaryVpcId": group.vpc_id,
        "Tags": tags_view(found.tags),
    }


def _stale_permissions(found: StaleSecurityGroup, *, egress: bool) -> list[Result]:
    rules = (rule for rule in found.rules if rule.egress is egress)
    return [
        {
            "IpProtocol": one["IpProtocol"],
            "FromPort": one.get("FromPort"),
            "ToPort": one.get("ToPort"),
            "UserIdGroupPairs": one["UserIdGroupPairs"],
            "IpRanges": [],
            "PrefixListIds": [],
        }
        for one in permissions_view(rules, found.peering_statuses)
    ]
