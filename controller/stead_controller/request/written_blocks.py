"""Convert CIDR blocks in requests to canonical form. Pure."""

import ipaddress

from stead_controller.errors import InvalidParameter


def canonical_block(text: str, version: int | None = None) -> str:
    """Return a block of an IP version (of either, when None) with its host bits cleared, as EC2 stores it.

    Forms that Python's ipaddress accepts and EC2 does not are refused: no prefix length, a netmask, an address's zone.
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
