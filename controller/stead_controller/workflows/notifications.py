"""Sends the messages of topics that are on their way, until they are delivered or given up.

It is woken by a transaction that wrote some, and by time, for which one query finds whose turn it is. See
`resources/notifications/deliveries.py`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.db.wakes import Wakes
from stead_controller.request.cloud import Cloud
from stead_controller.resources.notifications import deliveries, subscriptions
from stead_controller.resources.notifications.deliveries import Outcome, Turn
from stead_controller.secrets.message_signer import MessageSigner
from stead_controller.workflows import message_envelope
from stead_controller.workflows.message_envelope import Seal
from stead_controller.workflows.webhooks import Webhooks
from stead_controller.workflows.woken_loop import SECONDS, WokenLoop, always

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 16
_OF_ACCOUNT: Final = 4
"""Attempts at the same time: endpoints of one account that do not answer must not keep others waiting."""


class Notifications:
    """The loop; one attempt for a subscriber at a time."""

    def __init__(
        self,
        database: Database,
        cloud: Cloud,
        clock: Clock,
        *,
        signer: MessageSigner,
        webhooks: Webhooks,
        own_url: str,
        leads: Callable[[], bool] = always,
    ) -> None:
        """Take the parts; `own_url` is that of the AWS APIs, as receivers reach them."""
        self._database = database
        self._cloud = cloud
        self._signer = signer
        self._webhooks = webhooks
        self._own_url = own_url
        self._clock = clock
        self._rounds = WokenLoop("notifications", leads=leads)
        self._sending: dict[str, str] = {}  # accounts by subscription

    def committed(self, tx: Wakes) -> None:
        """Look for messages after a transaction that wrote some; called in any thread."""
        if tx.notifies:
            self._rounds.wake()

    async def look(self) -> None:
        """Send soon what is due; called on the loop's thread."""
        await self._rounds.look()

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:

            async def begin(_woken: bool) -> None:
                await self._begin(group)

            await self._rounds.run(begin)

    async def run_due(self) -> None:
        """Send what is due now, and what follows from it at once; for tests, which have their own time."""
        while True:
            async with asyncio.TaskGroup() as group:
                if not await self._begin(group):
                    return

    async def forget(self) -> None:
        """Delete what has expired."""
        for forget in (subscriptions.forget, deliveries.forget):
            while await self._database.run(partial(forget, now=self._clock())):
                pass

    async def _begin(self, group: asyncio.TaskGroup) -> bool:
        """Begin attempts for all whose turn it is, as far as there is room; tells whether there are any."""
        begun = False
        while room := _AT_ONCE - len(self._sending):
            counted = Counter(self._sending.values())
            full = [account_id for account_id, number in counted.items() if number >= _OF_ACCOUNT]
            query = partial(deliveries.due, now=self._clock(), without=list(self._sending), without_accounts=full)
            turns = await self._database.run(partial(query, limit=room), writes=False)
            if not turns:
                break
            for turn in turns:
                if counted[turn.account_id] < _OF_ACCOUNT:
                    counted[turn.account_id] += 1
                    self._sending[turn.subscription_id] = turn.account_id
                    group.create_task(self._attempt(turn))
                    begun = True
        return begun

    async def _attempt(self, turn: Turn) -> None:
        try:
            await self._send(turn)
        except Exception:  # one message that cannot be sent must not end the loop; it is due again
            _log.exception("notification_not_sent", extra={"subscription": turn.subscription_id})
            await asyncio.sleep(SECONDS)
        finally:
            self._sending.pop(turn.subscription_id, None)
            self._rounds.wake()

    async def _send(self, turn: Turn) -> None:
        next_of = partial(deliveries.next_of, cloud=self._cloud, subscription_id=turn.subscription_id)
        post = await self._database.run(next_of, writes=False)
        if post is None:
            return
        body = await asyncio.to_thread(lambda: message_envelope.body(post.message, self._seal()))
        headers = message_envelope.headers(post.message)
        outcome, why = await self._webhooks.post(post.endpoint, headers, body, plain=post.plain)
        settle = partial(deliveries.settle, number=post.number, outcome=outcome, now=self._clock())
        given_up = await self._database.run(settle)
        if outcome is not Outcome.DELIVERED:
            told = {"subscription": turn.subscription_id, "message_id": post.message.message_id, "why": why}
            _log.warning("notification_given_up" if given_up else "notification_not_delivered", extra=told)

    def _seal(self) -> Seal:
        return Seal(self._own_url, self._own_url + self._signer.path, self._signer.sign)
