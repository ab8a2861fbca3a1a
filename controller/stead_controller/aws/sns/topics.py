"""Operations of topics, and their tags."""

import json
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.sns import attributes
from stead_controller.resources.notifications import retries, topics
from stead_controller.resources.notifications.topics import TopicRequest

PAGE: Final = 100
"""How much a list shows at once."""

EFFECTIVE_POLICY: Final = json.dumps({"healthyRetryPolicy": retries.POLICY}, separators=(",", ":"))

_ABSENT_TAGGED: Final = "ResourceNotFound"
_ACTIONS: Final = (
    "GetTopicAttributes",
    "SetTopicAttributes",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
)


@operation("CreateTopic", service="sns")
def create_topic(call: Call, params: Params) -> Result:
    """Make a topic, or find the one of this name."""
    shown = attributes.display_name(params.get("Attributes") or {})
    name = topics.create(call.tx, call.caller, TopicRequest(params["Name"], shown, _tags(params)), call.now)
    return {"TopicArn": topics.arn_of(call.cloud, call.caller.account_id, name)}


@operation("DeleteTopic", service="sns")
def delete_topic(call: Call, params: Params) -> Result:
    """Delete a topic and its subscriptions."""
    topics.delete(call.tx, call.caller, call.cloud, params["TopicArn"])
    return {}


@operation("ListTopics", service="sns", writes=False)
def list_topics(call: Call, params: Params) -> Result:
    """List topics."""
    page = describe.page(call, params, "ListTopics", default=PAGE)
    found = topics.page(call.tx, call.caller, after=page.after[0] if page.after else None, limit=PAGE + 1)
    shown, token = page.cut(found, lambda name: (name,))
    arns = [topics.arn_of(call.cloud, call.caller.account_id, name) for name in shown]
    return {"Topics": [{"TopicArn": arn} for arn in arns], "NextToken": token}


@operation("GetTopicAttributes", service="sns", writes=False)
def get_topic_attributes(call: Call, params: Params) -> Result:
    """Describe a topic."""
    topic = topics.find(call.tx, call.caller, call.cloud, params["TopicArn"])
    counts = topics.counts(call.tx, topic)
    arn = topics.arn_of(call.cloud, topic.account_id, topic.name)
    policy = {"http": {"defaultHealthyRetryPolicy": retries.POLICY, "disableSubscriptionOverrides": False}}
    return {
        "Attributes": {
            "TopicArn": arn,
            "Owner": topic.account_id,
            "DisplayName": topic.display_name,
            "Policy": json.dumps(_policy(arn, topic.account_id), separators=(",", ":")),
            "SubscriptionsConfirmed": str(counts.confirmed),
            "SubscriptionsPending": str(counts.pending),
            "SubscriptionsDeleted": str(counts.deleted),
            "EffectiveDeliveryPolicy": json.dumps(policy, separators=(",", ":")),
            "SignatureVersion": "2",
            "TracingConfig": "PassThrough",
        }
    }


@operation("SetTopicAttributes", service="sns")
def set_topic_attributes(call: Call, params: Params) -> Result:
    """Change an attribute of a topic."""
    topic = topics.find(call.tx, call.caller, call.cloud, params["TopicArn"])
    name = params["AttributeName"]
    shown = attributes.display_name({name: params.get("AttributeValue") or ""})
    if name == "DisplayName":
        topics.rename(topic, shown)
    return {}


@operation("TagResource", service="sns")
def tag_resource(call: Call, params: Params) -> Result:
    """Set tags of a topic."""
    topics.tag(_tagged(call, params), _tags(params))
    return {}


@operation("UntagResource", service="sns")
def untag_resource(call: Call, params: Params) -> Result:
    """Delete tags of a topic."""
    topics.untag(_tagged(call, params), params["TagKeys"])
    return {}


@operation("ListTagsForResource", service="sns", writes=False)
def list_tags_for_resource(call: Call, params: Params) -> Result:
    """List the tags of a topic."""
    return {"Tags": describe.dict_to_tags(topics.tags_of(_tagged(call, params)))}


def _tagged(call: Call, params: Params) -> topics.ShownTopic:
    arn = params["ResourceArn"]
    return topics.find(call.tx, call.caller, call.cloud, arn, parameter="ResourceArn", code=_ABSENT_TAGGED)


def _tags(params: Params) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in params.get("Tags") or ()}


def _policy(arn: str, account_id: str) -> dict[str, Any]:
    """Return the policy that a topic has: its own account's principals may use it, as their own policies say."""
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [f"SNS:{action}" for action in _ACTIONS],
        "Resource": arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": account_id}},
    }
    return {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}
