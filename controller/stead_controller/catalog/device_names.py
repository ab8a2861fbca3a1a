"""Names of devices, as EC2 takes them; pure.

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
    """Raise InvalidParameter for what is no name of a device."""
    if point(name) is None:
        raise InvalidParameter(
            f"Value ({name[:40]}) for parameter device is invalid. {name[:40]} is not a valid EBS device name."
        )


def point(name: str) -> str | None:
    """Give the attachment point that a name stands for, None for no such name.

    `/dev/sdf` and `/dev/xvdf` are one; `/dev/sda1` and `/dev/xvda`, both of them roots of images, are two.
    """
    found = _NAME.match(name)
    return None if found is None else found["sd"] or found["xvd"]


def check_free(name: str, taken: Collection[str]) -> None:
    """Raise InvalidParameter when a name's attachment point is one of those taken, which are names, too."""
    if point(name) in {point(one) for one in taken}:
        raise InvalidParameter(f"Invalid value '{name}' for unixDevice. Attachment point {name} is already in use")


def free(taken: Collection[str]) -> Iterator[str]:
    """Give names whose attachment points are not taken: `/dev/sdb` to `/dev/sdz`, then `/dev/xvdba` and on."""
    points = {point(one) for one in taken}
    names = [f"/dev/sd{letter}" for letter in ascii_lowercase[1:]]
    names += [f"/dev/xvd{first}{second}" for first in "bcd" for second in ascii_lowercase]
    return (name for name in names if point(name) not in points)
