"""The outbox of messages: whose turn it is, and what follows from an attempt.

A subscriber gets its messages one after the other, the oldest first; while it fails it is tried more and more seldom
(`retries.py`), and others do not wait for it. A controller that is killed between an attempt and its outcome sends the
same message again: it comes at least once.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final

from sqlalchemy import Exists, bindparam, case, delete, exists, literal, select, update

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Delivery, Subscription, TopicMessage
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.notifications import publishing, retries, subscriptions, topics

LASTING: Final = timedelta(hours=1)
"""How old a message may be when it is tried again: those behind others wait for them."""


class Outcome(Enum):
    """What came of an attempt: `REFUSED` is not tried again."""

    DELIVERED = auto()
    FAILED = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to one receiver; `token` confirms its subscription, `attributes` are types and values."""

    kind: str
    message_id: str
    topic_arn: str
    subscription_arn: str
    token: str
    raw: bool
    subject: str | None
    text: str
    attributes: Mapping[str, Sequence[str]]
    created: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """A subscriber that is to be sent something now, by its id, and its account."""

    subscription_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class Post:
    """The next message of a subscriber, and where it goes."""

    number: int
    endpoint: str
    plain: bool
    message: Outgoing


DUE: Final = DueRows(exists().where(Subscription.due <= bindparam("now")))
"""Whether it is a subscriber's turn."""


def due(
    tx: Transaction, now: datetime, *, without: Collection[str], without_accounts: Collection[str], limit: int
) -> list[Turn]:
    """Return subscribers whose turn it is, those that wait longest first, without some and those of some accounts."""
    query = (
        select(Subscription.id, Subscription.account_id)
        .where(
            Subscription.due <= now,
            Subscription.id.not_in(without),
            Subscription.account_id.not_in(without_accounts),
        )
        .order_by(Subscription.due, Subscription.id)
        .limit(limit)
    )
    return [Turn(subscription_id, account_id) for subscription_id, account_id in tx.session.execute(query)]


def next_of(tx: Transaction, cloud: Cloud, subscription_id: str) -> Post | None:
    """Return the oldest message that waits for a subscriber."""
    query = (
        select(Delivery.number, Subscription, TopicMessage)
        .join(Subscription, Subscription.id == Delivery.subscription_id)
        .join(TopicMessage, TopicMessage.id == Delivery.message_id)
        .where(Delivery.subscription_id == subscription_id)
        .order_by(Delivery.number)
        .limit(1)
    )
    found = tx.session.execute(query).one_or_none()
    if found is None:
        return None
    number, to, message = found
    outgoing = Outgoing(
        kind=message.kind,
        message_id=message.id,
        topic_arn=topics.arn_of(cloud, to.account_id, to.topic),
        subscription_arn=subscriptions.arn_of(cloud, to),
        token=to.token,
        raw=to.raw,
        subject=message.subject,
        text=publishing.body_for(json.loads(message.bodies), to.protocol),
        attributes=json.loads(message.attributes),
        created=message.created,
    )
    return Post(number, to.endpoint, to.protocol == "http", outgoing)


def settle(tx: Transaction, number: int, outcome: Outcome, now: datetime) -> bool:
    """Note what came of an attempt; tells whether the message was given up."""
    found = tx.session.execute(
        select(Subscription.id, Subscription.tries, TopicMessage.id, TopicMessage.created)
        .join(Delivery, Delivery.subscription_id == Subscription.id)
        .join(TopicMessage, TopicMessage.id == Delivery.message_id)
        .where(Delivery.number == number)
    ).one_or_none()
    if found is None:  # the subscription was ended meanwhile
        return False
    to, tries, message_id, created = found
    wait = retries.delay(tries + 1) if outcome is Outcome.FAILED else None
    if wait is not None and now + timedelta(seconds=wait) <= created + LASTING:
        _change(tx, to, {"tries": tries + 1, "due": now + timedelta(seconds=wait)})
        return False
    tx.session.execute(delete(Delivery).where(Delivery.number == number))
    tx.session.execute(delete(TopicMessage).where(TopicMessage.id == message_id, ~_is_on_its_way()))
    left = case(
        (Subscription.queued > 1, literal(now, Subscription.due.type)), else_=None
    )  # by what the row has when it is changed
    _change(tx, to, {"tries": 0, "queued": Subscription.queued - 1, "due": left})
    return outcome is not Outcome.DELIVERED


def forget(tx: Transaction, now: datetime) -> bool:
    """Delete messages that nobody is sent any more; tells whether there may be more, which there are not."""
    del now
    tx.session.execute(delete(TopicMessage).where(~_is_on_its_way()))
    return False


def _change(tx: Transaction, subscription_id: str, values: dict[str, Any]) -> None:
    change = update(Subscription).where(Subscription.id == subscription_id).values(values)
    tx.session.execute(change, execution_options={"synchronize_session": False})


def _is_on_its_way() -> Exists:
    return exists().where(Delivery.message_id == TopicMessage.id)
