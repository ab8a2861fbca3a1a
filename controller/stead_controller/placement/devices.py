"""Which of a host's PCI devices an instance gets: whole IOMMU groups, just as many of each model as it needs. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from stead_controller.catalog.instance_type import DeviceCount


class Device(NamedTuple):
    """A device of a host; it is free if no instance has it and nothing speaks against giving it away."""

    address: str
    model: str
    group: int
    free: bool = True


def choose(devices: Iterable[Device], wanted: Sequence[DeviceCount]) -> tuple[str, ...] | None:
    """Return the addresses of groups that have, together, exactly what is wanted; None if there are none.

    What else is in a group comes with it: groups with less of that are preferred, then those of the lowest numbers. A
    group of which something is not free cannot be had.
    """
    need = Counter({one.model: one.count for one in wanted})
    groups: defaultdict[int, list[Device]] = defaultdict(list)
    for device in devices:
        groups[device.group].append(device)
    has = {
        number: tuple(sum(device.model == model for device in group) for model in need)
        for number, group in groups.items()
        if all(device.free for device in group)
    }
    useful = [number for number, counts in has.items() if any(counts)]
    useful.sort(key=lambda number: (len(groups[number]) - sum(has[number]), number))

    @cache
    def fill(start: int, left: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return groups from `start` on that have what is left to find."""
        if not any(left):
            return ()
        if start == len(useful):
            return None
        rest = tuple(count - found for count, found in zip(left, has[useful[start]], strict=True))
        if min(rest) >= 0 and (found := fill(start + 1, rest)) is not None:
            return (useful[start], *found)
        return fill(start + 1, left)

    chosen = fill(0, tuple(need.values()))
    if chosen is None:
        return None
    return tuple(sorted(device.address for number in chosen for device in groups[number]))
