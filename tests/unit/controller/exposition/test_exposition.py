"""The page of the controller: what is in memory is fresh, rows are counted now and then."""

import asyncio
import socket
import urllib.error
import urllib.request

import pytest

from stead_controller.errors import Unavailable
from stead_controller.exposition import exposition
from stead_controller.exposition.exposition import Exposition
from stead_proto import traces
from tests.support import rows, trace_server
from tests.support.rows import NOW
from tests.support.waiting import wait_for


@pytest.fixture
def shown(database, world):
    """An exposition over the database, and what its queue and its streams are."""
    memory = {"writes": 3, "connected": 2, "dropped": 5, "has_database": True}
    made = Exposition(
        database,
        lambda: NOW,
        address=("127.0.0.1", 0),
        operations=[("ec2", "RunInstances")],
        queues={"writes": lambda: memory["writes"]},
        connected=lambda: memory["connected"],
        dropped=lambda: memory["dropped"],
        has_database=lambda: memory["has_database"],
    )
    return made, memory


def _get(port, path="/metrics", method="GET"):
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


async def test_a_page_for_prometheus(shown, database, world, monkeypatch):
    made, memory = shown
    port = await made.start()
    try:
        content_type, page = await asyncio.to_thread(_get, port)
        assert content_type.startswith("text/plain; version=")
        for line in (
            'stead_queue_length{queue="writes"} 3.0',
            "stead_hosts_connected 2.0",
            "stead_database_connected 1.0",
            "stead_audit_records_dropped_total 5.0",
            "stead_writes_refused_total 0.0",
            'stead_hosts{state="up"} 1.0',
            "stead_hosts_behind 0.0",
            "stead_hosts_cordoned 0.0",
        ):
            assert f"\n{line}\n" in page
        assert "\nprocess_resident_memory_bytes " in page
        assert "stead_instances{" not in page
        assert "trace_spans" not in page
        with trace_server.running() as server:
            server.status = 400
            traces.start(traces.Settings(server.url), "test", "here")
            traces.begin("call").end()
            await asyncio.to_thread(wait_for, lambda: traces.counts() == (0, 1), "it is refused", 10)
            _, page = await asyncio.to_thread(_get, port)
            traces.stop()
        assert "\nstead_trace_spans_sent_total 0.0\n" in page
        assert "\nstead_trace_spans_dropped_total 1.0\n" in page

        database.run_blocking(lambda tx: rows.launch(tx, world, world.one) and None)
        memory["writes"] = 0
        _, page = await asyncio.to_thread(_get, port)
        assert '\nstead_queue_length{queue="writes"} 0.0\n' in page
        assert "stead_instances{" not in page  # not counted again so soon

        monkeypatch.setattr(exposition, "COUNTED_SECONDS", 0.0)
        _, page = await asyncio.to_thread(_get, port)
        assert '\nstead_instances{state="running"} 1.0\n' in page
    finally:
        await made.stop()


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_without_the_database_the_page_says_so_and_has_all_else(shown, database, monkeypatch, is_noticed):
    made, memory = shown
    monkeypatch.setattr(exposition, "COUNTED_SECONDS", 0.0)
    port = await made.start()
    try:
        _, page = await asyncio.to_thread(_get, port)
        assert '\nstead_hosts{state="up"} 1.0\n' in page

        async def run(_function, *, writes, answered_within):
            assert (writes, answered_within < 10, is_noticed) == (False, True, False)
            raise Unavailable

        monkeypatch.setattr(database, "run", run)
        memory["has_database"] = not is_noticed
        _, page = await asyncio.to_thread(_get, port)
        assert f"\nstead_database_connected {int(not is_noticed)}.0\n" in page
        assert "\nstead_hosts_connected 2.0\n" in page
        assert "\nstead_hosts{" not in page
    finally:
        await made.stop()


async def test_a_port_that_is_taken_is_no_reason_not_to_serve(shown, monkeypatch, caplog):
    made, _ = shown
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(made._page, "_port", taken.getsockname()[1])
        assert await made.start() == 0
    [said] = caplog.records
    assert (said.message, said.levelname) == ("prometheus_page_not_served", "WARNING")
    assert "address already in use" in said.reason
    await made.stop()


@pytest.mark.parametrize(("path", "method", "status"), [("/", "GET", 404), ("/metrics", "POST", 405)])
async def test_nothing_else_is_there(shown, path, method, status):
    made, _ = shown
    port = await made.start()
    try:
        with pytest.raises(urllib.error.HTTPError) as caught:
            await asyncio.to_thread(_get, port, path, method)
        assert caught.value.code == status
    finally:
        await made.stop()
