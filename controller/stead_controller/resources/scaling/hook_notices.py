"""What lifecycle hooks publish to their topics when an instance begins to wait for them, with the role they were given.

See https://docs.aws.amazon.com/autoscaling/ec2/userguide/prepare-for-lifecycle-notifications.html.
"""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from stead_controller.db.tables import LifecycleAction, LifecycleHook, ScalingGroup, Topic
from stead_controller.errors import InvalidParameter
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import passed_roles
from stead_controller.resources.iam.passed_roles import Use
from stead_controller.resources.notifications import publishing, topics
from stead_controller.resources.notifications.publishing import Message
from stead_controller.resources.scaling import group_notices

LAUNCHING: Final = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING: Final = "autoscaling:EC2_INSTANCE_TERMINATING"

_SERVICE: Final = "autoscaling.amazonaws.com"
_EC2: Final = "EC2"
_GROUP: Final = "AutoScalingGroup"
_POOL: Final = "WarmPool"


@dataclass(frozen=True, slots=True)
class Way:
    """From where to where an instance goes while it waits, in AWS's words."""

    origin: str
    destination: str

    @property
    def is_launch(self) -> bool:
        """Whether hooks for launches are waited for, else those for ends."""
        return self.origin == _EC2 or self.destination == _GROUP


INTO_GROUP: Final = Way(_EC2, _GROUP)
INTO_POOL: Final = Way(_EC2, _POOL)
FROM_POOL: Final = Way(_POOL, _GROUP)
BACK_TO_POOL: Final = Way(_GROUP, _POOL)
OUT_OF_GROUP: Final = Way(_GROUP, _EC2)
OUT_OF_POOL: Final = Way(_POOL, _EC2)


def check(tx: Transaction, cloud: Cloud, group: ScalingGroup, hook: LifecycleHook, now: datetime) -> None:
    """Publish a test to a hook's topic; raises InvalidParameter if there is none, or the role may not."""
    if hook.topic is None:
        raise InvalidParameter("A RoleARN is for a lifecycle hook with a NotificationTargetARN.")
    if hook.role is None:
        raise InvalidParameter("A lifecycle hook with a NotificationTargetARN needs a RoleARN.")
    topic = None
    if topics.name_of(cloud, group.account_id, hook.topic) is not None:
        topic = _topic(tx, group, hook, now)
    if topic is None:
        raise InvalidParameter(
            f"Unable to publish test message to notification target {hook.topic[:300]} using IAM role "
            f"{hook.role[:300]}. Please check your target and role configuration and try to put lifecycle hook again."
        )
    group_notices.publish_test(tx, group, topic, hook.topic, now)


def tell(tx: Transaction, hook: LifecycleHook, action: LifecycleAction, way: Way, now: datetime) -> None:
    """Publish that an instance waits for a hook, if it has a topic that is there, and a role that still may."""
    group = tx.session.get_one(ScalingGroup, hook.group_id)
    topic = _topic(tx, group, hook, now)
    if topic is None:
        return
    told: dict[str, Any] = {
        "Origin": way.origin,
        "Destination": way.destination,
        "Service": "AWS Auto Scaling",
        "Time": publishing.timestamp(now),
        "AccountId": group.account_id,
        "RequestId": str(uuid.uuid4()),
        "AutoScalingGroupName": group.name,
        "LifecycleHookName": hook.name,
        "LifecycleTransition": LAUNCHING if way.is_launch else TERMINATING,
        "LifecycleActionToken": action.token,
        "EC2InstanceId": action.instance_id,
    }
    if hook.details is not None:
        told["NotificationMetadata"] = hook.details
    verb = "LAUNCHING" if way.is_launch else "TERMINATING"
    subject = f"Auto Scaling:  Lifecycle action '{verb}' for instance {action.instance_id} in progress."
    text = json.dumps(told, separators=(",", ":"))
    publishing.publish(tx, topic, Message({"default": text}, subject), now)


def _topic(tx: Transaction, group: ScalingGroup, hook: LifecycleHook, now: datetime) -> Topic | None:
    """Return the topic of a hook, None without one and where its role may not publish to it."""
    if hook.topic is None:
        return None
    topic = tx.session.get(Topic, (group.account_id, hook.topic.rpartition(":")[2]))
    if topic is None:
        return None
    use = Use(_SERVICE, group.account_id, "sns:Publish", hook.topic)
    return topic if passed_roles.may(tx, hook.role or "", use, now) else None
