"""Versions of instance metadata: since which version each path exists, so that old versions show what EC2's show.

From the category tables at https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html
(instancedata-data-categories); paths that they do not name are shown by every version. EC2 shows `mac` and
`placement/region` in versions older than the tables say; cloud-utils' `ec2metadata` uses them with 2009-04-04. Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Final

LATEST: Final = "latest"

# The versions EC2 lists; cloud-init requests 2021-03-23, 2018-09-24, 2016-09-02 and 2009-04-04. As texts they are in
# order, from 1.0 to latest.
VERSIONS: Final = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19",
    "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03",
    "2021-03-23", "2021-07-15", "2022-09-24", "2024-04-11", LATEST,
)  # fmt: skip

_FIRST: Final = VERSIONS[0]
_MACS: Final = "meta-data/network/interfaces/macs/"
# By path, including everything below it; the longest match counts. Paths of an interface omit its MAC address.
_SINCE: Final = {
    "dynamic": "2009-04-04",
    "meta-data/autoscaling": "2021-07-15",
    "meta-data/block-device-mapping": "2007-12-15",
    "meta-data/events/maintenance": "2018-08-17",
    "meta-data/events/recommendations": "2020-10-27",
    "meta-data/hibernation": "2018-11-28",
    "meta-data/iam": "2012-01-12",
    "meta-data/identity-credentials": "2018-05-23",
    "meta-data/instance-action": "2008-09-01",
    "meta-data/instance-life-cycle": "2019-10-01",
    "meta-data/instance-type": "2007-08-29",
    "meta-data/ipv6": "2021-01-03",
    "meta-data/local-hostname": "2007-01-19",
    "meta-data/mac": "2009-04-04",
    "meta-data/metrics": "2011-05-01",
    "meta-data/network": "2011-01-01",
    f"{_MACS}ipv6s": "2016-06-30",
    f"{_MACS}subnet-ipv6-cidr-blocks": "2016-06-30",
    f"{_MACS}vpc-ipv4-cidr-blocks": "2016-06-30",
    f"{_MACS}vpc-ipv6-cidr-blocks": "2016-06-30",
    "meta-data/placement": "2008-02-01",
    "meta-data/placement/availability-zone-id": "2019-10-01",
    "meta-data/placement/group-name": "2020-08-24",
    "meta-data/placement/host-id": "2020-08-24",
    "meta-data/placement/partition-number": "2020-08-24",
    "meta-data/placement/region": "2009-04-04",
    "meta-data/public-hostname": "2007-01-19",
    "meta-data/public-ipv4": "2007-01-19",
    "meta-data/spot/instance-action": "2016-11-15",
    "meta-data/spot/termination-time": "2014-11-05",
    "meta-data/services": "2014-02-25",
    "meta-data/services/partition": "2015-10-20",
    "meta-data/system": "2022-09-24",
    "meta-data/tags": "2021-03-23",
}


def first_versions(paths: Iterable[str]) -> dict[str, str]:
    """Return since which version each path exists: a directory, since the first path in it."""
    known = list(paths)
    directories = {path.rpartition("/")[0] for path in known if path}
    first: dict[str, str] = {}
    for leaf in (path for path in known if path and path not in directories):
        since, path = _since(leaf), leaf
        while since < first.get(path, LATEST):
            first[path] = since
            path = path.rpartition("/")[0]
    return first


def listed(path: str, listing: bytes, version: str, first: Mapping[str, str]) -> bytes:
    """Remove from a directory's listing what a version does not have; entries that are not paths stay."""
    base = f"{path}/" if path else ""
    names = listing.split(b"\n")
    visible = [name for name in names if first.get(base + name.decode().rstrip("/"), _FIRST) <= version]
    return b"\n".join(visible)


def _since(leaf: str) -> str:
    path = leaf
    if leaf.startswith(_MACS):
        _, _, part = leaf.removeprefix(_MACS).partition("/")
        path = _MACS + part
    while path not in _SINCE and path:
        path = path.rpartition("/")[0]
    return _SINCE.get(path, _FIRST)
