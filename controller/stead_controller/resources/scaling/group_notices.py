"""What groups publish to topics: launches and ends of their instances, in the transaction of the activity's end.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-sns-notifications.html.
"""

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, delete, or_, select

from stead_controller.db.tables import ScalingActivity, ScalingGroup, ScalingNotification, Topic
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.notifications import publishing, topics
from stead_controller.resources.notifications.publishing import Message

LAUNCH: Final = "autoscaling:EC2_INSTANCE_LAUNCH"
LAUNCH_ERROR: Final = "autoscaling:EC2_INSTANCE_LAUNCH_ERROR"
TERMINATE: Final = "autoscaling:EC2_INSTANCE_TERMINATE"
TEST: Final = "autoscaling:TEST_NOTIFICATION"
TYPES: Final = (LAUNCH, LAUNCH_ERROR, TERMINATE, "autoscaling:EC2_INSTANCE_TERMINATE_ERROR", TEST)

MOST: Final = 10
"""Topics of a group, as in AWS."""

_SUBJECTS: Final = {
    LAUNCH: "launch",
    LAUNCH_ERROR: "failed launch",
    TERMINATE: "termination",
    TEST: "test notification",
}


@dataclass(frozen=True, slots=True)
class NotificationRequest:
    """What is to be published to a topic, by its ARN."""

    topic: str
    types: Sequence[str]


@dataclass(frozen=True, slots=True)
class ShownNotification:
    """A group's name, the ARN of a topic, and what is published to it."""

    group: str
    topic: str
    type: str


def put(tx: Transaction, cloud: Cloud, group: ScalingGroup, asked: NotificationRequest, now: datetime) -> None:
    """Have a group publish to a topic, which is tested; raises InvalidParameter, LimitExceeded."""
    arn, types = asked.topic, asked.types
    for one in types:
        if one not in TYPES:
            raise InvalidParameter(f"Notification type {one[:100]} is not one of {', '.join(TYPES)}.")
    name = topics.name_of(cloud, group.account_id, arn)
    topic = None if name is None else tx.session.get(Topic, (group.account_id, name))
    if topic is None:
        raise InvalidParameter(f"Unable to publish test message to notification target {arn[:300]}.")
    there = set(tx.session.scalars(select(ScalingNotification.topic).where(ScalingNotification.group_id == group.id)))
    if len(there | {arn}) > MOST:
        raise LimitExceeded(f"An AutoScalingGroup can have at most {MOST} topics.")
    _forget(tx, group, arn)
    for one in dict.fromkeys(types):
        tx.session.add(ScalingNotification(group_id=group.id, topic=arn, type=one))
    tx.session.flush()
    publish_test(tx, group, topic, arn, now)


def publish_test(tx: Transaction, group: ScalingGroup, topic: Topic, arn: str, now: datetime) -> None:
    """Publish a test to a topic, which has this ARN."""
    _publish(tx, topic, TEST, _of_group(group, arn, TEST, now) | {"RequestId": str(uuid.uuid4())}, now)


def remove(tx: Transaction, group: ScalingGroup, arn: str) -> None:
    """Have a group publish to a topic no more; raises NotFound."""
    if not _forget(tx, group, arn):
        raise NotFound("notification", arn, message=f"No notification found for the topic {arn[:300]}.")


def page(
    tx: Transaction, caller: Caller, names: Collection[str], *, after: Sequence[str] | None, limit: int
) -> list[ShownNotification]:
    """List what groups publish, by their names, topics and types; `after` are those of the last one shown."""
    row = ScalingNotification
    query = (
        select(ScalingGroup.name, row.topic, row.type)
        .join(row, row.group_id == ScalingGroup.id)
        .where(ScalingGroup.account_id == caller.account_id)
        .order_by(ScalingGroup.name, row.topic, row.type)
        .limit(limit)
    )
    if names:
        query = query.where(ScalingGroup.name.in_(names))
    if after is not None:
        group, topic, kind = after
        same = ScalingGroup.name == group
        later = or_(row.topic > topic, and_(row.topic == topic, row.type > kind))
        query = query.where(or_(ScalingGroup.name > group, and_(same, later)))
    return [ShownNotification(group, topic, kind) for group, topic, kind in tx.session.execute(query)]


def tell(tx: Transaction, group: ScalingGroup, activity: ScalingActivity, kind: str, now: datetime) -> None:
    """Publish that an activity has ended to the topics that a group has for it."""
    row = ScalingNotification
    wanting = select(row.topic).where(row.group_id == group.id, row.type == kind).order_by(row.topic)
    for arn in tx.session.scalars(wanting).all():
        topic = tx.session.get(Topic, (group.account_id, arn.rpartition(":")[2]))
        if topic is not None:  # one that was deleted is told nothing
            _publish(tx, topic, kind, _of_group(group, arn, kind, now) | _of_activity(activity), now)


def _of_group(group: ScalingGroup, topic: str, kind: str, now: datetime) -> dict[str, Any]:
    _, partition, _, region, account_id, _ = topic.split(":", 5)
    cloud_like = f"arn:{partition}:autoscaling:{region}:{account_id}"
    return {
        "Service": "AWS Auto Scaling",
        "Time": publishing.timestamp(now),
        "AccountId": group.account_id,
        "Event": kind,
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": f"{cloud_like}:autoScalingGroup:{group.id}:autoScalingGroupName/{group.name}",
    }


def _of_activity(activity: ScalingActivity) -> dict[str, Any]:
    return {
        "ActivityId": activity.id,
        "RequestId": activity.id,
        "Description": activity.description,
        "Cause": activity.cause,
        "StartTime": publishing.timestamp(activity.started),
        "EndTime": publishing.timestamp(activity.ended or activity.started),
        "StatusCode": activity.status,
        "StatusMessage": activity.message or "",
        "Progress": activity.progress,
        "EC2InstanceId": activity.instance_id or "",
        "Details": json.loads(activity.details),
    }


def _publish(tx: Transaction, topic: Topic, kind: str, told: dict[str, Any], now: datetime) -> None:
    text = json.dumps(told, separators=(",", ":"))
    subject = publishing.plain_subject(f'Auto Scaling: {_SUBJECTS[kind]} for group "{told["AutoScalingGroupName"]}"')
    publishing.publish(tx, topic, Message({"default": text}, subject), now)


def _forget(tx: Transaction, group: ScalingGroup, arn: str) -> bool:
    row = ScalingNotification
    gone: Any = tx.session.execute(delete(row).where(row.group_id == group.id, row.topic == arn))
    return bool(gone.rowcount)
