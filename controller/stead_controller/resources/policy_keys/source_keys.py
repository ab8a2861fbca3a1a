"""The condition keys about the source of a request, the same for every service.

Through a VPC endpoint it comes from a private address, which is not unique: there are other keys for that. See
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-network-properties.
"""

from typing import Any, Final

from stead_controller.resources.network.vpc_endpoint_access import Via

KEYS: Final = ("aws:SourceIp", "aws:SourceVpc", "aws:SourceVpce", "aws:VpcSourceIp")


def of_request(source_ip: str, via: Via | None) -> dict[str, Any]:
    """Return the values of all these keys; None is a key that the request does not have."""
    return {
        "aws:SourceIp": None if via else source_ip or None,
        "aws:SourceVpc": via.vpc_id if via else None,
        "aws:SourceVpce": via.endpoint_id if via else None,
        "aws:VpcSourceIp": source_ip if via else None,
    }
