"""The controller collects no blocks while a backup copies them."""

from stead_controller.blocks import collection
from tests.unit.controller.test_controller import cloud

__all__ = ["cloud"]


async def test_blocks_stay_while_they_are_copied(cloud, monkeypatch):
    calls = []

    async def collect():
        calls.append(1)
        return len(calls) < 3

    monkeypatch.setattr(cloud.controller._blocks, "collect", collect)
    with collection.paused(cloud.settings.state_dir):
        await cloud.controller._collect_blocks()
        assert calls == []
    await cloud.controller._collect_blocks()
    assert len(calls) == 3
