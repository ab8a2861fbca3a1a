"""A fake block store, and a host's way to it."""

from tests.support.fake_block_store import fake, store  # noqa: F401 - fixtures
