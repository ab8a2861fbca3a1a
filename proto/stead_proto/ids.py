"""Names of kernel objects derived from resource ids, so that an agent can find what it made by the id."""

from typing import Final

_INTERFACE_NAME_LIMIT: Final = 15  # IFNAMSIZ - 1


def link_name(prefix: str, resource_id: str) -> str:
    """Derive a kernel link name of at most 15 characters from a resource id.

    The last hex digits of the id fill the rest after the prefix: with a prefix of 3 characters, 48 random bits.
    """
    digits = resource_id.rsplit("-", 1)[-1]
    room = _INTERFACE_NAME_LIMIT - len(prefix)
    return prefix + digits[-room:]
