"""SNS: topics by their ARNs; a subscription is used with the rights on its topic.

See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html.
"""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Part, Rule, Target, rule
from stead_controller.resources.notifications import topics


def _by_arn(*paths: str) -> Part:
    def part(asked: Asked) -> Iterator[Check]:
        for path in paths:
            for arn in asked.values(path):
                yield Check(Target(arn, "sns", arn, tags=_tags(asked)))

    return part


def _subscribing(asked: Asked) -> Iterator[Check]:
    context = {
        f"sns:{name}": value for name in ("Endpoint", "Protocol") if (value := asked.params.get(name)) is not None
    }
    for arn in asked.values("TopicArn"):
        yield Check(Target(arn, "sns", arn, context=context))


def _of_subscription(asked: Asked) -> Iterator[Check]:
    for arn in asked.values("SubscriptionArn"):
        topic = arn.rpartition(":")[0]
        yield Check(Target(topic, "sns", topic))


def _created(asked: Asked) -> Iterator[Check]:
    call = asked.call
    tags = _tags(asked)
    for name in asked.values("Name"):
        arn = topics.arn_of(call.cloud, call.caller.account_id, name)
        yield Check(Target(arn, "sns", arn, tags=tags))
        if tags:
            yield Check(Target(arn, "sns", arn, tags=tags), "sns:TagResource")


def _tags(asked: Asked) -> dict[str, str]:
    tags = {tag["Key"]: tag.get("Value", "") for tag in asked.params.get("Tags") or () if "Key" in tag}
    return tags | dict.fromkeys(asked.params.get("TagKeys") or (), "")


_TOPIC: Final = _by_arn("TopicArn")
_TAGGED: Final = _by_arn("ResourceArn")

RULES: Final[dict[str, Rule]] = {
    "ConfirmSubscription": rule(_TOPIC),
    "CreateTopic": rule(_created),
    "DeleteTopic": rule(_TOPIC),
    "GetSubscriptionAttributes": rule(_of_subscription),
    "GetTopicAttributes": rule(_TOPIC),
    "ListSubscriptions": rule(),
    "ListSubscriptionsByTopic": rule(_TOPIC),
    "ListTagsForResource": rule(_TAGGED),
    "ListTopics": rule(),
    "Publish": rule(_by_arn("TopicArn", "TargetArn")),
    "SetSubscriptionAttributes": rule(_of_subscription),
    "SetTopicAttributes": rule(_TOPIC),
    "Subscribe": rule(_subscribing),
    "TagResource": rule(_TAGGED),
    "Unsubscribe": rule(_of_subscription),
    "UntagResource": rule(_TAGGED),
}
