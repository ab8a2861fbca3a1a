"""Topics of SNS, what subscribes to them, and messages on their way: an outbox."""

from datetime import datetime

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from stead_controller.db.tables.base import Base
from stead_controller.db.types import AccountId

TopicName = String(256)
MessageId = String(36)


class Topic(Base):
    """A topic; `tags` is JSON."""

    __tablename__ = "topics"

    account_id: Mapped[str] = mapped_column(AccountId, primary_key=True)
    name: Mapped[str] = mapped_column(TopicName, primary_key=True)
    display_name: Mapped[str] = mapped_column(String(100))
    tags: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime]


class Subscription(Base):
    """A URL that is sent a topic's messages once it is confirmed.

    `state` is pending, confirmed, or deleted: what its receiver has ended can be confirmed again for a while, by the
    `token` that it has, until `token_until`. `due` is when the oldest of its `queued` deliveries is tried next, after
    so many `tries`; None without any. `locked` is whether only its owner may end it. It gets the messages that its
    `filter_policy` lets through, by what `filter_scope` says.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "topic"], ["topics.account_id", "topics.name"], ondelete="CASCADE"),
        Index("ix_subscriptions_account_id_topic_id", "account_id", "topic", "id"),
        Index("ix_subscriptions_account_id_id", "account_id", "id", unique=True),
        Index("ix_subscriptions_due_id", "due", "id"),
        Index("ix_subscriptions_state_token_until_id", "state", "token_until", "id"),
    )

    id: Mapped[str] = mapped_column(MessageId, primary_key=True)
    account_id: Mapped[str] = mapped_column(AccountId)
    topic: Mapped[str] = mapped_column(TopicName)
    protocol: Mapped[str] = mapped_column(String(16))
    endpoint: Mapped[str] = mapped_column(Text)
    principal: Mapped[str] = mapped_column(Text)
    raw: Mapped[bool]
    filter_policy: Mapped[str | None] = mapped_column(Text)
    filter_scope: Mapped[str | None] = mapped_column(String(32))  # None: MessageAttributes
    state: Mapped[str] = mapped_column(String(16))
    locked: Mapped[bool]
    authenticated: Mapped[bool]
    token: Mapped[str] = mapped_column(String(128))
    token_until: Mapped[datetime]
    created: Mapped[datetime]
    due: Mapped[datetime | None]
    tries: Mapped[int]
    queued: Mapped[int]


class TopicMessage(Base):
    """A message as long as it is on its way to somebody; `kind` is as in the message's Type.

    `bodies` is JSON: the texts by protocol, with one for `default`; so is `attributes`.
    """

    __tablename__ = "topic_messages"

    id: Mapped[str] = mapped_column(MessageId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str | None] = mapped_column(String(100))
    bodies: Mapped[str] = mapped_column(Text)
    attributes: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime]


class Delivery(Base):
    """A message that a subscriber is still to be sent, in the order of their numbers."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_subscription_id_number", "subscription_id", "number"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    subscription_id: Mapped[str] = mapped_column(MessageId, ForeignKey("subscriptions.id", ondelete="CASCADE"))
    message_id: Mapped[str] = mapped_column(MessageId, ForeignKey("topic_messages.id", ondelete="CASCADE"), index=True)
