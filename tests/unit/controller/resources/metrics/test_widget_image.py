"""A picture becomes a PNG of its size, by the real program."""

import asyncio
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from stead_controller.errors import TooManyRequests
from stead_controller.resources.metrics import widget_image
from stead_controller.resources.metrics.widget import parse

NOW = datetime(2026, 11, 28, 20, 0, 0, tzinfo=UTC)


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height; fails unless all chunks are whole."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    kinds = []
    for kind, content in _chunks(png[8:]):
        kinds.append(kind)
        if kind == b"IHDR":
            width, height = struct.unpack(">II", content[:8])
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    return width, height


def _chunks(rest: bytes) -> Iterator[tuple[bytes, bytes]]:
    while rest:
        [length] = struct.unpack(">I", rest[:4])
        kind, content, check = rest[4:8], rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert struct.pack(">I", zlib.crc32(kind + content)) == check
        yield kind, content
        rest = rest[12 + length :]


async def test_series_of_both_axes_with_any_labels() -> None:
    asked = parse(
        json.dumps(
            {
                "metrics": [["N", "m"], [{"expression": "m0", "yAxis": "right"}]],
                "width": 320, "height": 200, "title": "$a_b$ \\frac", "stacked": True, "legend": {"position": "right"},
                "yAxis": {"left": {"min": 0, "label": "$x"}}, "annotations": {"horizontal": [{"value": 3, "label": "_most"}]},
            }
        ),
        NOW,
        "us-east-1",
    )  # fmt: skip
    at = int(NOW.timestamp() * 1000) - 3_600_000
    points = [(at + n * 60_000, float(n)) for n in range(30)]
    picture = asked.drawn([("m0", "_hidden $1", points), ("m1", "right", points[:1])])
    assert size_of(await widget_image.draw(picture)) == (320, 200)


async def test_more_than_a_few_at_a_time_are_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widget_image, "_places", threading.Semaphore(1))
    monkeypatch.setattr(widget_image, "_draw", lambda picture: picture)
    drawn = await asyncio.gather(*(widget_image.draw({}) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in drawn] == [bytes, TooManyRequests, TooManyRequests]
    assert await widget_image.draw({}) == b"{}"


async def test_what_fails_is_an_error_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(widget_image.NotDrawn):
        await widget_image.draw({})
    assert "image_not_drawn" in caplog.text
