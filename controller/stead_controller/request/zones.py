"""Ids of Availability Zones, such as `use1-az1`: the region in short and the zone's number in the cloud's list.

See https://docs.aws.amazon.com/global-infrastructure/latest/regions/az-ids.html.
"""

import re
from typing import Final

from stead_controller.request.cloud import Cloud

_AWS_REGION: Final = re.compile(r"([a-z]{2})((?:-[a-z]+)+)-([0-9]+)\Z")
_COMPASS: Final = re.compile(r"north|south|east|west|central")


def zone_ids(cloud: Cloud) -> dict[str, str]:
    """Return the id of each of the cloud's zones, by name."""
    region = _short(cloud.region)
    return {zone: f"{region}-az{number}" for number, zone in enumerate(cloud.zones, 1)}


def _short(region: str) -> str:
    """Shorten a region's name as AWS does: `ap-southeast-2` becomes `apse2`; other names keep letters and digits."""
    found = _AWS_REGION.match(region)
    if not found:
        return re.sub(r"[^a-z0-9]", "", region.lower()) or "zone"
    area, words, number = found.groups()
    return area + "".join(_initials(word) for word in words.split("-") if word) + number


def _initials(word: str) -> str:
    """`southeast` is `se`, `gov` is `g`."""
    points = _COMPASS.findall(word)
    return "".join(point[0] for point in points) if "".join(points) == word else word[0]
