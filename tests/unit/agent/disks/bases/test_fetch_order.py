"""Which block comes next: what is asked for first, every block once, none forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from stead_agent.disks.bases.block_map import BlockMap, Presence
from stead_agent.disks.bases.fetch_order import FetchOrder
from stead_proto.blocks import BLOCK_BYTES

SIZE = 40 * BLOCK_BYTES


def order_of(blocks, contents=None, **options):
    digests = {block: bytes([(contents or {}).get(block, block)]) * 32 for block in blocks}
    block_map, presence = BlockMap(SIZE, digests), Presence.empty(SIZE)
    return FetchOrder(block_map, presence, **options), block_map, presence


def test_what_is_asked_for_comes_first_and_what_follows_next():
    order, _block_map, _presence = order_of(range(20), read_ahead=2)
    assert order.next_behind() == 0
    order.ask(7)
    order.ask(10)
    assert order.is_asked
    assert [order.next_asked() for _ in range(7)] == [7, 10, 8, 9, 11, 12, None]
    assert [order.next_behind() for _ in range(3)] == [1, 2, 3]


def test_block_zero_is_a_block():
    order, _block_map, _presence = order_of(range(3), read_ahead=0)
    order.ask(0)
    assert order.next_asked() == 0
    assert order.next_asked() is None


def test_a_lost_block_that_a_reader_waits_for_is_asked_for_again():
    order, block_map, presence = order_of(range(20), read_ahead=0)
    assert order.next_behind() == 0
    order.ask(7)
    assert order.next_asked() == 7
    order.lost({block_map.digests[0], block_map.digests[7]})
    assert order.is_asked
    assert order.next_asked() == 7
    assert order.next_behind() == 0
    presence.add(7)
    order.came(block_map.digests[7], [7])
    order.lost({block_map.digests[7]})
    assert not order.is_asked


def test_what_came_and_could_not_be_kept_is_fetched_again_behind():
    order, block_map, _presence = order_of(range(20), read_ahead=0)
    order.ask(7)
    assert order.next_asked() == 7
    order.came(block_map.digests[7], [7])
    assert not order.is_asked
    assert order.next_behind() == 7
    order.lost({block_map.digests[7]})
    assert not order.is_asked, "no reader waits for it any longer"


@given(st.lists(st.tuples(st.sampled_from(["ask", "asked", "behind", "lose"]), st.integers(0, 39)), max_size=60))
def test_every_content_comes_once_whatever_is_asked_and_lost(steps):
    contents = {block: block % 13 for block in range(40)}
    order, block_map, presence = order_of(range(0, 40, 2), contents)
    on_way, came = [], []
    for step, number in steps:
        if step == "ask" and number in block_map.digests:
            order.ask(number)
        elif step == "lose" and on_way:
            order.lost({block_map.digests[on_way.pop()]})
        elif step in {"asked", "behind"}:
            block = order.next_asked() if step == "asked" else order.next_behind()
            if block is not None:
                on_way.append(block)
    for _ in range(100):
        while on_way:
            digest = block_map.digests[on_way.pop()]
            came.append(digest)
            for block in block_map.digests:
                if block_map.digests[block] == digest:
                    presence.add(block)
            order.came(digest, [block for block in block_map.digests if block_map.digests[block] == digest])
        block = order.next_asked()
        block = order.next_behind() if block is None else block
        if block is None:
            break
        on_way.append(block)
    assert sorted(came) == sorted(set(block_map.digests.values()))
    assert not order.is_asked
