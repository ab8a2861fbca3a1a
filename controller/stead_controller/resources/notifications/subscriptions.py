"""Subscriptions: asked for, confirmed by the token that their endpoint was sent, changed, ended.

See https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html and API_ConfirmSubscription.html.
"""

import re
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select

from stead_controller.db.tables import Subscription, Topic
from stead_controller.errors import InvalidParameter, LimitExceeded, NotAuthorized, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.notifications import endpoints, filter_policies, publishing, topics
from stead_controller.resources.notifications.publishing import CONFIRMATION, ENDED

MOST: Final = 100
"""Subscriptions of a topic; AWS has 12,500,000."""

VALID: Final = timedelta(days=2)
"""How long a token can confirm, and a subscription that is not confirmed stays."""

PENDING: Final = "pending"
CONFIRMED: Final = "confirmed"
DELETED: Final = "deleted"

_ARN: Final = re.compile(r"(?P<topic>arn:[a-z-]+:sns:[a-z0-9-]+:(?P<account>\d{12}):[^:]+):(?P<id>[0-9a-f-]{36})\Z")
_FORGOTTEN_AT_ONCE: Final = 500


type ShownSubscription = Subscription
"""A subscription as it is shown."""


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """Who is to be sent which of a topic's messages."""

    topic: Topic
    protocol: str
    endpoint: str
    wishes: "Wishes"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request says of messages; None is what it does not say.

    `raw` ones come alone, without an envelope. An empty `filter_policy` lets all through.
    """

    raw: bool | None = None
    filter_policy: str | None = None
    filter_scope: str | None = None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The token of a subscription to a topic; one that is `locked` can be ended by its owner only."""

    topic_arn: str
    token: str
    locked: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a list of subscriptions another page begins, and how much of it is read."""

    after: str | None
    limit: int


def arn_of(cloud: Cloud, row: Subscription) -> str:
    """Return the ARN of a subscription."""
    return f"{topics.arn_of(cloud, row.account_id, row.topic)}:{row.id}"


def subscribe(tx: Transaction, caller: Caller, cloud: Cloud, asked: SubscriptionRequest, now: datetime) -> Subscription:
    """Ask an endpoint whether it wants a topic's messages; one that was confirmed already is returned unchanged.

    Raises InvalidParameter, Unsupported, LimitExceeded.
    """
    topic, protocol, endpoint = asked.topic, asked.protocol, asked.endpoint
    endpoints.check(protocol, endpoint, plain=bool(cloud.webhook_networks))
    here = Subscription.account_id == topic.account_id, Subscription.topic == topic.name
    same = here[0], here[1], Subscription.protocol == protocol, Subscription.endpoint == endpoint
    row = tx.session.scalar(select(Subscription).where(*same, Subscription.state != DELETED).limit(1))
    if row is None:
        if tx.session.scalars(select(func.count()).select_from(Subscription).where(*here)).one() >= MOST:
            message = f"A topic can have at most {MOST} subscriptions."
            raise LimitExceeded(message, code="SubscriptionLimitExceeded")
        row = Subscription(id=str(uuid.uuid4()), account_id=topic.account_id, topic=topic.name, protocol=protocol)
        row.endpoint, row.principal, row.state = endpoint, caller.principal_arn or caller.arn, PENDING
        row.raw, row.filter_policy, row.filter_scope = False, None, None
        change(row, asked.wishes)
        row.locked, row.authenticated, row.created = False, False, now
        row.due, row.tries, row.queued = None, 0, 0
        _renew(row, now)
        tx.session.add(row)
        tx.session.flush()
    elif _wishes(row) != _said(asked.wishes):
        raise InvalidParameter(
            "Invalid parameter: Attributes Reason: Subscription already exists with different attributes"
        )
    if row.state == PENDING and not row.queued:
        _renew(row, now)
        arn = topics.arn_of(cloud, topic.account_id, topic.name)
        text = f"You have chosen to subscribe to the topic {arn}.\nTo confirm the subscription, visit the SubscribeURL"
        publishing.send(tx, row, CONFIRMATION, f"{text} included in this message.", now)
    return row


def change(row: Subscription, wishes: Wishes) -> None:
    """Change which messages a subscription gets, and how; raises InvalidParameter."""
    if wishes.raw is not None:
        row.raw = wishes.raw
    if wishes.filter_policy is not None:
        row.filter_policy = wishes.filter_policy or None
    if wishes.filter_scope is not None:
        row.filter_scope = wishes.filter_scope
    if row.filter_policy is not None:
        filter_policies.check(row.filter_policy, row.filter_scope or filter_policies.ATTRIBUTES)


def _wishes(row: Subscription) -> Wishes:
    return Wishes(row.raw, row.filter_policy or "", row.filter_scope or filter_policies.ATTRIBUTES)


def _said(wishes: Wishes) -> Wishes:
    """Return wishes with the defaults of what they do not say."""
    return Wishes(bool(wishes.raw), wishes.filter_policy or "", wishes.filter_scope or filter_policies.ATTRIBUTES)


def confirm(tx: Transaction, caller: Caller, cloud: Cloud, asked: Confirmation, now: datetime) -> Subscription:
    """Confirm the subscription that a token is of; the token alone proves the right to do so, if there is no caller.

    One that is `locked` needs its owner as the caller. Raises InvalidParameter, NotAuthorized, and NotFound for a topic
    that the caller's account does not have; of others' topics nobody learns here whether they are there.
    """
    topic_arn, token, locked = asked.topic_arn, asked.token, asked.locked
    match = re.match(r"arn:[a-z-]+:sns:[a-z0-9-]+:(\d{12}):", topic_arn)
    account_id = match[1] if match else ""
    name = topics.name_of(cloud, account_id, topic_arn)
    if name is None:
        raise InvalidParameter("Invalid parameter: TopicArn")
    if account_id == caller.account_id and tx.session.get(Topic, (account_id, name)) is None:
        raise NotFound("topic", topic_arn, message="Topic does not exist")
    mine = Subscription.account_id == account_id, Subscription.topic == name
    rows = tx.session.scalars(select(Subscription).where(*mine))
    row = next((one for one in rows if secrets.compare_digest(one.token.encode(), token.encode())), None)
    if row is None or row.token_until < now:
        raise InvalidParameter("Invalid parameter: Token")
    if locked and caller.account_id != account_id:
        raise NotAuthorized("AuthenticateOnUnsubscribe needs a request that the owner has signed.")
    if row.state == DELETED and _same(tx, row):
        raise InvalidParameter("Invalid parameter: Token")
    if row.state != CONFIRMED:
        row.state, row.locked, row.authenticated = CONFIRMED, locked, caller.account_id == account_id
        tx.session.flush()
    return row


def find(tx: Transaction, account_id: str | None, cloud: Cloud, arn: str) -> Subscription:
    """Return a subscription that was not ended, of an account or, if that is None, of any.

    Raises InvalidParameter for what is no ARN of one, and NotFound.
    """
    match = _ARN.match(arn)
    if match is None:
        raise InvalidParameter("Invalid parameter: SubscriptionArn")
    row = tx.session.get(Subscription, match["id"])
    if row is None or row.state == DELETED or arn_of(cloud, row) != arn or account_id not in (None, row.account_id):
        raise NotFound("subscription", arn, message="Subscription does not exist")
    return row


def end(tx: Transaction, caller: Caller, cloud: Cloud, arn: str, now: datetime) -> None:
    """End a subscription; one that is not there has ended. A request that is not the owner's tells its endpoint.

    Raises InvalidParameter, and NotAuthorized for a locked one.
    """
    try:
        row = find(tx, caller.account_id or None, cloud, arn)
    except NotFound:
        return
    if row.state == PENDING:
        raise InvalidParameter("Invalid parameter: This subscription is not confirmed.")
    publishing.drop_waiting(tx, row)
    if caller.account_id:
        tx.session.delete(row)
        tx.session.flush()
        return
    if row.locked:
        raise NotAuthorized("The subscription can be ended by its owner only.")
    row.state = DELETED
    _renew(row, now)
    topic = topics.arn_of(cloud, row.account_id, row.topic)
    text = f"You have chosen to deactivate subscription {arn}.\nTo cancel this operation and restore the subscription, "
    publishing.send(
        tx, row, ENDED, f"{text}visit the SubscribeURL included in this message. Its topic is {topic}.", now
    )


def page(tx: Transaction, caller: Caller, topic: Topic | None, place: Place) -> Sequence[Subscription]:
    """List subscriptions of a topic, or of all of the account's, by their ids."""
    query = select(Subscription).where(Subscription.account_id == caller.account_id, Subscription.state != DELETED)
    if topic is not None:
        query = query.where(Subscription.topic == topic.name)
    if place.after is not None:
        query = query.where(Subscription.id > place.after)
    return tx.session.scalars(query.order_by(Subscription.id).limit(place.limit)).all()


def forget(tx: Transaction, now: datetime) -> bool:
    """Delete some subscriptions that nobody confirmed or that ended long ago; tells whether there may be more."""
    old = (
        select(Subscription.id)
        .where(Subscription.state.in_((PENDING, DELETED)), Subscription.token_until < now)
        .limit(_FORGOTTEN_AT_ONCE)
    )
    gone = list(tx.session.scalars(old))
    if gone:
        tx.session.execute(delete(Subscription).where(Subscription.id.in_(gone)))
    return len(gone) == _FORGOTTEN_AT_ONCE


def _same(tx: Transaction, row: Subscription) -> bool:
    """Tell whether the endpoint of a subscription that has ended was subscribed anew."""
    here = Subscription.account_id == row.account_id, Subscription.topic == row.topic
    same = Subscription.protocol == row.protocol, Subscription.endpoint == row.endpoint
    there = select(Subscription.id).where(*here, *same, Subscription.state != DELETED)
    return tx.session.scalar(there.limit(1)) is not None


def _renew(row: Subscription, now: datetime) -> None:
    row.token, row.token_until = secrets.token_hex(64), now + VALID
