"""What a guest did between two readings of its counters, and the sum of several such times (pure).

A counter that has restarted never makes a spike: what is not known to have been counted since the reading before counts
for nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, Final

from stead_agent.metrics.interface import Devices, DiskCounters, NicCounters, Reading

# The counters of each kind, in the order in which it is made of them: `astuple` takes ten times as long.
_COUNTS: Final[Mapping[type, Callable[[Any], tuple[int, ...]]]] = {
    kind: attrgetter(*(each.name for each in fields(kind))) for kind in (DiskCounters, NicCounters)
}


@dataclass(frozen=True, slots=True)
class Growth:
    """What a guest did in a time: `seconds` of it were measured of its vCPUs, which used `cpu_time` nanoseconds.

    Without `devices`, disks and nics were not measured.
    """

    seconds: float = 0.0
    cpu_time: int = 0
    devices: bool = False
    volumes: Mapping[str, DiskCounters] = field(default_factory=dict)
    stores: DiskCounters | None = None  # None: it has none
    nics: NicCounters = field(default=NicCounters())


def growth(before: Reading | None, since: int | None, now: Reading) -> Growth:
    """Return what a guest did since `before`, or since its start if that was after `since`.

    `since` is when all guests were last read, in nanoseconds since the host's boot; None: never. A guest that ran then
    and was not read, or whose process is another one than before, counts from now on.
    """
    if before is not None and before.process == now.process:
        cpu_time = max(0, now.cpu_time - before.cpu_time)
        return _with_devices(Growth((now.at - before.at) / 1e9, cpu_time), before.devices, now.devices)
    if since is not None and now.began >= since:
        return _with_devices(Growth((now.at - now.began) / 1e9, now.cpu_time), Devices({}, {}, {}), now.devices)
    return Growth()


def together(one: Growth, other: Growth) -> Growth:
    """Return what was done in two times that follow each other."""
    volumes = {
        each: _sum(one.volumes.get(each, DiskCounters()), other.volumes.get(each, DiskCounters()))
        for each in one.volumes.keys() | other.volumes.keys()
    }
    stores = [each for each in (one.stores, other.stores) if each is not None]
    return Growth(
        one.seconds + other.seconds,
        one.cpu_time + other.cpu_time,
        one.devices or other.devices,
        volumes,
        _sum(*stores) if stores else None,
        _sum(one.nics, other.nics),
    )


def _with_devices(grown: Growth, before: Devices | None, now: Devices | None) -> Growth:
    """Add what grew of devices; one that was not there before was attached since then, and counts from zero."""
    if before is None or now is None:
        return grown
    stores = [_grown(before.stores.get(name, DiskCounters()), disk) for name, disk in now.stores.items()]
    nics = [_grown(before.nics.get(name, NicCounters()), nic) for name, nic in now.nics.items()]
    volumes = {name: _grown(before.volumes.get(name, DiskCounters()), disk) for name, disk in now.volumes.items()}
    return replace(
        grown, devices=True, volumes=volumes, stores=_sum(*stores) if stores else None, nics=_sum(NicCounters(), *nics)
    )


def _grown[Kind: (DiskCounters, NicCounters)](before: Kind, now: Kind) -> Kind:
    """Return the growth of each counter; those of a device that was attached anew have begun at zero again."""
    counts = _COUNTS[type(now)]
    old, new = counts(before), counts(now)
    if any(one < other for one, other in zip(new, old, strict=True)):
        return now
    return type(now)(*(one - other for one, other in zip(new, old, strict=True)))


def _sum[Kind: (DiskCounters, NicCounters)](first: Kind, *more: Kind) -> Kind:
    rows = map(_COUNTS[type(first)], (first, *more))
    return type(first)(*map(sum, zip(*rows, strict=True)))
