"""Channels to the controllers, each kept from one that has lost its connection, or could not connect, to the next try.

gRPC goes on trying by itself on a channel that could not connect, which costs a hundredth of opening another one with
its keys and certificates. A call that waits on it is sent with the connection: so a controller that comes back has its
hosts at once.
Once a session has begun with one, those to others are closed: they would try for as long as it lasts, three times a
second, and after a rotation meanwhile they would trust what no controller has any more.
"""

import asyncio
import contextlib
import random
import time
from typing import Final

import grpc

from stead_proto import tls
from stead_proto.tls import Identity

_PATIENCE: Final = 5.0  # seconds for which a channel is kept: another one asks again for the addresses of a name
# A controller whose process was replaced listens again after some 0.3 seconds, and each try before that is in vain.
_RESTART_SECONDS: Final = (0.2, 0.4)
_IDLE: Final = grpc.ChannelConnectivity.IDLE  # it has lost its connection, and tries to connect when asked to
_AWAY: Final = (_IDLE, grpc.ChannelConnectivity.TRANSIENT_FAILURE)


class Channels:
    """At most one channel to each controller; belongs to one event loop."""

    def __init__(self) -> None:
        """Begin without any."""
        self._kept: dict[str, tuple[Identity, float, grpc.aio.Channel]] = {}
        self._random = random.Random()

    async def to(self, address: str, identity: Identity, *, watchful: bool) -> tuple[grpc.aio.Channel, float]:
        """Take the channel that was kept for an address, if it has this identity, or open one.

        Also returns for how many seconds a call may wait for its connection: 0 where a failed try is to end it, so that
        its reason is told. A `watchful` host has another controller to try meanwhile.
        """
        if (kept := self._kept.pop(address, None)) is not None:
            known, until, channel = kept
            patience = until - time.monotonic()
            if known == identity and patience > 0:
                return channel, 0.0 if watchful else patience
            await channel.close()
        return tls.channel_to_controller(address, identity, watchful=watchful), 0.0

    async def give_back(self, address: str, identity: Identity, channel: grpc.aio.Channel, *, keep: bool) -> None:
        """Close a channel, or keep it when asked to, if it is not connected."""
        if keep and channel.get_state() in _AWAY:
            self._kept[address] = identity, time.monotonic() + _PATIENCE, channel
        else:
            await channel.close()

    async def wait(self, address: str, seconds: float, *, alone: bool) -> None:
        """Wait before an address is tried again: until its channel has connected, or so long.

        `alone` is the only controller: no other one is to be tried meanwhile, so its next call waits on its channel.
        """
        if (kept := self._kept.get(address)) is None:
            await asyncio.sleep(seconds)
            return
        _, _, channel = kept
        if channel.get_state() is _IDLE:  # so that not all hosts that one controller has lost connect at once
            await asyncio.sleep(self._random.uniform(*_RESTART_SECONDS) if alone else seconds)
        if not alone:
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
