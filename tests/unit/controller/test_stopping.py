"""A controller that ends: what is answered while it waits for the streams of its hosts."""

import asyncio
import http.client

import grpc
import pytest

from tests.unit.controller.test_controller import Cloud, cloud

__all__ = ["cloud"]


def status(cloud: Cloud) -> int:
    """Ask the AWS API, by a connection of its own."""
    asked = http.client.HTTPConnection("127.0.0.1", cloud.settings.http_port, timeout=10)
    try:
        asked.request("GET", "/_stead/health")
        return asked.getresponse().status
    finally:
        asked.close()


async def test_the_apis_answer_until_the_hosts_streams_have_ended(cloud, monkeypatch):
    """A host ends its stream only when it must, so that this is most of the time that an end takes."""
    _, identity = await cloud.enrol()
    agent = await cloud.agent(identity)
    await agent.next_state()
    close, closes, still_there, answers = cloud.controller._aws.stop, asyncio.Event(), set(), []

    async def noted():
        still_there.update(cloud.controller._link.connected())
        closes.set()
        await close()

    monkeypatch.setattr(cloud.controller._aws, "stop", noted)
    stopping = asyncio.create_task(cloud.controller.stop())
    while not closes.is_set():
        try:
            answers.append(await asyncio.to_thread(status, cloud))
        except OSError:  # its end began while this was asked
            assert closes.is_set()
    assert still_there == set()
    assert await agent.stream.code() == grpc.StatusCode.UNAVAILABLE
    assert set(answers) == {200}
    await stopping
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(status, cloud)
