"""A fake block store, and a host's way to it."""

import pytest

from stead_agent.block_store import BlockStore
from tests.support.fake_block_store import FakeBlockStore


@pytest.fixture
def fake():
    """A block store on a port of loopback, without any snapshot."""
    store = FakeBlockStore()
    store.start()
    yield store
    store.stop()


@pytest.fixture
def store(fake):
    """A host's client of it."""
    identity = fake.identity()
    client = BlockStore([fake.address], lambda: identity)
    yield client
    client.close()
