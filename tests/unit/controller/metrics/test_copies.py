"""Copies of samples reach another server, whatever happens to it and to us."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from stead_controller.metrics import copies as module
from stead_controller.metrics.build import open_copies
from stead_controller.metrics.copies import Copies, CopyingEngine, Spool
from stead_controller.metrics.datum import Identity, MetricsUnavailable
from stead_controller.metrics.http_engine import WRITE_PATH, HttpEngine
from stead_controller.metrics.remote_write import content_of, framed, requests_of
from stead_controller.metrics.samples import VALUE, Sample
from stead_controller.settings import Settings
from tests.support.waiting import wait_for

SAMPLE = Sample(Identity("1", "N", "M"), "Count", VALUE, 1_795_893_600_000, 1.0)


class Receiver:
    """A server that notes what it is sent; `answers` are its next statuses, then 204."""

    def __init__(self):
        self.got = []
        self.headers = []
        self.answers = []
        self.came = asyncio.Event()

    async def take(self, request):
        status = self.answers.pop(0) if self.answers else 204
        self.headers.append(dict(request.headers))
        if status < 300:
            self.got.append(content_of(await request.read()))
        self.came.set()
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    async def wait_for(self, condition):
        while not condition():
            self.came.clear()
            await asyncio.wait_for(self.came.wait(), 20)


@asynccontextmanager
async def served():
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/api/v1/push", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield receiver, f"http://127.0.0.1:{port}/api/v1/push"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def sending(copies):
    task = asyncio.create_task(copies.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_WAIT_SECONDS", 0.01)


@pytest.mark.parametrize("length", [1, 127, 128, 0x7C, 0x7C << 7, 300_000, (1 << 21) - 1])
def test_what_is_framed_is_found_again(length):
    content = bytes([0xFC]) * length
    assert content_of(framed(content)) == content


async def test_all_is_sent_in_order_with_the_token_and_nothing_waits_then(tmp_path):
    async with served() as (receiver, url):
        (tmp_path / "token").write_text("secret\n")
        settings = Settings(tmp_path, remote_write_url=url, remote_write_token_file=tmp_path / "token")
        copies = open_copies(settings)
        for number in range(3):
            await copies.put(framed(b"%d" % number))
        assert copies.waiting == 3
        async with sending(copies):
            await receiver.wait_for(lambda: b"".join(receiver.got) == b"012")
            await copies.put(framed(b"3"))
            await receiver.wait_for(lambda: b"".join(receiver.got) == b"0123")
            await asyncio.to_thread(wait_for, lambda: not copies.waiting, "all is sent", 20)
    assert receiver.headers[0]["Authorization"] == "Bearer secret"
    assert receiver.headers[0]["Content-Encoding"] == "snappy"
    assert list((tmp_path / "metrics-copies").iterdir()) == []


async def test_without_a_url_nothing_is_copied(tmp_path):
    assert open_copies(Settings(tmp_path)) is None
    assert not (tmp_path / "metrics-copies").exists()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_the_receiver_cannot_take_now_is_sent_again_and_said_once(tmp_path, caplog, status):
    async with served() as (receiver, url):
        receiver.answers = [status] * 3
        copies = Copies(tmp_path / "spool", HttpEngine(url))
        await copies.put(framed(b"a"))
        with caplog.at_level(logging.INFO):
            async with sending(copies):
                await receiver.wait_for(lambda: receiver.got == [b"a"])
                await copies.put(framed(b"b"))
                await receiver.wait_for(lambda: receiver.got == [b"a", b"b"])
                await asyncio.to_thread(wait_for, lambda: not copies.waiting, "all is sent", 20)
    assert [each.message for each in caplog.records] == ["metrics_copy_waits", "metrics_copied_again"]


@pytest.mark.parametrize("status", [400, 404, 302])
async def test_what_the_receiver_calls_wrong_is_dropped_and_said(tmp_path, caplog, status):
    async with served() as (receiver, url):
        receiver.answers = [status]
        copies = Copies(tmp_path / "spool", HttpEngine(url))
        await copies.put(framed(b"a"))
        async with sending(copies):
            await asyncio.to_thread(wait_for, lambda: not copies.waiting, "all is sent", 20)
            await copies.put(framed(b"b"))
            await receiver.wait_for(lambda: receiver.got == [b"b"])
    assert [each.message for each in caplog.records] == ["metrics_copy_refused"]


async def test_what_waits_is_sent_by_the_next_process(tmp_path):
    async with served() as (receiver, url):
        gone = Copies(tmp_path / "spool", HttpEngine("http://127.0.0.1:1/"))
        async with sending(gone):
            await gone.put(framed(b"a"))
            await gone.put(framed(b"b"))
        (tmp_path / "spool" / "00000000000000000009.part").write_bytes(b"half")
        copies = Copies(tmp_path / "spool", HttpEngine(url))
        assert copies.waiting == 2
        async with sending(copies):
            await receiver.wait_for(lambda: b"".join(receiver.got) == b"ab")
            await copies.put(framed(b"c"))
            await receiver.wait_for(lambda: b"".join(receiver.got) == b"abc")
            await asyncio.to_thread(wait_for, lambda: not copies.waiting, "all is sent", 20)
    assert list((tmp_path / "spool").iterdir()) == []


async def test_the_oldest_are_dropped_when_too_much_waits(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    copies = Copies(tmp_path / "spool", HttpEngine("http://127.0.0.1:1/"))
    for text in (b"aaaa", b"bbbb", b"cc"):
        await copies.put(framed(text))
    assert caplog.records == []
    await copies.put(framed(b"ddddd"))
    [record] = caplog.records
    assert (record.message, record.messages) == ("metrics_not_copied", 2)
    assert Spool(tmp_path / "spool").first()[1] == b"ccddddd"


async def test_messages_go_together_up_to_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BATCH_BYTES", 4)
    spool = Spool(tmp_path / "spool")
    assert spool.first() == ([], b"")
    for text in (b"aa", b"bb", b"c", b"dddddddd"):
        spool.put(text)
    numbers, content = spool.first()
    assert content == b"aabb"
    spool.remove(numbers)
    numbers, content = spool.first()
    assert content == b"c"
    spool.remove(numbers)
    assert spool.first()[1] == b"dddddddd", "one that is larger by itself goes alone"
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "spool").iterdir()} == {0o600}


async def test_a_copy_that_cannot_be_kept_hinders_nobody(tmp_path, caplog):
    copies = Copies(tmp_path / "spool", HttpEngine("http://127.0.0.1:1/"))
    (tmp_path / "spool").rmdir()
    await copies.put(framed(b"a"))
    assert [each.message for each in caplog.records] == ["metrics_not_copied"]


async def test_what_was_dropped_while_it_was_read_is_not_sent(tmp_path):
    async with served() as (receiver, url):
        copies = Copies(tmp_path / "spool", HttpEngine(url))
        await copies.put(framed(b"a"))
        [path] = (tmp_path / "spool").iterdir()
        path.unlink()  # as `put` drops it, before it forgets the number
        async with sending(copies):
            await asyncio.to_thread(wait_for, lambda: not copies.waiting, "it is forgotten", 20)
            await copies.put(framed(b"b"))
            await receiver.wait_for(lambda: receiver.got == [b"b"])


async def test_a_disk_that_cannot_be_read_now_is_asked_again(tmp_path, caplog, monkeypatch):
    async with served() as (receiver, url):
        copies = Copies(tmp_path / "spool", HttpEngine(url))
        await copies.put(framed(b"a"))
        first, tries = copies._spool.first, []

        def failing():
            tries.append(1)
            if len(tries) == 1:
                raise OSError(5, "Input/output error")
            return first()

        monkeypatch.setattr(copies._spool, "first", failing)
        async with sending(copies):
            await receiver.wait_for(lambda: receiver.got == [b"a"])
    assert [each.message for each in caplog.records] == ["metrics_copies_unreadable"]


class Engine:
    """An engine that notes what it is asked, or is away."""

    def __init__(self):
        self.asked = []
        self.away = False

    async def post(self, path, body, headers):
        if self.away:
            raise MetricsUnavailable("on purpose")
        self.asked.append(path)
        return b"answer"

    async def show_written(self):
        self.asked.append("show")

    async def close(self):
        self.asked.append("close")


async def test_copied_is_what_was_written_and_nothing_else(tmp_path):
    engine = Engine()
    copies = Copies(tmp_path / "spool", HttpEngine("http://127.0.0.1:1/"))
    both = CopyingEngine(engine, copies)
    [body] = requests_of([SAMPLE])
    assert await both.post("/api/v1/query", b"query=1", {}) == b"answer"
    assert copies.waiting == 0
    assert await both.post(WRITE_PATH, body, {}) == b"answer"
    assert copies.waiting == 1
    engine.away = True
    with pytest.raises(MetricsUnavailable):
        await both.post(WRITE_PATH, body, {})
    assert copies.waiting == 1
    await both.show_written()
    await both.close()
    assert engine.asked == ["/api/v1/query", WRITE_PATH, "show", "close"]
