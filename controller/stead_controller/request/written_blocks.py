"""CIDR blocks as requests write them, in their one spelling. Pure."""

import ipaddress

from stead_controller.errors import InvalidParameter


def canonical_block(text: str, version: int | None = None) -> str:
    """Give a block of an IP version (of either, when None) with its host bits cleared, as EC2 keeps it.

    What Python's ipaddress would take and EC2 does not is refused: no length, a netmask, the zone of an address.
    Raises InvalidParameter.
    """
    address, slash, length = text.partition("/")
    if slash and length.isascii() and length.isdigit() and "%" not in address:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise InvalidParameter(f"CIDR block {text[:80]} is malformed") from error
        if version in (None, network.version):
            return str(network)
    raise InvalidParameter(f"CIDR block {text[:80]} is malformed")
