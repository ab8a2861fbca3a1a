"""Network ACLs with their rules and associations, as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.network_acls import DescribedNetworkAcl


def network_acl_view(found: DescribedNetworkAcl) -> Result:
    """Show a network ACL."""
    acl = found.acl
    return {
        "NetworkAclId": acl.id,
        "VpcId": acl.vpc_id,
        "OwnerId": acl.account_id,
        "IsDefault": acl.is_default,
        "Entries": [
            {
                "RuleNumber": entry.rule_number,
                "Egress": entry.egress,
                "Protocol": entry.protocol,
                "RuleAction": "allow" if entry.allow else "deny",
                "CidrBlock": entry.cidr_ipv4,
                "Ipv6CidrBlock": entry.cidr_ipv6,
                "PortRange": None if entry.from_port is None else {"From": entry.from_port, "To": entry.to_port},
                "IcmpTypeCode": None if entry.icmp_type is None else {"Type": entry.icmp_type, "Code": entry.icmp_code},
            }
            for entry in found.entries
        ],
        "Associations": [
            {"NetworkAclAssociationId": one.id, "NetworkAclId": one.acl_id, "SubnetId": one.subnet_id}
            for one in found.associations
        ],
        "Tags": tags_view(found.tags),
    }
