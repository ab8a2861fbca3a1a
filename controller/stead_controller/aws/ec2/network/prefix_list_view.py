"""Managed prefix lists as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.request.cloud import Cloud
from stead_controller.resources.network.prefix_lists import Association, DescribedPrefixList, Entry, ServicePrefixList


def prefix_list_view(cloud: Cloud, found: DescribedPrefixList) -> Result:
    """Show a prefix list; that of a service has neither size nor version, which are internal to the cloud."""
    row = found.prefix_list
    owner = row.account_id.lower()
    return {
        "PrefixListId": row.id,
        "PrefixListName": row.name,
        "PrefixListArn": f"arn:{cloud.partition}:ec2:{cloud.region}:{owner}:prefix-list/{row.id}",
        "AddressFamily": row.address_family,
        "State": row.state,
        "MaxEntries": None if found.is_of_service else row.max_entries,
        "Version": None if found.is_of_service else row.version,
        "OwnerId": row.account_id,
        "Tags": tags_view(found.tags),
    }


def deleted_view(found: DescribedPrefixList) -> Result:
    """Show a deleted prefix list."""
    row = found.prefix_list
    return {"PrefixListId": row.id, "PrefixListName": row.name, "State": "delete-complete", "OwnerId": row.account_id}


def service_prefix_list_view(found: ServicePrefixList) -> Result:
    """Show the prefix list of a service with its CIDR blocks."""
    row = found.prefix_list
    return {"PrefixListId": row.id, "PrefixListName": row.name, "Cidrs": found.blocks}


def entry_view(entry: Entry) -> Result:
    """Show an entry of a list."""
    return {"Cidr": entry.cidr, "Description": entry.description}


def association_view(association: Association) -> Result:
    """Show a resource that uses a list."""
    return {"ResourceId": association.resource_id, "ResourceOwner": association.account_id}
