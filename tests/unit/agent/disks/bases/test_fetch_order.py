"""Which block comes next: what is asked for first, every block once, none forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from stead_agent.disks.bases.fetch_order import Turns
from stead_agent.disks.bases.picture import Picture, Presence
from stead_proto.blocks import BLOCK_BYTES

SIZE = 40 * BLOCK_BYTES


def turns_of(blocks, contents=None, **options):
    digests = {block: bytes([(contents or {}).get(block, block)]) * 32 for block in blocks}
    picture, presence = Picture(SIZE, digests), Presence.empty(SIZE)
    return Turns(picture, presence, **options), picture, presence


def test_what_is_asked_for_comes_first_and_what_follows_next():
    turns, _picture, _presence = turns_of(range(20), read_ahead=2)
    assert turns.next_behind() == 0
    turns.ask(7)
    turns.ask(10)
    assert turns.is_asked
    assert [turns.next_asked() for _ in range(7)] == [7, 10, 8, 9, 11, 12, None]
    assert [turns.next_behind() for _ in range(3)] == [1, 2, 3]


def test_block_zero_is_a_block():
    turns, _picture, _presence = turns_of(range(3), read_ahead=0)
    turns.ask(0)
    assert turns.next_asked() == 0
    assert turns.next_asked() is None


@given(st.lists(st.tuples(st.sampled_from(["ask", "asked", "behind", "lose"]), st.integers(0, 39)), max_size=60))
def test_every_content_comes_once_whatever_is_asked_and_lost(steps):
    contents = {block: block % 13 for block in range(40)}
    turns, picture, presence = turns_of(range(0, 40, 2), contents)
    on_way, came = [], []
    for step, number in steps:
        if step == "ask" and number in picture.digests:
            turns.ask(number)
        elif step == "lose" and on_way:
            turns.lost({picture.digests[on_way.pop()]})
        elif step in {"asked", "behind"}:
            block = turns.next_asked() if step == "asked" else turns.next_behind()
            if block is not None:
                on_way.append(block)
    for _ in range(100):
        while on_way:
            digest = picture.digests[on_way.pop()]
            came.append(digest)
            for block in picture.digests:
                if picture.digests[block] == digest:
                    presence.add(block)
            turns.came(digest)
        block = turns.next_asked()
        block = turns.next_behind() if block is None else block
        if block is None:
            break
        on_way.append(block)
    assert sorted(came) == sorted(set(picture.digests.values()))
    assert not turns.is_asked
