"""Whether a host may be shared with those whose instances are there, or is a Dedicated Host for the instance.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/dedicated-instance.html.
"""

from typing import Final

from stead_controller.placement.filters.filter import Filter
from stead_controller.placement.room import Room
from stead_controller.placement.search import Search
from stead_controller.placement.tenancy import DEDICATED, DEFAULT, HOST


def _tenancy(room: Room, search: Search) -> str | None:
    """An account gets a host for itself when nobody's instances are there."""
    tenancy = search.terms.tenancy
    if not room.owner:
        if tenancy.kind == DEFAULT or (tenancy.kind == DEDICATED and room.empty):
            return None
        return "it has instances of shared tenancy" if tenancy.kind == DEDICATED else "it is shared"
    is_own = tenancy.kind != DEFAULT and room.owner == tenancy.account_id
    return None if is_own else f"it is dedicated to the account {room.owner}"


def _dedicated_host(room: Room, search: Search) -> str | None:
    """Nothing but instances of the tenancy `host` is on a Dedicated Host, and these are on those that they may use."""
    tenancy = search.terms.tenancy
    if tenancy.kind == HOST:
        return None if room.dedicated_host_id in tenancy.dedicated_hosts else "it is none of the Dedicated Hosts"
    return f"it is the Dedicated Host {room.dedicated_host_id}" if room.dedicated_host_id else None


FILTERS: Final = (Filter("tenancy", _tenancy), Filter("dedicated-host", _dedicated_host))
