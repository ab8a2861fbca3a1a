"""IP addresses as requests write them, in their one spelling. Pure."""

import ipaddress

from stead_controller.errors import InvalidParameter


def canonical_address(text: str) -> str:
    """Give an address as it is kept; raises InvalidParameter, also for the zone of an address."""
    try:
        if "%" not in text:
            return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise InvalidParameter(f"Invalid IP address: {text[:80]}") from error
    raise InvalidParameter(f"Invalid IP address: {text[:80]}")
