"""Which blocks are read: all that may differ, none that need not be, whatever an export says of holes and changes."""

from hypothesis import given
from hypothesis import strategies as st

from stead_agent.disks.snapshots.changed import in_segments, to_read, touched, without
from stead_proto.blocks import BLOCK_BYTES, SEGMENT_BLOCKS
from stead_proto.nbd import wire
from stead_proto.nbd.wire import Extent

UNIT = 64 * 1024
UNITS = BLOCK_BYTES // UNIT


def extents(flags):
    """One extent for each unit of 64 KiB."""
    return [Extent(number * UNIT, UNIT, flag) for number, flag in enumerate(flags)]


FLAGS = st.lists(st.sampled_from([0, wire.IS_ZERO | wire.IS_HOLE, wire.IS_ZERO]), min_size=1, max_size=80)


@given(FLAGS, st.data())
def test_what_is_read_is_what_changed_and_is_not_zero(flags, data):
    size = len(flags) * UNIT
    dirty = data.draw(
        st.none() | st.lists(st.sampled_from([0, wire.IS_DIRTY]), min_size=len(flags), max_size=len(flags))
    )
    plan = to_read(size, wire.joined(extents(flags)), None if dirty is None else wire.joined(extents(dirty)))
    count = -(-len(flags) // UNITS)
    of_block = [range(block * UNITS, min(len(flags), (block + 1) * UNITS)) for block in range(count)]
    changed = {b for b in range(count) if dirty is None or any(dirty[u] for u in of_block[b])}
    data_in = {b for b in range(count) if any(not flags[u] & wire.IS_ZERO for u in of_block[b])}
    assert [block for each in plan.changed for block in each] == sorted(changed)
    assert [block for each in plan.read for block in each] == sorted(changed & data_in)
    assert plan.count == len(changed & data_in)


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 1500)), max_size=6))
def test_segments_hold_every_block_once(pairs):
    blocks, at = [], 0
    for gap, length in pairs:
        blocks.append(range(at + gap, at + gap + length))
        at += gap + length
    found = in_segments(blocks)
    listed = [
        position * SEGMENT_BLOCKS + slot for position, ranges in found.items() for each in ranges for slot in each
    ]
    assert listed == [block for each in blocks for block in each]
    assert all(0 <= each.start < each.stop <= SEGMENT_BLOCKS for ranges in found.values() for each in ranges)


def test_blocks_that_several_extents_touch_are_listed_once():
    assert touched([Extent(0, 1, 0), Extent(BLOCK_BYTES - 1, 2, 0), Extent(5 * BLOCK_BYTES, BLOCK_BYTES, 0)]) == (
        range(2),
        range(5, 6),
    )


def test_slots_that_changed_are_left_out():
    assert without({1: b"a", 2: b"b", 9: b"c"}, [range(2), range(9, 12)]) == {2: b"b"}
