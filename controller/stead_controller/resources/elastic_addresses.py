"""Elastic IP addresses: there are none yet, and every id or address of one is answered as absent."""

from collections.abc import Sequence
from typing import Final

from stead_controller.errors import NotFound
from stead_controller.resources import lookup

FILTERS: Final = frozenset(
    {
        "allocation-id",
        "association-id",
        "domain",
        "instance-id",
        "network-border-group",
        "network-interface-id",
        "network-interface-owner-id",
        "private-ip-address",
        "public-ip",
    }
)


def require(allocation_ids: Sequence[str], public_addresses: Sequence[str]) -> None:
    """Check what a request names; raises MalformedId, NotFound."""
    lookup.check_form("elastic-ip", allocation_ids)
    if allocation_ids:
        raise NotFound("elastic-ip", allocation_ids)
    if public_addresses:
        raise NotFound("public-ip", public_addresses)
