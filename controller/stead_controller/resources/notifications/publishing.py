"""What is published to a topic, and its deliveries, which are rows of the same transaction.

See https://docs.aws.amazon.com/sns/latest/api/API_Publish.html.
"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, insert, literal, select, update

from stead_controller.db.tables import Delivery, Subscription, Topic, TopicMessage
from stead_controller.errors import InvalidParameter
from stead_controller.request.transaction import Transaction
from stead_controller.resources.notifications import filter_policies, message_attributes
from stead_controller.resources.notifications.message_attributes import Attribute

NOTIFICATION: Final = "Notification"
CONFIRMATION: Final = "SubscriptionConfirmation"
ENDED: Final = "UnsubscribeConfirmation"

MOST_BYTES: Final = 262_144
"""Of a message with its attributes."""

MOST_QUEUED: Final = 1000
"""Deliveries that wait for one subscriber; it gets no further messages until there are less."""

_SUBJECT: Final = re.compile(r"(?=[!-~])[ -~]{1,99}\Z")
_UNPRINTABLE: Final = re.compile(r"[^ -~]")
_LONGEST_SUBJECT: Final = 99
_DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Message:
    """What is published: texts by protocol, with a default one."""

    bodies: Mapping[str, str]
    subject: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


def read_bodies(text: str, structure: str | None) -> dict[str, str]:
    """Return the texts of a message by protocol; raises InvalidParameter."""
    if structure is None:
        return {_DEFAULT: text}
    if structure != "json":
        raise InvalidParameter("Invalid parameter: MessageStructure")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidParameter("Invalid parameter: Message Structure - JSON message body failed to parse")
    if not isinstance(found.get(_DEFAULT), str):
        raise InvalidParameter("Invalid parameter: Message Structure - No default entry in JSON message body")
    return {protocol: body for protocol, body in found.items() if isinstance(body, str)}


def timestamp(at: datetime) -> str:
    """Return a time as SNS and Auto Scaling write it, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain_subject(text: str) -> str:
    """Make a subject of a text: short, with question marks for what it may not have."""
    return _UNPRINTABLE.sub("?", text)[:_LONGEST_SUBJECT]


def body_for(bodies: Mapping[str, str], protocol: str) -> str:
    """Return the text for a protocol."""
    return bodies.get(protocol, bodies[_DEFAULT])


def check(text: str, message: Message) -> None:
    """Raise InvalidParameter unless a message may be published; `text` is as it was given."""
    if not text:
        raise InvalidParameter("Invalid parameter: Empty message")
    if len(text.encode()) + message_attributes.size(message.attributes) > MOST_BYTES:
        raise InvalidParameter("Invalid parameter: Message too long")
    if message.subject is not None and not _SUBJECT.match(message.subject):
        raise InvalidParameter("Invalid parameter: Subject")


def publish(tx: Transaction, topic: Topic, message: Message, now: datetime) -> str:
    """Write the deliveries of a message to all that are subscribed now and want it; return its id."""
    row = _add(tx, NOTIFICATION, message, now)
    mine = [
        Subscription.account_id == topic.account_id,
        Subscription.topic == topic.name,
        Subscription.state == "confirmed",
        Subscription.queued < MOST_QUEUED,
    ]
    if unwanted := _unwanted(tx, mine, message):
        mine.append(Subscription.id.not_in(unwanted))
    receivers = select(Subscription.id, literal(row.id)).where(*mine).order_by(Subscription.id)
    tx.session.execute(insert(Delivery).from_select(["subscription_id", "message_id"], receivers))
    counted = (
        update(Subscription)
        .where(*mine)
        .values(
            queued=Subscription.queued + 1, due=func.coalesce(Subscription.due, literal(now, Subscription.due.type))
        )
    )
    written: Any = tx.session.execute(counted, execution_options={"synchronize_session": False})
    if written.rowcount:
        tx.notifies = True
    else:
        tx.session.execute(delete(TopicMessage).where(TopicMessage.id == row.id))
    return row.id


def _unwanted(tx: Transaction, mine: Sequence[ColumnElement[bool]], message: Message) -> list[str]:
    """Return the ids of the subscriptions whose filter policies do not let a message through."""
    row = Subscription
    query = select(row.id, row.protocol, row.filter_policy, row.filter_scope).where(
        *mine, row.filter_policy.is_not(None)
    )
    unwanted = []
    for subscription_id, protocol, policy, scope in tx.session.execute(query):
        body = body_for(message.bodies, protocol)
        by = scope or filter_policies.ATTRIBUTES
        if not filter_policies.accepts(policy or "", by, body, message.attributes):
            unwanted.append(subscription_id)
    return unwanted


def send(tx: Transaction, subscription: Subscription, kind: str, text: str, now: datetime) -> None:
    """Write the delivery of a message that is for one subscriber alone."""
    row = _add(tx, kind, Message({_DEFAULT: text}), now)
    tx.session.add(Delivery(subscription_id=subscription.id, message_id=row.id))
    subscription.queued = Subscription.queued + 1
    subscription.due = func.coalesce(Subscription.due, literal(now, Subscription.due.type))
    tx.notifies = True
    tx.session.flush()


def drop_waiting(tx: Transaction, subscription: Subscription) -> None:
    """Delete the deliveries that wait for a subscriber; messages without any are deleted later."""
    tx.session.execute(delete(Delivery).where(Delivery.subscription_id == subscription.id))
    subscription.queued, subscription.due, subscription.tries = 0, None, 0


def _add(tx: Transaction, kind: str, message: Message, now: datetime) -> TopicMessage:
    row = TopicMessage(
        id=str(uuid.uuid4()),
        kind=kind,
        subject=message.subject,
        bodies=json.dumps(dict(message.bodies), separators=(",", ":")),
        attributes=json.dumps(message_attributes.shown(message.attributes), separators=(",", ":")),
        created=now,
    )
    tx.session.add(row)
    tx.session.flush()
    return row
