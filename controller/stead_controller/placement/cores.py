"""Which of a host's cores an instance has alone: all in one memory node, which has its huge pages as well. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from stead_controller.catalog.instance_type import InstanceType

HUGE_PAGE: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class CoreNeed:
    """So many cores with at least so many threads each, and so many huge pages of 2 MiB, in one memory node."""

    cores: int
    threads_per_core: int = 1
    huge_pages: int = 0


class Core(NamedTuple):
    """A core that instances may have alone, by its lowest thread; it is free if no instance has it."""

    number: int
    threads: int
    free: bool = True


class Node(NamedTuple):
    """A memory node of a host, with those of its cores that instances may have alone, and its free huge pages."""

    number: int
    cores: tuple[Core, ...]
    huge_pages: int = 0


class Choice(NamedTuple):
    """A memory node, and cores of it by their numbers, in order."""

    node: int
    cores: tuple[int, ...]


def needed(kind: InstanceType, cores: int, threads_per_core: int) -> CoreNeed | None:
    """Return what an instance of a type needs that has so many cores and threads; None if it shares all with others."""
    if not kind.whole_cores:
        return None
    return CoreNeed(cores, threads_per_core, kind.memory // HUGE_PAGE if kind.huge_pages else 0)


def choose(nodes: Iterable[Node], need: CoreNeed, near: Collection[int] = ()) -> Choice | None:
    """Return free cores of one node; None if none has enough.

    Nodes that are `near` go before others, then those that have least left: so the largest gaps stay.
    """
    fitting = []
    for node in nodes:
        free = sorted(core.number for core in node.cores if core.free and core.threads >= need.threads_per_core)
        if len(free) >= need.cores and node.huge_pages >= need.huge_pages:
            fitting.append((node.number not in near, len(free), node.number, free))
    if not fitting:
        return None
    _, _, number, free = min(fitting)
    return Choice(number, tuple(free[: need.cores]))
