"""What was written is shown before a question, also where the engine did not answer the first time."""

import asyncio

import pytest

from stead_controller.metrics.datum import MetricsUnavailable
from stead_controller.metrics.embedded import EmbeddedEngine


def test_a_flush_that_failed_is_done_again_before_the_next_question(tmp_path, monkeypatch):
    engine = EmbeddedEngine(tmp_path)
    asked = []

    async def post(path, body, headers):
        asked.append(path)
        if len(asked) == 1:
            raise MetricsUnavailable("it is away")
        return b""

    monkeypatch.setattr(engine, "post", post)

    async def story():
        with pytest.raises(MetricsUnavailable):
            await engine.show_written()
        await engine.show_written()
        await engine.show_written()  # nothing was written meanwhile

    asyncio.run(story())
    assert asked == ["/internal/force_flush"] * 2
