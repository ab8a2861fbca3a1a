"""Convert IP addresses in requests to canonical form. Pure."""

import ipaddress

from stead_controller.errors import InvalidParameter


def canonical_address(text: str) -> str:
    """Return an address in the form that is stored; raises InvalidParameter, also for an address with a zone."""
    try:
        if "%" not in text:
            return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise InvalidParameter(f"Invalid IP address: {text[:80]}") from error
    raise InvalidParameter(f"Invalid IP address: {text[:80]}")
