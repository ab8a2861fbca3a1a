"""What the price list, bills and exports call the same use: its service, its sku and its price's id; pure."""

import hashlib
from base64 import b32encode
from typing import Final

EC2, S3, VPC, CLOUDWATCH = "AmazonEC2", "AmazonS3", "AmazonVPC", "AmazonCloudWatch"
TERM: Final = "JRTCKXETXF"
"""AWS's code of the only term, On-Demand."""
_RATE: Final = "6YS6EN2CT7"  # AWS's code of the rate for each unit; the same for all uses
_OF_NETWORK: Final = "PublicIPv4:"  # AWS counts NAT gateways as EC2's
_OF_ALARMS: Final = "CW:"
_OF_REQUESTS: Final = "Requests-"
_OF_BUCKETS: Final = (_OF_REQUESTS, "TimedStorage-")
_OUT: Final = ("DataTransfer-Out-Bytes", "GetObject")
_LENGTH: Final = 16
_RATE_LENGTH: Final = len(_RATE)


def service_of(usage: str, operation: str = "") -> str:
    """Return the code of the service that a use is of: bytes that leave are S3's if they are of objects."""
    if usage.startswith(_OF_BUCKETS) or (usage, operation) == _OUT:
        return S3
    if usage.startswith(_OF_ALARMS):
        return CLOUDWATCH
    return VPC if usage.startswith(_OF_NETWORK) else EC2


def sku_of(region: str, usage: str, operation: str) -> str:
    """Return the sku of a use: the same for ever, since it is a digest of what is sold where.

    Requests to S3 cost the same whatever their operation is.
    """
    if usage.startswith(_OF_REQUESTS):
        operation = ""
    digest = hashlib.sha256(f"{service_of(usage, operation)}\n{region}\n{usage}\n{operation}".encode()).digest()
    return b32encode(digest).decode()[:_LENGTH]


def price_id_of(sku: str, tier: int = 0) -> str:
    """Return the rate code of a tier of a sku's price; that of the first one is that of a price without tiers."""
    rate = b32encode(hashlib.sha256(f"tier {tier}".encode()).digest()).decode()[:_RATE_LENGTH] if tier else _RATE
    return f"{sku}.{TERM}.{rate}"
