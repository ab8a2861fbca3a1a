"""The page for Prometheus, by the bytes of its connections."""

import asyncio
import gc

import pytest
from prometheus_client import CollectorRegistry, Gauge

from stead_proto.metrics_page import MetricsPage
from tests.support.waiting import wait_for


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Gauge("guests", "How many.", registry=made).set(3)
    return made


def _answers(registry: CollectorRegistry, *requests: bytes) -> list[str]:
    """Send each request by a connection of its own, and read until that ends."""

    async def ask() -> list[str]:
        page, found = MetricsPage(registry, "127.0.0.1", 0), []
        port = await page.start()
        try:
            for each in requests:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(each)
                found.append((await asyncio.wait_for(reader.read(), 20)).decode())
                writer.close()
        finally:
            await page.stop()
        return found

    return asyncio.run(ask())


def test_the_reader_chooses_a_format(registry: CollectorRegistry) -> None:
    asked = b"GET /metrics?x=1 HTTP/1.1\r\nHost: here\r\naccept: application/openmetrics-text;version=1.0.0\r\n\r\n"
    other = asked.replace(b"accept:", b"X-Accept:")
    plain, chosen, not_chosen = _answers(registry, b"GET /metrics HTTP/1.1\r\n\r\n", asked, other)
    assert not_chosen == plain
    assert plain.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=")
    assert chosen.startswith("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text")
    assert plain.endswith("\nguests 3.0\n")
    assert chosen.endswith("\n# EOF\n")
    head, _, body = plain.partition("\r\n\r\n")
    assert f"Content-Length: {len(body)}" in head.splitlines()


def test_a_head_alone_has_no_body(registry: CollectorRegistry) -> None:
    whole, head = _answers(registry, b"GET /metrics HTTP/1.1\r\n\r\n", b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert head == whole[: whole.index("\r\n\r\n") + 4]


def test_what_is_not_there_or_not_allowed_is_said(registry: CollectorRegistry) -> None:
    other, write = _answers(registry, b"GET / HTTP/1.1\r\n\r\n", b"PUT /metrics HTTP/1.1\r\n\r\n")
    assert other.startswith("HTTP/1.1 404 Not Found\r\n")
    assert write.startswith("HTTP/1.1 405 Method Not Allowed\r\n")
    assert "\r\nAllow: GET, HEAD\r\n" in write


def test_too_long_a_request_has_no_answer_and_others_have(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    endless = b"GET /metrics HTTP/1.1\r\nX: " + bytes(9000) + b"\r\n\r\n"
    silent, well = _answers(registry, endless, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert silent == ""
    assert caplog.records == []  # anybody may send so much
    assert well.startswith("HTTP/1.1 200 OK\r\n")


def test_nothing_is_kept_of_a_connection_that_has_ended(registry: CollectorRegistry) -> None:
    def kept() -> bool:
        gc.collect()
        return any(isinstance(each, asyncio.StreamWriter) for each in gc.get_objects())

    async def ask() -> None:
        page = MetricsPage(registry, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", await page.start())
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        await asyncio.wait_for(reader.read(), 20)
        writer.close()
        del writer
        await asyncio.to_thread(wait_for, lambda: not kept(), "it is forgotten", 20)
        await page.stop()

    asyncio.run(ask())


def test_who_sends_nothing_is_let_go_when_the_page_ends(registry: CollectorRegistry) -> None:
    async def wait() -> bytes:
        page = MetricsPage(registry, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", await page.start())
        await asyncio.wait_for(page.stop(), 20)
        left = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return left

    assert asyncio.run(wait()) == b""
