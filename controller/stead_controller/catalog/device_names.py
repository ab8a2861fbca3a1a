"""Device names, as EC2 accepts them; pure.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html.
"""

import re
from collections.abc import Collection, Iterator
from string import ascii_lowercase
from typing import Final

from stead_controller.errors import InvalidParameter

_NAME: Final = re.compile(
    r"(?:/dev/)?(?:sd(?P<sd>[a-z](?:[1-9]|1[0-5])?)|xvd(?P<xvd>[a-z]|[a-d][a-z]))\Z"  # EC2's examples: sdh, xvdh
)


def check(name: str) -> None:
    """Raise InvalidParameter for what is not a device name."""
    if point(name) is None:
        raise InvalidParameter(
            f"Value ({name[:40]}) for parameter device is invalid. {name[:40]} is not a valid EBS device name."
        )


def point(name: str) -> str | None:
    """Return the attachment point that a name stands for, None for no such name.

    `/dev/sdf` and `/dev/xvdf` are the same; `/dev/sda1` and `/dev/xvda`, both root devices of images, are different.
    """
    found = _NAME.match(name)
    return None if found is None else found["sd"] or found["xvd"]


def check_free(name: str, taken: Collection[str]) -> None:
    """Raise InvalidParameter when a name's attachment point is that of one of the names in use."""
    if point(name) in {point(one) for one in taken}:
        raise InvalidParameter(f"Invalid value '{name}' for unixDevice. Attachment point {name} is already in use")


def free(taken: Collection[str]) -> Iterator[str]:
    """Yield names whose attachment points are free: `/dev/sdb` to `/dev/sdz`, then from `/dev/xvdba`."""
    points = {point(one) for one in taken}
    names = [f"/dev/sd{letter}" for letter in ascii_lowercase[1:]]
    names += [f"/dev/xvd{first}{second}" for first in "bcd" for second in ascii_lowercase]
    return (name for name in names if point(name) not in points)
