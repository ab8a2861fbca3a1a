"""Resource ids: how they are made, checked, and recognised by their form."""

import re
import secrets
from typing import Final

from stead_controller.catalog.nouns import OF_PREFIX, OF_TYPE

_LONG_ID: Final = re.compile(r"(?P<prefix>[a-z]+(?:-[a-z]+)*)-(?P<hex>[0-9a-f]{17}|[0-9a-f]{8})\Z")


def new_id(resource_type: str) -> str:
    """Make a new unguessable id of a resource type, such as `i-0a1b2c3d4e5f67890`."""
    return f"{OF_TYPE[resource_type].prefix}-0{secrets.token_hex(8)}"


def is_id(resource_type: str, text: str) -> bool:
    """Tell whether `text` has the form of an id of this resource type (17 or, as EC2 once had, 8 hex digits)."""
    found = _LONG_ID.match(text)
    return found is not None and found["prefix"] == OF_TYPE[resource_type].prefix


def resource_type_of(text: str) -> str | None:
    """Return the resource type that an id's prefix stands for, or None when it is not an id."""
    found = _LONG_ID.match(text)
    noun = OF_PREFIX.get(found["prefix"]) if found else None
    return noun.type if noun else None
