"""SNS's part of `base_requests.py`: topics and a subscription, and good requests about them."""

from typing import Any, Final

from stead_controller.db.tables import Subscription
from tests.api.conftest import Api

Named = dict[str, Any]
TOPIC: Final = "arn:aws:sns:us-east-1:111111111111:own"
_URL: Final = "https://hook.example/"
_TOKEN: Final = "a" * 128


def build(api: Api) -> Named:
    """Make a topic with a confirmed subscription and one that is not."""
    client = api.client(api.world.one, "sns")
    topic = client.create_topic(Name="own")["TopicArn"]
    asked = {"TopicArn": topic, "Protocol": "https", "ReturnSubscriptionArn": True}
    confirmed = client.subscribe(**asked, Endpoint=_URL + "confirmed")["SubscriptionArn"]
    pending = client.subscribe(**asked, Endpoint=_URL + "pending")["SubscriptionArn"]

    def settle(tx: Any) -> None:
        tx.session.get_one(Subscription, confirmed.rpartition(":")[2]).state = "confirmed"
        tx.session.get_one(Subscription, pending.rpartition(":")[2]).token = _TOKEN

    api.run(settle)
    return {"topic": topic, "subscription": confirmed}


VALUES: Final[Named] = {
    "TopicArn": "{topic}",
    "TargetArn": "{topic}",
    "SubscriptionArn": "{subscription}",
}
BASES: Final[dict[str, Named]] = {
    "ConfirmSubscription": {"TopicArn": "{topic}", "Token": _TOKEN},
    "CreateTopic": {"Name": "new"},
    "Publish": {"TopicArn": "{topic}", "Message": "m"},
    "SetSubscriptionAttributes": {"AttributeName": "RawMessageDelivery", "AttributeValue": "true"},
    "SetTopicAttributes": {"AttributeName": "DisplayName", "AttributeValue": "d"},
    "Subscribe": {"TopicArn": "{topic}", "Protocol": "https", "Endpoint": _URL + "new"},
    "sns:ListTagsForResource": {"ResourceArn": "{topic}"},
    "sns:TagResource": {"ResourceArn": "{topic}", "Tags": [{"Key": "a", "Value": "b"}]},
    "sns:UntagResource": {"ResourceArn": "{topic}", "TagKeys": ["a"]},
}
VALUES_OF: Final[dict[tuple[str, str], Any]] = {
    ("CreateTopic", "Attributes"): {"DisplayName": "d"},
    ("Publish", "MessageAttributes"): {"a": {"DataType": "String", "StringValue": "b"}},
    ("SetSubscriptionAttributes", "AttributeValue"): "true",
    ("Subscribe", "Attributes"): {"RawMessageDelivery": "true"},
    ("Subscribe", "Endpoint"): _URL,
    ("Subscribe", "Protocol"): "https",
}
COMPANIONS: Final[dict[str, Named]] = {
    "CreateTopic Tags": {"Key": "a", "Value": "b"},
    "sns:TagResource Tags": {"Key": "a", "Value": "b"},
}
_BESIDE_TOPICS: Final = (
    "Subject",
    "MessageAttributes",
    "MessageDeduplicationId",
    "MessageGroupId",
    "MessageStructure",
)
# Members of base requests that go where another member comes.
INSTEAD: Final[dict[str, tuple[tuple[str, ...], dict[str, Named]]]] = {
    "Publish": (("TopicArn",), {name: {"TopicArn": "{topic}"} for name in _BESIDE_TOPICS}),
}
