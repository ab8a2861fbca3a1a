"""Topics: made, found, changed and deleted.

A topic is used by its own account only. See https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from stead_controller.db.tables import Subscription, Topic
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction

MOST: Final = 1000
"""Topics of an account; AWS has 100,000."""

MOST_TAGS: Final = 50

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,256}\Z")
_ARN: Final = re.compile(
    r"arn:(?P<partition>[a-z-]+):sns:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<name>[A-Za-z0-9_-]{1,256})\Z"
)
_DISPLAY_NAME: Final = 100


type ShownTopic = Topic
"""A topic as it is shown."""


@dataclass(frozen=True, slots=True)
class TopicRequest:
    """A topic to be made."""

    name: str
    display_name: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many subscriptions of a topic are in which state."""

    confirmed: int
    pending: int
    deleted: int


def arn_of(cloud: Cloud, account_id: str, name: str) -> str:
    """Return the ARN of a topic."""
    return f"arn:{cloud.partition}:sns:{cloud.region}:{account_id}:{name}"


def name_of(cloud: Cloud, account_id: str, arn: str) -> str | None:
    """Return the name of the topic of an account that an ARN names, None for anything else."""
    found = _ARN.match(arn)
    if found is None:
        return None
    here = found["partition"], found["region"], found["account"]
    return found["name"] if here == (cloud.partition, cloud.region, account_id) else None


def create(tx: Transaction, caller: Caller, asked: TopicRequest, now: datetime) -> str:
    """Make a topic, unless it is there and has these tags; return its name.

    Raises InvalidParameter, LimitExceeded; a topic of other tags is InvalidParameter too.
    """
    name, display_name, tags = asked.name, asked.display_name, asked.tags
    if not _NAME.match(name):
        raise InvalidParameter("Invalid parameter: Topic Name")
    _check_display_name(display_name)
    _check_tags(tags)
    there = tx.session.get(Topic, (caller.account_id, name))
    if there is not None:
        if tags and json.loads(there.tags) != dict(tags):
            raise InvalidParameter("Invalid parameter: Tags Reason: Topic already exists with different tags")
        if display_name and there.display_name != display_name:
            raise InvalidParameter(
                "Invalid parameter: Attributes Reason: Topic already exists with different attributes"
            )
        return name
    mine = select(func.count()).select_from(Topic).where(Topic.account_id == caller.account_id)
    if tx.session.scalars(mine).one() >= MOST:
        raise LimitExceeded(f"An account can have at most {MOST} topics.", code="TopicLimitExceeded")
    tx.session.add(
        Topic(
            account_id=caller.account_id,
            name=name,
            display_name=display_name,
            tags=json.dumps(dict(tags), sort_keys=True),
            created=now,
        )
    )
    tx.session.flush()
    return name


def look_up(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> Topic | None:
    """Return a topic of the caller's account, None if it is not there."""
    name = name_of(cloud, caller.account_id, arn)
    return None if name is None else tx.session.get(Topic, (caller.account_id, name))


def find(
    tx: Transaction, caller: Caller, cloud: Cloud, arn: str, *, parameter: str = "TopicArn", code: str | None = None
) -> Topic:
    """Return a topic of the caller's account; raises InvalidParameter for what is no ARN of one, NotFound."""
    if not _ARN.match(arn):
        raise InvalidParameter(f"Invalid parameter: {parameter}")
    row = look_up(tx, caller, cloud, arn)
    if row is None:
        raise NotFound("topic", arn, message="Topic does not exist", code=code)
    return row


def delete(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> None:
    """Delete a topic with its subscriptions; one that is not there is deleted already. Raises InvalidParameter."""
    try:
        row = find(tx, caller, cloud, arn)
    except NotFound:
        return
    tx.session.delete(row)
    tx.session.flush()


def page(tx: Transaction, caller: Caller, *, after: str | None, limit: int) -> list[str]:
    """List the names of the account's topics, from the one after `after` on."""
    query = select(Topic.name).where(Topic.account_id == caller.account_id).order_by(Topic.name).limit(limit)
    if after is not None:
        query = query.where(Topic.name > after)
    return list(tx.session.scalars(query))


def counts(tx: Transaction, topic: Topic) -> Counts:
    """Count the subscriptions of a topic."""
    query = (
        select(Subscription.state, func.count())
        .where(Subscription.account_id == topic.account_id, Subscription.topic == topic.name)
        .group_by(Subscription.state)
    )
    found: dict[str, int] = {state: number for state, number in tx.session.execute(query)}  # noqa: C416 - rows are no pairs
    return Counts(found.get("confirmed", 0), found.get("pending", 0), found.get("deleted", 0))


def rename(topic: Topic, display_name: str) -> None:
    """Change the name that people see; raises InvalidParameter."""
    _check_display_name(display_name)
    topic.display_name = display_name


def tags_of(topic: Topic) -> dict[str, str]:
    """Return the tags of a topic."""
    tags: dict[str, str] = json.loads(topic.tags)
    return tags


def tag(topic: Topic, tags: Mapping[str, str]) -> None:
    """Set tags of a topic; raises InvalidParameter, LimitExceeded."""
    changed = tags_of(topic) | dict(tags)
    _check_tags(changed)
    topic.tags = json.dumps(changed, sort_keys=True)


def untag(topic: Topic, keys: Iterable[str]) -> None:
    """Delete tags of a topic."""
    doomed = set(keys)
    remaining = {key: value for key, value in tags_of(topic).items() if key not in doomed}
    topic.tags = json.dumps(remaining, sort_keys=True)


def _check_display_name(display_name: str) -> None:
    if len(display_name) > _DISPLAY_NAME or not display_name.isprintable():
        raise InvalidParameter("Invalid parameter: DisplayName")


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > MOST_TAGS:
        raise LimitExceeded(f"A topic can have at most {MOST_TAGS} tags.", code="TagLimitExceeded")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise InvalidParameter(f"Invalid parameter: Tags Reason: the tag {key[:128]}")
