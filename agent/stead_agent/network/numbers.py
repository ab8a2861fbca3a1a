"""Assign stable numbers to names: the same at each start, and different from each other."""

import zlib
from collections.abc import Container, Iterable


def spread(names: Iterable[str], room: int, taken: Container[int] = ()) -> dict[str, int]:
    """Assign each name a number below `room`: its checksum, or the next free number after it.

    The result depends on the set of names, not their order; a name moves only if one with its checksum comes or goes.
    Raises ValueError when there are not enough numbers.
    """
    found: dict[str, int] = {}
    used: set[int] = set()
    for name in sorted(set(names)):
        first = zlib.crc32(name.encode())
        for step in range(room):
            number = (first + step) % room
            if number not in used and number not in taken:
                break
        else:
            raise ValueError(f"all {room} numbers are taken")
        used.add(number)
        found[name] = number
    return found
