"""HTTP and HTTPS side by side, pages of others on the same port, and an end that cuts nobody off."""

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from stead_controller.aws.app import AwsApp
from stead_controller.aws.protocol.message import Request, Response
from stead_controller.aws.server import AwsServer, Listener
from stead_proto.certificates import Authority
from tests.unit.controller.aws.conftest import AUTHORIZER, CLOUD, OPERATIONS, MemoryTransactions, find_key


def app(kind: type[AwsApp] = AwsApp) -> AwsApp:
    return kind(
        transactions=MemoryTransactions(),
        find_key=find_key,
        cloud=CLOUD,
        page_key=b"k",
        authorizer=AUTHORIZER,
        operations=OPERATIONS,
    )


async def test_http_and_https(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "ca")
    identity = authority.issue_server(["127.0.0.1"])
    chain = tmp_path / "server.pem"
    chain.write_bytes(identity.key_pem + identity.certificate_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    seen = []

    class Watched(AwsApp):
        async def handle(self, request: Request) -> Response:
            seen.append(request.secure)
            return await super().handle(request)

    server = AwsServer(app(Watched), [Listener("127.0.0.1", 0), Listener("127.0.0.1", 0, context)])
    (_, plain), (_, secure) = await server.start()
    trust = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    try:
        async with aiohttp.ClientSession() as client:
            async with client.get(f"http://127.0.0.1:{plain}/") as answer:
                assert answer.status == 403
            async with client.get(f"https://127.0.0.1:{secure}/", ssl=trust) as answer:
                assert "MissingAuthenticationToken" in await answer.text()
    finally:
        await server.stop()
    assert seen == [False, True]


async def test_pages_of_others() -> None:
    async def page(http: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=f"page {http.path}")

    server = AwsServer(app(), [Listener("127.0.0.1", 0)], pages={"/console/": page})
    [(_, port)] = await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            async with client.get("/console/x") as answer:
                assert await answer.text() == "page /console/x"
            async with client.get("/consoles") as answer:
                assert answer.status == 403
    finally:
        await server.stop()


async def test_stop_lets_running_requests_end() -> None:
    started, may_end = asyncio.Event(), asyncio.Event()

    async def slow(http: web.BaseRequest) -> web.StreamResponse:
        started.set()
        await may_end.wait()
        return web.Response(text="done")

    server = AwsServer(app(), [Listener("127.0.0.1", 0)], pages={"/slow": slow}, shutdown_seconds=10)
    [(_, port)] = await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        running = asyncio.ensure_future(client.get("/slow"))
        await started.wait()
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0)
        may_end.set()
        async with await running as answer:
            assert await answer.text() == "done"
        await stopping
    await server.stop()


async def test_an_address_that_comes_later() -> None:
    """Guests' address is there once the agent has made it, which is after the controller has started."""
    server = AwsServer(app(), [Listener("198.51.100.7", 0, may_be_absent=True)])
    [(host, port)] = await server.start()
    try:
        assert (host, port > 0) == ("198.51.100.7", True)
    finally:
        await server.stop()
    with pytest.raises(OSError, match="could not bind"):
        await AwsServer(app(), [Listener("198.51.100.7", 0)]).start()


async def test_no_address_prevents_others_from_connecting() -> None:
    """Its connections are counted, whether or not it asks anything by them; those that ended count no more."""
    server = AwsServer(app(), [Listener("127.0.0.1", 0), Listener("::1", 0)], most_of_one=2)
    (_, port), (_, other) = await server.start()
    silent: list[asyncio.StreamWriter] = []

    async def status(host: str, at: int) -> bytes:
        reader, writer = await asyncio.open_connection(host, at)
        silent.append(writer)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return (await reader.readline())[9:12] or b"cut"
        except ConnectionResetError:
            return b"cut"

    try:
        assert [await status("127.0.0.1", port) for _ in range(3)] == [b"403", b"403", b"cut"]
        assert await status("::1", other) == b"403"
        silent[0].close()
        await silent[0].wait_closed()
        found = b"cut"
        async with asyncio.timeout(60):
            while found == b"cut":  # until the server has noticed
                found = await status("127.0.0.1", port)
        assert found == b"403"
    finally:
        for writer in silent:
            writer.close()
        await server.stop()
