"""Names of kernel objects that follow from ids of resources: what an agent makes can be found again by its id."""

from typing import Final

_INTERFACE_NAME_LIMIT: Final = 15  # IFNAMSIZ - 1


def link_name(prefix: str, resource_id: str) -> str:
    """Derive a kernel link name of at most 15 characters from a resource id.

    The last hex digits of the id fill what the prefix leaves: at 3 characters of prefix, 48 random bits.
    """
    digits = resource_id.rsplit("-", 1)[-1]
    room = _INTERFACE_NAME_LIMIT - len(prefix)
    return prefix + digits[-room:]
