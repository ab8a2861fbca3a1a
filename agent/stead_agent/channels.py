"""Channels to the controllers, each kept from one that has lost its connection, or could not connect, to the next try.

gRPC goes on trying by itself on a channel that could not connect, which costs a hundredth of opening another one with
its keys and certificates, and tells when it has connected: so a controller that comes back has its hosts at once.
Once a session has begun with one, those to others are closed: they would try for as long as it lasts, three times a
second, and after a rotation meanwhile they would trust what no controller has any more.
"""

import asyncio
import contextlib
import time
from typing import Final

import grpc

from stead_proto import tls
from stead_proto.tls import Identity

_PATIENCE: Final = 5.0  # seconds for which a channel is kept: another one asks again for the addresses of a name
_IDLE: Final = grpc.ChannelConnectivity.IDLE  # it has lost its connection, and tries to connect when asked to
_AWAY: Final = (_IDLE, grpc.ChannelConnectivity.TRANSIENT_FAILURE)


class Channels:
    """At most one channel to each controller; belongs to one event loop."""

    def __init__(self) -> None:
        """Begin without any."""
        self._kept: dict[str, tuple[Identity, float, grpc.aio.Channel]] = {}

    async def to(self, address: str, identity: Identity, *, watchful: bool) -> grpc.aio.Channel:
        """Take the channel that was kept for an address, if it has this identity, or open one."""
        if (kept := self._kept.pop(address, None)) is not None:
            known, until, channel = kept
            if known == identity and time.monotonic() < until:
                return channel
            await channel.close()
        return tls.channel_to_controller(address, identity, watchful=watchful)

    async def give_back(self, address: str, identity: Identity, channel: grpc.aio.Channel, *, keep: bool) -> None:
        """Close a channel, or keep it when asked to, if it is not connected."""
        if keep and channel.get_state() in _AWAY:
            self._kept[address] = identity, time.monotonic() + _PATIENCE, channel
        else:
            await channel.close()

    async def wait(self, address: str, seconds: float, *, alone: bool) -> None:
        """Wait before an address is tried again: until its channel has connected, or so long.

        `alone` is the only controller: no other one is to be tried meanwhile, so its channel is waited for longer.
        """
        if (kept := self._kept.get(address)) is None:
            await asyncio.sleep(seconds)
            return
        _, until, channel = kept
        if channel.get_state() is _IDLE:
            await asyncio.sleep(seconds)  # so that not all hosts that one controller has lost connect at once
        if alone:
            seconds = max(seconds, until - time.monotonic())
        with contextlib.suppress(TimeoutError):  # then it is tried, and another reason is told if there is one
            async with asyncio.timeout(seconds):
                await _until_connected(channel)

    async def close(self) -> None:
        """Close those that are kept; others may be kept later."""
        while self._kept:
            _, (_, _, channel) = self._kept.popitem()
            await channel.close()


async def _until_connected(channel: grpc.aio.Channel) -> None:
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
