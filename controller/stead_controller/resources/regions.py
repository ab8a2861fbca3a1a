"""The cloud's region and zones, and account attributes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import select

from stead_controller.db.tables import Vpc
from stead_controller.errors import InvalidParameter
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import holds
from stead_controller.request.filters import Filter
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids

REGION_FILTERS: Final = frozenset({"endpoint", "opt-in-status", "region-name"})
ZONE_FILTERS: Final = frozenset(
    {
        "group-long-name",
        "group-name",
        "message",
        "opt-in-status",
        "parent-zone-id",
        "parent-zone-name",
        "region-name",
        "state",
        "zone-id",
        "zone-name",
        "zone-type",
    }
)
OPT_IN: Final = "opt-in-not-required"
"""The opt-in status of the region and its zones."""

# The account attributes that EC2 shows for every account.
_LIMITS: Final = {
    "max-instances": "100000",
    "vpc-max-security-groups-per-interface": "5",
    "max-elastic-ips": "0",
    "vpc-max-elastic-ips": "0",
}


class DescribedRegion(NamedTuple):
    """A region and its endpoint, by host and port."""

    name: str
    endpoint: str


class DescribedZone(NamedTuple):
    """An availability zone; `group` is the name of the zones that belong together."""

    name: str
    id: str
    region: str
    group: str


class AccountAttribute(NamedTuple):
    """What an account supports or may have: each attribute has one value."""

    name: str
    value: str


def describe_regions(cloud: Cloud, host: str, names: Sequence[str], filters: Iterable[Filter]) -> list[DescribedRegion]:
    """Find the cloud's one region; raises InvalidParameter for any other name.

    `host` is the name by which the caller reached the endpoint; empty if unknown.
    """
    unknown = [name for name in names if name != cloud.region]
    if unknown:
        raise InvalidParameter(f"Invalid region names: [{', '.join(unknown)}]")
    endpoint = host or urlsplit(cloud.endpoint).netloc or cloud.endpoint
    facts = {"endpoint": [endpoint], "opt-in-status": [OPT_IN], "region-name": [cloud.region]}
    if not holds(filters, facts):
        return []
    return [DescribedRegion(cloud.region, endpoint)]


def describe_zones(
    cloud: Cloud, names: Sequence[str], ids: Sequence[str], filters: Sequence[Filter]
) -> list[DescribedZone]:
    """Find the cloud's zones; raises InvalidParameter for unknown names and ids."""
    known = zone_ids(cloud)
    unknown = [name for name in names if name not in known] + [one for one in ids if one not in known.values()]
    if unknown:
        raise InvalidParameter(f"Invalid availability zone: [{', '.join(unknown)}]")
    return [
        DescribedZone(zone, zone_id, cloud.region, _group(cloud))
        for zone, zone_id in known.items()
        if (not names or zone in names) and (not ids or zone_id in ids) and holds(filters, _facts(cloud, zone, zone_id))
    ]


def account_attributes(tx: Transaction, caller: Caller, names: Sequence[str]) -> list[AccountAttribute]:
    """Find what the account supports and may have; raises InvalidParameter for an unknown attribute."""
    query = select(Vpc.id).where(Vpc.account_id == caller.account_id, Vpc.is_default.is_(True))
    default_vpc = tx.session.scalar(query)
    attributes: Mapping[str, str] = {"supported-platforms": "VPC", "default-vpc": default_vpc or "none", **_LIMITS}
    unknown = [name for name in names if name not in attributes]
    if unknown:
        raise InvalidParameter(f"Value ({', '.join(unknown)}) for parameter attributeName is invalid.")
    return [AccountAttribute(name, value) for name, value in attributes.items() if not names or name in names]


def _facts(cloud: Cloud, zone: str, zone_id: str) -> dict[str, Sequence[str]]:
    nothing: Sequence[str] = ()
    return dict.fromkeys(ZONE_FILTERS, nothing) | {
        "group-name": [_group(cloud)],
        "opt-in-status": [OPT_IN],
        "region-name": [cloud.region],
        "state": ["available"],
        "zone-id": [zone_id],
        "zone-name": [zone],
        "zone-type": ["availability-zone"],
    }


def _group(cloud: Cloud) -> str:
    return f"{cloud.region}-zg-1"
