"""Sets of DHCP options as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.dhcp_options import DescribedDhcpOptions


def dhcp_options_view(found: DescribedDhcpOptions) -> Result:
    """Show a set of DHCP options."""
    return {
        "DhcpOptionsId": found.row.id,
        "OwnerId": found.row.account_id,
        "DhcpConfigurations": [
            {"Key": key, "Values": [{"Value": value} for value in values]} for key, values in found.options.items()
        ],
        "Tags": tags_view(found.tags),
    }
