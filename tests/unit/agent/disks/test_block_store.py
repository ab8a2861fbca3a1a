"""Calls of the block store share a connection: one that breaks ends no other, and the next call connects anew."""

import pytest

from stead_agent.disks.block_store import BlockStoreAway
from stead_proto.blocks import BLOCK_BYTES
from tests.support.fake_block_store import fake, random_disk, store  # noqa: F401 - fixtures
from tests.support.waiting import wait_for

SNAP = "snap-0123456789abcdef0"


@pytest.fixture
def digests(fake):  # noqa: F811 - a fixture
    fake.keep(SNAP, random_disk(1, 6 * BLOCK_BYTES, holes=0))
    return list(fake.blocks)


def test_a_call_that_breaks_ends_no_other(fake, store, digests):  # noqa: F811 - fixtures
    going_on = store.fetch(SNAP, iter(digests), ahead=1)
    next(going_on)
    wait_for(lambda: len(fake.fetched) == 2, "the next block is on its way, and no other before it is taken")
    fake.break_after_fetched = len(fake.fetched)
    with pytest.raises(BlockStoreAway, match="broken on purpose"):
        list(store.fetch(SNAP, digests[:1]))
    assert len(list(going_on)) == len(digests) - 1
    assert len(list(store.fetch(SNAP, digests))) == len(digests)


def test_a_call_that_begins_while_another_breaks_uses_what_it_was_given(fake, store, digests):  # noqa: F811 - fixtures
    with store._speaking() as stub:
        fake.break_after_fetched = len(fake.fetched)
        with pytest.raises(BlockStoreAway):
            list(store.fetch(SNAP, digests[:1]))
        assert stub.FetchBlocks(iter(())).code().name == "OK"
    with pytest.raises(ValueError, match="closed"):
        stub.FetchBlocks(iter(()))


def test_the_next_controller_is_called_once_for_each_connection_that_broke(fake, store, digests):  # noqa: F811 - fixtures
    list(store.fetch(SNAP, digests))
    before = store._failures
    first, second = store._used(), store._used()
    assert first is second
    store._drop(first)
    store._drop(second)
    assert store._failures == before + 1
    store._leave(first)
    store._leave(second)
    with pytest.raises(ValueError, match="closed"):
        first.channel.unary_unary("/x")(b"")
    assert len(list(store.fetch(SNAP, digests))) == len(digests)
