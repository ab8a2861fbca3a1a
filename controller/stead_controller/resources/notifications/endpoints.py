"""Which URLs may subscribe, and which addresses may be connected to for them. Pure.

A URL is given by whoever may subscribe, so it could name what only the controller reaches: itself, hosts, guests, the
operator's network. What its name stands for is looked at when it is connected to, address by address.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from yarl import URL

from stead_controller.errors import InvalidParameter, Unsupported

PROTOCOLS: Final = ("https", "http")

_LONGEST: Final = 2048
# IPv6 addresses behind which there may be any IPv4 address: NAT64 (RFC 6052, RFC 8215), 6to4, Teredo.
_TRANSLATED: Final = tuple(IPv6Network(one) for one in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))


def check(protocol: str, endpoint: str, *, plain: bool) -> None:
    """Raise InvalidParameter or Unsupported unless a URL may subscribe; `plain` is whether HTTP may be used."""
    if protocol not in PROTOCOLS:
        raise Unsupported(f"The protocol {protocol[:50]} is not supported: notifications go to https, and http.")
    if protocol == "http" and not plain:
        raise Unsupported("The protocol http is not supported: the operator has set no --webhook-network for it.")
    try:
        url = URL(endpoint)
        host = url.host
    except ValueError:
        host = None
    if host is None or len(endpoint) > _LONGEST or not endpoint.isprintable() or " " in endpoint:
        raise InvalidParameter("Invalid parameter: Endpoint")
    if url.scheme != protocol:
        raise InvalidParameter("Invalid parameter: Endpoint must match the specified protocol")
    if url.user is not None or url.password is not None:
        raise Unsupported("A user or a password in an endpoint is not supported.")


def may_connect(address: str, networks: Sequence[str], *, plain: bool) -> bool:
    """Tell whether an address may be connected to: a public one, unless HTTP is used, or one of these networks."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if any(_has(ip_network(network), found) for network in networks):
        return True
    if plain or not found.is_global or found.is_multicast:
        return False
    return not any(_has(network, found) for network in _TRANSLATED)


def _has(network: IPv4Network | IPv6Network, address: object) -> bool:
    return address in network
