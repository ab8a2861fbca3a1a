"""The condition keys that say where a request came from, the same for every service.

By a VPC endpoint it comes from a private address, which says nothing by itself: there are other keys for it. See
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-network-properties.
"""

from typing import Any, Final

from stead_controller.resources.network.vpc_endpoint_access import Via

KEYS: Final = ("aws:SourceIp", "aws:SourceVpc", "aws:SourceVpce", "aws:VpcSourceIp")


def of_request(source_ip: str, via: Via | None) -> dict[str, Any]:
    """Give the values of all of them; None is a key that the request does not have."""
    return {
        "aws:SourceIp": None if via else source_ip or None,
        "aws:SourceVpc": via.vpc_id if via else None,
        "aws:SourceVpce": via.endpoint_id if via else None,
        "aws:VpcSourceIp": source_ip if via else None,
    }
