"""Derives from an export's holes and changed extents which blocks to read, and what the segments become. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS
from stead_proto.nbd import wire
from stead_proto.nbd.wire import Extent


@dataclass(frozen=True, slots=True)
class ToRead:
    """Blocks of a disk, each list ascending and without overlaps."""

    changed: tuple[range, ...]  # those that may differ from the parent's, or all without a parent
    read: tuple[range, ...]  # those of them that are not known to be all zero

    @property
    def count(self) -> int:
        """How many blocks must be read."""
        return sum(len(each) for each in self.read)


def to_read(size: int, allocation: Iterable[Extent], dirty: Iterable[Extent] | None) -> ToRead:
    """Decide which blocks must be read; `dirty` is None when everything must be."""
    nonzero = touched(each for each in allocation if not each.flags & wire.IS_ZERO)
    if dirty is None:
        return ToRead((range(-(-size // BLOCK_BYTES)),), nonzero)
    changed = touched(each for each in dirty if each.flags & wire.IS_DIRTY)
    return ToRead(changed, tuple(_common(changed, nonzero)))


def touched(extents: Iterable[Extent]) -> tuple[range, ...]:
    """List the blocks that extents, ascending, touch."""
    found: list[range] = []
    for each in extents:
        first, stop = each.offset // BLOCK_BYTES, -(-(each.offset + each.length) // BLOCK_BYTES)
        if found and first <= found[-1].stop:
            found[-1] = range(found[-1].start, max(stop, found[-1].stop))
        else:
            found.append(range(first, stop))
    return tuple(found)


def in_segments(blocks: Iterable[range]) -> dict[int, list[range]]:
    """Group blocks, ascending, by segment: position -> ranges of slots."""
    found: dict[int, list[range]] = {}
    for each in blocks:
        first = each.start
        while first < each.stop:
            position, slot = divmod(first, SEGMENT_BLOCKS)
            stop = min(each.stop, (position + 1) * SEGMENT_BLOCKS)
            found.setdefault(position, []).append(range(slot, slot + stop - first))
            first = stop
    return found


def without(digests: Mapping[int, bytes], slots: Iterable[range]) -> dict[int, bytes]:
    """Leave some slots out of a segment."""
    gone = frozenset(slot for each in slots for slot in each)
    return {slot: digest for slot, digest in digests.items() if slot not in gone}


def _common(first: Iterable[range], second: Iterable[range]) -> Iterator[range]:
    """Intersect two ascending lists."""
    others = iter(second)
    other = next(others, None)
    for each in first:
        while other is not None and other.stop <= each.start:
            other = next(others, None)
        while other is not None and other.start < each.stop:
            yield range(max(each.start, other.start), min(each.stop, other.stop))
            if other.stop > each.stop:
                break
            other = next(others, None)
